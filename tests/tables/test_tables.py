"""Tables from hand-made records: what is printed, marked, refused, and that it never varies."""

import csv
import io
import random
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # comes with rich
from support.records import made_run

from benchmark.metrics.names import METRICS, Metric
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.records import ClassResult, Record, Skipped, mean_over_classes
from benchmark.tables.marks import best_and_second
from benchmark.tables.tables import (
    Table,
    TableError,
    check_comparable,
    make_tables,
    render,
    summary,
    table_files,
    to_csv,
    to_long_csv,
)

KEY = "pixel_aupro_200"
Metrics = tuple[float | None, float | None, float | None, float | None]


def slug(title: str) -> str:
    return re.sub(r"\W", "_", title.lower()) or "x"


def record(title: str, dataset: str, classes: dict[str, Metrics], **changes: Any) -> Record:
    """A finished record of image AUROC, AP and pixel AUROC, AUPRO per class."""
    names = ("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro")
    results = {
        name: ClassResult(normal=1, anomalous=1, metrics=dict(zip(names, values, strict=True)))
        for name, values in classes.items()
    }
    cell = Cell(
        method=slug(title),
        method_version=1,
        options={},
        dataset=DataId(name=slug(dataset), card_version=1, layout="original", fingerprint=f"list of {dataset}"),
        seed=0,
        backbone=BackboneId(name="b:openai", architecture="b", sha256="a" * 64, dtype="float32", synthetic=False),
        protocol=Protocol(),
    )
    fields: dict[str, Any] = {
        "title": title,
        "dataset_title": dataset,
        "domain": "industrial",
        "cell": cell.model_copy(update=changes.pop("cell", {})),
        "status": "done",
        "classes": results,
        "mean": mean_over_classes(results.values()),
        "run": made_run(),
    } | changes
    return Record(id=fields["cell"].id, **fields)


@pytest.fixture
def three() -> list[Record]:
    """Two methods on two datasets, one with a single class and no masks."""
    two_classes: dict[str, Metrics] = {"a": (0.9, 0.8, 0.7, 0.6), "b": (0.5, 0.6, 0.7, 0.8)}
    better: dict[str, Metrics] = {"a": (0.95, 0.8, 0.70004, 0.5), "b": (0.55, 0.6, 0.7, 0.7)}
    return [
        record("CLIP", "Parts", two_classes),
        record("Other", "Parts", better),
        record("CLIP", "Scans", {"brain": (0.6, 0.7, None, None)}, domain="medical"),
        record("Other", "Scans", {"brain": (0.5, 0.9, None, None)}, domain="medical"),
    ]


def rows_of(table_text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table_text.splitlines()
        if line.startswith("|")
    ]


def test_the_main_tables_have_datasets_in_rows_and_methods_in_columns(three: list[Record]) -> None:
    image, pixel, *per_class = make_tables(three)
    assert rows_of(render(image, "md"))[0] == ["", "CLIP", "Other"]
    assert rows_of(render(image, "md"))[2:] == [
        ["Parts", "(<u>70.0</u>, 70.0)", "(**75.0**, 70.0)"],
        ["Scans", "(**60.0**, <u>70.0</u>)", "(<u>50.0</u>, **90.0**)"],
        ["Mean", "(**65.0**, <u>70.0</u>)", "(<u>62.5</u>, **80.0**)"],
    ]
    assert rows_of(render(pixel, "md"))[2:] == [["Parts", "(70.0, **70.0**)", "(70.0, <u>60.0</u>)"]]
    assert [table.name for table in per_class] == ["parts_image", "parts_pixel"]
    assert [row[0] for row in rows_of(render(per_class[0], "md"))[2:]] == ["a", "b", "Mean"]


def test_equal_numbers_as_printed_are_marked_alike() -> None:
    records = [
        record("A", "D", {"c": (0.70001, 0.5, None, None)}),
        record("B", "D", {"c": (0.70002, 0.4, None, None)}),
        record("C", "D", {"c": (0.6, 0.3, None, None)}),
    ]
    assert rows_of(render(make_tables(records)[0], "md"))[2] == [
        "D",
        "(**70.0**, **50.0**)",
        "(**70.0**, <u>40.0</u>)",
        "(<u>60.0</u>, 30.0)",
    ]


def test_undefined_is_a_dash_and_never_zero() -> None:
    records = [record("A", "D", {"c": (None, 0.5, None, None)}), record("B", "E", {"c": (0.0, 0.5, None, None)})]
    table = make_tables(records)[0]
    assert rows_of(render(table, "md"))[2:] == [["D", "(–, 50.0)", "–"], ["E", "–", "(0.0, 50.0)"]]
    assert to_csv(table).splitlines()[1:] == ["D,,50.00,,", "E,,,0.00,50.00"]


def test_the_mean_is_over_complete_rows_and_says_so(three: list[Record]) -> None:
    table = make_tables(three[:3])[0]
    assert list(table.rows) == ["Parts", "Scans", "Mean of the 1 complete rows"]
    assert table.rows["Mean of the 1 complete rows"] == table.rows["Parts"]


def test_seeds_are_averaged() -> None:
    records = [
        record("A", "D", {"c": (0.4, 0.5, None, None)}),
        record("A", "D", {"c": (0.6, 0.7, None, None)}, cell={"seed": 1}),
    ]
    assert make_tables(records)[0].rows["D"] == ((pytest.approx(50.0), pytest.approx(60.0)),)


def test_a_class_without_a_value_leaves_the_mean_undefined() -> None:
    made = record("A", "D", {"a": (0.4, 0.5, None, None), "b": (None, 0.5, None, None)})
    assert made.mean["image_auroc"] is None
    assert made.mean["image_ap"] == 0.5


def test_the_same_records_in_any_order_give_the_same_files(three: list[Record]) -> None:
    shuffled = list(three)
    random.Random(1).shuffle(shuffled)
    files = table_files(make_tables(three), three)
    stems = ("main_image", "main_pixel", "parts_image", "parts_pixel")
    assert files.keys() == {"results.csv", *(f"{stem}.{kind}" for stem in stems for kind in ("md", "csv", "tex"))}
    assert table_files(make_tables(shuffled), shuffled) == files


def test_synthetic_results_carry_a_banner_and_never_mix(three: list[Record]) -> None:
    synthetic = [each.model_copy(update={"synthetic": ("weights",)}) for each in three]
    banner = "SYNTHETIC WEIGHTS: not comparable with published numbers (generated: weights)."
    for style in ("md", "tex"):
        assert banner in render(make_tables(synthetic)[0], style)
        assert "SYNTHETIC" not in render(make_tables(three)[0], style)
    assert summary(make_tables(synthetic)).startswith(banner)
    assert "SYNTHETIC" not in summary(make_tables(three))
    with pytest.raises(TableError, match="real and synthetic"):
        make_tables([*three[:3], synthetic[3]])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"backbone": BackboneId(name="x", architecture="b", sha256="b" * 64, dtype="float32", synthetic=False)},
            "backbone",
        ),
        ({"method_version": 2}, "method_version"),
        ({"metrics_version": 77}, "metrics_version"),
    ],
)
def test_one_place_of_the_table_taken_twice_is_refused(three: list[Record], changes: dict[str, Any], said: str) -> None:
    twin = record("CLIP", "Parts", {"a": (0.1, 0.1, 0.1, 0.1)}, cell=changes)
    with pytest.raises(TableError, match=f"differ in {said}") as caught:
        check_comparable([*three, twin])
    assert three[0].id in str(caught.value)
    assert twin.id in str(caught.value)


def test_one_dataset_from_two_sample_lists_is_refused(three: list[Record]) -> None:
    other = three[1].cell.dataset.model_copy(update={"fingerprint": "another"})
    stale = record("Other", "Parts", {"a": (0.1, 0.1, 0.1, 0.1)}, cell={"dataset": other})
    with pytest.raises(TableError, match="different images or labels"):
        check_comparable([three[0], stale])


def test_two_protocols_are_refused(three: list[Record]) -> None:
    other = record("X", "Parts", {"a": (0.1, 0.1, 0.1, 0.1)}, cell={"protocol": Protocol(mask_gt0=True)})
    with pytest.raises(TableError, match="protocols"):
        check_comparable([*three, other])


def test_notes_say_what_a_reader_must_know(three: list[Record]) -> None:
    failed = record("Third", "Parts", {}, status="failed", error="RuntimeError: out of luck")
    skipped = ClassResult(normal=1, anomalous=1, skipped=(Skipped(key="k", reason="r"),), metrics=three[0].mean)
    odd = three[0].model_copy(update={"warnings": ("7 images, the card says 9",), "classes": {"a": skipped}})
    text = render(make_tables([odd, *three[1:], failed])[0], "md")
    assert "Failed: Third on Parts: RuntimeError: out of luck" in text
    assert "Parts: 7 images, the card says 9" in text
    assert "Parts: 1 unreadable images were left out." in text
    assert "Backbone b:openai (sha256 aaaaaaaaaaaa…), float32." in text
    assert "Auxiliary dataset: none" in text
    trained = three[0].model_copy(
        update={
            "cell": three[0].cell.model_copy(
                update={"auxiliary": DataId(name="mvtec", card_version=1, layout="o", fingerprint="f")}
            )
        }
    )
    assert "Auxiliary dataset of CLIP: mvtec (for Parts)." in render(make_tables([trained])[0], "md")


def test_names_are_escaped_for_each_format() -> None:
    made = record("A&B_1|<i>", "50% #1", {"c": (0.5, 0.5, None, None)})
    table = make_tables([made])[0]
    assert r"A\&B\_1|<i>" in render(table, "tex")
    assert r"50\% \#1" in render(table, "tex")
    assert r"A&amp;B_1\|&lt;i&gt;" in render(table, "md")


HOSTILE = st.text(st.sampled_from("a|\\`<>&[]()!*_~{}^%#$=+-@'\",\n\r\t\v\x1b\u2028 –é"), min_size=1, max_size=12)
EXAMPLES = (
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](https://example.org)",
    "[x]: https://example.org",
    "a\n\n| b | c |\n|---|---|",
    "\\| b | `c",
    "}\n\\input{/etc/passwd}%",
    "\r=1+1",
    'a\rb,"c"',
)


def hostile_tables(title: str, dataset: str, first: str, second: str) -> list[Table]:
    """Of two classes under names from outside; titles, notes of warnings and of failures hold them too."""
    metrics: Metrics = (0.5, 0.4, 0.3, 0.2)
    made = record(title, dataset, {f"{first}1": metrics, f"{second}2": metrics}, warnings=(second,))
    failed = record(f"{title}!", dataset, {}, status="failed", error=f"Error: {first}")
    return make_tables([made, failed])


@settings(deadline=None)
@given(title=HOSTILE, dataset=HOSTILE, first=HOSTILE, second=HOSTILE)
@example(*EXAMPLES[:4])
@example(*EXAMPLES[4:8])
@example(*EXAMPLES[6:])
def test_names_from_outside_stay_text_in_markdown(title: str, dataset: str, first: str, second: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    for table in hostile_tables(title, dataset, first, second):
        tokens = parser.parse(render(table, "md"))
        kinds = [token.type for token in tokens]
        assert (kinds.count("tr_open"), kinds.count("th_open")) == (1 + len(table.rows), 2)
        assert kinds.count("td_open") == 2 * len(table.rows)
        assert kinds.count("list_item_open") == len(table.notes)
        lines = [token for token in tokens if token.type == "inline"]
        inline = [part for line in lines for part in line.children or ()]
        assert not {"link_open", "image", "em_open", "code_block", "fence"} & {*kinds, *(part.type for part in inline)}
        assert {part.content for part in inline if part.type == "html_inline"} <= {"<u>", "</u>"}
        assert "html_block" not in kinds
        shown = ["".join(part.content for part in line.children or ()).strip() for line in lines]
        for name in (title, *table.rows):
            assert " ".join(re.split(r"[\x00-\x1f\u2028]+", name)).strip() in shown


@settings(deadline=None)
@given(title=HOSTILE, dataset=HOSTILE, first=HOSTILE, second=HOSTILE)
@example(*EXAMPLES[:4])
@example(*EXAMPLES[4:8])
@example(*EXAMPLES[6:])
def test_names_from_outside_stay_text_in_csv(title: str, dataset: str, first: str, second: str) -> None:
    def rows_of_csv(text: str) -> list[list[str]]:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))

    def is_plain(text: str) -> bool:
        return not text.lstrip().startswith(("=", "+", "-", "@")) and not text.startswith(("\t", "\r", "\n"))

    for table in hostile_tables(title, dataset, first, second):
        header, *rows = rows_of_csv(to_csv(table))
        assert [len(row) for row in rows] == [3] * len(table.rows)
        assert len(header) == 3
        assert all(map(is_plain, [*header, *(row[0] for row in rows)]))
        assert [row[0] if row[0] in table.rows else row[0].removeprefix("'") for row in rows] == list(table.rows)
    made = record(title, dataset, {first: (0.5, None, 0.25, 1e-9)})
    rows = rows_of_csv(to_long_csv([made]))
    assert [len(row) for row in rows] == [10] * 9
    assert all(is_plain(cell) for row in rows for index, cell in enumerate(row) if index != 5)
    assert {row[5] for row in rows} == {"value", "0.5", "", "0.25", "1e-09"}


@settings(deadline=None)
@given(title=HOSTILE, dataset=HOSTILE, first=HOSTILE, second=HOSTILE)
@example(*EXAMPLES[:4])
@example(*EXAMPLES[4:8])
@example(*EXAMPLES[6:])
def test_names_from_outside_stay_text_in_latex(title: str, dataset: str, first: str, second: str) -> None:
    for table in hostile_tables(title, dataset, first, second):
        lines = render(table, "tex").split("\n")
        notes, grid = lines[: 1 + len(table.notes)], lines[1 + len(table.notes) :]
        assert all(note.startswith("% ") for note in notes)
        assert grid[0] == r"\begin{tabular}{ll}"
        body = [line for line in grid if line.endswith(r"\\")]
        assert len(body) == 1 + len(table.rows)
        assert len(grid) == len(body) + 6  # begin, three rules, end, the end of the file
        for line in body:
            bare = re.sub(r"\\[&%_#${}]", "", line)  # without what is escaped
            assert bare.count("&") == 1
            assert not set("%#$_^~") & set(bare)
            assert bare.count("{") == bare.count("}")
            assert set(re.findall(r"\\[a-zA-Z]+", bare)) <= {
                r"\textbf",
                r"\underline",
                r"\textbackslash",
                r"\textasciitilde",
                r"\textasciicircum",
            }
            assert not line.lstrip().startswith(("[", "*"))


@pytest.mark.parametrize("text", EXAMPLES)
def test_what_is_printed_to_a_terminal_holds_no_control_characters(text: str) -> None:
    printed = summary(hostile_tables(f"{text}\x1b[2J", text, text, text))
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", printed)


def test_latex_has_bold_and_underline(three: list[Record]) -> None:
    text = render(make_tables(three)[0], "tex")
    assert r"(\textbf{60.0}, \underline{70.0})" in text
    assert text.count(r"\begin{tabular}") == 1


def test_every_number_is_in_the_long_csv(three: list[Record]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_long_csv(three))))
    found = {(r["method"], r["dataset"], r["class"], r["metric"]): r["value"] for r in rows}
    assert found["Other", "parts", "a", "image_auroc"] == "0.95"
    assert found["CLIP", "scans", "mean", "pixel_aupro"] == ""
    assert len(rows) == 2 * 3 * 4 + 2 * 2 * 4


def test_the_long_csv_holds_the_range_of_a_fragile_metric_by_class_and_of_the_mean() -> None:
    made = record("A", "D", {"a": (0.5, 0.5, 0.5, 0.5), "b": (0.5, 0.5, 0.5, 0.5)})
    classes = {
        name: result.model_copy(update={"metrics": {KEY: 0.5}, "ranges": {KEY: (0.25, high)}})
        for (name, result), high in zip(made.classes.items(), (0.5, 1.0), strict=True)
    }
    made = made.model_copy(update={"classes": classes, "mean": {KEY: 0.5, "pixel_auroc": 0.5}})
    rows = list(csv.DictReader(io.StringIO(to_long_csv([made]))))
    assert [(row["class"], row["metric"], row["low"], row["high"]) for row in rows] == [
        ("a", KEY, "0.25", "0.5"),
        ("b", KEY, "0.25", "1.0"),
        ("mean", KEY, "0.25", "0.75"),
        ("mean", "pixel_auroc", "", ""),
    ]


def test_marks_go_by_the_direction_of_the_metric() -> None:
    error = Metric("image_error", "error", lambda curve: None, higher_is_better=False)
    values = [10.0, None, 20.0, 30.04, 30.0]
    assert best_and_second(values, error) == ["best", "", "second", "", ""]
    assert best_and_second(values, METRICS["image_ap"]) == ["", "", "second", "best", "best"]
    assert best_and_second([5.0, None, 5.01], error) == ["", "", ""]
