"""Which checkpoint is taken where none was trained for the purpose."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.clip.weights import MINI_BACKBONE, parse_backbone
from benchmark.contract import Learner, training_options
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, DataId, TrainingId, backbone_id
from benchmark.records.checkpoints import CheckpointError, checkpoint_path, read_checkpoint, write_checkpoint
from benchmark.registry import all_methods
from benchmark.training.chosen import SHIPPED, choose_checkpoint
from methods.anomalyclip import AnomalyClip, AnomalyClipOptions
from methods.genclip import GenClip, GenClipOptions

MINI = BackboneId(
    name=MINI_BACKBONE,
    architecture="mini",
    sha256=read_checkpoint(SHIPPED / "anomalyclip.json").training.backbone.sha256,
    dtype="float32",
    synthetic=True,
)


def keep(results: Path, *, auxiliary: str = "mvtec", seed: int = 0, **different: Any) -> Path:
    """Put a checkpoint of AnomalyCLIP, with the tensors of the one that ships along, among the results."""
    known = TrainingId(
        method="anomalyclip",
        method_version=AnomalyClip.version,
        options=training_options(AnomalyClipOptions()),
        auxiliary=DataId(name=auxiliary, card_version=1, layout="original", fingerprint="f"),
        seed=seed,
        backbone=MINI,
        protocol=Protocol(),
    ).model_copy(update=different)
    path = checkpoint_path(results, known)
    write_checkpoint(path, {"x": torch.zeros(1)}, training=known, origin="trained", source="a test")
    return path


class Unshipped(AnomalyClip):
    """A method of which no checkpoint ships along."""

    name = "unshipped"


def choose(results: Path, given: Path | None = None, method: type[Learner] = AnomalyClip) -> Path:
    return choose_checkpoint(method, AnomalyClipOptions(), MINI, given=given, results=results)[0]


def test_every_method_that_learns_ships_a_checkpoint_that_fits_the_default_backbone(tmp_path: Path) -> None:
    """If this fails, a method, its options or the miniature changed: train anew, as clip_mini.md says."""
    identity = backbone_id(parse_backbone(MINI_BACKBONE), dtype="float32")
    ours = [method for method in all_methods().values() if method.__module__.startswith("methods.")]
    learners = [method for method in ours if issubclass(method, Learner)]
    assert {method.name for method in learners} == {path.stem for path in SHIPPED.glob("*.json")}
    for method in learners:
        path, known = choose_checkpoint(method, method.Options(), identity, given=None, results=tmp_path)
        assert path == SHIPPED / f"{method.name}.json"
        assert known.synthetic
        assert (known.training.auxiliary.name, known.training.seed) == ("mvtec", 0)


def test_a_checkpoint_of_the_results_goes_first_that_of_the_protocol_before_others(tmp_path: Path) -> None:
    assert choose(tmp_path) == SHIPPED / "anomalyclip.json"
    btad = keep(tmp_path, auxiliary="btad")
    assert choose(tmp_path) == btad
    tenth = keep(tmp_path, seed=10)
    assert choose(tmp_path) == tenth
    second = keep(tmp_path, seed=2)
    assert choose(tmp_path) == second
    assert choose(tmp_path, given=btad) == btad
    second.with_suffix(".safetensors").write_bytes(b"")  # one that is broken is passed over
    assert choose(tmp_path) == tenth


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"backbone": MINI.model_copy(update={"sha256": "0" * 64, "name": "mini=x"})}, "the backbone mini=x"),
        ({"options": {"context": 3}}, "--set {name}.context=3"),
        ({"method_version": 0}, "version 0"),
    ],
)
def test_what_does_not_fit_is_passed_over_and_named_where_nothing_does(
    tmp_path: Path, different: dict[str, Any], said: str
) -> None:
    keep(tmp_path, **different)
    assert choose(tmp_path) == SHIPPED / "anomalyclip.json"
    path = keep(tmp_path, method=Unshipped.name, **different)
    with pytest.raises(CheckpointError) as refused:
        choose(tmp_path, method=Unshipped)
    assert f"does not fit: {path}" in str(refused.value)
    assert said.format(name=Unshipped.name) in str(refused.value)


def test_the_shipped_checkpoint_fits_its_options_and_backbone_only(tmp_path: Path) -> None:
    ours = GenClipOptions(branch="query", cnf=False)  # which change nothing that is learned
    assert choose_checkpoint(GenClip, ours, MINI, given=None, results=tmp_path)[0] == SHIPPED / "genclip.json"
    for options, identity in ((AnomalyClipOptions(epochs=2), MINI), (AnomalyClipOptions(), _other(MINI))):
        with pytest.raises(CheckpointError) as refused:
            choose_checkpoint(AnomalyClip, options, identity, given=None, results=tmp_path)
        said = str(refused.value)
        for way in ("bench train --methods anomalyclip", "bench import-checkpoint", "--checkpoint FILE.json"):
            assert way in said


def _other(backbone: BackboneId) -> BackboneId:
    return backbone.model_copy(update={"sha256": "1" * 64, "name": "other"})


@pytest.mark.parametrize(
    ("options", "backbone", "method", "said"),
    [
        (AnomalyClipOptions(), MINI, "coop", "a checkpoint of anomalyclip, not of coop"),
        (AnomalyClipOptions(), _other(MINI), "anomalyclip", "not other"),
        (AnomalyClipOptions(epochs=2), MINI, "anomalyclip", "--set anomalyclip.epochs=15"),
    ],
)
def test_a_checkpoint_that_is_given_and_does_not_fit_is_refused(
    tmp_path: Path, options: AnomalyClipOptions, backbone: BackboneId, method: str, said: str
) -> None:
    path, kind = keep(tmp_path), all_methods()[method]
    assert issubclass(kind, Learner)
    with pytest.raises(CheckpointError, match=said):
        choose_checkpoint(kind, options, backbone, given=path, results=tmp_path)


def test_the_advice_where_there_is_none_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    theirs = MINI.model_copy(update={"name": "ViT-B-16=epoch_latest.pt", "sha256": "1" * 64})
    for method, imported in ((AnomalyClip, True), (GenClip, False)):  # GenCLIP has no published checkpoints
        with pytest.raises(CheckpointError) as error:
            choose_checkpoint(method, method.Options(), theirs, given=None, results=Path("results/local"))
        said = str(error.value)
        assert f"`bench train --methods {method.name} --backbone ViT-B-16=FILE --data DIR`" in said
        order = f"`bench import-checkpoint FILE… --method {method.name} --auxiliary NAME --backbone ViT-B-16=FILE`"
        assert (order in said) == imported == ("import-checkpoint" in said)
    with pytest.raises(CheckpointError, match=r"--backbone mini:v3 --results elsewhere"):
        renamed = theirs.model_copy(update={"name": "mini:v3"})
        choose_checkpoint(GenClip, GenClip.Options(), renamed, given=None, results=Path("elsewhere"))
