"""Options and ablations of AA-CLIP."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from benchmark.contract import Ablation, inference_option

ABLATIONS = (
    Ablation(
        "modules",
        "Modules, each left out by itself",
        {
            "without adapters in the text tower": {"text_adapters": 0},
            "without adapters in the vision tower": {"image_adapters": 0},
            "without the loss that parts the texts": {"separation_weight": 0.0},
            "without augmentation": {"jitter": False, "geometry": False},
            "all": {},
        },
    ),
    Ablation(
        "quirks",
        "Quirks of the published code, each switched by itself",
        {
            "as published": {},
            "QuickGELU": {"plain_gelu": False},
            "class names": {"class_descriptions": False},
            "attention over the tokens of an image": {"vv_across_batch": False},
            "text loss of all levels": {"text_loss_last_layer": False},
            "text loss of images": {"no_text_cls_loss": False},
            "image loss with a temperature": {"cls_no_temperature": False},
            "levels summed up": {"levels_apart": False},
            "maps of probabilities": {"raw_cosine_map": False},
            "without scaling by the class": {"class_minmax": False},
        },
    ),
    Ablation(
        "depth",
        "Number of vision blocks that have adapters",
        {f"{n}": {"image_adapters": n} for n in (2, 4, 6, 8)},
    ),
)


@dataclass(frozen=True, slots=True)
class AaClipOptions:
    """Hyper-parameters of AA-CLIP. The defaults are those of the published scripts, but for the number of epochs."""

    text_adapters: Annotated[int, Field(ge=0)] = 3
    """Number K_T of text blocks, from the first one, that have adapters; at most all."""
    image_adapters: Annotated[int, Field(ge=0)] = 6
    """Number K_I of vision blocks, from the first one, that have adapters; at most all."""
    adapter_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Weight λ of the adapters in both towers."""
    feature_layers: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    """Blocks whose patches are scored; None for four at each quarter of the tower."""
    first_block: Annotated[int, Field(ge=1)] | None = None
    """First block with V-V attention in the first stage; None for that of the backbone (6 of 24)."""
    plain_gelu: bool = True
    """Quirk: the published code runs exact GELU in both towers, though the weights were trained with QuickGELU."""
    class_descriptions: bool = True
    """Quirk: prompts have descriptions that were written for each class of a dataset, as in "dark bottle"."""
    vv_across_batch: bool = True
    """Quirk: the V-V attention of the first stage goes over the images of the batch, and not over the
    tokens of an image."""
    text_loss_last_layer: bool = True
    """Quirk: in the first stage the loss of the last level alone counts, and not the sum over the levels."""
    no_text_cls_loss: bool = True
    """Quirk: equation 4 also has a loss of the image label in the first stage, the code has none. It is here a
    cross-entropy of CLIP's image embedding. Its logits are 100 times the cosine similarities, as CLIP has them; that is
    our reading, the paper names no temperature there."""
    cls_no_temperature: bool = True
    """Quirk: in the second stage the logits of the image label are cosine similarities without a temperature."""
    levels_apart: bool = True
    """Quirk: the paper sums the projected patches of the levels up; the code sums their losses and maps."""
    raw_cosine_map: bool = inference_option(True)
    """Quirk: maps are differences of cosine similarities and not anomaly probabilities."""
    class_minmax: bool = inference_option(True)
    """Quirk: the two parts of an image score are scaled to [0, 1] over all test images of the class. Without it the
    same formula takes them as they are, and single images can be scored."""
    jitter: bool = True
    """Whether the second stage changes brightness, contrast and saturation of pictures."""
    geometry: bool = True
    """Whether both stages rotate, shift and flip images."""
    separation_weight: float = 0.1
    """Weight of the squared mean of t_n·t_a, which the first stage makes small."""
    text_epochs: Annotated[int, Field(ge=0)] = 5
    text_batch: Annotated[int, Field(ge=1)] = 16
    text_rate: float = 1e-5
    image_epochs: Annotated[int, Field(ge=0)] = 15
    """Quirk `epoch_15`: the scripts train 20 epochs; the published log is of the checkpoint after 15."""
    image_batch: Annotated[int, Field(ge=1)] = 2
    image_rate: float = 5e-4
