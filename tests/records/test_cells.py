"""Ids of cells and trainings: what changes them, and that nothing else does."""

import json
from typing import Any

import pytest
from support.reference import REFERENCE_RECORDS

from benchmark.clip.spec import BackboneVariant
from benchmark.metrics.names import METRICS_VERSION
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, Cell, DataId, TrainingId, misnamed
from benchmark.training.chosen import SHIPPED

BACKBONE = BackboneId(name="b", architecture="a", sha256="c", dtype="float32", synthetic=False)
DATA = DataId(name="d", card_version=1, layout="original", fingerprint="f")


def cell(**changes: Any) -> Cell:
    known = {"method": "m", "method_version": 1, "options": {"depth": 9}, "dataset": DATA, "seed": 0}
    return Cell(**{**known, "backbone": BACKBONE, "protocol": Protocol(), **changes})


def training(**changes: Any) -> TrainingId:
    known = {"method": "m", "method_version": 1, "options": {"depth": 9}, "auxiliary": DATA, "seed": 0}
    return TrainingId(**{**known, "backbone": BACKBONE, "protocol": Protocol(), **changes})


@pytest.mark.parametrize("make", [cell, training])
def test_a_new_option_with_a_neutral_default_leaves_ids_as_they_are(make: Any) -> None:
    assert make().id == make(options={"depth": 9, "later": 0.5}).id
    assert make().id != make(options={"depth": 9, "later": 0.7}, changed={"later": 0.7}).id


@pytest.mark.parametrize("make", [cell, training])
def test_a_new_quirk_with_a_neutral_default_leaves_ids_as_they_are(make: Any) -> None:
    class LaterProtocol(Protocol):
        quirk: bool = False

    class LaterBackbone(BackboneId):
        gain: float = 0.5

    class Later(type(make())):  # type: ignore[misc]
        protocol: LaterProtocol
        backbone: LaterBackbone

    known = {**dict(make()), "protocol": LaterProtocol(), "backbone": LaterBackbone(**dict(BACKBONE))}
    assert Later(**known).id == make().id
    assert Later(**{**known, "protocol": LaterProtocol(quirk=True)}).id != make().id
    assert Later(**{**known, "backbone": LaterBackbone(**dict(BACKBONE), gain=0.4)}).id != make().id


def test_everything_else_changes_the_id() -> None:
    changes: list[dict[str, Any]] = [
        {"method": "n"},
        {"method_version": 2},
        {"changed": {"depth": 9}},
        {"dataset": DATA.model_copy(update={"fingerprint": "g"})},
        {"auxiliary": DATA},
        {"checkpoint": "c"},
        {"references": {"c": ("k",)}},
        {"references": {"c": ("k",)}, "references_sha256": "s"},
        {"seed": 1},
        {"backbone": BACKBONE.model_copy(update={"sha256": "d"})},
        {"backbone": BACKBONE.model_copy(update={"dtype": "bfloat16"})},
        {"backbone": BACKBONE.model_copy(update={"mean": (0.5, 0.5, 0.5)})},
        {"protocol": Protocol(mask_gt0=True)},
        {"metrics_version": METRICS_VERSION + 1},
    ]
    ids = [cell().id, *(cell(**each).id for each in changes)]
    assert len(set(ids)) == len(ids)
    assert cell(backbone=BACKBONE.model_copy(update={"name": "another file"})).id == cell().id


def test_the_defaults_of_the_protocol_are_frozen() -> None:
    """Ids leave them out: another default under the same name gives old results a new meaning. Add a field instead."""
    frozen = {"mask_gt0": False, "raw_class_names": False, "evaluation_size": None, "pos_interp": "bilinear"}
    assert frozen.items() <= Protocol().model_dump().items()


def test_a_variant_of_the_backbone_is_part_of_the_id_where_it_changes_numbers() -> None:
    quick = BACKBONE.model_copy(update={"architecture": "ViT-L-14-336-quickgelu"})
    exact, cubic = BackboneVariant(plain_gelu=True), BackboneVariant(pos_interp="bicubic")
    both = BackboneVariant(plain_gelu=True, pos_interp="bicubic_no_antialias")
    made = [quick.variant(each, Protocol()) for each in (BackboneVariant(), exact, cubic, both)]
    assert made[0] == quick
    assert len({cell(backbone=each).id for each in made}) == len({training(backbone=each).id for each in made}) == 4
    assert [each.weights for each in made] == [quick] * 4
    assert [each.title for each in made] == [
        "b",
        "b with exact GELU",
        "b with antialiased bicubic positions",
        "b with exact GELU and bicubic positions",
    ]
    mini = BACKBONE.model_copy(update={"architecture": "mini"})
    assert mini.variant(exact, Protocol()) == mini, "it has the exact GELU"
    assert quick.variant(cubic, Protocol(pos_interp="bicubic")) == quick, "the protocol says so"


def test_ids_of_results_that_were_kept_stay_as_they_are() -> None:
    """Those of cells, and those of trainings, of which the checkpoints ship along."""
    trainings = set()
    for path in REFERENCE_RECORDS:
        known = json.loads(path.read_text(encoding="utf-8"))
        assert Cell.model_validate(known["cell"]).id == path.stem
        if known["training"]:
            trainings.add(known["training"]["checkpoint"])
    shipped = [json.loads(path.read_text(encoding="utf-8"))["training"] for path in SHIPPED.glob("*.json")]
    assert {TrainingId.model_validate(each).id for each in shipped} <= trainings


def test_a_default_that_was_changed_is_found() -> None:
    assert misnamed(cell(), cell(options={"depth": 9, "later": 1})) == []
    assert misnamed(cell(), cell(options={"depth": 12})) == ["depth 9 (now 12)"]
    quirk = cell(protocol=Protocol(mask_gt0=True))
    assert misnamed(quirk, cell()) == ["protocol.mask_gt0 true (now false)"]
    other = cell(backbone=BACKBONE.model_copy(update={"name": "another file"}))
    assert misnamed(cell(), other) == []
