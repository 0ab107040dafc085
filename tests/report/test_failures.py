"""Which images count as failures: against counts over all pairs of images and scikit-learn's AUROC."""

import json
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from support.study import KIND, LABELS, PARTS, SCANS, Study

from benchmark.metrics.per_image import ClassImages
from benchmark.report.images import gallery, ranked
from benchmark.report.images.ranked import RankedImage, images_per_pair, rank_dataset, select
from benchmark.report.pages.failures import kind_rows
from benchmark.report.report_data import collect_report_data
from benchmark.report.site import make_site

TITLES = ("CLIP", "CLIP-AC", "GenCLIP")


def _images(scores: list[float], labels: list[int]) -> ClassImages:
    return ClassImages(
        keys=tuple(f"{place}.png" for place in range(len(scores))),
        labels=np.array(labels, np.uint8),
        scores=np.array(scores, np.float64),
        maps=np.zeros((len(scores), 1, 1), np.uint8),
        map_range=(0.0, 1.0),
    )


def _counted(scores: list[float], labels: list[int], place: int) -> float:
    """Pair by pair."""
    sides = []
    for score, label in zip(scores, labels, strict=True):
        if label != labels[place]:
            ahead = scores[place] - score if labels[place] else score - scores[place]
            sides.append(1.0 if ahead > 0 else 0.5 if ahead == 0 else 0.0)
    return sum(sides) / len(sides)


def _data(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content.decode().split('id="failures-data">')[1].split("</script>")[0])
    return found


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1)), min_size=2, max_size=12).filter(
        lambda rows: len({label for *_, label in rows}) == 2
    )
)
def test_fractions_and_failures_are_those_counted_pair_by_pair(rows: list[tuple[int, int, int]]) -> None:
    a, b, labels = (list(column) for column in zip(*rows, strict=True))
    found = rank_dataset({"A": {"x": _images(a, labels)}, "B": {"x": _images(b, labels)}}, ["A", "missing", "B"], ["x"])
    assert found.is_whole
    assert found.counts == (labels.count(0), labels.count(1))
    wrong = [0, 0]
    for place, image in enumerate(found.images):
        expected = [_counted(a, labels, place), _counted(b, labels, place)]
        assert image.right[1] is None
        assert [image.right[0], image.right[2]] == pytest.approx(expected, abs=1e-4)
        assert image.is_wrong == (max(expected) < 0.5)
        wrong[labels[place]] += max(expected) < 0.5
    assert found.wrong == tuple(wrong)
    for label in (0, 1):
        mean = np.mean([image.right[0] for image in found.images if image.label == label])
        assert mean == pytest.approx(roc_auc_score(labels, a), abs=1e-4)


def test_a_class_with_one_label_ranks_nothing() -> None:
    found = rank_dataset({"A": {"x": _images([1, 2], [1, 1]), "y": _images([1, 2], [1, 0])}}, ["A"], ["x", "y"])
    assert [image.class_name for image in found.images] == ["y", "y"]
    assert found.counts == (1, 1)
    assert [image.is_wrong for image in found.images] == [True, True]
    assert rank_dataset({}, ["A"], ["x"]).counts == (0, 0)
    assert not RankedImage("k", "x", 1, (None,)).is_wrong


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 6))
def test_what_is_kept_begins_every_list(seed: int, methods: int, few: int) -> None:
    right = np.random.default_rng(seed).integers(0, 9, (40, methods)) / 8
    chosen = select(right, per_list=few, per_pair=few)
    spread = right.max(axis=1) - right.min(axis=1)
    lists: list[np.ndarray[Any, Any]] = [
        spread,
        *(abs(right[:, a] - right[:, b]) for a, b in combinations(range(methods), 2)),
    ]
    for values in lists:
        left = [values[i] for i in range(40) if i not in chosen]
        assert sorted(values)[-few] >= max(left), "nothing that is left out goes before what a list begins with"
    wrong = [i for i in range(40) if right[i].max() < 0.5]
    left = [right[i].mean() for i in wrong if i not in chosen]
    if left:
        assert sum(right[i].mean() <= min(left) for i in wrong if i in chosen) >= few
    assert chosen == select(right, per_list=few, per_pair=few)


def test_a_large_dataset_is_reduced_and_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    labels = [0, 1] * 60
    images = {title: {"x": _images((rng.normal(size=120) + 0.3).tolist(), labels)} for title in "ABC"}
    whole = rank_dataset(images, "ABC", ["x"])
    monkeypatch.setattr(ranked, "KEPT", 30)
    monkeypatch.setattr(ranked, "PER_LIST", 5)
    part = rank_dataset(images, "ABC", ["x"])
    assert (part.counts, part.wrong, part.per_pair) == (whole.counts, whole.wrong, 10)
    assert whole.is_whole
    assert not part.is_whole
    assert set(part.images) < set(whole.images)
    assert len(part.images) <= 5 + 5 + 3 * 10
    worst = sorted((image for image in whole.images if image.is_wrong), key=lambda image: sum(map(float, image.right)))
    assert set(worst[:5]) <= set(part.images)


def test_the_number_per_pair_falls_with_the_number_of_pairs() -> None:
    assert [images_per_pair(methods) for methods in (1, 2, 3, 13, 40)] == [250, 250, 83, 3, 1]


def test_the_page_holds_every_image_with_its_photo_and_kind(site_files: Mapping[str, bytes], study: Study) -> None:
    data = _data(site_files["failures.html"])
    assert tuple(data["methods"]) == TITLES
    assert [each["title"] for each in data["datasets"]] == [PARTS, SCANS]
    assert len(data["images"]) == 4 * len(LABELS)
    wrong = 0
    for place, label, defect, key, photo, right in data["images"]:
        of = data["classes"][place]
        name = of["name"] or "brain"
        records = {r.title: r for r in study.records if r.dataset_title == data["datasets"][of["dataset"]]["title"]}
        read = {title: study.read(records[title]) for title in TITLES}
        expected = []
        for title in TITLES:
            images = (read[title] or {})[name]
            at = images.keys.index(key)
            assert images.labels[at] == label
            expected.append(_counted(images.scores.tolist(), images.labels.tolist(), at))
        assert right == pytest.approx(expected, abs=1e-4)
        wrong += max(expected) < 0.5
        assert defect == (KIND if label else "")
        assert photo in site_files
        page = site_files[of["page"]].decode()
        assert photo.rsplit("/", 1)[1] in page, "the link opens an image that the gallery has"
    words = f"{wrong} of 40 test images of classes with both labels are on the wrong side for all methods"
    assert words in site_files["failures.html"].decode()
    assert sum(sum(each["wrong"]) for each in data["datasets"]) == wrong
    assert b"<script>alert" not in site_files["failures.html"]


def test_the_table_of_kinds_has_the_auroc_of_the_records(study: Study) -> None:
    report = collect_report_data(study.records)
    rows = kind_rows(report, report.datasets[0])
    assert [(row.defect, row.images) for row in rows] == [(KIND, 5)] * 3
    for row, each in zip(rows, report.datasets[0].classes, strict=True):
        assert (row.class_name, row.page) == (each.name, each.page)
        for title, number in zip(TITLES, row.numbers, strict=True):
            record = report.datasets[0].first_seed(title)
            assert record is not None
            value = record.classes[each.name].defects[KIND].metrics["image_auroc"]
            assert number.text == f"{100 * (value or 0):.1f}"
            assert number.record == report.anchor_of(record)
    assert kind_rows(report, report.datasets[1]) == []


def test_no_method_is_the_best_on_a_kind_of_defect(study: Study) -> None:
    """No paired interval compares the methods on a kind, so there is a highest number and no best one."""
    report = collect_report_data(study.records)
    for row in kind_rows(report, report.datasets[0]):
        values = [float(number.sort) for number in row.numbers]
        marks = [number.mark for number in row.numbers]
        assert [mark == "highest" for mark in marks] == [value == max(values) for value in values]
        assert "best" not in " ".join(marks).split()


def test_without_images_there_are_no_photos_and_without_results_no_list(
    study: Study, files_without_images: Mapping[str, bytes]
) -> None:
    no_images = files_without_images["failures.html"].decode()
    data = _data(no_images.encode())
    assert len(data["images"]) == 40
    assert {(image[2], image[4]) for image in data["images"]} == {("", "")}
    assert "The images were not found" in no_images
    bare = make_site(study.records, lambda _: None)
    nothing = bare["failures.html"].decode()
    for path in ("figures.html", "datasets/parts--a.html"):
        assert b"<code>bench run --force</code>" in bare[path]
        assert b"`bench" not in bare[path]
    assert b">1 number</small>" in bare["published.html"], "not 1 numbers"
    assert "bench run --force" in nothing
    assert "or no class has images of both labels" in nothing
    assert "failures-data" not in nothing
    assert 'id="kinds"' in nothing, "the records alone have the kinds of defect"
    scans = [record for record in study.records if record.dataset_title == SCANS]
    assert "No kind of defect is named" in make_site(scans, lambda _: None)["failures.html"].decode()


def test_a_part_says_so(
    study: Study, files_without_images: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "can be listed" not in files_without_images["failures.html"].decode()
    monkeypatch.setattr(ranked, "KEPT", 12)
    monkeypatch.setattr(ranked, "PER_LIST", 2)
    page = make_site(study.records, study.read)["failures.html"].decode()
    kept = len(_data(page.encode())["images"])
    assert 10 < kept < 40
    assert f"{kept} of 40 images can be listed." in page
    assert "the 4 on which they differ most" in page


def test_an_image_that_is_linked_is_in_its_gallery(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "WORST", 0)
    monkeypatch.setattr(gallery, "BEST", 0)  # galleries show what is linked, and nothing else
    site = make_site(study.records, study.read, study.found)
    assert all(image[4] in site for image in _data(site["failures.html"])["images"])
