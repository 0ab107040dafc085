"""Datasets that are scored in parts: what the parts are, that they add up, and that none is scored twice."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.cli.selection import select_folder
from benchmark.clip.backbone import Backbone
from benchmark.clip.weights import parse_backbone
from benchmark.common.settings import Settings
from benchmark.contract import Features, Prediction, VisionSpec
from benchmark.data.samples import SampleSet
from benchmark.metrics.per_image import ClassImages, read_per_image
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import Record, disagreements, path_of, per_image_path, read_record
from benchmark.registry import source_sha256
from benchmark.running import driver as runner
from benchmark.running.executors import InThisProcess
from benchmark.running.parts import PartError, part_path, parts_folder, read_part, spans
from benchmark.running.planning import Job, Setting, plan
from benchmark.running.tally import Outcome, Tally, merged
from benchmark.running.worker import do
from methods.clip import Clip, ClipAC, ClipOptions


def several_classes(parts: Path) -> SampleSet:
    """The plain folder as three classes: of 5, of 7 images and of one normal image alone."""
    data = select_folder(parts, "metal nut")
    names = ["a" if index % 2 else "b" for index in range(len(data.samples))]
    names[0] = "c"
    card = data.card.model_copy(
        update={"classes": tuple(data.card.classes[0].model_copy(update={"name": n}) for n in "abc")}
    )
    samples = [replace(s, class_name=name) for s, name in zip(data.samples, names, strict=True)]
    return replace(data, card=card, samples=tuple(sorted(samples, key=lambda s: (s.class_name, s.key))))


def jobs_of(data: SampleSet, backbone: Backbone) -> list[Job]:
    setting = Setting(backbone_id(parse_backbone(backbone.name), dtype=backbone.dtype), Protocol())
    return plan([(Clip, ClipOptions()), (ClipAC, ClipOptions())], [data], setting, seeds=[0]).jobs


def go(jobs: Sequence[Job], backbone: Backbone, settings: Settings) -> tuple[list[Record], list[str]]:
    said: list[str] = []
    here = InThisProcess(lambda task: do(task, lambda _: backbone, settings, say=said.append))
    runner.run(jobs, settings, here, say=said.append)
    return [read_record(path_of(settings.results, job.cell.id)) for job in jobs], said


def images_of(record: Record, results: Path) -> dict[str, ClassImages]:
    assert record.images_sha256 is not None
    return read_per_image(per_image_path(results, record.id), record.images_sha256)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the images that go through the vision tower."""
    counts: list[int] = []
    original = Backbone.encode_images

    def counting(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        counts.append(len(images))
        return original(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", counting)
    return counts


@given(count=st.integers(1, 400), at_most=st.integers(1, 90), batch_size=st.integers(1, 40))
def test_parts_cover_the_images_once_and_end_where_batches_end(count: int, at_most: int, batch_size: int) -> None:
    class Data:
        test = (None,) * count

    found = spans(Data(), at_most, batch_size)  # type: ignore[arg-type]
    assert [i for span in found for i in range(span.start, span.stop)] == list(range(count))
    assert all(span.stop % batch_size == 0 for span in found[:-1])
    assert all(span.stop - span.start < at_most + batch_size for span in found)
    assert len(found) == 1 or count > at_most


@pytest.mark.parametrize(("shard_size", "batch_size"), [(1, 1), (2, 2), (4, 2), (5, 3), (12, 8)])
def test_parts_add_up_to_what_one_pass_gives(
    parts: Path, tiny: Backbone, tmp_path: Path, encoded: list[int], shard_size: int, batch_size: int
) -> None:
    data = several_classes(parts)
    (parts / "abnormal/009.png").write_bytes(b"")
    jobs = jobs_of(data, tiny)
    settings = Settings(tmp_path / "whole", batch_size=batch_size, workers=0, on_error="skip")
    whole, _ = go(jobs, tiny, settings)
    encoded.clear()
    pieced, said = go(jobs, tiny, replace(settings, results=tmp_path / "parts", shard_size=shard_size))
    assert sum(encoded) == len(data.test) - 1
    assert sum(len(result.skipped) for result in pieced[0].classes.values()) == 1
    assert sum(line.startswith("done") for line in said) == len(jobs)
    for one, other in zip(whole, pieced, strict=True):
        assert list(one.classes) == list(other.classes)
        numbers: dict[str, dict[str, float]] = {"metrics": {}, "ranges": {}}
        for name, result in one.classes.items():
            assert result.model_copy(update=numbers) == other.classes[name].model_copy(update=numbers)
        assert disagreements(one, other, tolerance=1e-12) == []
        assert one.image_size == other.image_size
        mine, theirs = images_of(one, tmp_path / "whole"), images_of(other, tmp_path / "parts")
        for name, images in mine.items():
            for field, value in vars(images).items():
                if field == "pixels" and value is not None:
                    for key, array in vars(value).items():
                        np.testing.assert_allclose(array, vars(theirs[name].pixels)[key], rtol=1e-6)
                elif field == "texts":
                    assert value.keys() == theirs[name].texts.keys()
                    assert all(np.array_equal(value[key], theirs[name].texts[key]) for key in value)
                else:
                    assert np.array_equal(value, vars(theirs[name])[field]), field
    assert not list((tmp_path / "parts/.parts").iterdir())


@pytest.mark.parametrize(("force", "left"), [(False, 13 - 4), (True, 13)])
def test_a_run_that_was_cut_off_goes_on_after_its_last_part(
    parts: Path,
    tiny: Backbone,
    tmp_path: Path,
    encoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
    force: bool,
    left: int,
) -> None:
    jobs = jobs_of(select_folder(parts, "metal nut"), tiny)
    settings = Settings(tmp_path, batch_size=2, workers=0, shard_size=4)
    counting = Backbone.encode_images

    def cut_off(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        if sum(encoded) >= 6:
            raise KeyboardInterrupt
        return counting(self, images, spec)

    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "encode_images", cut_off)
        with pytest.raises(KeyboardInterrupt):
            go(jobs, tiny, settings)
    assert not path_of(tmp_path, jobs[0].cell.id).exists()
    assert len(list(parts_folder(tmp_path, jobs[0].cell.id).glob("*.npz"))) == 1
    encoded.clear()
    again, _ = go(jobs, tiny, replace(settings, force=force))
    assert sum(encoded) == left
    whole, _ = go(jobs, tiny, Settings(tmp_path / "whole", batch_size=2, workers=0))
    assert [record.mean for record in again] == [pytest.approx(record.mean, abs=1e-12) for record in whole]


def test_classes_come_in_the_order_of_the_dataset_whichever_part_they_are_of() -> None:
    parts = [Outcome(unfinished={"b": Tally()}), Outcome(unfinished={"b": Tally()}), Outcome(unfinished={"a": Tally()})]
    parts[0].finish("c", Tally(), with_masks=False)
    assert list(merged(parts, ["c", "b", "a"], with_masks=False).classes) == ["c", "b", "a"]
    assert list(merged(parts, ["a", "b", "c"], with_masks=False).classes) == ["a", "b", "c"]


def test_a_damaged_part_is_scored_again(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    jobs = jobs_of(select_folder(parts, "metal nut"), tiny)[:1]
    settings = Settings(tmp_path, batch_size=2, workers=0, shard_size=8)
    path = part_path(tmp_path, jobs[0].cell.id, slice(0, 8), source_sha256(Clip))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK\x03\x04 half of a part")
    with pytest.raises(PartError, match=re.escape(str(path))):
        read_part(path)
    (record,), _ = go(jobs, tiny, settings)
    assert record.status == "done"


def test_a_method_that_fails_in_one_part_fails_alone(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    class FailsLate(Clip):
        name, title = "fails_late", "Fails late"
        seen = 0

        def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
            type(self).seen += len(class_names)
            if type(self).seen > 6:
                raise RuntimeError("out of luck")
            return super().predict(features, class_names)

    data = select_folder(parts, "metal nut")
    setting = Setting(backbone_id(parse_backbone(tiny.name), dtype=tiny.dtype), Protocol())
    jobs = plan([(FailsLate, ClipOptions()), (Clip, ClipOptions())], [data], setting, seeds=[0]).jobs
    (failed, done), said = go(jobs, tiny, Settings(tmp_path, batch_size=2, workers=0, shard_size=4))
    assert (failed.status, failed.error) == ("failed", "RuntimeError: out of luck")
    assert done.status == "done"
    assert sum(line.startswith("FAILED") for line in said) == 1


def test_force_scores_parts_anew(parts: Path, tiny: Backbone, tmp_path: Path, encoded: list[int]) -> None:
    jobs = jobs_of(select_folder(parts, "metal nut"), tiny)
    settings = Settings(tmp_path, batch_size=2, workers=0, shard_size=4)
    go(jobs, tiny, settings)
    go(jobs, tiny, replace(settings, force=True))
    assert sum(encoded) == 26
