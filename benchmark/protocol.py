"""The protocol: everything that is the same for all methods of a comparison but data, seed and backbone."""

from typing import TYPE_CHECKING

from pydantic import Field

from benchmark.clip import ClassName, PosInterp
from benchmark.common import RULE, Model

if TYPE_CHECKING:
    from benchmark.data import Card, MaskRule, Sample

PROTOCOL = "protocol"  # in `--set protocol.QUIRK=VALUE`; no method may have this name
AUXILIARIES = {
    "anomalyclip": (("mvtec",), ("visa",)),
    "visa": (("visa",), ("mvtec",)),
    "adaclip": (("mvtec", "cvc_colondb"), ("visa", "cvc_clinicdb")),
}
"""Named rules of what methods train on: the datasets for all targets, and those for a target that is one of the first.

`anomalyclip` is that of AnomalyCLIP (ICLR 2024, section 4.1), `visa` that of most papers of 2025 and 2026, `adaclip`
that of AdaCLIP's published code (ECCV 2024). All take the test split, and the parameters after the last epoch."""


def auxiliaries_for(target: str, rule: str = RULE) -> tuple[str, ...]:
    """Return the datasets on which methods train before they are tested on `target`, by one of the `AUXILIARIES`."""
    usual, otherwise = AUXILIARIES[rule]
    return otherwise if target in usual else usual


class Protocol(Model):
    """How images and masks become numbers. Each field is a quirk: a way in which published code differs.

    The rest is fixed: images become RGB and are then resized (bicubic) to the method's square image size. Masks are
    binarised by the card's threshold, resized (bilinear) and cut at 0.5, as AnomalyCLIP's loader does. Metrics are
    computed per class; their unweighted mean is the result of a dataset.
    """

    mask_gt0: bool = False
    """Every mask pixel above 0 is anomalous, whatever threshold the card has (AnomalyCLIP's and AdaCLIP's loaders).
    JPEG masks then break into dozens of regions."""
    raw_class_names: bool = False
    """Class names enter prompts as the folders are named, as in `metal_nut` (APRIL-GAN's and WinCLIP's public code)."""
    evaluation_size: int | None = Field(default=None, ge=16, le=4096)
    """Side in pixels at which maps and masks of all methods are compared; None: each at the method's image size, as in
    the published tables."""
    pos_interp: PosInterp = "bilinear"
    """How positional embeddings are resized: bilinear without antialias (AnomalyCLIP's code, the default here),
    open_clip's antialiased bicubic, or bicubic without antialias (AdaCLIP's code). A method may say otherwise."""

    def class_name(self, sample: "Sample", card: "Card") -> ClassName:
        """Return the class name of a sample of a card's dataset, as it stands in prompts."""
        text = sample.class_name if self.raw_class_names else sample.prompt_name
        return ClassName(text, folder=sample.class_name, dataset=card.name, domain=card.domain)

    def mask_rule(self, card_threshold: int | None) -> "MaskRule":
        """Return which pixels of masks are anomalous, for a layout with this threshold."""
        from benchmark.data import MaskRule

        return MaskRule(card_threshold, gt0=self.mask_gt0)
