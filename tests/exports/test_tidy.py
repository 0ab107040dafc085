"""The tidy data frame: it holds what results.csv and the records hold, and survives CSV and Parquet."""

import io
import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.reference import REFERENCE, REFERENCE_RECORDS
from support.study import FAILURE, Study

from benchmark.exports.tidy import COLUMNS, frame, to_csv, to_parquet
from benchmark.protocol import Protocol
from benchmark.records.records import read_files
from benchmark.tables.numbers import SHORTENED

SOME = ("aa_clip--btad", "clip--visa", "coop--mvtec", "winclip--headct")


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    """Some records of the reference."""
    records, _ = read_files(path for path in REFERENCE_RECORDS if path.stem.startswith(SOME))
    return frame(reversed(records))


def test_it_holds_every_number_of_results_csv(reference: pd.DataFrame) -> None:
    expected = pd.read_csv(REFERENCE / "tables/results.csv", dtype=str)  # numbers are read to the last digit below
    expected = expected[expected["record"].isin(reference["record"])].reset_index(drop=True)
    assert len(expected) > 500
    made = reference[list(expected)].assign(**{name: reference[name].str[:12] for name in SHORTENED})
    pd.testing.assert_frame_equal(made, expected.astype(made.dtypes.to_dict()), check_exact=True)


def test_the_rows_of_the_mean_are_the_means_of_the_classes(reference: pd.DataFrame) -> None:
    whole = reference[reference["defect"].isna()]
    is_mean = whole["class"] == "mean"
    keys = ["record", "metric"]
    classes = whole[~is_mean].groupby(keys)["value"].agg(lambda values: values.mean(skipna=False))
    means = whole[is_mean].set_index(keys)["value"].sort_index()
    pd.testing.assert_series_equal(classes.sort_index(), means, check_exact=False, rtol=1e-12)


def test_intervals_are_those_of_the_records(reference: pd.DataFrame) -> None:
    path = next(path for path in REFERENCE_RECORDS if path.stem.startswith("clip--visa"))
    record = json.loads(path.read_text())
    rows = reference[(reference["record"] == path.stem) & reference["defect"].isna()]
    found = {
        (row["class"], row["metric"]): [row["interval_low"], row["interval_high"]]
        for _, row in rows.iterrows()
        if pd.notna(row["interval_low"]) and row["class"] != "mean"
    }
    assert found == {
        (name, metric): ends for name, each in record["classes"].items() for metric, ends in each["intervals"].items()
    }
    mean = rows[(rows["class"] == "mean") & (rows["metric"] == "pixel_auroc")].iloc[0]
    assert mean["interval_low"] < mean["value"] < mean["interval_high"]


def test_a_class_that_is_called_mean_is_told_from_the_mean(study: Study) -> None:
    record = next(each for each in study.records if len(each.classes) == 3 and each.draws)
    first, *rest = record.classes
    names = ["mean", *rest]
    renamed = record.model_copy(update={"classes": dict(zip(names, record.classes.values(), strict=True))})
    rows = frame([renamed], metrics=["image_auroc"])
    rows = rows[(rows["class"] == "mean") & rows["defect"].isna()].set_index("is_mean")
    assert rows["value"].to_dict() == {
        False: record.classes[first].metrics["image_auroc"],
        True: record.mean["image_auroc"],
    }
    of_class = rows.loc[False]
    assert (of_class["interval_low"], of_class["interval_high"]) == record.classes[first].intervals["image_auroc"]
    assert rows.loc[True, "interval_high"] - rows.loc[True, "interval_low"] > 0


def test_every_row_says_how_its_number_was_made(study: Study) -> None:
    table = frame(study.records)
    variant = table[table["method"] == "GenCLIP (branch=vision)"].iloc[0]
    record = next(each for each in study.records if each.id == variant["record"])
    assert json.loads(variant["changed"]) == {"branch": "vision"}
    assert json.loads(variant["options"]) == record.cell.model_dump(mode="json")["options"]
    assert (variant["method_key"], variant["level"]) == ("genclip", "image")
    assert variant["weights"] == record.cell.backbone.sha256
    assert variant["synthetic"] == " ".join(record.synthetic)
    protocol = {name: variant[f"protocol_{name}"] for name in Protocol.model_fields}
    assert protocol == {**record.cell.protocol.model_dump(), "evaluation_size": pd.NA}
    assert not table["record"].isna().any()


def test_types_know_missing_values_and_stay_without_rows(study: Study) -> None:
    for table in (frame(study.records), frame([])):
        assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS


def test_a_cell_that_failed_is_a_row_without_a_number(study: Study) -> None:
    for table in (frame(study.records), frame(study.records, metrics=["pixel_auroc"])):
        (_, row), *others = table[table["status"] == "failed"].iterrows()
        assert (others, row["method"], row["error"]) == ([], "WinCLIP", FAILURE)
        assert row[["class", "metric", "level", "value"]].isna().all()
        assert table[table["status"] == "done"]["metric"].notna().all()


def test_metrics_can_be_chosen(study: Study) -> None:
    assert set(frame(study.records, metrics=["pixel_auroc", "image_ap"])["metric"].dropna()) == {
        "pixel_auroc",
        "image_ap",
    }


def test_csv_holds_the_frame_and_no_formula(study: Study) -> None:
    hostile = [each.model_copy(update={"title": f"=HYPERLINK({each.title})"}) for each in study.records]
    table = frame(hostile)
    text = to_csv(table)
    numbers = [name for name, kind in COLUMNS.items() if kind == "float64"]
    back = pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(numbers, str))  # numbers are read to the last digit below
    assert set(back["method"].str[:2]) == {"'="}
    back["method"] = back["method"].str[1:]
    pd.testing.assert_frame_equal(back.astype(COLUMNS), table, check_exact=True)


def test_parquet_gives_the_frame_back_and_says_the_version(study: Study) -> None:
    table = frame(study.records)
    content = to_parquet(table)
    assert content == to_parquet(frame(study.records))
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(content)), table, check_exact=True)
    metadata = pq.read_schema(io.BytesIO(content)).metadata
    assert metadata[b"zsad-bench"]
