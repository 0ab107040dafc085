"""Cells of CSV files that hold text from outside."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.common.csv_text import plain_cell, to_csv_text


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\u00a0=1", "＝1", "\tx"]
)
def test_what_a_spreadsheet_would_run_is_marked_as_text(text: str) -> None:
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "hex-bolt", "–", "'=1", "1", " a", "CLIP (temperature=0.01)"])
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert plain_cell(text) == text


@given(st.lists(st.text(), min_size=2, max_size=5))
def test_a_line_of_cells_is_read_back_as_it_was(texts: list[str]) -> None:
    line = to_csv_text([texts])
    assert line.endswith("\n")
    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [[plain_cell(text) for text in texts]]


def test_numbers_keep_their_sign_and_are_as_long_as_asked_and_nothing_is_empty() -> None:
    rows = [["name", "value", "count"], ["-x", -0.125, 3], ["y", None, 0]]
    assert to_csv_text(rows) == "name,value,count\n'-x,-0.125,3\ny,,0\n"
    assert to_csv_text(rows, decimals=2) == "name,value,count\n'-x,-0.12,3\ny,,0\n"
    assert to_csv_text([["a\rb", "c\nd", 'e"f', "g,h"]]) == '"a\rb","c\nd","e""f","g,h"\n'
