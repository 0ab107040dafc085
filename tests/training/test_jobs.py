"""Training as part of a run: what is trained and encoded once, resumed, refused, given, and kept in the record."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.faults import file_size_limit, save_malicious
from support.running import run_jobs
from torch import Tensor

from benchmark.api.datasets import select_cards
from benchmark.clip.backbone import Backbone
from benchmark.clip.weights import BackboneError, parse_backbone
from benchmark.common.cache import GB, Cache, Rows
from benchmark.common.settings import Settings
from benchmark.contract import Learner, Method, TrainingBatch, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import MINI_MARKER, SampleSet
from benchmark.protocol import Protocol, auxiliaries_for
from benchmark.records.cells import BackboneId, backbone_id
from benchmark.records.checkpoints import CheckpointError, checkpoint_path, read_checkpoint, write_checkpoint
from benchmark.records.records import ClassResult, Parameters, Record, RecordError, path_of, read_record
from benchmark.registry import source_sha256
from benchmark.running.held_out import results
from benchmark.running.planning import Auxiliaries, Plan, Setting, plan, plan_training
from benchmark.tables.render import summary
from benchmark.tables.tables import make_tables
from benchmark.training.batches import AuxiliaryFeatures
from benchmark.training.published import import_checkpoint
from benchmark.training.runner import build_method, encode_auxiliary, train_method
from methods.anomalyclip import AnomalyClip, AnomalyClipOptions
from methods.clip import Clip, ClipAC, ClipOptions
from methods.coop import CoOp, CoOpOptions
from methods.genclip import GenClip, GenClipOptions

Chosen = list[tuple[type[Method], Any]]
FAST = AnomalyClipOptions(epochs=2, batch_size=4)
EVERY: Chosen = [
    (Clip, ClipOptions()),
    (ClipAC, ClipOptions()),
    (CoOp, CoOpOptions(epochs=2, batch_size=4)),
    (AnomalyClip, FAST),
    (GenClip, GenClipOptions(epochs=2, batch_size=4)),
]


def draw(root: Path, *, seed: int, images: int = 8) -> Path:
    """Write a plain folder of images, half of them anomalous with masks."""
    rng = np.random.default_rng(seed)
    for folder in ("normal", "abnormal", "masks/abnormal"):
        (root / folder).mkdir(parents=True)
    for index in range(images):
        pixels = rng.integers(0, 256, size=(70, 60 + index, 3), dtype=np.uint8)
        if index % 2:
            Image.fromarray(pixels).save(root / f"normal/{index}.png")
            continue
        mask = np.zeros(pixels.shape[:2], dtype=np.uint8)
        mask[20:50, 10:40] = 255
        pixels[mask > 0] //= 4
        Image.fromarray(pixels).save(root / f"abnormal/{index}.png")
        Image.fromarray(mask).save(root / f"masks/abnormal/{index}.png")
    return root


def named(directory: Path, name: str) -> SampleSet:
    """Read a plain folder as if it were the dataset of that name."""
    samples = read_folder(PlainFolder(directory=directory, class_name="metal nut"))
    return replace(samples, card=samples.card.model_copy(update={"name": name, "title": name.upper()}))


@pytest.fixture
def mvtec(tmp_path: Path) -> SampleSet:
    return named(draw(tmp_path / "data/mvtec", seed=1), "mvtec")


@pytest.fixture
def target(tmp_path: Path) -> SampleSet:
    return named(draw(tmp_path / "data/btad", seed=2), "btad")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "results", workers=0, cache=Cache(tmp_path / "cache", GB))


def identity(backbone: Backbone) -> BackboneId:
    known = backbone_id(parse_backbone(backbone.name), dtype=backbone.dtype)
    return known.model_copy(update={"synthetic": backbone.synthetic})


def make(
    methods: Chosen, targets: Sequence[SampleSet], backbone: Backbone, auxiliaries: Auxiliaries, **more: Any
) -> Plan:
    return plan(methods, targets, Setting(identity(backbone), Protocol(), auxiliaries), **{"seeds": [0], **more})


def values_of(record: Record) -> dict[str, ClassResult]:
    """The results of the classes, without when and where they were scored."""
    return {name: result.model_copy(update={"run": None}) for name, result in record.classes.items()}


def go(made: Plan, settings: Settings) -> tuple[list[Record], list[str]]:
    said: list[str] = []
    return run_jobs(made.jobs, settings, say=said.append), said


def test_five_methods_encode_each_test_image_and_each_auxiliary_image_once(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, encoded: list[int]
) -> None:
    made = make(EVERY, [target], tiny, Auxiliaries({"mvtec": mvtec}))
    records, said = go(made, settings)
    assert [record.status for record in records] == ["done"] * 5
    assert sum(encoded) == len(mvtec.test) + len(target.test)
    assert sum(line.startswith("trained") for line in said) == 3
    assert go(made, settings) == (records, [])
    assert sum(encoded) == len(mvtec.test) + len(target.test)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_of_a_run_changes_no_digit_of_what_is_learned(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, tmp_path: Path, batch_size: int
) -> None:
    auxiliaries = Auxiliaries({"mvtec": mvtec})
    other = replace(settings, batch_size=batch_size, results=tmp_path / "b", cache=Cache(tmp_path / "b/cache", GB))
    hashes = set()
    for each in (settings, other):
        (record,), _ = go(make([(GenClip, GenClipOptions(epochs=1, batch_size=4))], [target], tiny, auxiliaries), each)
        assert record.training is not None
        hashes.add(record.training.sha256)
    assert len(hashes) == 1


def test_one_training_serves_all_targets_and_later_runs(
    mvtec: SampleSet, target: SampleSet, tmp_path: Path, tiny: Backbone, settings: Settings
) -> None:
    other = named(draw(tmp_path / "data/mpdd", seed=3), "mpdd")
    auxiliaries = Auxiliaries({"mvtec": mvtec})
    records, said = go(make([(AnomalyClip, FAST)], [target, other], tiny, auxiliaries), settings)
    assert sum(line.startswith("trained") for line in said) == 1
    assert len({record.training.sha256 for record in records if record.training}) == 1
    third = named(draw(tmp_path / "data/dagm", seed=4), "dagm")
    _, said = go(make([(AnomalyClip, FAST)], [third], tiny, auxiliaries), settings)
    assert not any(line.startswith("trained") for line in said)


def test_the_record_tells_how_the_method_was_trained(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    made = make([(Clip, ClipOptions()), (AnomalyClip, FAST)], [target], tiny, Auxiliaries({"mvtec": mvtec}))
    (plain, learned), _ = go(made, settings)
    assert plain.training is None
    assert learned.training is not None
    assert (learned.training.origin, learned.training.source, learned.training.images) == ("trained", "MVTEC", 8)
    assert learned.cell.auxiliary is not None
    assert learned.cell.auxiliary.fingerprint == mvtec.fingerprint
    assert made.jobs[1].training is not None
    tensors = load_file(checkpoint_path(settings.results, made.jobs[1].training.id).with_suffix(".safetensors"))
    frozen = sum(each.numel() for each in tiny.model.parameters())
    assert plain.parameters == Parameters(frozen=frozen, learned=0)
    assert learned.parameters == Parameters(frozen=frozen, learned=sum(each.numel() for each in tensors.values()))
    assert len(learned.training.curve) == 2
    for epoch in learned.training.curve:
        parts = sum(value for name, value in epoch.items() if name != "total")
        assert epoch["total"] == pytest.approx(parts, rel=1e-5)
    shown = summary(make_tables([plain, learned]))
    assert "mvtec (for BTAD)" in shown


def test_what_was_learned_from_generated_images_is_marked_even_where_it_is_given(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "synthetic", False)
    (mvtec.directory.parent / MINI_MARKER).write_text("{}")
    real = replace(target, directory=target.directory.parents[2])
    methods: Chosen = [(Clip, ClipOptions()), (AnomalyClip, FAST)]
    made = make(methods, [real], tiny, Auxiliaries({"mvtec": named(mvtec.directory, "mvtec")}))
    records, _ = go(made, settings)
    assert [record.synthetic for record in records] == [(), ("weights",)]
    assert made.jobs[1].training is not None
    path = checkpoint_path(settings.results, made.jobs[1].training.id)
    (record,), _ = go(make([(AnomalyClip, FAST)], [real], tiny, Auxiliaries(given=[path])), settings)
    assert record.synthetic == ("weights",)


@pytest.mark.parametrize(
    ("method", "options", "trained"),
    [
        (AnomalyClip, replace(FAST, context=6), True),
        (GenClip, GenClipOptions(epochs=2, batch_size=4, cnf=False), False),
    ],
)
def test_a_training_is_shared_over_what_does_not_change_it(
    mvtec: SampleSet,
    target: SampleSet,
    tiny: Backbone,
    settings: Settings,
    *,
    method: type[Method],
    options: Any,
    trained: bool,
) -> None:
    auxiliaries = Auxiliaries({"mvtec": mvtec})
    go(make(EVERY, [target], tiny, auxiliaries), settings)
    (record,), said = go(make([(method, options)], [target], tiny, auxiliaries), settings)
    assert record.status == "done"
    assert any(line.startswith("trained") for line in said) is trained


def test_each_seed_is_a_training(mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings) -> None:
    made = make(EVERY[-2:], [target], tiny, Auxiliaries({"mvtec": mvtec}), seeds=[0, 1])
    records, said = go(made, settings)
    assert sum(line.startswith("trained") for line in said) == 4
    assert len({record.training.sha256 for record in records if record.training}) == 4


def test_masks_are_needed_only_where_a_method_learns_from_them(
    tmp_path: Path, mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    bare = replace(mvtec, card=mvtec.card.model_copy(update={"levels": ("image",)}))
    records, said = go(make(EVERY, [target], tiny, Auxiliaries({"mvtec": bare})), settings)
    assert [record.status for record in records] == ["done", "done", "done", "failed", "failed"]
    assert "AnomalyCLIP needs masks to train, and MVTEC has none" in str(records[3].error)
    assert any("FAILED training AnomalyCLIP" in line for line in said)


# --- the protocol's choice, and what it refuses ---


def test_the_protocol_trains_on_mvtec_and_for_mvtec_on_visa(mvtec: SampleSet, tmp_path: Path, tiny: Backbone) -> None:
    visa = named(draw(tmp_path / "data/visa", seed=5), "visa")
    made = make(EVERY[-1:], [mvtec, visa], tiny, Auxiliaries({"mvtec": mvtec, "visa": visa}))
    chosen = {job.cell.dataset.name: job.cell.auxiliary.name for job in made.jobs if job.cell.auxiliary}
    assert chosen == {"mvtec": "visa", "visa": "mvtec"}
    assert auxiliaries_for("btad") == ("mvtec",)


@pytest.mark.parametrize(
    ("rule", "target", "expected"),
    [
        ("anomalyclip", "visa", "mvtec"),
        ("anomalyclip", "mvtec", "visa"),
        ("visa", "mvtec", "visa"),
        ("visa", "visa", "mvtec"),
        ("visa", "btad", "visa"),
        ("adaclip", "btad", "mvtec+cvc_colondb"),
        ("adaclip", "visa", "mvtec+cvc_colondb"),
        ("adaclip", "mvtec", "visa+cvc_clinicdb"),
        ("adaclip", "cvc_colondb", "visa+cvc_clinicdb"),
    ],
)
def test_named_protocols_say_what_is_trained_on(rule: str, target: str, expected: str) -> None:
    assert "+".join(auxiliaries_for(target, rule)) == expected


def test_a_method_trains_on_two_datasets_at_once(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, tmp_path: Path, encoded: list[int]
) -> None:
    colon = named(draw(tmp_path / "data/colon", seed=3, images=5), "cvc_colondb")
    auxiliaries = Auxiliaries({"mvtec": mvtec, "cvc_colondb": colon}, rule="adaclip")
    methods: Chosen = [(AnomalyClip, FAST), (CoOp, CoOpOptions(epochs=1, batch_size=4))]
    made = make(methods, [target, colon], tiny, auxiliaries)
    assert [job.samples.card.name for job in made.jobs] == ["btad", "btad"]
    assert "visa and cvc_clinicdb, which was not found" in made.problems[0]
    records, _ = go(made, settings)
    for record in records:
        assert record.status == "done"
        assert record.training is not None
        assert record.cell.auxiliary is not None
        assert (record.cell.auxiliary.name, record.training.images) == ("mvtec+cvc_colondb", 8 + 5)
        assert record.training.checkpoint.startswith(f"{record.cell.method}--mvtec+cvc_colondb--s0--")
        assert record.training.source == "MVTEC and CVC_COLONDB"
    assert sum(encoded) == 8 + 5 + 8  # each image once for both methods
    alone = make(methods, [target], tiny, Auxiliaries({"mvtec": mvtec}))
    assert {job.cell.id for job in alone.jobs}.isdisjoint(job.cell.id for job in made.jobs)


def test_a_target_that_is_the_auxiliary_dataset_is_refused_by_name(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone
) -> None:
    made = make(EVERY, [mvtec, target], tiny, Auxiliaries({"mvtec": mvtec}, override=("mvtec",)))
    assert [job.method.name for job in made.jobs if job.samples is mvtec] == ["clip", "clip_ac"]
    assert made.refused == ["CoOp, AnomalyCLIP, GenCLIP on MVTEC: to be trained on that dataset itself"]


def test_a_target_that_shares_an_image_is_refused_by_its_content(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone
) -> None:
    original = next((mvtec.directory / "normal").iterdir())
    copied = target.directory / "normal/renamed.png"
    copied.write_bytes(original.read_bytes())
    again = named(target.directory, "btad")
    made = make(EVERY, [again], tiny, Auxiliaries({"mvtec": mvtec}))
    assert [job.method.name for job in made.jobs] == ["clip", "clip_ac"]
    assert str(original) in made.refused[0]
    assert str(copied) in made.refused[0]


def test_a_target_with_an_image_that_was_stored_anew_is_refused_unless_allowed(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    original = next(path for path in (mvtec.directory / "normal").iterdir())
    with Image.open(original) as image:
        smooth = image.resize((8, 8), Image.Resampling.NEAREST).resize((300, 300), Image.Resampling.BICUBIC)
    smooth.save(original)
    smooth.resize((200, 200)).save(target.directory / "normal/other.jpg", quality=70)
    again, trained_on = named(target.directory, "btad"), named(mvtec.directory, "mvtec")
    auxiliaries = Auxiliaries({"mvtec": trained_on})
    refused = make(EVERY, [again], tiny, auxiliaries)
    assert [job.method.name for job in refused.jobs] == ["clip", "clip_ac"]
    assert "other.jpg" in refused.refused[0]
    assert "--allow-overlap" in refused.refused[0]
    made = make([(CoOp, CoOpOptions(epochs=1))], [again], tiny, replace(auxiliaries, allow_overlap=True))
    (record,), _ = go(made, settings)
    assert f"trained on mvtec, which holds the same image ({original} is" in record.warnings[-1]
    assert "trained on mvtec, which holds the same image" in "".join(make_tables([record])[0].notes)


def test_datasets_that_overlap_by_their_cards_are_refused_without_a_look(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone
) -> None:
    cards = {card.name: card for card in select_cards([])}
    for one, other in (("brainmri", "br35h"), ("br35h", "brainmri")):
        samples = replace(target, card=cards[one])
        auxiliaries = Auxiliaries({other: replace(mvtec, card=cards[other])}, override=(other,))
        made = make([(CoOp, CoOpOptions())], [samples], tiny, auxiliaries)
        assert not made.jobs
        assert f"to be trained on {other}, which by its card holds images of the same source" in made.refused[0]


def test_without_the_auxiliary_dataset_the_plan_says_how_to_name_one(target: SampleSet, tiny: Backbone) -> None:
    made = make(EVERY, [target], tiny, Auxiliaries())
    assert [job.method.name for job in made.jobs] == ["clip", "clip_ac"]
    [problem] = made.problems
    assert problem.startswith("CoOp, AnomalyCLIP, GenCLIP on BTAD: to be trained on mvtec, which was not found")
    assert "--data-path mvtec=DIR" in problem


# --- the loop: kills, bad losses, faults ---


class _Killed(BaseException):
    """Ends a training as Ctrl-C or a kill does."""


def test_a_killed_training_goes_on_from_its_last_epoch_and_learns_the_same(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods: Chosen = [(AnomalyClip, replace(FAST, epochs=4)), (CoOp, CoOpOptions(epochs=4, batch_size=4))]
    made = make(methods, [target], tiny, Auxiliaries({"mvtec": mvtec}))
    cache = Cache(tmp_path / "cache", GB)
    undisturbed, disturbed = (Settings(tmp_path / name, workers=0, cache=cache) for name in ("a", "b"))
    expected, _ = go(made, undisturbed)
    for job in made.jobs:
        steps: list[int] = []
        original = job.method.losses  # type: ignore[attr-defined]

        def dying(self: Any, batch: TrainingBatch, *, original: Any = original, steps: list[int] = steps) -> Any:
            steps.append(1)
            if len(steps) == 6:  # in the third epoch of two steps each
                raise _Killed
            return original(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(job.method, "losses", dying)
            with pytest.raises(_Killed):
                go(Plan([job]), disturbed)
        counted: list[int] = []

        def counting(self: Any, batch: TrainingBatch, *, original: Any = original, seen: list[int] = counted) -> Any:
            seen.append(1)
            return original(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(job.method, "losses", counting)
            _, said = go(Plan([job]), disturbed)
        assert len(counted) == 4  # the last two epochs
        assert job.training is not None
        assert said[0] == f"resumes {job.training.title} at epoch 3 of 4"
    records = [read_record(path_of(disturbed.results, job.cell.id)) for job in made.jobs]
    for ours, theirs in zip(records, expected, strict=True):
        assert values_of(ours) == values_of(theirs)
        assert ours.training is not None
        assert theirs.training is not None
        assert (ours.training.sha256, ours.training.curve) == (theirs.training.sha256, theirs.training.curve)
    assert not list((disturbed.results / "checkpoints").glob("*.partial*"))


def test_a_damaged_partial_state_is_not_trusted(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    (job,) = make([(AnomalyClip, FAST)], [target], tiny, Auxiliaries({"mvtec": mvtec})).jobs
    assert job.training is not None
    partial = checkpoint_path(settings.results, job.training.id).with_suffix(".partial.safetensors")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half a state")
    (record,), _ = go(Plan([job]), settings)
    assert record.training is not None
    assert len(record.training.curve) == 2


@pytest.mark.parametrize(
    ("method", "options", "patches"),
    [
        (CoOp, CoOpOptions(epochs=1, batch_size=4), False),
        (AnomalyClip, replace(FAST, local_loss=False), False),
        (AnomalyClip, FAST, True),
    ],
)
def test_a_training_stores_and_reads_what_its_loss_sees_and_is_watched_by_what_predicts(
    mvtec: SampleSet,
    target: SampleSet,
    tiny: Backbone,
    settings: Settings,
    method: type[Learner],
    options: Any,
    patches: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (job,) = make([(method, options)], [target], tiny, Auxiliaries({"mvtec": mvtec})).jobs
    assert job.training is not None
    read: list[Path] = []
    original = Rows.__init__
    monkeypatch.setattr(Rows, "__init__", lambda self, path, size: read.append(path) or original(self, path, size))
    assert encode_auxiliary(mvtec, [job.training], tiny, settings, say=print) == {}
    stored = {path.stem.partition("-")[0] for path in settings.cache.directory.glob("mvtec-*/*.bin")}
    assert stored == {"image", "image_raw", "masks", *(["patches"] * patches)}
    read.clear()
    train_method(job.training, tiny, settings, say=print)
    masks = ["masks"] * method.needs_masks
    assert {path.stem.partition("-")[0] for path in read} == {"image", "image_raw", *masks, *(["patches"] * patches)}

    def watch(features: AuxiliaryFeatures) -> Callable[[int, Learner], None]:
        return lambda _, learner: told.append(results(learner, features))

    told: list[dict[str, float | None]] = []
    train_method(job.training, tiny, settings, say=print, held_out=(target, watch))
    assert len(told) == options.epochs
    assert told[0]["pixel_auroc"] is not None


def test_a_training_does_not_go_on_with_other_code_than_began_it(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = make([(CoOp, CoOpOptions(epochs=2, batch_size=4))], [target], tiny, Auxiliaries({"mvtec": mvtec})).jobs
    steps: list[int] = []
    original = CoOp.losses

    def losses(self: CoOp, batch: TrainingBatch) -> dict[str, Tensor]:
        steps.append(1)
        if len(steps) == 3:  # in the second epoch of two steps
            raise _Killed
        return original(self, batch)

    monkeypatch.setattr(CoOp, "losses", losses)
    with pytest.raises(_Killed):
        go(Plan([job]), settings)
    monkeypatch.setattr("benchmark.training.resuming.source_sha256", lambda method: "of an edited file")
    go(Plan([job]), settings)
    assert len(steps) == 3 + 4


def test_a_default_that_was_changed_under_the_same_version_is_refused(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    auxiliaries = Auxiliaries({"mvtec": mvtec})
    methods: Chosen = [(CoOp, CoOpOptions(epochs=1)), (Clip, ClipOptions())]
    made = make(methods, [target], tiny, auxiliaries)
    go(made, settings)

    def changed(identity: Any) -> Any:
        return identity.model_copy(update={"options": {**identity.options, "temperature": 0.5}})

    learner, frozen = made.jobs
    assert learner.training is not None
    message = r"temperature (0\.07|null) \(now 0\.5\).*raise its `version`"
    for job in (learner, frozen):
        again = replace(job, cell=changed(job.cell))
        assert again.cell.id == job.cell.id
        with pytest.raises(RecordError, match=message):
            go(Plan([again]), settings)
    path_of(settings.results, learner.cell.id).unlink()
    again = replace(learner, training=replace(learner.training, id=changed(learner.training.id)))
    with pytest.raises(CheckpointError, match=message):
        go(Plan([again]), settings)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_loss_stops_the_cell_with_the_names_of_the_files(
    mvtec: SampleSet,
    target: SampleSet,
    tiny: Backbone,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    *,
    bad: float,
) -> None:
    original = AnomalyClip.losses

    def losses(self: AnomalyClip, batch: TrainingBatch) -> dict[str, Tensor]:
        terms = original(self, batch)
        return {**terms, "focal": terms["focal"] * bad}

    monkeypatch.setattr(AnomalyClip, "losses", losses)
    made = make([(Clip, ClipOptions()), (AnomalyClip, FAST)], [target], tiny, Auxiliaries({"mvtec": mvtec}))
    (plain, failed), _ = go(made, settings)
    assert (plain.status, failed.status) == ("done", "failed")
    assert "in epoch 1 of 2 on the images" in str(failed.error)
    assert f"focal {bad:g}" in str(failed.error)
    assert sum(str(sample.path) in str(failed.error) for sample in mvtec.test) == 4
    assert failed.training is None


class ReadsMoreThanItAsksFor(AnomalyClip):
    name = title = "reads_more"

    def training_vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size)


class AsksForNothing(AnomalyClip):
    name = title = "asks_for_nothing"

    def training_vision(self) -> VisionSpec:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (ReadsMoreThanItAsksFor, "is not among the features: predict may read what vision() asks for, and losses what"),
        (AsksForNothing, "training_vision returns a NoneType, not a VisionSpec"),
    ],
)
def test_a_learner_that_asks_for_too_little_is_told_where_to_ask(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, method: type[Learner], said: str
) -> None:
    (record,), _ = go(make([(method, FAST)], [target], tiny, Auxiliaries({"mvtec": mvtec})), settings)
    assert said in str(record.error)
    assert "Error:" not in str(record.error)


def test_a_broken_auxiliary_image_fails_what_trains_on_it_or_is_left_out(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    broken = mvtec.test[3].path
    broken.write_bytes(broken.read_bytes()[:50])
    made = make(EVERY[-2:], [target], tiny, Auxiliaries({"mvtec": mvtec}))
    records, _ = go(made, settings)
    assert [record.status for record in records] == ["failed", "failed"]
    assert str(broken) in str(records[0].error)
    records, _ = go(made, replace(settings, on_error="skip"))
    assert [record.status for record in records] == ["done", "done"]
    assert records[0].training is not None
    assert records[0].training.images == 7
    assert records[0].training.skipped == (mvtec.test[3].key,)


def test_a_full_disk_while_a_checkpoint_is_written_is_said(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    _, checkpoint = trained(mvtec, target, tiny, settings)  # its features are in the cache from now on
    checkpoint.unlink()
    made = make([(AnomalyClip, FAST)], [target], tiny, Auxiliaries({"mvtec": mvtec}))
    with file_size_limit(10_000):  # enough for a record, too little for the state after an epoch
        _, said = go(made, replace(settings, force=True))
    assert any("File too large" in line for line in said)
    assert go(made, settings)[0][0].status == "done"


# --- checkpoints ---


def trained(mvtec: SampleSet, target: SampleSet, backbone: Backbone, settings: Settings) -> tuple[Plan, Path]:
    made = make([(AnomalyClip, FAST)], [target], backbone, Auxiliaries({"mvtec": mvtec}))
    go(made, settings)
    assert made.jobs[0].training is not None
    return made, checkpoint_path(settings.results, made.jobs[0].training.id)


@pytest.mark.parametrize("which", ["json", "safetensors"])
def test_a_damaged_checkpoint_is_trained_again(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, which: str
) -> None:
    made, path = trained(mvtec, target, tiny, settings)
    before = read_checkpoint(path).sha256
    damaged = path.with_suffix(f".{which}")
    damaged.write_bytes(damaged.read_bytes()[:-20])
    (record,), said = go(made, replace(settings, force=True))
    assert any(line.startswith("trained") for line in said)
    assert record.training is not None
    assert record.training.sha256 == before == read_checkpoint(path).sha256


def test_a_checkpoint_that_is_given_stands_in_for_training(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, tmp_path: Path
) -> None:
    made, path = trained(mvtec, target, tiny, settings)
    expected = read_record(path_of(settings.results, made.jobs[0].cell.id))
    elsewhere = replace(settings, results=tmp_path / "elsewhere")
    given = make([(AnomalyClip, FAST)], [target], tiny, Auxiliaries(given=[path]), seeds=[0, 1])
    (record,), said = go(given, elsewhere)
    assert not any(line.startswith("trained") for line in said)
    assert values_of(record) == values_of(expected)
    assert record.id != expected.id  # what was given cannot be traced as what was trained can
    assert record.cell.checkpoint == read_checkpoint(path).sha256


def test_a_checkpoint_brings_its_own_auxiliary_dataset(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings, tmp_path: Path
) -> None:
    visa = named(mvtec.directory, "visa")
    made = make([(AnomalyClip, FAST)], [target], tiny, Auxiliaries({"visa": visa}, rule="visa"))
    go(made, settings)
    assert made.jobs[0].training is not None
    path = checkpoint_path(settings.results, made.jobs[0].training.id)
    itself = named(draw(tmp_path / "data/itself", seed=5), "visa")
    without = make([(AnomalyClip, FAST), (CoOp, CoOpOptions())], [target, itself], tiny, Auxiliaries(given=[path]))
    [job] = without.jobs  # the rule names mvtec, of which there is neither a checkpoint nor a file
    assert (job.training and job.training.given, job.samples.card.name) == (path, "btad")
    assert without.refused == ["AnomalyCLIP on VISA: its checkpoint was trained on that dataset itself"]
    assert [line.partition(": to be trained on ")[2][:5] for line in without.problems] == ["mvtec"]  # of CoOp
    told = make([(AnomalyClip, FAST)], [target], tiny, Auxiliaries({"mvtec": mvtec}, override=("mvtec",), given=[path]))
    assert [job.training and job.training.given for job in told.jobs] == [None]


def test_of_several_checkpoints_the_rule_chooses(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    paths = []
    for name in ("visa", "mvtec", "btad"):
        auxiliaries = Auxiliaries({name: named(mvtec.directory, name)}, override=(name,))
        training = plan_training(AnomalyClip, FAST, [name], Setting(identity(tiny), Protocol(), auxiliaries), seed=0)
        assert training is not None
        paths.append(checkpoint_path(settings.results, training.id))
        write_checkpoint(paths[-1], {}, training=training.id, origin="trained", source=name)
    names = ("btad", "mvtec", "visa", "mpdd")
    for given, expected in [
        (paths, ["mvtec", "visa", "mvtec", "mvtec"]),
        (paths[::2], ["visa", "visa", "btad", "visa"]),
        (paths[2:], ["btad"] * 4),
    ]:
        auxiliaries = Auxiliaries(given=given)
        assert ["+".join(auxiliaries.names_for(each, AnomalyClip)) for each in names] == expected


def test_a_checkpoint_that_does_not_fit_the_run_says_what_would(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    _, path = trained(mvtec, target, tiny, settings)
    with pytest.raises(CheckpointError, match=r"--set anomalyclip.epochs=2"):
        make([(AnomalyClip, AnomalyClipOptions())], [target], tiny, Auxiliaries(given=[path]))
    other = identity(tiny).model_copy(update={"sha256": "1" * 64, "name": "other"})
    with pytest.raises(CheckpointError, match=r"made with the backbone tiny:random-0, not other"):
        plan([(AnomalyClip, FAST)], [target], Setting(other, Protocol(), Auxiliaries(given=[path])), seeds=[0])
    namesake = identity(tiny).model_copy(update={"sha256": "1" * 64})
    with pytest.raises(
        CheckpointError, match=r"tiny:random-0 of sha256 [0-9a-f]{12}…, not tiny:random-0 of sha256 1{12}…"
    ):
        plan([(AnomalyClip, FAST)], [target], Setting(namesake, Protocol(), Auxiliaries(given=[path])), seeds=[0])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.json", b"<!DOCTYPE html>", "web page.*browser"),
        ("c.json", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("c.json", b"", "empty; download it again"),
        ("c.json", b"{}", "not a readable checkpoint.*delete it to train again"),
        ("folder", None, "a folder; name a .json file in it"),
        ("missing.json", None, "no such file; `bench train` and"),
        ("epoch_15.pth", b"\x80\x02}q\0.", "`bench import-checkpoint .*epoch_15.pth --auxiliary NAME`"),
        ("beside.safetensors", b"\x80\x02}q\0.", "name beside.json, which lies beside it"),
    ],
)
def test_what_is_given_in_place_of_a_checkpoint_is_named(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    (tmp_path / "beside.json").touch()
    (tmp_path / "folder").mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: .*{said}"):
        read_checkpoint(tmp_path / name)


def test_a_checkpoint_of_other_conditions_is_used_and_said(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    _, path = trained(mvtec, target, tiny, settings)
    given = Auxiliaries(given=[path])
    setting = Setting(identity(tiny).model_copy(update={"dtype": "bfloat16"}), Protocol(raw_class_names=True), given)
    (job,) = plan([(AnomalyClip, FAST)], [target], setting, seeds=[0]).jobs
    assert job.warnings == ("the checkpoint was trained with dtype=float32, protocol.raw_class_names=False",)
    same = Protocol(evaluation_size=64)  # nothing is evaluated in a training
    (job,) = plan([(AnomalyClip, FAST)], [target], Setting(identity(tiny), same, given), seeds=[0]).jobs
    assert job.warnings == ()


def official(path: Path, *, width: int, depth: int = 9) -> dict[str, Tensor]:
    """Write a checkpoint as AnomalyCLIP's code does: `prompt_learner` with token buffers and unused projections."""
    torch.manual_seed(0)
    state = {"ctx_pos": torch.randn(1, 1, 12, width), "ctx_neg": torch.randn(1, 1, 12, width)}
    for index in range(depth - 1):
        state[f"compound_prompts_text.{index}"] = torch.randn(4, width)
        state[f"compound_prompt_projections.{index}.weight"] = torch.randn(896, width)
        state[f"compound_prompt_projections.{index}.bias"] = torch.randn(896)
    for kind in ("pos", "neg"):
        state[f"token_prefix_{kind}"] = torch.randn(1, 1, 1, width)
        state[f"token_suffix_{kind}"] = torch.randn(1, 1, 64, width)
        state[f"tokenized_prompts_{kind}"] = torch.zeros(1, 77, dtype=torch.long)
    torch.save({"prompt_learner": state}, path)
    return state


def test_an_official_checkpoint_is_imported_and_used(
    target: SampleSet, tiny: Backbone, settings: Settings, tmp_path: Path
) -> None:
    state = official(tmp_path / "epoch_15.pth", width=tiny.text_width)
    assert len(state) == 32
    [card] = select_cards(["visa"])
    path, options = import_checkpoint(
        [tmp_path / "epoch_15.pth"],
        AnomalyClip,
        auxiliaries=[card],
        backbone=identity(tiny),
        protocol=Protocol(),
        results=settings.results,
    )
    assert options == {}  # the published layout is the default
    assert read_checkpoint(path).origin == "imported"
    tensors = load_file(path.with_suffix(".safetensors"))
    assert torch.equal(tensors["normal"], state["ctx_pos"][0, 0])
    assert torch.equal(tensors["abnormal"], state["ctx_neg"][0, 0])
    assert torch.equal(tensors["deep.7"], state["compound_prompts_text.7"])
    given = Auxiliaries(given=[path], override=("visa",))
    with pytest.raises(CheckpointError, match="deep_depth=9"):
        make([(AnomalyClip, AnomalyClipOptions(deep_depth=2))], [target], tiny, given)
    (record,), _ = go(make([(AnomalyClip, AnomalyClipOptions())], [target], tiny, given), settings)
    assert "does not fit AnomalyCLIP" in str(record.error)  # the tiny text tower has 2 blocks, not 9


def test_an_imported_checkpoint_predicts_with_the_published_prompts(
    target: SampleSet, tiny: Backbone, settings: Settings, tmp_path: Path
) -> None:
    state = official(tmp_path / "c.pth", width=tiny.text_width, depth=2)
    options = AnomalyClipOptions(deep_depth=2)
    importing(tmp_path / "c.pth", AnomalyClip, tiny, settings.results)
    [path] = (settings.results / "checkpoints").glob("*.json")
    made = make([(AnomalyClip, options)], [target], tiny, Auxiliaries(given=[path], override=("visa",)))
    (record,), _ = go(made, settings)
    assert record.training is not None
    assert (record.training.origin, record.training.source, record.training.curve) == ("imported", "c.pth", ())
    method = build_method(AnomalyClip, tiny, options, seed=0, checkpoint=path)
    assert isinstance(method, AnomalyClip)
    prompts = [[state["ctx_pos"][0, 0], "object."], [state["ctx_neg"][0, 0], "damaged object."]]
    expected = tiny.encode_prompts(prompts, deep={2: state["compound_prompts_text.0"]})
    torch.testing.assert_close(method.text(["object"])[0], torch.nn.functional.normalize(expected, dim=-1))


@pytest.mark.parametrize("how", ["ctx", "module.prompt_learner.", "model.prompt_learner."])
def test_prefixes_of_published_checkpoints_are_taken_off(tmp_path: Path, tiny: Backbone, how: str) -> None:
    state = official(tmp_path / "plain.pth", width=tiny.text_width, depth=3)
    learner = {key: value for key, value in state.items() if key.startswith(("ctx_", "compound"))}
    if how == "ctx":
        torch.save({"epoch": 15, "model_state_dict": learner, "optimizer": {"a": torch.zeros(1)}}, tmp_path / "c.pth")
    else:
        torch.save({"state_dict": {f"{how}{key}": value for key, value in learner.items()}}, tmp_path / "c.pth")
    imported = []
    for name in ("plain", "c"):
        importing(tmp_path / f"{name}.pth", AnomalyClip, tiny, tmp_path / name)
        [path] = (tmp_path / name / "checkpoints").glob("*.json")
        imported.append(load_file(path.with_suffix(".safetensors")))
    assert imported[0].keys() == imported[1].keys()
    assert all(torch.equal(imported[0][key], imported[1][key]) for key in imported[0])


def test_what_was_imported_is_not_imported_again(tmp_path: Path, tiny: Backbone) -> None:
    official(tmp_path / "c.pth", width=tiny.text_width, depth=3)
    importing(tmp_path / "c.pth", AnomalyClip, tiny, tmp_path)
    [path] = (tmp_path / "checkpoints").glob("*.json")
    with pytest.raises(CheckpointError, match=r"json: imported already; use it by `bench run --checkpoint"):
        importing(path, AnomalyClip, tiny, tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config.json: not a readable checkpoint"):
        importing(tmp_path / "config.json", AnomalyClip, tiny, tmp_path)
    with pytest.raises(BackboneError, match=r"missing.pth: no such file"):
        importing(tmp_path / "missing.pth", AnomalyClip, tiny, tmp_path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_importing_unpickles_nothing(tmp_path: Path, tiny: Backbone, *, zipped: bool) -> None:
    file, witness = tmp_path / "evil.pth", tmp_path / "witness"
    save_malicious(file, "prompt_learner", witness, zipped=zipped)
    with pytest.raises(BackboneError, match="without unpickling"):
        importing(file, AnomalyClip, tiny, tmp_path)
    assert not witness.exists()


def importing(file: Path, method: type[Method], backbone: Backbone, results: Path) -> None:
    [card] = select_cards(["visa"])
    import_checkpoint(
        [file], method, auxiliaries=[card], backbone=identity(backbone), protocol=Protocol(), results=results
    )


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Clip, "clip learns nothing"),
        (GenClip, "genclip does not say how"),
        (AnomalyClip, r"no checkpoint of AnomalyCLIP: it has no entry 'ctx_pos', but state_dict\.other"),
    ],
)
def test_what_cannot_be_imported_is_said(tmp_path: Path, tiny: Backbone, method: type[Method], message: str) -> None:
    torch.save({"state_dict": {"other": torch.zeros(2)}}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=message):
        importing(tmp_path / "c.pth", method, tiny, tmp_path)


def test_a_checkpoint_says_in_json_what_it_was_made_from(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    _, path = trained(mvtec, target, tiny, settings)
    known = json.loads(path.read_text(encoding="utf-8"))
    assert known["training"]["method"] == "anomalyclip"
    assert known["training"]["options"]["context"] == 12
    assert known["training"]["auxiliary"]["fingerprint"] == mvtec.fingerprint
    assert known["training"]["backbone"]["sha256"] == tiny.sha256
    assert path.stem == path.with_suffix(".safetensors").stem
    assert known["made"]["source_sha256"] == source_sha256(AnomalyClip)
    assert known["made"]["device"] == "cpu"
    assert known["made"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert len(known["made"]["code_sha256"]) == 64


def test_seeds_are_named_where_there_are_several(
    mvtec: SampleSet, target: SampleSet, tiny: Backbone, settings: Settings
) -> None:
    methods: Chosen = [(Clip, ClipOptions()), (CoOp, CoOpOptions(epochs=1))]
    found = Auxiliaries({"mvtec": mvtec})
    (_, alone) = make(methods, [target], tiny, found, seeds=[3]).jobs
    assert alone.name == "CoOp (epochs=1) on BTAD"
    made = make(methods, [target], tiny, found, seeds=[3, 4])
    _, said = go(made, settings)
    assert sorted(line.partition(":")[0] for line in said) == [
        "done   CLIP on BTAD",
        "done   CoOp (epochs=1) on BTAD, seed 3",
        "done   CoOp (epochs=1) on BTAD, seed 4",
        "trained CoOp (epochs=1) on mvtec, seed 3",
        "trained CoOp (epochs=1) on mvtec, seed 4",
    ]
