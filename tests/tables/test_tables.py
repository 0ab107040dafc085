"""Tables from hand-made records: what is printed, marked, refused, and that it never varies."""

import csv
import io
import random
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # comes with rich
from support.records import made_run
from support.two_folders import reference_records

from benchmark.metrics.names import METRICS, Metric
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.provenance import Provenance
from benchmark.records.records import ClassResult, DefectResult, Record, Skipped, TrainingReport, mean_over_classes
from benchmark.tables import marks
from benchmark.tables.comparable import TableError, check_comparable
from benchmark.tables.marks import best_and_second
from benchmark.tables.numbers import to_long_csv
from benchmark.tables.render import render, summary, table_files, to_csv
from benchmark.tables.tables import Table, make_tables

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


def titles(table: Table) -> list[str]:
    return [column.title for column in table.columns]


def values_of(table: Table) -> dict[str, tuple[tuple[float | None, ...], ...]]:
    return {row.title: row.values for row in table.rows}


def full(title: str, datasets: int, value: float = 0.5, **changes: Any) -> list[Record]:
    return [record(title, f"D{n}", {"c": (value + n / 100, 0.5, None, None)}, **changes) for n in range(datasets)]


def test_each_domain_has_a_mean_and_both_together_have_none() -> None:
    """As AnomalyCLIP prints them, in a table of industrial and a table of medical datasets."""
    scans = [record("A", f"S{n}", {"c": (0.9, 0.9, None, None)}, domain="medical") for n in range(2)]
    table = make_tables([*full("A", 2), *scans])[0]
    assert [row.title for row in table.rows] == ["D0", "D1", "Mean, industrial", "S0", "S1", "Mean, medical"]
    assert values_of(table)["Mean, industrial"] == ((pytest.approx(50.5), pytest.approx(50)),)
    assert values_of(table)["Mean, medical"] == ((pytest.approx(90), pytest.approx(90)),)
    assert [row.title for row in make_tables(full("A", 2))[0].rows] == ["D0", "D1", "Mean"]


def further(title: str, *names: str, **changes: Any) -> list[Record]:
    return [record(title, name, {"c": (0.1, 0.1, None, None)}, beyond=True, **changes) for name in names]


def test_datasets_beyond_the_papers_have_a_mean_of_their_own() -> None:
    papers = full("A", 2)
    table = make_tables([*further("A", "B7", "C8"), *papers])[0]
    assert [row.title for row in table.rows] == ["D0", "D1", "Mean, industrial", "B7", "C8", "Mean, further industrial"]
    assert values_of(table)["Mean, industrial"] == values_of(make_tables(papers)[0])["Mean"]
    assert values_of(table)["Mean, further industrial"] == ((pytest.approx(10), pytest.approx(10)),)
    note = "Beyond the papers' datasets, so in no mean and no rank with them: B7, C8."
    assert note in table.notes
    assert note not in make_tables(papers)[0].notes
    alone = make_tables(further("A", "B7", "C8"))[0]
    assert [row.title for row in alone.rows] == ["B7", "C8", "Mean"]


def test_a_method_tried_on_one_dataset_changes_no_mean_of_others_and_has_none() -> None:
    six = [made for index in range(6) for made in full(f"M{index}", 7, 0.4 + index / 100)]
    before, after = make_tables(six)[0], make_tables([*six, *full("Tried", 1)])[0]
    assert values_of(after)["Mean"][:6] == values_of(before)["Mean"]
    assert values_of(after)["Mean"][6] == (None, None)
    assert values_of(after)["D0"][6] == (pytest.approx(50), pytest.approx(50))
    assert "No mean of Tried: undefined or not run on D1, D2, D3 and 3 more." in after.notes
    assert not [note for note in before.notes if note.startswith("No mean")]


def test_a_failed_cell_costs_its_method_the_mean_and_no_other() -> None:
    records = [made for title in "ABC" for made in full(title, 4)]
    failed = records[-1].model_copy(update={"status": "failed", "error": "out of luck", "mean": {}, "classes": {}})
    table = make_tables([*records[:-1], failed])[0]
    assert [cell[0] is None for cell in values_of(table)["Mean"]] == [False, False, True]
    assert "No mean of C: undefined or not run on D3." in table.notes


def test_a_row_in_which_a_metric_is_undefined_for_all_is_in_no_mean() -> None:
    records = [*full("A", 3), record("A", "E", {"c": (None, 0.9, None, None)})]
    table = make_tables(records)[0]
    assert [row.title for row in table.rows] == ["D0", "D1", "D2", "E", "Mean (3 of 4 rows)"]
    assert not [note for note in table.notes if note.startswith("No mean")]


def test_seeds_are_averaged() -> None:
    records = [
        record("A", "D", {"c": (0.4, 0.5, None, None)}),
        record("A", "D", {"c": (0.6, 0.7, None, None)}, cell={"seed": 1}),
    ]
    table = make_tables(records)[0]
    assert table.rows[0].values == ((pytest.approx(50.0), pytest.approx(60.0)),)
    assert table.rows[0].spreads[0][0] == pytest.approx(100 * np.std([0.4, 0.6], ddof=1))
    assert "(50.0 ± 14.1, 60.0 ± 14.1)" in render(table, "md")
    assert r"(50.0 $\pm$ 14.1, 60.0 $\pm$ 14.1)" in render(table, "tex")
    assert "±" not in render(make_tables(records[:1])[0], "md").partition("\n- ")[0]


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
        text = render(make_tables(synthetic)[0], style)
        assert banner in (text if style == "md" else re.sub(r"^%.*", "", text, flags=re.MULTILINE))
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
            "backbones",
        ),
        ({"method_version": 2}, "versions of the method"),
        ({"metrics_version": 77}, "versions of the metrics"),
    ],
)
def test_one_place_of_the_table_taken_twice_is_refused(three: list[Record], changes: dict[str, Any], said: str) -> None:
    twin = record("CLIP", "Parts", {"a": (0.1, 0.1, 0.1, 0.1)}, cell=changes)
    with pytest.raises(TableError, match=f"different {said}") as caught:
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
    assert "Parts: images left out, as they or their masks cannot be used: 1." in text
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
    assert "depend on all test images" not in text
    whole = [each.model_copy(update={"scores_whole_class": True}) for each in three if each.title == "CLIP"]
    for table in make_tables([*whole, *three]):
        assert "Image scores of CLIP depend on all test images of a class." in render(table, "md")


def test_a_training_that_another_machine_does_not_repeat_is_named() -> None:
    found = next(iter(reference_records().values()))
    assert found.training
    said = "Training of AnomalyCLIP magnifies last digits: another machine learns something else."
    assert said not in render(make_tables([found])[0], "md")
    magnifying = found.model_copy(update={"training": found.training.model_copy(update={"magnifies": True})})
    assert said in render(make_tables([magnifying])[0], "md")


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
        assert kinds.count("list_item_open") == len(table.notes) + 1  # and the legend
        lines = [token for token in tokens if token.type == "inline"]
        inline = [part for line in lines for part in line.children or ()]
        assert not {"link_open", "image", "em_open", "code_block", "fence"} & {*kinds, *(part.type for part in inline)}
        assert {part.content for part in inline if part.type == "html_inline"} <= {"<u>", "</u>"}
        assert "html_block" not in kinds
        shown = ["".join(part.content for part in line.children or ()).strip() for line in lines]
        for name in (title, *(row.title for row in table.rows)):
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
        titles = [row.title for row in table.rows]
        assert [row[0] if row[0] in titles else row[0].removeprefix("'") for row in rows] == titles
    made = record(title, dataset, {first: (0.5, None, 0.25, 1e-9)})
    rows = rows_of_csv(to_long_csv([made]))
    column = rows[0].index("value")
    assert [len(row) for row in rows] == [len(rows[0])] * 9
    assert all(is_plain(cell) for row in rows for index, cell in enumerate(row) if index != column)
    assert {row[column] for row in rows} == {"value", "0.5", "", "0.25", "1e-09"}


@settings(deadline=None)
@given(title=HOSTILE, dataset=HOSTILE, first=HOSTILE, second=HOSTILE)
@example(*EXAMPLES[:4])
@example(*EXAMPLES[4:8])
@example(*EXAMPLES[6:])
def test_names_from_outside_stay_text_in_latex(title: str, dataset: str, first: str, second: str) -> None:
    for table in hostile_tables(title, dataset, first, second):
        lines = render(table, "tex").split("\n")
        start = 2 + len(table.notes)  # after the title, the notes and the legend
        notes, grid = lines[:start], lines[start:]
        assert all(note.startswith("% ") for note in notes)
        assert grid[0] == r"\begin{tabular}{ll}"
        body = [line for line in grid if line.endswith(r"\\")]
        assert len(body) == 2 + len(table.facts) + len(table.rows)
        rules = [line for line in grid if re.fullmatch(r"\\((top|mid|bottom)rule|cmidrule\(lr\){2-2})", line)]
        assert len(grid) == len(body) + len(rules) + 3  # begin, end, the end of the file
        assert len(rules) == 4 + any(row.is_mean for row in table.rows)
        for line in body:
            bare = re.sub(r"\\[&%_#${}]", "", line)  # without what is escaped
            assert bare.count("&") == 1
            assert not set("%#$_^~") & set(bare)
            assert bare.count("{") == bare.count("}")
            assert set(re.findall(r"\\[a-zA-Z]+", bare)) <= {
                r"\multicolumn",
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
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"\hline" not in text


def test_every_number_is_in_the_long_csv(three: list[Record]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_long_csv(three))))
    found = {(r["method"], r["dataset"], r["class"], r["metric"]): r["value"] for r in rows}
    assert found["Other", "parts", "a", "image_auroc"] == "0.95"
    assert found["CLIP", "scans", "mean", "pixel_aupro"] == ""
    assert len(rows) == 2 * 3 * 4 + 2 * 2 * 4


def test_the_long_csv_holds_the_kinds_of_defect_after_their_class() -> None:
    made = record("A", "D", {"a": (0.5, 0.5, 0.5, 0.5)})
    kind = DefectResult(images=2, metrics={"image_auroc": 0.25, KEY: None}, ranges={KEY: (0.1, 0.2)})
    classes = {"a": made.classes["a"].model_copy(update={"metrics": {"image_auroc": 0.5}, "defects": {"=crack": kind}})}
    made = made.model_copy(update={"classes": classes, "mean": {"image_auroc": 0.5}})
    rows = list(csv.DictReader(io.StringIO(to_long_csv([made]))))
    assert [(r["class"], r["defect"], r["metric"], r["value"], r["low"]) for r in rows] == [
        ("a", "", "image_auroc", "0.5", ""),
        ("a", "'=crack", "image_auroc", "0.25", ""),
        ("a", "'=crack", KEY, "", "0.1"),
        ("mean", "", "image_auroc", "0.5", ""),
    ]


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


def test_each_sign_in_tables_means_one_thing() -> None:
    signs = [note.split()[0] for name, note in vars(marks).items() if name.endswith("_NOTE")]
    assert len(signs) == len(set(signs)) >= 4


def test_columns_stand_in_the_order_in_which_methods_are_given() -> None:
    records = [made for title in ("A", "B", "C") for made in full(title, 1)]
    assert titles(make_tables(records)[0]) == ["A", "B", "C"]
    assert titles(make_tables(records, methods=["c", "a", "b"])[0]) == ["C", "A", "B"]


def test_the_metrics_are_those_that_are_named() -> None:
    made = record("A", "D", {"c": (0.5, 0.6, 0.7, 0.8)})
    made = made.model_copy(update={"mean": {**made.mean, KEY: 0.25}})
    (table,) = make_tables([made], metrics=[KEY, "pixel_auroc"])
    assert table.name == "main_pixel"
    assert table.rows[0].values == ((25.0, 70.0),)
    assert "(AUPRO-200, AUROC)" in render(table, "md")
    assert [note for note in table.notes if note.startswith("AUPRO-200: the last digits of the scores")]
    assert "last digits" not in render(make_tables([made])[0], "md")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (["pixel_aupro"], ["AUPRO is exact"]),
        ([KEY], ["AUPRO-200 is that of 200 thresholds"]),
        (["pixel_aupro", KEY], ["AUPRO is exact", "AUPRO-200 is that of 200 thresholds"]),
        (["pixel_auroc"], []),
    ],
)
def test_the_notes_speak_of_the_aupro_that_is_shown(metrics: list[str], said: list[str]) -> None:
    made = record("A", "D", {"c": (0.5, 0.6, 0.7, 0.8)})
    made = made.model_copy(update={"mean": {**made.mean, KEY: 0.25}})
    (table,) = make_tables([made], metrics=metrics)
    notes = [note for note in table.notes if note.startswith(("AUPRO is", "AUPRO-200 is"))]
    assert len(notes) == len(said)
    assert all(note.startswith(start) for note, start in zip(notes, said, strict=True))
    assert sum("in results.csv" in note for note in notes) == (len(said) == 1)


def test_notes_say_which_results_are_from_which_state_of_the_code() -> None:
    whole: dict[str, Metrics] = {"c": (0.5, 0.5, 0.5, 0.5)}
    old = {"source_sha256": "a" * 64, "code_sha256": "c" * 64, "packages": {"torch": "2.5.1", "numpy": "2"}}
    new = {"source_sha256": "b" * 64, "code_sha256": "d" * 64, "packages": {"torch": "2.6.0", "numpy": "2"}}
    records = [
        record("A", "D0", whole, run=made_run(**old)),
        record("A", "D1", whole, run=made_run(**new)),
        record("B", "D0", whole, run=made_run(**old)),
        record("C", "D1", whole),
    ]
    notes = make_tables(records)[0].notes
    assert "A was scored by 2 states of the method's files: aaaaaaaa… (D0), bbbbbbbb… (D1)." in notes
    assert "Made by 2 states of the benchmark's code." in notes
    assert "Made with torch 2.5.1 (A on D0; B) and 2.6.0 (A on D1)." in notes
    assert not [note for note in notes if "numpy" in note or note.startswith(("B was", "C was"))]
    noted = [records[0].model_copy(update={"newer_source_sha256": "b" * 64}), *records[1:]]
    assert not [note for note in make_tables(noted)[0].notes if "states of the method's files" in note]
    one_state = make_tables([records[0], *records[2:]])[0].notes
    assert not [note for note in one_state if "states of" in note or note.startswith("Made with")]


def test_notes_say_how_a_training_was_done() -> None:
    """By which state of the method's files, and without which images."""
    auxiliary = DataId(name="visa", card_version=1, layout="o", fingerprint="f")
    made = {key: getattr(made_run(), key) for key in Provenance.model_fields}
    records = []
    for n, state in enumerate("ab"):
        training = TrainingReport(
            checkpoint="c", sha256=str(n) * 64, synthetic=False, origin="trained", source="VisA", images=7,
            skipped=("a.png",) * n, curve=(), seconds=1.0, made=Provenance(**made | {"source_sha256": state * 64}),
        )  # fmt: skip
        cell = {"auxiliary": auxiliary, "seed": n}
        records.append(record("L", f"D{n}", {"c": (0.5, 0.5, 0.5, 0.5)}, training=training, cell=cell))
    notes = make_tables(records)[0].notes
    assert "L was trained by 2 states of the method's files: aaaaaaaa… (D0), bbbbbbbb… (D1)." in notes
    assert "L: images left out of the training on visa, as they or their masks cannot be used: 1." in notes
    assert not [note for note in make_tables(records[:1])[0].notes if "left out" in note or "states" in note]


def test_notes_tell_the_columns_apart() -> None:
    """Backbone, evaluation size, seeds and where a training was done."""
    small = BackboneId(name="s:x", architecture="s", sha256="b" * 64, dtype="float32", synthetic=False)
    auxiliary = DataId(name="visa", card_version=1, layout="o", fingerprint="f")
    training = TrainingReport(
        checkpoint="c", sha256="e" * 64, synthetic=False, origin="imported", source="epoch_5.pth", images=None,
        skipped=(), curve=(), seconds=None,
    )  # fmt: skip
    metrics: dict[str, Metrics] = {"c": (0.5, 0.5, 0.5, 0.5)}
    records = [
        record("CLIP", "D", metrics, image_size=518),
        record("WinCLIP", "D", metrics, image_size=240, cell={"backbone": small}),
        *(
            record("Learner", "D", metrics, image_size=518, training=training, cell={"auxiliary": auxiliary, "seed": n})
            for n in range(3)
        ),
    ]
    notes = make_tables(records)[0].notes
    assert "Backbone b:openai (sha256 aaaaaaaaaaaa…), float32: CLIP, Learner." in notes
    assert "Backbone s:x (sha256 bbbbbbbbbbbb…), float32: WinCLIP." in notes
    assert "Maps and masks are compared at 518 px (CLIP, Learner), 240 px (WinCLIP)." in notes
    assert "Seeds: 3 (Learner), 1 (CLIP, WinCLIP); ± is the standard deviation over seeds." in notes
    assert "Auxiliary dataset of Learner, imported from epoch_5.pth: visa (for D)." in notes
    lines = render(make_tables(records)[0], "tex").splitlines()
    header = lines.index(r"\toprule") + 1
    assert lines[header : header + 7] == [
        r" & \multicolumn{2}{c}{training-free} & \multicolumn{1}{c}{auxiliary dataset} \\",
        r"\cmidrule(lr){2-3} \cmidrule(lr){4-4}",
        r" & CLIP & WinCLIP & Learner \\",
        r"evaluated at & 518 px & 240 px & 518 px \\",
        r"seeds & 1 & 1 & 3 \\",
        r"trained on & -- & -- & visa (imported) \\",
        r"\midrule",
    ]
    one_size = [each.model_copy(update={"cell": cell_at(each, 256)}) for each in records]
    assert "Maps and masks are compared at 256 px." in make_tables(one_size)[0].notes


def test_a_table_names_the_variants_of_the_backbone_and_who_runs_them() -> None:
    metrics: dict[str, Metrics] = {"c": (0.5, 0.5, 0.5, 0.5)}
    one = record("CLIP", "D", metrics)
    exact = one.cell.backbone.model_copy(update={"plain_gelu": True, "pos_interp": "bicubic"})
    notes = make_tables([one, record("Learner", "D", metrics, cell={"backbone": exact})])[0].notes
    assert "Backbone b:openai (sha256 aaaaaaaaaaaa…), float32: CLIP." in notes
    named = (
        "Backbone b:openai with exact GELU and antialiased bicubic positions (sha256 aaaaaaaaaaaa…), float32: Learner."
    )
    assert named in notes


def test_a_warning_of_some_methods_names_them(three: list[Record]) -> None:
    overlapping = three[1].model_copy(update={"warnings": ("trained on the same",)})
    notes = make_tables([three[0], overlapping])[0].notes
    assert "Parts: trained on the same (Other)" in notes


def cell_at(made: Record, size: int) -> Cell:
    return made.cell.model_copy(update={"protocol": Protocol(evaluation_size=size)})


@pytest.mark.parametrize("style", ["md", "tex", "txt"])
def test_every_table_says_what_its_marks_mean(three: list[Record], style: str) -> None:
    tables = make_tables(three)
    text = summary(tables) if style == "txt" else render(tables[0], style)
    assert "by the numbers as printed" in text
    assert text.count("best of a row") == 1


def test_rows_of_two_folders_are_told_apart_in_the_long_csv() -> None:
    """Whatever identifies a number is in its row, without a look at the id of the record."""
    one = record("CLIP", "nuts", {"part": (0.5, 0.5, 0.5, 0.5)})
    folder = one.cell.dataset.model_copy(update={"name": "folder"})
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"dataset_title": "bolts"},
        {"cell": one.cell.model_copy(update={"seed": 1})},
        {"cell": one.cell.model_copy(update={"method_version": 2})},
        {"cell": one.cell.model_copy(update={"auxiliary": folder})},
        {"cell": one.cell.model_copy(update={"protocol": Protocol(mask_gt0=True)})},
        {"cell": one.cell.model_copy(update={"dataset": folder.model_copy(update={"fingerprint": "other"})})},
        *(
            {"cell": one.cell.model_copy(update={"backbone": one.cell.backbone.model_copy(update=change)})}
            for change in ({"sha256": "b" * 64}, {"dtype": "bfloat16"}, {"plain_gelu": True}, {"pos_interp": "bicubic"})
        ),
    )
    records = [one.model_copy(update=change) for change in changes]
    rows = list(csv.DictReader(io.StringIO(to_long_csv(records))))
    places = {tuple(value for key, value in row.items() if key not in ("value", "record")) for row in rows}
    assert len(places) == len(rows) == len(records) * 8


@pytest.mark.parametrize("width", [20, 60, 100, 400])
def test_a_table_that_is_wider_than_the_terminal_is_printed_in_parts(width: int) -> None:
    titles = ["CLIP", "CLIP-AC", "WinCLIP", "APRIL-GAN", "AdaCLIP", "AnomalyCLIP", "CoOp", "GenCLIP"]
    records = [
        record(title, dataset, {"a": (0.9, 0.8, 0.7, index / 10)})
        for index, title in enumerate(titles)
        for dataset in ("MVTec AD", "VisA")
    ]
    table = make_tables(records)[0]
    whole, text = render(table, "txt"), render(table, "txt", width=width)
    if width == 400:
        assert text == whole
        return
    groups, parts = ([part.splitlines() for part in text.split("\n\n")[1 + kind :: 2]] for kind in (0, 1))
    said = [name for lines in groups for name in " ".join(lines).removeprefix("Training-free: ").split(", ")]
    assert said == [column.title for column in table.columns]
    assert all(len(line) <= width for lines in groups for line in lines)
    one_each = width < max(map(len, parts[0]))
    assert one_each == (width == 20)
    assert len(parts) == 8 if one_each else all(len(line) <= width for part in parts for line in part)

    def cells(line: str) -> list[str]:
        return re.split(r" {2,}", line.strip())

    heads = [cells(part[0]) for part in parts]
    assert [title for head in heads for title in head] == cells(whole.splitlines()[4])
    for place, line in enumerate(whole.splitlines()[6:], 2):
        assert [cell for part in parts for cell in cells(part[place])[1:]] == cells(line)[1:]
        assert {cells(part[place])[0] for part in parts} == {cells(line)[0]}
