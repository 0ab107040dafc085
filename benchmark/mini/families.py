"""The families of images in the mini suite: how normal images look.

A family turns a generator of random numbers and a size into one normal specimen: no two are alike in pose, scale, hue,
light, background and noise. Families are shared by the mini suite and the training of the mini backbone but for two
lists: those that only the training sees, and those that only the suite uses, so that a part of it is unseen.
"""

from collections.abc import Callable

from benchmark.mini.draw import Generator, Picture
from benchmark.mini.goods import GOODS
from benchmark.mini.medical import MEDICAL
from benchmark.mini.objects import OBJECTS
from benchmark.mini.textures import TEXTURES

__all__ = ["FAMILIES", "SUITE_ONLY", "TRAINING_ONLY", "Family", "Picture"]

Family = Callable[[Generator, int], Picture]
"""(generator, side in pixels) to one normal specimen."""

FAMILIES: dict[str, Family] = {**TEXTURES, **OBJECTS, **GOODS, **MEDICAL}

TRAINING_ONLY: frozenset[str] = frozenset(
    {
        *(
            "perforated_brass",
            "concrete",
            "paper",
            "rubber",
            "scales",
            "terrazzo",
            "cork",
            "pebbles",
            "brick",
            "mosaic",
        ),
        *(
            "ribbed",
            "gear",
            "washer",
            "gasket",
            "spring",
            "key",
            "coin",
            "bolt",
            "button",
            "chip",
            "snack_ring",
            "leaf",
        ),
    }
)
"""No dataset of the suite uses these."""

SUITE_ONLY: frozenset[str] = frozenset(
    {
        *("hazelnut", "zipper", "toothbrush", "tile"),  # MVTec AD
        *("cashew", "pcb_blue", "pipe_fryum"),  # VisA
        "tubes",  # MPDD
        "casting",  # BTAD
        *("hexagonal", "ripples"),  # DAGM
        *("marbled", "woven_herringbone"),  # DTD-Synthetic
        "chest_xray",  # COVID-19
        *("liver_ct", "retina_oct"),  # BMAD
    }
)
"""Never to be trained on: how methods do on these shows what the mini backbone makes of the unseen."""
