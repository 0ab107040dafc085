"""Methods that run the same weights as other variants: their cells, trainings and tasks, and what they are built on."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from support.running import loading_of
from torch import Tensor

from benchmark.api.datasets import select_cards
from benchmark.clip.architectures import TINY
from benchmark.clip.backbone import Backbone
from benchmark.clip.spec import BackboneVariant, VisionSpec
from benchmark.common.settings import Settings
from benchmark.contract import Features, Learner, Prediction
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import SampleSet
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId
from benchmark.records.checkpoints import CheckpointError, read_checkpoint, write_checkpoint
from benchmark.running.planning import Auxiliaries, Plan, Setting, plan
from benchmark.running.tasks import make_tasks
from benchmark.training.published import import_checkpoint
from benchmark.training.runner import build_method
from methods.clip import Clip, ClipOptions

QUICK = BackboneId(name="q", architecture="ViT-B-32-quickgelu", sha256="c" * 64, dtype="float32", synthetic=False)


@dataclass(frozen=True)
class ExactOptions:
    """Options of the method."""

    plain_gelu: bool = True
    epochs: int = 1
    batch_size: int = 4


class Exact(Learner):
    """A method whose published code runs CLIP with the exact GELU and bicubic positions."""

    name, title, paper = "exact", "Exact", "a test"
    Options = ExactOptions

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.learned = torch.nn.Linear(1, 1)

    @classmethod
    def backbone_variant(cls, options: Any) -> BackboneVariant:
        return BackboneVariant(plain_gelu=options.plain_gelu, pos_interp="bicubic_no_antialias")

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {}, {"weight": state["weight"], "bias": state["bias"]}

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size)

    def predict(self, features: Features, class_names: Any) -> Prediction:
        raise NotImplementedError


@pytest.fixture
def data(parts: Path) -> tuple[SampleSet, SampleSet]:
    """What is trained on, and a target."""
    read = read_folder(PlainFolder(directory=parts, class_name="metal nut"))
    train, test = (replace(read, card=read.card.model_copy(update={"name": n, "title": n})) for n in ("mvtec", "btad"))
    return train, test


def planned(data: tuple[SampleSet, SampleSet], options: ExactOptions = ExactOptions(), **more: Any) -> Plan:
    train, test = data
    auxiliaries = Auxiliaries({"mvtec": train}, allow_overlap=True, **more)
    return plan([(Clip, ClipOptions()), (Exact, options)], [test], Setting(QUICK, Protocol(), auxiliaries), seeds=[0])


def test_cells_and_trainings_hold_the_variant_and_their_tasks_share_the_images(
    data: tuple[SampleSet, SampleSet], tmp_path: Path
) -> None:
    clip, exact = planned(data).jobs
    _, quick = planned(data, ExactOptions(plain_gelu=False)).jobs
    assert clip.cell.backbone == QUICK
    assert exact.training is not None
    assert quick.training is not None
    assert (
        exact.cell.backbone
        == exact.training.id.backbone
        == QUICK.model_copy(update={"plain_gelu": True, "pos_interp": "bicubic_no_antialias"})
    )
    assert quick.cell.backbone == quick.training.id.backbone
    assert not quick.cell.backbone.plain_gelu
    trainings = [exact.training, quick.training]
    tasks = make_tasks([clip, exact, quick], trainings, Settings(tmp_path), {QUICK: loading_of("tiny:random")})
    assert [(task.kind, len(task.ids)) for task in tasks] == [("encode", 2), ("train", 1), ("train", 1), ("score", 3)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: {"plain_gelu": True}, "backbone_variant returns a dict, not a BackboneVariant"),
        (lambda: sys.exit(3), "backbone_variant: SystemExit: 3"),
        ([].pop, "backbone_variant: IndexError: pop from empty list"),
        (lambda: BackboneVariant(pos_interp="nearest"), "BackboneVariant: pos_interp='nearest' is none of bilinear, "),  # type: ignore[arg-type]
        (lambda: BackboneVariant(plain_gelu=1), "BackboneVariant: plain_gelu=1 is neither True nor False"),  # type: ignore[arg-type]
    ],
)
def test_a_method_without_a_valid_variant_is_told_and_the_others_are_planned(
    data: tuple[SampleSet, SampleSet], monkeypatch: pytest.MonkeyPatch, given: Callable[[], Any], said: str
) -> None:
    monkeypatch.setattr(Exact, "backbone_variant", lambda options: given())
    found = planned(data)
    assert [job.method for job in found.jobs] == [Clip]
    [problem] = found.problems
    assert problem.startswith(f"Exact: {said}")


def test_a_method_is_built_on_its_variant() -> None:
    model = open_clip.CLIP(**TINY, quick_gelu=True)
    backbone = Backbone(model, name="", architecture="tiny", sha256="0" * 64, synthetic=True)
    method = build_method(Exact, backbone, ExactOptions(), seed=0, checkpoint=None)
    assert method.backbone is backbone.variant(Exact.backbone_variant(ExactOptions()))
    assert method.backbone.model.visual.transformer.resblocks[0].mlp.gelu.__class__ is torch.nn.GELU


def test_a_published_checkpoint_belongs_to_the_variant(data: tuple[SampleSet, SampleSet], tmp_path: Path) -> None:
    """Its tensors do not tell the option, so the backbone is what does."""
    torch.save(dict(torch.nn.Linear(1, 1).state_dict()), tmp_path / "c.pth")
    path, _ = import_checkpoint(
        [tmp_path / "c.pth"],
        Exact,
        auxiliaries=select_cards(["mvtec"]),
        backbone=QUICK,
        protocol=Protocol(),
        results=tmp_path,
    )
    assert read_checkpoint(path).training.backbone.title == "q with exact GELU and bicubic positions"
    _, job = planned(data, given=[path]).jobs
    assert job.training is not None
    assert job.training.given == path
    assert not [line for line in job.warnings if "the checkpoint was trained with" in line]
    with pytest.raises(CheckpointError, match=r"made with q with exact GELU.*options Exact runs q with bicub"):
        planned(data, ExactOptions(plain_gelu=False), given=[path])


def test_how_positions_were_resized_in_a_training_is_said_where_it_differs(
    data: tuple[SampleSet, SampleSet], tmp_path: Path
) -> None:
    _, job = planned(data).jobs
    assert job.training is not None
    known = job.training.id
    for protocol, pos_interp, said in [
        (Protocol(), known.backbone.pos_interp, ""),
        (Protocol(pos_interp="bicubic_no_antialias"), None, ""),
        (Protocol(pos_interp="bicubic"), None, "protocol.pos_interp=bicubic"),
    ]:
        backbone = known.backbone.model_copy(update={"pos_interp": pos_interp})
        other = known.model_copy(update={"protocol": protocol, "backbone": backbone})
        write_checkpoint(tmp_path / "c.json", {}, training=other, origin="trained", source="a test")
        _, job = planned(data, given=[tmp_path / "c.json"]).jobs
        found = [line for line in job.warnings if line.startswith("the checkpoint was trained with")]
        assert found == ([f"the checkpoint was trained with {said}"] if said else [])
