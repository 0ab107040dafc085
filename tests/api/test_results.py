"""Results as data frames and tables, their HTML, and the comparison with published numbers."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.reference import REFERENCE

import benchmark as zb
from benchmark.api.results import Results
from benchmark.errors import BenchError
from benchmark.records.records import Record

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def reference() -> Results:
    """The reference results: generated data, several seeds, ablations."""
    return zb.load_results(REFERENCE)


def real(results: Results) -> Results:
    """The same results, as if data and weights were real."""
    return dataclasses.replace(
        results, records=tuple(record.model_copy(update={"synthetic": ()}) for record in results.records)
    )


def test_a_folder_is_read(reference: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(reference) == len(list((REFERENCE / "records").glob("*.json")))
    assert list(reference) == list(reference.records)
    assert reference.failed == ()
    assert repr(reference) == f"<Results of {len(reference)} cells, in {REFERENCE}>"


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no records in"):
        zb.load_results(tmp_path)


def test_a_record_that_cannot_be_read_is_told(tmp_path: Path, reference: Results) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records/broken.json").write_text("{")
    (tmp_path / "records" / f"{reference.records[0].id}.json").write_text(reference.records[0].model_dump_json())
    found = zb.load_results(tmp_path)
    assert len(found) == 1
    assert "broken.json" in found.problems[0]
    assert "broken.json" in found._repr_html_()


def test_the_frame_has_every_number_of_a_record(reference: Results) -> None:
    record = next(each for each in reference if each.cell.method == "clip" and len(each.classes) > 1)
    frame = dataclasses.replace(reference, records=(record,)).frame("auroc")
    assert set(frame["metric"]) == {"image_auroc", "pixel_auroc"}
    row = frame[(frame["class"] == "mean") & (frame["metric"] == "pixel_auroc")]
    assert row["value"].item() == record.mean["pixel_auroc"]
    assert set(frame["class"]) == {*record.classes, "mean"}


def test_the_table_has_the_means_that_the_command_writes(reference: Results) -> None:
    written = pd.read_csv(REFERENCE / "tables/main_pixel.csv", index_col=0)
    table = reference.table(level="pixel").frame
    assert list(table.index) == list(written.index)
    assert table.to_numpy().round(2) == pytest.approx(written.to_numpy(), nan_ok=True)
    assert [" ".join(column) for column in table.columns][:2] == ["CLIP AUROC", "CLIP AUPRO"]


def test_a_dataset_has_a_table_of_its_classes(reference: Results) -> None:
    written = pd.read_csv(REFERENCE / "tables/visa_image.csv", index_col=0)
    for name in ("visa", "VisA"):
        table = reference.table(dataset=name).frame
        assert list(table.index) == list(written.index)
    assert table.to_numpy().round(2) == pytest.approx(written.to_numpy(), nan_ok=True)


def test_a_metric_says_the_level(reference: Results) -> None:
    assert set(reference.table("pixel_aupro_200").frame.columns.get_level_values(1)) == {"AUPRO-200"}
    assert reference.table("f1max", level="pixel").table.metrics == ("pixel_f1max",)
    assert reference.table().table.metrics == ("image_auroc", "image_ap")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"metric": "aurok"}, "did you mean auroc"),
        ({"level": "pixels"}, "did you mean pixel"),
        ({"dataset": "viza"}, "did you mean visa"),
        ({"dataset": "sdd"}, "no table of sdd"),
        ({"metric": "image_ap", "level": "pixel"}, "image_ap is no metric at pixel level"),
        ({"metric": ["image_auroc", "pixel_auroc"]}, "pixel_auroc is no metric at image level"),
        ({"metric": 3}, "metric=3: say a name"),
    ],
)
def test_a_table_that_is_not_there_is_refused(reference: Results, asked: dict[str, str], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        reference.table(**asked)  # type: ignore[arg-type]


def test_synthetic_results_carry_the_banner_wherever_they_are_shown(reference: Results) -> None:
    shown = reference.table()
    for text in (reference._repr_html_(), shown._repr_html_(), repr(shown)):
        assert "SYNTHETIC MINIATURE: not comparable with published numbers" in text
    assert shown.notes[0].startswith("SYNTHETIC")
    assert set(reference.compare()["verdict"]) <= {"synthetic", "not run"}
    assert reference.compare()["ours"].isna().all()
    assert "SYNTHETIC" not in real(reference)._repr_html_()


def test_the_comparison_has_the_published_number_beside_ours(reference: Results) -> None:
    found = real(reference).compare()
    row = found[
        (found["method"] == "anomalyclip") & (found["dataset"] == "mvtec") & (found["metric"] == "auroc")
        & (found["level"] == "image") & found["reading"].eq("")
    ]  # fmt: skip
    assert 91.5 in row["published"].to_list()  # Table 2 of the paper
    assert set(found["method"]) <= {record.cell.method for record in reference}
    assert found["ours"].notna().any()
    assert len(real(reference).compare(classes=True)) > len(found)


@pytest.mark.parametrize("tolerance", ["a", -1, float("nan"), float("inf"), None, True])
def test_a_tolerance_is_a_number_from_0_on(reference: Results, tolerance: Any) -> None:
    with pytest.raises(BenchError, match=r"tolerance=.*say a number of points from 0 on"):
        reference.compare(tolerance=tolerance)


def test_where_nothing_is_compared_it_is_told(reference: Results, capsys: pytest.CaptureFixture[str]) -> None:
    done = reference.records[0]
    failed = done.model_copy(update={"status": "failed", "error": "a <b>reason</b>"})
    dataset = done.cell.dataset.model_copy(update={"name": "x-subset"})
    part = done.model_copy(update={"cell": done.cell.model_copy(update={"dataset": dataset})})
    for record, said in ((failed, "no cell is done"), (part, "no published number is of these")):
        found = dataclasses.replace(reference, records=(record,)).compare()
        assert found.empty
        assert list(found.columns) == list(reference.compare().columns)
        assert f"nothing to compare: {said}" in capsys.readouterr().err
    html = dataclasses.replace(reference, records=(done, failed))._repr_html_()
    assert "a &lt;b&gt;reason" in html


def hostile(record: Record) -> Record:
    return record.model_copy(
        update={
            "title": HOSTILE,
            "dataset_title": f"{HOSTILE} data",
            "warnings": (HOSTILE,),
            "classes": {f"{HOSTILE} {name}": each for name, each in record.classes.items()},
        }
    )


def test_nothing_of_the_results_is_read_as_html(reference: Results) -> None:
    found = dataclasses.replace(
        reference,
        records=tuple(
            hostile(each) for each in reference if (each.cell.method, each.cell.dataset.name) == ("clip", "visa")
        ),
        problems=(HOSTILE,),
        path=Path(HOSTILE),
    )
    for text in (found._repr_html_(), found.table()._repr_html_(), found.table(dataset="visa")._repr_html_()):
        assert "onerror" in text
        assert "<img" not in text
        assert set(re.findall(r"</?([a-z0-9]+)", text)) <= {
            "p", "strong", "h4", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "b", "u",
        }  # fmt: skip


def test_results_that_cannot_share_a_table_say_so_in_html(reference: Results) -> None:
    first, *rest = [each for each in reference if each.cell.method == "clip"]
    other = first.model_copy(
        update={"id": "other", "cell": first.cell.model_copy(update={"protocol": first.cell.protocol.model_copy(
            update={"mask_gt0": True})})}
    )  # fmt: skip
    mixed = dataclasses.replace(reference, records=(first, other, *rest))
    with pytest.raises(BenchError):
        mixed.table()
    assert "mask_gt0" in mixed._repr_html_()
