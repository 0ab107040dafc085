"""The protocol: what is held fixed when methods are compared, apart from method, data, seed and backbone."""

from typing import TYPE_CHECKING, Literal

from benchmark.common import Model

if TYPE_CHECKING:
    from benchmark.data import Sample

PROTOCOL = "protocol"  # in `--set protocol.QUIRK=VALUE`; no method may have this name
AUXILIARY, AUXILIARY_OF_ITSELF = "mvtec", "visa"


def auxiliary_for(target: str) -> str:
    """Return the dataset on which methods train before they are tested on `target` (AnomalyCLIP, section 4.1)."""
    return AUXILIARY_OF_ITSELF if target == AUXILIARY else AUXILIARY


class Protocol(Model):
    """How images and masks become numbers; the quirks follow what a published code does where it is not the default.

    Fixed by construction: RGB before resizing, bicubic to the method's square image size, masks binarised by the card,
    resized bilinearly and cut at 0.5 (reference: AnomalyCLIP's loader), metrics per class, then their unweighted mean.
    """

    mask_gt0: bool = False
    """Quirk: every mask pixel above 0 is anomalous whatever the card says (AnomalyCLIP's and AdaCLIP's loaders), which
    shatters JPEG masks into dozens of regions."""
    raw_class_names: bool = False
    """Quirk: class names enter prompts as folders spell them, `metal_nut` (APRIL-GAN's and WinCLIP's public code)."""
    pos_interp: Literal["bilinear", "bicubic"] = "bilinear"
    """How positional embeddings are resized: bilinear without antialias (AnomalyCLIP's code, the default here) or
    open_clip's antialiased bicubic."""

    def class_name(self, sample: "Sample") -> str:
        """Return the class name of a sample as it stands in prompts."""
        return sample.class_name if self.raw_class_names else sample.prompt_name

    def mask_threshold(self, card_threshold: int) -> int:
        """Return the grey value (of 0 … 255) above which a mask pixel is anomalous."""
        return 0 if self.mask_gt0 else card_threshold
