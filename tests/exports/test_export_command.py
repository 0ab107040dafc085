"""`bench export results FILE`."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from support.study import Study

Bench = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("ending", ["csv", "parquet", "CSV"])
def test_numbers_of_chosen_records(bench: Bench, real_study: Study, tmp_path: Path, ending: str) -> None:
    file = tmp_path / "new" / f"numbers.{ending}"
    chosen = ("--methods", "clip,genclip", "--datasets", "btad", "--metric", "auroc")
    code, out, err = bench("export", "results", file, "--results", real_study.results, *chosen)
    assert (code, out, str(file) in err) == (0, "", True)
    table = pd.read_csv(file) if ending.lower() == "csv" else pd.read_parquet(file)
    assert set(table["method"]) == {"CLIP", "GenCLIP", "GenCLIP (branch=vision)"}
    assert set(table["dataset"]) == {"btad"}
    assert set(table["metric"]) == {"image_auroc", "pixel_auroc"}


def test_other_endings_are_refused(bench: Bench, real_study: Study, tmp_path: Path) -> None:
    code, _, err = bench("export", "results", tmp_path / "numbers.xlsx", "--results", real_study.results)
    assert code == 2
    assert "numbers.xlsx: say a file that ends in .csv, .parquet" in err


def test_names_are_checked_as_by_the_tables(bench: Bench, real_study: Study, tmp_path: Path) -> None:
    wrong = ("--methods", "clipp")
    code, _, err = bench("export", "results", tmp_path / "numbers.csv", "--results", real_study.results, *wrong)
    assert code == 2
    assert "did you mean clip" in err


def test_cells_that_failed_alone_are_told_to_be_unfinished(bench: Bench, real_study: Study, tmp_path: Path) -> None:
    chosen = ("--results", real_study.results, "--methods", "winclip")
    code, _, err = bench("export", "results", tmp_path / "table.tex", *chosen)
    assert (code, "no result that fits has finished" in err) == (2, True)
