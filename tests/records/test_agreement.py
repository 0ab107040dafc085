"""Records: means and ranges over classes, and when two of the same work agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import data_id, disagreements, made_record

from benchmark.records.agreement import differences, range_over_classes
from benchmark.records.records import (
    ClassResult,
    DefectResult,
    Record,
)

KEY = "pixel_aupro_200"
Range = tuple[float, float]


def result(value: float | None, bounds: Range | None, auroc: float | None = 0.5) -> ClassResult:
    metrics = {"pixel_auroc": auroc, KEY: value}
    return ClassResult(normal=1, anomalous=1, metrics=metrics, ranges={} if bounds is None else {KEY: bounds})


def record(**classes: ClassResult) -> Record:
    return made_record(classes, cell={"method": "clip", "dataset": data_id("d", "f")}, title="CLIP", dataset="D")


def test_the_range_of_the_mean_is_the_mean_of_the_ranges() -> None:
    classes = [result(0.5, (0.4, 0.6)), result(0.7, (0.7, 0.9))]
    assert range_over_classes(classes) == {KEY: pytest.approx((0.55, 0.75))}
    assert range_over_classes([*classes, result(0.5, None)]) == {}
    assert range_over_classes([]) == {}


def test_a_class_without_near_ties_counts_in_the_range_of_the_mean_with_its_value() -> None:
    def of_image(value: float, ranges: dict[str, Range]) -> ClassResult:
        return ClassResult(normal=1, anomalous=1, metrics={"image_auroc": value}, ranges=ranges)

    tied, apart = of_image(0.8, {"image_auroc": (0.7, 0.9)}), of_image(0.6, {})
    assert range_over_classes([tied, apart]) == {"image_auroc": pytest.approx((0.65, 0.75))}
    assert range_over_classes([tied, result(0.5, None)]) == {}  # undefined in one class, so in the mean


def test_a_record_of_before_there_were_ranges_is_read_and_one_with_them_comes_back() -> None:
    made = record(a=result(0.5, (0.4, 0.6)))
    assert Record.model_validate_json(made.model_dump_json()) == made
    old = made.model_dump(mode="json")
    del old["classes"]["a"]["ranges"]
    assert Record.model_validate(old).classes["a"].ranges == {}


def test_a_record_of_before_there_were_kinds_of_defect_is_read() -> None:
    kind = DefectResult(images=1, metrics={"pixel_auroc": 0.5}, ranges={KEY: (0.1, 0.2)})
    made = record(a=result(0.5, None).model_copy(update={"defects": {"crack": kind}}))
    assert Record.model_validate_json(made.model_dump_json()) == made
    old = made.model_dump(mode="json")
    del old["classes"]["a"]["defects"]
    assert Record.model_validate(old).classes["a"].defects == {}


@pytest.mark.parametrize(
    ("one", "other", "agrees"),
    [
        (result(0.5, (0.4, 0.6)), result(0.58, (0.55, 0.7)), True),
        (result(0.5, (0.4, 0.6)), result(0.65, (0.62, 0.7)), False),
        (result(None, (0.4, 0.6)), result(0.5, (0.5, 0.5)), True),  # last digits decide whether it is defined
        (result(None, None), result(0.5, (0.4, 0.6)), False),
        (result(None, None), result(None, None), True),
        (result(0.5, None), result(0.58, (0.45, 0.6)), True),  # an old record: its value alone
        (result(0.5, None), result(0.58, None), False),
        (result(0.5, None), result(0.5 + 1e-7, None), True),
        (result(0.9, (0.4, 0.6)), result(0.5, (0.4, 0.6)), False),  # a value that was not made with its range
        (result(0.58, (0.4, 0.6)), result(0.42, (0.4, 0.6)), True),
    ],
)
def test_a_fragile_metric_agrees_within_its_range(one: ClassResult, other: ClassResult, agrees: bool) -> None:
    for first, second in ((one, other), (other, one)):
        assert (disagreements(record(a=first), record(a=second), tolerance=1e-6) == []) is agrees


def test_what_disagrees_is_named_with_both_values() -> None:
    one, other = record(a=result(0.5, None), b=result(0.5, None)), record(a=result(0.5, None, auroc=0.75))
    assert disagreements(one, other, tolerance=1e-6) == [
        "a, pixel_auroc: 0.5 and 0.75",
        "b, pixel_auroc: 0.5 and None",
        "b, pixel_aupro_200: 0.5 and None",
        "mean, pixel_auroc: 0.5 and 0.75",
    ]


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_number_differs_by_the_distance_of_its_values(value: float, other: float) -> None:
    found = differences(record(a=result(None, None, value)), record(a=result(None, None, other)))
    sizes = [each.size for each in found if each.metric == "pixel_auroc"]
    assert sizes == [pytest.approx(abs(value - other))] * 2  # of the class, and of the mean over it
    assert {(each.place, each.size) for each in found if each.metric == KEY} == {("a", 0.0), ("mean", 0.0)}


def test_numbers_of_a_kind_of_defect_are_compared_too() -> None:
    one, other = (
        record(a=result(0.5, None).model_copy(update={"defects": {"crack": DefectResult(images=1, metrics=metrics)}}))
        for metrics in ({"image_auroc": 0.5, "image_ap": 0.5}, {"image_auroc": 0.75, "image_ap": 0.5})
    )
    assert disagreements(one, other, tolerance=1e-6) == ["a, crack, image_auroc: 0.5 and 0.75"]
