"""The images of the datasets beyond the papers' main tables, in the layouts of their original distributions.

Few are drawn, since each of them takes time in every run of the mini suite: of MVTec AD 2 three classes of eight.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmark.mini.shot import Shot, classes, digest, each

LIGHTS = {"regular": 1.0, "overexposed": 1.5, "underexposed": 0.5}
"""Names of lights in files of MVTec AD 2, with the factor by which they make a scene brighter."""


def _sdd2() -> Iterator[Shot]:
    """Tall images; each has a label image beside it, all black where nothing is wrong. Numbers have gaps."""
    (c,) = classes("sdd2", range(72, 97, 8))
    found = [c.normal(i, f"KolektorSDD2/train/{10000 + 3 * i}.png", "train") for i in range(4)]
    found.append(c.damaged("scratch", 0, "KolektorSDD2/train/10013.png", split="train"))
    found += [c.normal(i, f"KolektorSDD2/test/{20000 + 2 * i}.png") for i in range(6)]
    found += [c.damaged(d, k, f"KolektorSDD2/test/{20001 + 2 * i}.png") for i, d, k in each(c.look, 6)]
    for shot in found:
        size = shot.size[0], 200 + digest("height", shot.file) % 24
        yield replace(shot, size=size, mask=shot.file.replace(".png", "_GT.png"))
    yield c.normal(0, "KolektorSDD2/train/10301 (copy).png", "extra")


def _mvtec_ad_2() -> Iterator[Shot]:
    """Each scene of the test set under several lights, each of which is an image; private images have no labels."""
    for c in classes("mvtec_ad_2", range(112, 145, 8)):
        top = f"mvtec_ad_2/{c.name}"
        found = [c.normal(i, f"{top}/train/good/{i:03}_regular.png", "train") for i in range(4)]
        found.append(c.normal(0, f"{top}/validation/good/000_regular.png", "extra"))
        found.append(c.damaged(next(iter(c.look.defects)), 0, f"{top}/test_private/000_regular.png", split="extra"))
        public = f"{top}/test_public"
        for light, factor in LIGHTS.items():
            lit = [c.normal(i, f"{public}/good/{i:03}_{light}.png") for i in range(2)]
            for i, defect, index in each(c.look, 2):
                stem = f"bad/{i:03}_{light}"
                lit.append(c.damaged(defect, index, f"{public}/{stem}.png", f"{public}/ground_truth/{stem}_mask.png"))
            found += [replace(shot, light=factor) for shot in lit]
        for shot in found:  # the sheets are four times as wide as high
            yield replace(shot, size=(shot.size[0], shot.size[0] // 2)) if c.name == "sheet_metal" else shot


def _bmad(dataset: str, folder: str) -> Iterator[Shot]:
    (c,) = classes(dataset, range(104, 153, 8))
    (defect,) = c.look.defects
    top = f"BMAD/{folder}"
    found = [c.normal(i, f"{top}/train/good/{i:05}.png", "train") for i in range(4)]
    found += [c.normal(0, f"{top}/valid/good/img/00000.png", "extra")]
    for i in range(6):
        name = f"{117 * i + 4:05}.png"
        normal = c.normal(i, f"{top}/test/good/img/{name}")
        found.append(replace(normal, mask=f"{top}/test/good/label/{name}"))  # black
        found.append(c.damaged(defect, i, f"{top}/test/Ungood/img/{name}", f"{top}/test/Ungood/label/{name}"))
    return (replace(shot, mode="L") for shot in found)


FURTHER_SHOTS: dict[str, Callable[[], Iterator[Shot]]] = {
    "sdd2": _sdd2,
    "mvtec_ad_2": _mvtec_ad_2,
    "bmad_brain": lambda: _bmad("bmad_brain", "Brain"),
    "bmad_liver": lambda: _bmad("bmad_liver", "Liver"),
    "bmad_resc": lambda: _bmad("bmad_resc", "Retina_RESC"),
}
"""By name of the card."""
