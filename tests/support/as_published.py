"""Records under the conditions of AnomalyCLIP's paper, so that they are held against its numbers."""

from typing import Any

from support.records import made_run

from benchmark.contract import Learner
from benchmark.data.cards import load_cards
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.records import ClassResult, Record, mean_over_classes
from benchmark.registry import all_methods

VIT_L = BackboneId(
    name="ViT-L-14-336-quickgelu:openai",
    architecture="ViT-L-14-336-quickgelu",
    sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    dtype="float32",
    synthetic=False,
)
# AnomalyCLIP on VisA in Table 1, as fractions
AS_PUBLISHED = {"image_auroc": 0.821, "image_ap": 0.854, "pixel_auroc": 0.955, "pixel_aupro_200": 0.870}

Metrics = dict[str, float | None]


def data_id(name: str, layout: str = "original") -> DataId:
    return DataId(name=name, card_version=1, layout=layout, fingerprint="f")


def record(metrics: Metrics, *, dataset: str = "visa", method: str = "anomalyclip", **changes: Any) -> Record:
    """A finished record under AnomalyCLIP's own conditions, with the same metrics for every class."""
    card = load_cards()[dataset]
    one = ClassResult(normal=1, anomalous=1, metrics=metrics)
    classes = changes.pop("classes", {each.name: one for each in card.classes})
    learns = issubclass(all_methods()[method], Learner)
    cell = Cell(
        method=method,
        method_version=1,
        options={},
        dataset=data_id(dataset),
        auxiliary=data_id("visa" if dataset == "mvtec" else "mvtec") if learns else None,
        seed=111,
        backbone=VIT_L,
        protocol=Protocol(),
    )
    fields: dict[str, Any] = {
        "title": all_methods()[method].title,
        "dataset_title": card.title,
        "domain": card.domain,
        "cell": cell.model_copy(update=changes.pop("cell", {})),
        "image_size": 518,
        "status": "done",
        "classes": classes,
        "mean": mean_over_classes(classes.values()),
        "run": made_run(),
    } | changes
    return Record(id=fields["cell"].id, **fields)
