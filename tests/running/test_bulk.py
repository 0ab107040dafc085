"""Datasets of many images: what a run needs does not grow with them, nor is anything done twice.

Sizes are bytes that Python and numpy have allocated, and numbers are calls; no test looks at a time.
"""

import json
import os
import pickle
import signal
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from support.bulk import Stub, bulk_jobs, make_bulk, read_bulk
from support.running import loadings, run_jobs

from benchmark.common.settings import Settings
from benchmark.contract import ClassName, Features, Prediction
from benchmark.data import contents, loading
from benchmark.data.portions import OF_THE_WHOLE
from benchmark.metrics import bootstrap
from benchmark.records.classes import ImagesOnDisk
from benchmark.records.records import Record, per_image_path
from benchmark.running.planning import Job
from benchmark.running.tasks import make_tasks

PER_CLASS = 40
OF_PLAN = 3000
"""Most bytes that a plan keeps of an image and its mask, as docs/performance.md says."""
OF_CLASS = 80_000
"""The same of a run and a further class: how four metrics move under 1000 draws, and its part of the record. Results
per image of a class of `PER_CLASS` images would take 100,000 more."""


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """So that nothing is imported, and no table made, while memory is measured."""
    folder = tmp_path_factory.mktemp("warm")
    make_bulk(folder / "data", 2 * PER_CLASS, classes=2)
    run_jobs(bulk_jobs(read_bulk(folder / "data", classes=2)), Settings(folder / "results", workers=0))


def peak(work: Callable[[], object]) -> int:
    """Return the most bytes that some work has allocated at a time, beside what was there before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def planned(folder: Path, classes: int) -> list[Job]:
    if not folder.exists():
        make_bulk(folder, PER_CLASS * classes, classes=classes)
    return bulk_jobs(read_bulk(folder, classes=classes))


def test_memory_of_a_run_is_that_of_a_class_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "KEPT", 0)  # of small classes draws are kept, 32 MB in all
    peaks = []
    for classes in (3, 6):
        jobs, settings = planned(tmp_path / f"{classes}", classes), Settings(tmp_path / f"r{classes}", workers=0)
        peaks.append(peak(lambda jobs=jobs, settings=settings: run_jobs(jobs, settings)))  # type: ignore[misc]
    assert peaks[1] - peaks[0] <= 3 * OF_CLASS


def test_memory_of_a_plan_grows_by_what_is_known_of_an_image(tmp_path: Path) -> None:
    few, many = (peak(lambda n=n: planned(tmp_path / f"{n}", n)) for n in (10, 40))  # type: ignore[misc]
    assert 0 < many - few <= 30 * PER_CLASS * OF_PLAN


def test_images_of_one_class_are_in_memory_when_a_record_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = ImagesOnDisk.__getitem__

    def noted(self: ImagesOnDisk, name: str) -> object:
        asked.append(name)
        return original(self, name)

    jobs = planned(tmp_path / "data", 3)
    monkeypatch.setattr(ImagesOnDisk, "__getitem__", noted)
    run_jobs(jobs, Settings(tmp_path / "results", workers=0, task_images=1))
    names = [f"class_{index:02d}" for index in range(3)]
    # Once for the intervals and once for the file; that a class was written whole was looked at before, for each alone.
    assert asked[-6:] == [*names, *names]


def test_each_file_is_looked_at_once_and_each_image_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bulk(tmp_path / "data", 2 * PER_CLASS, classes=2)
    hashed: Counter[Path] = Counter()
    read: Counter[Path] = Counter()
    sha256, read_image = contents._sha256, loading.read_image
    monkeypatch.setattr(contents, "_sha256", lambda path: hashed.update([path]) or sha256(path))
    monkeypatch.setattr(loading, "read_image", lambda path, *rest: read.update([path]) or read_image(path, *rest))
    jobs = planned(tmp_path / "data", 2)
    samples = jobs[0].samples.test
    run_jobs(jobs, Settings(tmp_path / "results", workers=0))
    assert hashed == Counter([*(s.path for s in samples), *(s.mask for s in samples if s.mask)])
    assert read == Counter(s.path for s in samples)
    (again,) = run_jobs(planned(tmp_path / "data", 2), Settings(tmp_path / "results", workers=0))
    assert again.status == "done"
    assert read.total() == len(samples)


def test_the_samples_of_a_class_are_found_without_going_through_all(tmp_path: Path) -> None:
    data = planned(tmp_path / "data", 3)[0].samples
    assert data.test is data.test
    assert list(data.test_by_class) == [f"class_{index:02d}" for index in range(3)]
    assert [sample for each in data.test_by_class.values() for sample in each] == list(data.test)


def without_times(record: Record) -> str:
    """Return the content of a record but for when and how fast it was made."""
    content = record.model_dump(mode="json", exclude={"run"})
    for each in content["classes"].values():
        del each["run"]
    return json.dumps(content, sort_keys=True)


def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, results = planned(tmp_path / "data", 4), tmp_path / "killed"
    predict = Stub.predict

    def dies(self: Stub, features: Features, class_names: list[ClassName]) -> Prediction:
        if class_names[0] == "class 02":
            os.kill(os.getpid(), signal.SIGKILL)
        return predict(self, features, class_names)

    def run() -> None:
        torch.set_num_threads(1)  # the threads of this process are not there in a forked one
        Stub.predict = dies  # type: ignore[method-assign]
        run_jobs(jobs, Settings(results, workers=0, task_images=1))

    ended = get_context("fork").Process(target=run)
    ended.start()
    ended.join()
    assert ended.exitcode == -signal.SIGKILL
    assert not list(results.glob("records/*"))
    seen: list[ClassName] = []

    def noted(self: Stub, features: Features, class_names: list[ClassName]) -> Prediction:
        seen.extend(class_names)
        return predict(self, features, class_names)

    monkeypatch.setattr(Stub, "predict", noted)
    (resumed,) = run_jobs(jobs, Settings(results, workers=0, task_images=1))
    assert Counter(seen) == {"class 02": PER_CLASS, "class 03": PER_CLASS}
    (undisturbed,) = run_jobs(jobs, Settings(tmp_path / "undisturbed", workers=0, task_images=1))
    assert without_times(resumed) == without_times(undisturbed)
    files = [per_image_path(folder, resumed.id).read_bytes() for folder in (results, tmp_path / "undisturbed")]
    assert files[0] == files[1]


@pytest.mark.long
def test_a_hundred_thousand_images(tmp_path: Path) -> None:
    """The size of Real-IAD, scored at image level, so that it takes about a minute."""
    count = make_bulk(tmp_path / "data", 100_000, masks=False)
    data = read_bulk(tmp_path / "data", masks=False)
    (record,) = run_jobs(bulk_jobs(data), Settings(tmp_path / "results", workers=0))
    assert sum(each.normal + each.anomalous for each in record.classes.values()) == count == len(data.test)
    assert record.status == "done"
    assert record.mean["image_auroc"] is not None


def test_a_task_does_not_grow_with_images_of_other_classes(tmp_path: Path) -> None:
    make_bulk(tmp_path / "data", 3 * PER_CLASS, classes=3)
    large = read_bulk(tmp_path / "data", classes=3)
    seen = Counter[str]()
    few = [
        s for s in large.samples if s.class_name == "class_00" or seen.update([s.class_name]) or seen[s.class_name] < 3
    ]
    sizes = []
    for data in (replace(large, samples=tuple(few), whole=()), large):
        jobs = bulk_jobs(data)
        tasks = make_tasks(jobs, [], Settings(tmp_path / "results", task_images=1), loadings(jobs))
        assert [task.classes for task in tasks] == [("class_00",), ("class_01",), ("class_02",)]
        assert [task.samples.test for task in tasks] == list(data.test_by_class.values())
        for task in tasks:
            for name in (*OF_THE_WHOLE, "title", "name", "has_masks"):
                assert getattr(task.samples, name) == getattr(data, name), name
        sizes.append(len(pickle.dumps(tasks[0])))
    assert len(large.samples) > len(few) + PER_CLASS
    assert sizes[1] - sizes[0] < 100


def test_an_image_that_is_changed_while_another_class_is_left_ends_the_cell(tmp_path: Path) -> None:
    make_bulk(tmp_path / "data", 2 * PER_CLASS, classes=2)
    data = read_bulk(tmp_path / "data", classes=2)

    class Changes(Stub):
        name = "changes"

        def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
            path = data.test_by_class["class_00"][0].path
            content = path.read_bytes()
            path.unlink()  # it is a link to a picture that other images share
            path.write_bytes(content + b" ")
            return super().predict(features, class_names)

    (record,) = run_jobs(bulk_jobs(data, [Changes]), Settings(tmp_path / "results", workers=0, task_images=1))
    assert "the file was changed while the run was at it" in (record.error or "")
    assert not [path for path in (tmp_path / "results").rglob("*.json") if "class" in path.parent.name]
