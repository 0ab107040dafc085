"""Columns of tables: groups by what methods learn from, years, and tables in parts where there are many."""

import itertools
import random
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import data_id, made_record

from benchmark.common.names import year_in
from benchmark.records.records import ClassResult, Record
from benchmark.registry import installed_methods
from benchmark.tables import uncertainty
from benchmark.tables.columns import Column, columns_of, groups_of, places_of
from benchmark.tables.numbers import to_long_csv
from benchmark.tables.parts import MOST_NUMBERS, in_parts
from benchmark.tables.render import render, to_csv
from benchmark.tables.tables import Table, make_tables

DATASETS = ("Parts", "Scans")


def record(
    title: str,
    dataset: str = "Parts",
    *,
    year: int | None = None,
    trained: str | None = None,
    shots: int = 0,
    value: float = 0.5,
) -> Record:
    cell: dict[str, Any] = {"method": re.sub(r"\W", "_", title.lower()), "dataset": data_id(dataset.lower(), dataset)}
    cell["auxiliary"] = data_id(trained, trained) if trained else None
    cell["references"] = {"c": tuple(f"{place}.png" for place in range(shots))} if shots else None
    metrics = {"image_auroc": value, "image_ap": value / 2}
    made = made_record(
        {"c": ClassResult(normal=1, anomalous=1, metrics=metrics)}, cell=cell, title=title, dataset=dataset
    )
    return made.model_copy(update={"year": year})


def thirteen() -> list[Record]:
    """Three methods that train on nothing, and ten others; on each dataset another one is best."""
    given = [("CLIP", 2021, None), ("WinCLIP", 2023, None), ("CLIP-AC", 2021, None)]
    given += [(f"Learner {place}", 2027 - place % 4, "mvtec") for place in range(10)]
    return [
        record(title, dataset, year=year, trained=trained, value=(7 * place + 3 * number) % 13 / 13)
        for place, (title, year, trained) in enumerate(given)
        for number, dataset in enumerate(DATASETS)
    ]


def shuffled(records: Sequence[Record]) -> list[Record]:
    return random.Random(3).sample(records, len(records))


def test_columns_are_grouped_by_what_methods_learn_from_and_then_by_year() -> None:
    records = [
        record("Old learner", trained="visa", year=2020),
        record("Shown and trained", trained="visa", shots=4, year=2019),
        record("Undated"),
        record("Zero", year=2024),
        record("Four", shots=4, year=2021),
        record("One", shots=1, year=2025),
        record("Also zero", year=2024),
        record("New learner", trained="visa", year=2026),
        record("First", year=2021),
    ]
    found = columns_of(shuffled(records))
    assert [(name, [column.title for column in same]) for name, same in groups_of(found)] == [
        ("training-free", ["First", "Also zero", "Zero", "Undated"]),
        ("1-shot", ["One"]),
        ("4-shot", ["Four"]),
        ("auxiliary dataset", ["Old learner", "New learner"]),
        ("auxiliary dataset, 4-shot", ["Shown and trained"]),
    ]
    assert places_of(records) == {column.title: place for place, column in enumerate(found)}
    assert [column.title for column in columns_of(records, ["zero", "old_learner"])][:3] == [
        "Zero",
        "Old learner",
        "First",
    ]


def test_the_auxiliary_dataset_is_named_where_methods_differ_in_it() -> None:
    """Other targets have other auxiliary datasets, which is no difference of methods."""
    usual = [record(title, "Parts", trained="mvtec") for title in ("A", "C")]
    usual += [record(title, "Scans", trained="visa") for title in ("A", "C")]
    assert {column.learns_from for column in columns_of(usual)} == {"auxiliary dataset"}
    other = record("B", "Parts", trained="own")
    assert [(column.title, column.learns_from) for column in columns_of([*usual, other])] == [
        ("A", "auxiliary dataset mvtec, visa"),
        ("C", "auxiliary dataset mvtec, visa"),
        ("B", "auxiliary dataset own"),
    ]


def test_a_record_without_a_year_takes_none_from_its_method() -> None:
    """Records of one column made before and after years were kept have the year."""
    assert columns_of([record("A"), record("A", "Scans", year=2024)]) == (Column("A", year=2024),)


@pytest.mark.parametrize(
    ("reference", "year"),
    [
        ("Zhou et al., AnomalyCLIP, ICLR 2024", 2024),
        ("Radford et al., ICML 2021; prompts of Zhou et al., ICLR 2024", 2021),
        ("Chen et al., 2023 (arXiv 2305.17382)", 2023),
        ("arXiv 2005.01234", None),
        ("Somebody, 20191 images", None),
        ("ours", None),
        ("CVPR2023", 2023),
    ],
)
def test_the_year_of_a_reference(reference: str, year: int | None) -> None:
    assert year_in(reference) == year


def test_every_method_here_has_a_year() -> None:
    assert [name for name, method in installed_methods().items() if year_in(method.paper) is None] == []


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=9), min_size=1, max_size=5), st.integers(20, 60))
def test_parts_hold_every_column_once_and_divide_no_group_that_fits(widths: list[list[int]], room: int) -> None:
    places = itertools.count()
    runs = [[next(places) for _ in run] for run in widths]
    sizes = [size for run in widths for size in run]

    def fits(columns: Sequence[int]) -> bool:
        return sum(sizes[place] for place in columns) <= room

    parts = in_parts(runs, fits)
    assert [place for part in parts for place in part] == list(range(len(sizes)))
    assert all(fits(part) or len(part) == 1 for part in parts)
    for run in runs:
        assert not fits(run) or any(set(run) <= set(part) for part in parts)
    assert len(parts) == 1 or not fits(range(len(sizes)))


def test_a_table_of_thirteen_methods_is_in_parts_that_a_page_has_room_for() -> None:
    table = make_tables(shuffled(thirteen()))[0]
    text = render(table, "md")
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    heads = [[cell.strip() for cell in block[0].strip("|").split("|")][1:] for block in blocks]
    assert [len(head) for head in heads] == [8, 5]
    assert [title for head in heads for title in head] == [column.title for column in table.columns]
    assert max(len(head) for head in heads) * len(table.metrics) <= MOST_NUMBERS
    lines = [line for line in text.splitlines() if line.startswith(("Training-free:", "Auxiliary dataset:"))]
    assert lines[0].startswith("Training-free: CLIP (2021), CLIP-AC (2021), WinCLIP (2023); auxiliary dataset: ")
    assert lines[1].startswith("Auxiliary dataset: ")
    years = [int(year) for year in re.findall(r"Learner \d \((\d+)\)", " ".join(lines))]
    assert years == sorted(years)
    for place, row in enumerate(table.rows, 2):
        cells = [block[place] for block in blocks]
        assert {cell.split("|")[1].strip() for cell in cells} == {row.title}
        assert sum(cell.count("**") for cell in cells) == 4, "one best of each metric over all parts"
    few = render(make_tables([each for each in thirteen() if not each.title.startswith("Learner")])[0], "md")
    assert few.count("|:--") == 1 + 3


def test_the_parts_of_a_latex_table_are_one_table() -> None:
    table = make_tables(thirteen())[0]
    lines = render(table, "tex").splitlines()
    assert r"\begin{tabular}{lllllllll}" in lines
    assert lines.count(r"\midrule[\heavyrulewidth]") == 1
    assert [line for line in lines if line.startswith(r"\cmidrule")] == [
        r"\cmidrule(lr){2-4} \cmidrule(lr){5-9}",
        r"\cmidrule(lr){2-6}",
    ]
    groups = [line for line in lines if "multicolumn" in line]
    assert groups == [
        r" & \multicolumn{3}{c}{training-free} & \multicolumn{5}{c}{auxiliary dataset} \\",
        r" & \multicolumn{5}{c}{auxiliary dataset} \\",
    ]
    assert [line.count("&") for line in lines if line.startswith("year ")] == [8, 5]
    for row in table.rows:
        assert [line.count("&") for line in lines if line.startswith(f"{row.title} &")] == [8, 5]


def test_no_year_is_shown_where_no_record_says_it() -> None:
    table: Table = make_tables([record("A"), record("B", trained="visa")])[0]
    assert "Training-free: A; auxiliary dataset: B\n" in render(table, "md")
    assert "year" not in table.facts


def test_all_tables_have_one_order_and_csv_one_table() -> None:
    records = shuffled(thirteen())
    order = [column.title for column in columns_of(records)]
    assert to_csv(make_tables(records)[0]).splitlines()[0].split(",")[1::2] == [f"{each} image_auroc" for each in order]
    found = uncertainty.estimates(records)
    of_one = [each.title for each in found if (each.dataset, each.class_name, each.metric)[1:] == (None, "image_ap")]
    assert of_one == order * 2
    text = uncertainty.render(found, records)
    heads = [line for line in text.splitlines() if line.startswith("| ") and "Learner 1 " in line]
    assert all(line.count("|") <= 2 + MOST_NUMBERS // uncertainty.NUMBERS_PER_CELL for line in heads)
    header, first, *_ = to_long_csv([record("A", year=2024)]).splitlines()
    assert (header.split(",")[-1], first.split(",")[-1]) == ("year", "2024")
