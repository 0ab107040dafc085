"""Tables of costs from hand-made records: what is a mean of what, what is never mixed, and what is unknown."""

import csv
import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import made_run

from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.placement import Placement
from benchmark.records.provenance import Provenance
from benchmark.records.records import (
    ClassResult,
    Parameters,
    Record,
    Run,
    TrainingReport,
    combined,
    write_record,
)
from benchmark.tables.cost import CostTable, cost_files, cost_tables, costs, render, training_costs
from benchmark.tables.outputs import make_outputs

CPU, GPU = "Some CPU, 2 threads", "Some GPU"
Classes = Sequence[tuple[int, Run | None]]


def run(
    seconds: Sequence[float],
    *,
    device: str = "cpu",
    batch_size: int = 8,
    memory: int | None = None,
    processes: int | None = None,
) -> Run:
    """A run of so many seconds in the vision tower, in the method and in the metrics."""
    named = dict(zip(("vision", "method", "metrics"), seconds, strict=True))
    return made_run(
        seconds={"total": 99.0, "images": 9.0, **named},
        device=device,
        processor=CPU,
        batch_size=batch_size,
        peak_memory=memory,
        processes=processes,
    )


def record(title: str, classes: Classes, *, dataset: str = "Parts", seed: int = 0, **changes: Any) -> Record:
    backbone = BackboneId(name="b:openai", architecture="b", sha256="a" * 64, dtype="float32", synthetic=False)
    cell = Cell(
        method=title.lower(),
        method_version=1,
        options={},
        dataset=DataId(name=dataset.lower(), card_version=1, layout="original", fingerprint=dataset),
        seed=seed,
        backbone=backbone,
        protocol=Protocol(),
    ).model_copy(update=changes.pop("cell", {}))
    results = {
        f"class {place}": ClassResult(normal=images - 1, anomalous=1, metrics={"image_auroc": 0.5}, run=how)
        for place, (images, how) in enumerate(classes)
    }
    fields: dict[str, Any] = {
        "title": title,
        "dataset_title": dataset,
        "domain": "industrial",
        "cell": cell,
        "image_size": 518,
        "parameters": Parameters(frozen=427_944_193, learned=0),
        "status": "done",
        "classes": results,
        "mean": {"image_auroc": 0.5},
        "run": combined([how or made_run() for _, how in classes]),
    } | changes
    return Record(id=fields["cell"].id, **fields)


def learned(title: str, sha256: str, seconds: float | None, source: str, *, device: str = "cpu", **more: Any) -> Record:
    """A record of a method that was trained."""
    where = Provenance(created="", device=device, machine="", python="", packages={}, git_commit=None, processor=CPU)
    training = TrainingReport(
        checkpoint=sha256,
        sha256=sha256,
        synthetic=False,
        origin="trained",
        source=source,
        images=24,
        skipped=(),
        curve=({"total": 1.0},) * 5,
        seconds=seconds,
        made=where,
    )
    auxiliary = DataId(name=source.lower(), card_version=1, layout="original", fingerprint=source)
    update = {"auxiliary": auxiliary, **more.pop("cell", {})}
    return record(title, [(10, run((1, 1, 1)))], training=training, cell=update, **more)


def first(records: Sequence[Record]) -> CostTable:
    return cost_tables(records)[0]


def rows(table: CostTable) -> list[dict[str, str]]:
    return [dict(zip(table.header, (entry.text for entry in row), strict=True)) for row in table.rows]


def test_a_time_is_the_seconds_of_all_classes_datasets_and_seeds_by_their_images() -> None:
    memory = 1_500_000_000
    made = [
        record("CLIP", [(10, run((1.0, 0.5, 0.2))), (30, run((3.0, 0.1, 0.6), memory=memory))]),
        record("CLIP", [(60, run((5.0, 0.4, 1.2), memory=7))], dataset="Scans"),
    ]
    (row,) = rows(first(made))
    assert row == {
        "": "CLIP",
        "frozen, M": "427.9",
        "learned, M": "0",
        "vision, ms": "90.0",
        "method, ms": "10.0",
        "vision + method, ms": "100.0",
        "scoring, ms": "20.0",
        "memory, GB": "1.50",
    }
    (values,) = csv.DictReader(io.StringIO(first(made).csv))
    assert (values["images"], values["frozen_parameters"], values["vision_ms"]) == ("100", "427944193", "90.000")
    assert f"In all rows: backbone b:openai, float32; input 518 px; device {CPU}; batch size 8." in first(made).notes


def test_a_memory_is_not_nothing() -> None:
    """The rows of a memory depend on what it was made of, so the most of its trainings is shown."""
    frozen = 427_944_193
    made = [
        record("CLIP", [(10, run((1, 1, 1)))]),
        *(
            record(
                "Memory",
                [(10, run((1, 1, 1)))],
                dataset=name,
                parameters=Parameters(frozen=frozen, learned=0, fitted=n),
            )
            for name, n in (("Parts", 4_345_600), ("Scans", 4_000_000))
        ),
    ]
    table = first(made)
    assert [(row["learned, M"], row["fitted, M"]) for row in rows(table)] == [("0", "0"), ("0", "4.346")]
    assert any(note.startswith("Fitted are the numbers, in millions, that a method keeps") for note in table.notes)
    assert [row["fitted_numbers"] for row in csv.DictReader(io.StringIO(table.csv))] == ["0", "4345600"]
    without = first(made[:1])
    assert "fitted, M" not in without.header
    assert not any("Fitted" in note for note in without.notes)
    assert "fitted_numbers" not in without.csv


PLACES = st.tuples(st.sampled_from(["cpu", GPU]), st.sampled_from([1, 8]))
CLASSES = st.lists(st.tuples(st.integers(1, 9), PLACES, st.integers(0, 99)), min_size=1, max_size=5)


@given(st.lists(CLASSES, min_size=1, max_size=4))
def test_no_time_is_lost_and_none_of_another_place_is_mixed_in(drawn: list[Any]) -> None:
    made = [
        record("CLIP", [(n, run((t, 2 * t, 1), device=d, batch_size=b)) for n, (d, b), t in classes], seed=seed)
        for seed, classes in enumerate(drawn)
    ]
    found = costs(made)
    places = [(each.device, each.batch_size) for each in found]
    assert len(set(places)) == len(places)
    for each in found:
        device = "cpu" if each.device == CPU else GPU
        mine = [(n, t) for classes in drawn for n, place, t in classes if place == (device, each.batch_size)]
        assert each.images == sum(n for n, _ in mine)
        vision, method = each.milliseconds["vision"], each.milliseconds["method"]
        assert vision == pytest.approx(1000 * sum(t for _, t in mine) / each.images)
        assert method == pytest.approx(2 * (vision or 0))
    assert sum(each.images for each in found) == sum(n for classes in drawn for n, *_ in classes)


def test_rows_of_several_places_say_which_and_are_not_ranked() -> None:
    one_place = first([record("A", [(10, run((1, 2, 1)))]), record("B", [(10, run((1, 1, 1)))])])
    assert "**100.0**" in render(one_place, "md")
    made = [
        record("A", [(10, run((1, 2, 1), device=GPU, memory=1)), (10, run((1, 2, 1), batch_size=4, memory=1))]),
        record("B", [(10, run((1, 1, 1), memory=2))]),
    ]
    table = first(made)
    assert [(row[""], row["device"], row["batch size"]) for row in rows(table)] == [
        ("A", f"{GPU} with {CPU}", "8"),
        ("A", CPU, "4"),
        ("B", CPU, "8"),
    ]
    assert "**" not in render(table, "md")
    assert "Bold" not in render(table, "md")
    (note,) = [note for note in table.notes if note.startswith("Memory")]
    assert "of the accelerator" in note
    assert "of the process" in note


def test_times_of_processes_side_by_side_are_no_mean_with_those_of_one_alone() -> None:
    made = [record("A", [(10, run((1, 2, 1), processes=1)), (10, run((3, 2, 1), processes=4))])]
    table = first(made)
    assert [(row["processes"], row["vision, ms"]) for row in rows(table)] == [("1", "100.0"), ("4", "300.0")]
    assert "**" not in render(table, "md")
    assert [row["processes"] for row in csv.DictReader(io.StringIO(table.csv))] == ["1", "4"]
    assert "processes 4" in str(first([record("A", [(10, run((3, 2, 1), processes=4))])]).notes)


GPUS = (GPU, "some gpu in lower case")


@pytest.mark.parametrize(
    ("device", "of"), [("cpu", "process"), ("mps", "process"), *((each, "accelerator") for each in GPUS)]
)
def test_it_is_said_of_what_the_memory_is(device: str, of: str) -> None:
    (row,) = csv.DictReader(io.StringIO(first([record("A", [(10, run((1, 1, 1), device=device, memory=1))])]).csv))
    assert row["memory_of"] == of


def test_what_older_records_do_not_say_is_unknown_and_never_zero() -> None:
    (row,) = rows(first([record("CLIP", [(10, None)], parameters=None)]))
    assert {text for name, text in row.items() if name} == {"–"}
    told_at_once = record("CLIP", [(10, run((9, 9, 9))), (10, None)], run=run((1, 0.5, 0)))
    (row,) = rows(first([told_at_once]))
    assert (row["vision, ms"], row["method, ms"], row["scoring, ms"]) == ("50.0", "25.0", "0.0")
    older = record("CLIP", [(10, run((1, 1, 1)))], parameters=None)
    newer = record("CLIP", [(10, run((1, 1, 1)))], dataset="Scans")
    assert rows(first([older, newer]))[0]["frozen, M"] == "427.9"


def test_methods_that_shared_every_pass_are_named() -> None:
    shared = [(10, run((1.1, 0, 0))), (20, run((2.2, 0, 0))), (20, run((3.3, 0, 0)))]
    other = [(10, run((1.1, 0, 0))), (20, run((2.2, 0, 0))), (20, run((3.301, 0, 0)))]
    table = first([record("A", shared), record("B", shared[::-1]), record("C", other)])
    assert [note for note in table.notes if "forward pass served" in note] == [
        "One forward pass served A and B: its time holds what all of them ask for."
    ]


def test_methods_that_ran_the_tower_themselves_are_named_and_shared_nothing() -> None:
    own = run((0, 3, 1)).model_copy(update={"own_pass": True})
    table = first([record("A", [(10, own)]), record("B", [(10, own)]), record("C", [(10, run((1, 1, 1)))])])
    assert not [note for note in table.notes if "forward pass served" in note]
    assert [note for note in table.notes if "of its own" in note] == [
        "A, B: the time of the method holds a forward pass of its own."
    ]


def test_a_training_is_counted_once_and_seeds_are_averaged() -> None:
    made = [
        learned("Learner", "one", 10.0, "MVTec"),
        learned("Learner", "one", 10.0, "MVTec", dataset="Scans"),
        learned("Learner", "two", 20.0, "MVTec", seed=1),
        learned("Learner", "three", 7.0, "VisA", dataset="Third"),
        learned("Learner", "four", 1.0, "VisA", dataset="Fourth", device=GPU),
        learned("Given", "five", None, "file"),
        record("CLIP", [(10, run((1, 1, 1)))]),
    ]
    found = [(each.source, each.device, each.trainings, each.seconds) for each in training_costs(made)]
    assert sorted(found) == [
        ("MVTec", CPU, 2, 15.0),
        ("VisA", CPU, 1, 7.0),
        ("VisA", f"{GPU} with {CPU}", 1, 1.0),
    ]
    assert [table.name for table in cost_tables(made)] == ["cost", "cost_training"]
    assert [table.name for table in cost_tables(made[-1:])] == ["cost"]


def test_the_order_of_the_records_changes_no_byte_and_failed_ones_count_nothing() -> None:
    failed = record("CLIP", [(10, run((1, 1, 1)))], dataset="Fourth", status="failed", error="no luck")
    made = [
        *(record(title, [(7, run((0.1, 0.2, 0.3)))], dataset=name) for title in "AB" for name in ("One", "Two")),
        learned("Learner", "one", 10.1, "MVTec"),
        learned("Learner", "two", 20.2, "MVTec", seed=1),
    ]
    files = cost_files(cost_tables([*made, failed]))
    assert files == cost_files(cost_tables(made))
    for seed in range(5):
        random.Random(seed).shuffle(made)
        assert cost_files(cost_tables(made)) == files
    assert [row[""] for row in rows(cost_tables(made, ["learner"])[0])] == ["Learner", "A", "B"]


@pytest.mark.parametrize("style", ["md", "tex", "txt"])
def test_synthetic_costs_say_so_in_each_format(style: str) -> None:
    made = [learned("Learner", "one", 10.0, "MVTec", synthetic=("data",))]
    for table in cost_tables(made):
        text = render(table, style)
        assert "SYNTHETIC MINIATURE" in (text.partition("\\toprule")[2] if style == "tex" else text)


def test_the_command_writes_costs_alone_and_checks_them(tmp_path: Path, bench: Callable[..., Any]) -> None:
    for each in (learned("Learner", "one", 10.0, "MVTec"), record("CLIP", [(10, run((1, 1, 1)))])):
        write_record(tmp_path, each)
    tables = tmp_path / "tables"
    assert bench("tables", "cost", "--results", tmp_path, "--check")[0] == 1
    code, out, err = bench("tables", "cost", "--results", tmp_path)
    assert (code, "Cost per image" in out, "Cost of a training" in out) == (0, True, True), err
    names = {f"{stem}.{style}" for stem in ("cost", "cost_training") for style in ("md", "tex", "csv")}
    assert {path.name for path in tables.iterdir()} == names
    assert bench("tables", "cost", "--results", tmp_path, "--check")[0] == 0
    assert bench("tables", "--results", tmp_path)[0] == 0
    assert {path.name for path in tables.iterdir()} > names
    for options in ((), ("cost",)):
        assert bench("tables", *options, "--results", tmp_path, "--check")[0] == 0
    (tables / "cost.md").write_text("older")
    (tables / "main_image.md").write_text("older")
    code, out, err = bench("tables", "cost", "--results", tmp_path, "--check")
    assert (code, "1 files are not" in err, "cost.md" in out, "main_image.md" in out) == (1, True, True, False)
    code, out, err = bench("tables", "cost", "--results", tmp_path, "--metric", "auroc")
    assert (code, "--metric" in err) == (2, True)
    assert "did you mean cost?" in bench("tables", "costs", "--results", tmp_path)[2]


def test_the_costs_are_among_all_tables_and_those_of_variants_are_not() -> None:
    main = record("CLIP", [(10, run((1, 1, 1)))])
    changes = {"title": "CLIP (part=half)", "placement": Placement(main=False)}
    other = record("CLIP", [(10, run((1, 1, 1)))], cell={"options": {"part": "half"}})
    variant = other.model_copy(update=changes)
    made = make_outputs([main, variant])
    assert "| CLIP " in made.files["cost.md"]
    assert "part=half" not in made.files["cost.md"]
