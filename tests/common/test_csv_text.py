"""Cells of CSV files that hold text from outside."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.common.csv_text import clean_cell, plain_cell


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
    line = ",".join(map(clean_cell, texts)) + "\n"
    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [[plain_cell(text) for text in texts]]
