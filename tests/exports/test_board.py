"""Leaderboards: the documented JSON of Papers with Code, values as in the records, and nothing made up in it."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict
from support.records import data_id, made_record
from support.study import PARTS, SCANS, Study

from benchmark.exports.board import FEW_SHOT, ZERO_SHOT, BoardError, board_json
from benchmark.records.records import ClassResult, Record

Bench = Callable[..., tuple[int, str, str]]
AUROC = "Image AUROC"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Link(Strict):
    """As the README of github.com/paperswithcode/sota-extractor describes it, and so are the next ones."""

    title: str
    url: str


class SotaRow(Strict):
    model_name: str
    paper_title: str
    paper_url: str
    paper_date: date | None
    code_links: list[Link]
    model_links: list[Link]
    metrics: dict[str, float | str]
    uses_additional_data: bool
    """In the schema, not in the README."""


class Sota(Strict):
    metrics: list[str]
    rows: list[SotaRow]


class Dataset(Strict):
    dataset: str
    description: str
    subdatasets: list["Dataset"]
    dataset_links: list[Link]
    dataset_citations: list[Link]
    sota: Sota


class Task(Strict):
    task: str
    description: str
    subtasks: list["Task"]
    datasets: list[Dataset]
    source_link: Link | None


def record(title: str = "A", *, auroc: float | None = 0.5, **cell: Any) -> Record:
    result = ClassResult(normal=1, anomalous=1, metrics={"image_auroc": auroc, "image_ap": 0.25})
    fields = {"method": title.lower(), "dataset": data_id("mvtec", "f" * 64), **cell}
    return made_record({"bottle": result}, cell=fields, title=title, dataset="MVTec AD")


def rows_of(text: str) -> list[Any]:
    return [row for task in json.loads(text) for dataset in task["datasets"] for row in dataset["sota"]["rows"]]


def test_it_has_the_documented_structure_with_conditions_in_each_row(real_study: Study) -> None:
    content = json.loads(board_json(real_study.records))
    for task in content:
        for dataset in task["datasets"]:
            for row in dataset["sota"]["rows"]:
                conditions = row.pop("conditions")
                assert {"protocol", "auxiliary", "backbone", "weights_sha256", "seeds", "records"} <= conditions.keys()
                assert set(row["metrics"]) <= set(dataset["sota"]["metrics"])
        Task.model_validate(task)
    (task,) = content
    assert [dataset["dataset"] for dataset in task["datasets"]] == [PARTS, SCANS]


def test_values_are_those_of_the_records_in_percent(real_study: Study) -> None:
    text = board_json(real_study.records, metrics=["image_auroc", "pixel_aupro_200"])
    by_id = {each.id: each for each in real_study.records}
    rows = rows_of(text)
    assert len(rows) == 6  # neither the row of an ablation nor the cell that failed
    for row in rows:
        (made,) = (by_id[each] for each in row["conditions"]["records"])
        assert row["model_name"].startswith(f"{made.title} (")
        assert row["metrics"][AUROC] == round(100 * (made.mean["image_auroc"] or 0), 2)
        assert set(row["metrics"]) <= {AUROC, "Pixel AUPRO-200"}


def test_seeds_are_one_row_with_mean_and_deviation() -> None:
    values = (0.5, 0.625, 0.9)
    (row,) = rows_of(board_json([record(auroc=value, seed=seed) for seed, value in enumerate(values)]))
    assert row["metrics"][AUROC] == round(100 * np.mean(values), 2)
    assert row["conditions"]["standard_deviations"][AUROC] == round(100 * np.std(values, ddof=1), 2)
    assert row["conditions"]["seeds"] == [0, 1, 2]


def test_names_are_printable_and_not_empty() -> None:
    odd = record().model_copy(update={"title": "A\x1b[31m"})
    nameless = record("B", dataset=data_id("own", "e" * 64)).model_copy(update={"dataset_title": " "})
    text = board_json([odd, nameless])
    assert sorted(row["model_name"] for row in rows_of(text)) == ["A\\x1b[31m (b)", "B (b)"]
    assert {each["dataset"] for each in json.loads(text)[0]["datasets"]} == {"MVTec AD", "own"}


def test_what_is_undefined_is_left_out_and_is_no_zero() -> None:
    text = board_json([record(auroc=None)])
    assert rows_of(text)[0]["metrics"] == {"Image AP": 25.0}
    assert json.loads(text)[0]["datasets"][0]["sota"]["metrics"] == ["Image AP"]


def test_a_row_says_what_the_method_was_trained_on_and_its_paper() -> None:
    trained = record(auxiliary=data_id("visa", "v" * 64))
    (row,) = rows_of(board_json([trained], papers={"a": "A. Author, 2026"}))
    assert row["model_name"] == "A (b, trained on visa)"
    assert (row["conditions"]["auxiliary"], row["uses_additional_data"]) == ("visa", True)
    assert row["paper_title"] == "A. Author, 2026"


def test_the_aupro_that_is_not_that_of_papers_stands_there_only_where_it_is_asked_for() -> None:
    metrics = {"pixel_aupro": 0.5, "pixel_aupro_200": 0.75}
    cell = {"method": "a", "dataset": data_id("mvtec", "f" * 64)}
    made = made_record(
        {"bottle": ClassResult(normal=1, anomalous=1, metrics=metrics)}, cell=cell, title="A", dataset="D"
    )
    assert rows_of(board_json([made]))[0]["metrics"] == {"Pixel AUPRO-200": 75.0}
    assert rows_of(board_json([made], metrics=["pixel_aupro"]))[0]["metrics"] == {"Pixel AUPRO": 50.0}


def test_a_few_shot_method_is_on_a_board_of_its_own() -> None:
    few = record("B", references={"bottle": ("train/good/000.png",)}, references_sha256="r")
    first, second = json.loads(board_json([record(), few]))
    assert (first["task"], second["task"]) == (ZERO_SHOT, FEW_SHOT)
    assert second["datasets"][0]["sota"]["rows"][0]["conditions"]["reference_images"] == 1


def test_the_dataset_is_linked_as_its_card_says() -> None:
    (link,) = json.loads(board_json([record()]))[0]["datasets"][0]["dataset_links"]
    assert link["title"] == "MVTec AD"
    assert link["url"].startswith("https://")


def test_synthetic_results_are_refused(study: Study) -> None:
    with pytest.raises(BoardError, match=r"synthetic .* no board may take them for real"):
        board_json(study.records)


def test_failed_cells_alone_are_no_board() -> None:
    with pytest.raises(BoardError, match="no finished results"):
        board_json([record().model_copy(update={"status": "failed", "error": "x", "classes": {}, "mean": {}})])


def test_the_command_writes_it(bench: Bench, real_study: Study, tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    chosen = ("--methods", "genclip,clip", "--metric", "image_auroc")
    assert bench("export", "results", file, "--results", real_study.results, *chosen)[0] == 0
    first, second, *_ = rows_of(file.read_text(encoding="utf-8"))
    assert (first["conditions"]["method"], second["conditions"]["method"]) == ("genclip", "clip")
    assert first["paper_title"]
    assert set(first["metrics"]) == {AUROC}
