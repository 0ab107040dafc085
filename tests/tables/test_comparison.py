"""Published numbers, and results beside them: what is read, compared, refused, and why numbers may differ."""

import csv
import functools
import io
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.as_published import AS_PUBLISHED, VIT_L, Metrics, data_id, record

from benchmark.common.regions import find_regions
from benchmark.data.cards import load_cards
from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.per_image import PerImageAccumulator
from benchmark.metrics.pixel import image_pixels
from benchmark.protocol import Protocol, auxiliaries_for
from benchmark.records.cells import BackboneId
from benchmark.records.intervals import with_intervals
from benchmark.records.placement import Placement
from benchmark.records.records import ClassResult, Record, Skipped, write_record
from benchmark.registry import all_methods, changed_options
from benchmark.tables.comparison import Comparison, compare, group_seeds
from benchmark.tables.comparison_output import (
    comparison_csv,
    counts,
    published_csv,
    render_comparison,
    render_published,
)
from benchmark.tables.published import (
    Number,
    PublishedError,
    Sources,
    load_published,
    published_directory,
    read_numbers,
    read_sources,
)
from benchmark.tables.uncertainty import estimates_of

TABLE1 = "AnomalyCLIP (ICLR 2024, arXiv 2310.18961) Table 1"
Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def compared(bench: Bench, tmp_path: Path) -> Bench:
    """Run `bench compare` on a results folder of its own."""
    return functools.partial(bench, "compare", "--results", tmp_path / "r")


def number(
    method: str, dataset: str, metric: str, file: str = "anomalyclip_table", class_name: str | None = None
) -> Number:
    """The one published number of a printed method on a card; `metric` as in `pixel aupro`."""
    level, _, name = metric.partition(" ")
    (found,) = (
        n
        for n in load_published()
        if (n.row.method, n.dataset, n.row.level, n.row.metric, n.class_name)
        == (method, dataset, level, name, class_name)
        and file in n.file
    )
    return found


def against(published: Number, *records: Record, tolerance: float = 1.0) -> Comparison:
    (row,) = compare([published], records, tolerance=tolerance)
    return row


# ------------------------------------------------------------------------------------------------- published numbers


def test_all_published_numbers_are_read_and_resolve() -> None:
    numbers = load_published()
    assert Counter(n.file for n in numbers) == {
        "aa_clip_official_log_per_class.csv": 120,
        "adaclip_ablations.csv": 88,
        "adaclip_supplement_anomalyclip_protocol.csv": 21,
        "adaclip_supplement_per_class.csv": 464,
        "adaclip_tables1_2.csv": 84,
        "anomalyclip_official_log_per_class.csv": 116,
        "anomalyclip_rebuttal_ablations.csv": 22,
        "anomalyclip_rerun_zep_per_class.csv": 203,
        "anomalyclip_table1_industrial.csv": 164,
        "anomalyclip_table2_medical.csv": 120,
        "anomalyclip_table3_medical_finetuned.csv": 36,
        "anomalyclip_table4_modules.csv": 40,
        "anomalyclip_table5_losses.csv": 32,
        "april_gan_adaclip_reruns.csv": 78,
        "coevoad_readme.csv": 50,
        "crane_table1.csv": 93,
        "edmprompt_readme.csv": 44,
        "moeclip_main_table.csv": 115,
        "musc_readme.csv": 9,
        "psmp_clip_tables.csv": 115,
        "second_hand.csv": 10,
        "visualad_readme.csv": 124,
        "winclip_reproduction_f1_per_class.csv": 58,
        "winclip_reproduction_per_class.csv": 145,
    }
    assert list(dict.fromkeys(n.file for n in numbers)) == list(
        read_sources(published_directory() / "sources.toml").files
    )
    assert {n.method for n in numbers if n.method} == set(all_methods()) - {"genclip", "mrad_tf", "mrad_ft"}
    assert {n.row.method for n in numbers if n.method is None} == {
        "AnomalyCLIP, ensemble of Q-K, Q-Q, K-K, V-V",
        *(f"AdaCLIP (retrained by BaoIAD), epoch {epoch}" for epoch in (1, 2, 3, 4)),
    }
    papers = {name for name, card in load_cards().items() if not card.beyond}
    assert {n.dataset for n in numbers} == {*papers, "industrial mean (7)", "medical mean"}
    for name in ("mvtec", "visa"):
        classes = {n.class_name for n in numbers if n.dataset == name} - {None}
        assert classes == {each.name for each in load_cards()[name].classes}


def test_levels_are_those_of_the_cards() -> None:
    for card in load_cards().values():
        levels = {n.row.level for n in load_published() if card in n.cards}
        assert levels <= set(card.levels)


@pytest.mark.parametrize(
    ("method", "dataset", "metric", "file", "class_name", "value"),
    [
        ("CLIP", "mvtec", "image auroc", "table1", None, 74.1),
        ("WinCLIP", "mvtec", "pixel aupro", "table1", None, 64.6),
        ("AnomalyCLIP", "visa", "pixel aupro", "table1", None, 87.0),
        ("AnomalyCLIP", "visa", "pixel aupro", "log", None, 86.7),
        ("AnomalyCLIP", "sdd", "image ap", "table1", None, 80.0),
        ("CoOp", "brainmri", "image ap", "table2", None, 44.9),
        ("AnomalyCLIP", "endo", "pixel auroc", "table2", None, 84.1),
        ("AnomalyCLIP", "mvtec", "pixel aupro", "log", "carpet", 90.0),
        ("WinCLIP (unofficial re-implementation)", "mvtec", "pixel ap", "winclip", "carpet", 26.0),
        ("WinCLIP (unofficial re-implementation)", "visa", "image f1max", "winclip", None, 78.2),
        ("AnomalyCLIP (medical training)", "covid19", "image ap", "table3", None, 33.7),
        ("AnomalyCLIP, modules: Base", "mvtec", "pixel aupro", "table4", None, 15.4),
        ("AnomalyCLIP, losses: global only", "visa", "image auroc", "table5", None, 82.2),
        ("AnomalyCLIP, shared prompt contexts", "visa", "image auroc", "rebuttal", None, 81.5),
        ("AnomalyCLIP", "btad", "pixel aupro", "visualad", None, 71.0),
        ("CoOp", "dtd_synthetic", "pixel aupro", "edmprompt", None, 36.1),
        ("VAND", "visa", "pixel aupro", "table1", None, 86.8),
        ("VAND (medical training)", "headct", "image auroc", "table3", None, 89.1),
        ("April-GAN", "cvc_colondb", "pixel ap", "moeclip", None, 23.3),
        ("AdaCLIP", "cvc_colondb", "pixel f1max", "adaclip_tables", None, 58.2),
        ("AdaCLIP", "sdd", "image auroc", "adaclip_supplement_anomalyclip", None, 94.1),
        ("APRIL-GAN (published checkpoint, re-run)", "mvtec", "image auroc", "reruns", "bottle", 91.7460),
        ("AdaCLIP, K = 80", "medical mean", "pixel f1max", "adaclip_ablations", None, 58.9),
        ("AA-CLIP", "mvtec", "pixel auroc", "aa_clip", "bottle", 93.56),
        ("AA-CLIP", "mpdd", "image ap", "aa_clip", None, 80.583333),
        ("AA-CLIP", "kvasir", "pixel ap", "moeclip", None, 52.9),
        ("AA-CLIP", "tn3k", "pixel aupro", "psmp", None, 47.7),
        ("FAPrompt", "sdd", "image auroc", "edmprompt", None, 84.4),
        ("FAPrompt", "mvtec", "image auroc", "second_hand", None, 91.9),
        ("MRAD", "headct", "image ap", "psmp", None, 97.6),
    ],
)
def test_values_are_as_printed(
    method: str, dataset: str, metric: str, file: str, class_name: str | None, value: float
) -> None:
    assert number(method, dataset, metric, file, class_name).row.value == value


def test_printed_means_are_those_of_the_classes_within_rounding() -> None:
    numbers = load_published()
    means = [n for n in numbers if n.class_name is None and "per_class" in n.file]
    assert len(means) == 8 + 10 + 4 + 14 + 3 * 4 + 3 * 2
    for mean in means:
        place = (mean.file, mean.dataset, mean.metric)
        values = [n.row.value for n in numbers if n.class_name and (n.file, n.dataset, n.metric) == place]
        assert len(values) == len(mean.cards[0].classes)
        assert mean.row.value == pytest.approx(sum(values) / len(values), abs=0.1)


def test_adaclips_tables_are_means_of_its_supplement_and_its_ablations_means_of_its_tables() -> None:
    numbers = [n for n in load_published() if n.file.startswith("adaclip")]
    tables = {(n.row.method, n.dataset, n.metric): n.row.value for n in numbers if "tables1_2" in n.file}
    classes: dict[tuple[str, str, str], list[float]] = {}
    for n in numbers:
        if "per_class" in n.file:
            assert n.class_name is not None
            classes.setdefault((n.row.method, n.dataset, n.metric), []).append(n.row.value)
    assert len(classes) == 2 * 6 * 4
    for place, values in classes.items():
        assert len(values) == len(load_cards()[place[1]].classes)
        assert sum(values) / len(values) == pytest.approx(tables[place], abs=0.06)  # 98.16 is printed as 98.1
    means = [n for n in numbers if n.is_mean and n.row.method == "AdaCLIP"]
    assert len(means) == 8
    for mean in means:
        values = [tables["AdaCLIP", card.name, mean.metric] for card in mean.cards]
        assert sum(values) / len(values) == pytest.approx(mean.row.value, abs=0.05)


def test_conditions_are_those_of_the_row() -> None:
    ours = number("AnomalyCLIP", "visa", "pixel aupro").conditions
    assert (ours.auxiliary_for("visa"), ours.auxiliary_for("mvtec"), ours.seed) == ("mvtec", "visa", 111)
    assert number("WinCLIP", "visa", "image ap").conditions.backbone == "ViT-B-16-plus-240:laion400m_e32"
    assert number("WinCLIP", "mpdd", "image ap").conditions.backbone is None
    assert number("WinCLIP", "visa", "image ap").conditions.aupro is None
    with_code = number("WinCLIP (unofficial re-implementation)", "visa", "image ap", "winclip").conditions
    assert (with_code.backbone, with_code.aupro) == ("ViT-B-16-plus-240:laion400m_e31", "aupro_200")


def test_the_same_number_stands_in_one_file_only_if_the_source_measured_it() -> None:
    """Tables of other papers hold what they do not quote from those of AnomalyCLIP and AdaCLIP."""
    quoting = ("coevoad", "crane", "edmprompt", "moeclip", "musc", "psmp")
    quoted = ("anomalyclip_table1", "anomalyclip_table2", "adaclip_tables", "adaclip_supplement_anomalyclip")
    own = {(n.method, n.dataset, n.metric, n.row.value) for n in load_published() if n.file.startswith(quoted)}
    for n in load_published():
        if n.file.startswith(quoting):
            assert (n.method, n.dataset, n.metric, n.row.value) not in own


def test_every_printed_variant_is_a_row_of_an_ablation() -> None:
    """So `bench ablate` makes the result that the number is held against; options stand as records have them."""
    variants = {(n.row.method, v.reading): v for n in load_published() if n.is_row for v in n.variants}
    assert len(variants) == 5 * 2 + 4 + 6 + 2 + 11
    for variant in variants.values():
        method = all_methods()[variant.method]
        rows = [replace(method.Options(), **row) for each in method.ablations for row in each.variants.values()]
        assert variant.options is not None
        assert variant.options in [changed_options(options) for options in rows]


SOURCES = Sources.model_validate(
    {
        "files": {"f.csv": "F"},
        "methods": {"CLIP": "clip"},
        "datasets": {"DAGM": "dagm"},
        "means": {"both": ["mvtec", "headct", "isic"]},
        "conditions": [{"files": ["f.csv"], "methods": ["CLIP"], "datasets": ["MVTec AD", "DAGM", "both"]}],
    }
)
HEADER = "method,dataset,level,metric,value,source"
GOOD = "CLIP,MVTec AD,image,auroc,74.1,a paper"


def read(directory: Path, text: str) -> list[Number]:
    path = directory / "f.csv"
    path.write_text(text)
    return read_numbers(path, SOURCES)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, f'{HEADER}\n{GOOD}\nCLIP,DAGM,pixel,aupro,2.9,"a paper, Table 1"\n')
    assert [(n.dataset, n.metric, n.row.value, n.row.source) for n in found] == [
        ("mvtec", "image_auroc", 74.1, "a paper"),
        ("dagm", "pixel_aupro_200", 2.9, "a paper, Table 1"),
    ]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("CLIP,MVTec AD,image,auroc,much,a paper", "row 3: value"),
        ("CLIP,MVTec AD,image,auroc,740,a paper", "row 3: value"),
        ("CLIP,MVTec AD,image,auroc,nan,a paper", "row 3: value"),
        ("CLIP,MVTec AD,picture,auroc,74.1,a paper", "row 3: level"),
        ("CLIP,MVTec AD,image,auc,74.1,a paper", "row 3: metric"),
        ("CLIP,MVTec AD,image,aupro,74.1,a paper", "row 3: .*no metric of the image level"),
        ("CLIP,MVTec AD,image,ap,74.1,", "row 3: source"),
        ("CLIP,MVTec,image,ap,74.1,a paper", "row 3: 'MVTec' is no title of a card"),
        ("CLOP,MVTec AD,image,ap,74.1,a paper", "row 3: unknown method 'CLOP'"),
        ("CLIP,VisA,image,ap,74.1,a paper", "row 3: no entry of .*conditions"),
        ("CLIP,MVTec AD,image,ap,74.1,a paper, Table 1", "row 3: 7 cells, not 6; quote"),
        (GOOD, "row 3: row 2 is of the same number"),
    ],
)
def test_a_wrong_row_is_refused_with_its_file_and_number(tmp_path: Path, bad: str, said: str) -> None:
    with pytest.raises(PublishedError, match=rf"f\.csv, {said}"):
        read(tmp_path, f"{HEADER}\n{GOOD}\n{bad}\n")


def test_a_mean_over_datasets_is_of_those_that_have_the_level(tmp_path: Path) -> None:
    image, pixel = read(tmp_path, f"{HEADER}\nCLIP,both,image,ap,1.0,s\nCLIP,both,pixel,ap,1.0,s\n")
    assert [[card.name for card in n.cards] for n in (image, pixel)] == [["mvtec", "headct"], ["mvtec", "isic"]]
    assert {(n.dataset, n.dataset_title) for n in (image, pixel)} == {("both", "both")}
    with pytest.raises(PublishedError, match=r"f\.csv, row 2: 'both' is a mean over datasets"):
        read(tmp_path, "method,dataset,class,level,metric,value,source\nCLIP,both,pill,image,ap,1.0,s\n")


def test_a_class_that_the_card_does_not_know_is_refused(tmp_path: Path) -> None:
    text = "method,dataset,class,level,metric,value,source\nCLIP,MVTec AD,{},image,ap,1.0,s\n"
    assert read(tmp_path, text.format("metal_nut"))[0].class_name == "metal_nut"
    with pytest.raises(PublishedError, match=r"f\.csv, row 2: 'metal nut' is no class of mvtec"):
        read(tmp_path, text.format("metal nut"))


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", HEADER.replace("level,", "") + "\n"])
def test_other_columns_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PublishedError, match=r"f\.csv, row 1: the columns must be method,dataset,level"):
        read(tmp_path, text)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(PublishedError, match=r"f\.csv: not readable CSV"):
        read_numbers(tmp_path / "f.csv", SOURCES)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 111", "sed = 111", "conditions.0.sed"),
        ("mask_gt0 = true, pos", "mask_gt1 = true, pos", "conditions.0.protocol"),
        ('aupro = "aupro_200"', 'aupro = "exact"', "conditions.0.aupro"),
        ('"*" = "mvtec"', '"*" = "mvtek"', "conditions.0.auxiliary.*'mvtek' is no card"),
        ('"*" = "mvtec+cvc_colondb"', '"*" = "mvtec+colondb"', "conditions.*'colondb' is no card"),
        ('dagm = "adaclip", sdd', 'dagm = "adaklip", sdd', "layouts.*'adaklip' is no layout of a card 'dagm'"),
        ('"headct", "brainmri"', '"headct", "brain"', "means.*'brain' is no card"),
        (
            'reading = "by the text", options = { attention',
            'raeding = "x", options = { attention',
            "methods.AnomalyCLIP, modules: Base.0.raeding",
        ),
        ('"clip_ac"', '[{ method = "clip" }, { method = "coop" }]', "methods.*'CLIP-AC' stands for several methods"),
        ("[methods]", "[methods", "not readable TOML"),
    ],
)
def test_wrong_sources_are_refused_with_the_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (published_directory() / "sources.toml").read_text()
    assert old in text
    (tmp_path / "sources.toml").write_text(text.replace(old, new))
    with pytest.raises(PublishedError, match=said):
        read_sources(tmp_path / "sources.toml")


def test_every_file_must_be_named_and_every_name_be_a_file(tmp_path: Path) -> None:
    shutil.copytree(published_directory(), tmp_path / "p")
    (tmp_path / "p" / "more.csv").write_text(HEADER)
    with pytest.raises(PublishedError, match=r"sources\.toml: more\.csv is not named there"):
        load_published(tmp_path / "p")
    (tmp_path / "p" / "more.csv").unlink()
    (tmp_path / "p" / "anomalyclip_table2_medical.csv").unlink()
    with pytest.raises(PublishedError, match=r"anomalyclip_table2_medical\.csv is named there but does not exist"):
        load_published(tmp_path / "p")


# --------------------------------------------------------------------------------------------------------- comparing


@pytest.mark.parametrize(
    ("ours", "tolerance", "difference", "verdict"),
    [
        (0.8210, 1.0, 0.0, "within"),
        (0.8310, 1.0, 1.0, "within"),
        (0.8110, 1.0, -1.0, "within"),
        (0.8311, 1.0, 1.01, "differs"),
        (0.8109, 1.0, -1.01, "differs"),
        (0.8311, 2.0, 1.01, "within"),
        (0.8211, 0.0, 0.01, "differs"),
    ],
)
def test_without_an_interval_the_verdict_goes_by_the_value_alone(
    ours: float, tolerance: float, difference: float, verdict: str
) -> None:
    published = number("AnomalyCLIP", "visa", "image auroc")
    row = against(published, record({"image_auroc": ours}), tolerance=tolerance)
    assert row.verdict == verdict
    assert row.ours == pytest.approx(100 * ours)
    assert row.difference == pytest.approx(difference)


def test_a_point_is_a_point_whatever_the_floats_say() -> None:
    published = number("AnomalyCLIP", "headct", "image ap")
    assert 100 * 0.926 - published.row.value > 1.0  # by 1e-14
    assert against(published, record({"image_ap": 0.926}, dataset="headct")).verdict == "within"


def test_under_the_published_conditions_there_is_no_reason_to_differ() -> None:
    for metric in ("image auroc", "image ap", "pixel auroc", "pixel aupro"):
        for file in ("anomalyclip_table", "log"):
            row = against(number("AnomalyCLIP", "visa", metric, file), record(dict(AS_PUBLISHED)))
            assert (row.verdict, row.reasons) == ("within", ())


def test_each_source_of_a_number_is_a_row() -> None:
    files = ("anomalyclip_table1_industrial.csv", "anomalyclip_official_log_per_class.csv")
    numbers = [n for n in load_published() if n.class_name is None and n.dataset == "visa" and n.file in files]
    rows = compare(numbers, [record(dict(AS_PUBLISHED))], tolerance=0.1)
    found = {(r.number.metric, r.number.row.value): r.verdict for r in rows if r.verdict != "not run"}
    assert found["pixel_aupro_200", 87.0] == "within"
    assert found["pixel_aupro_200", 86.7] == "differs"
    assert len(found) == 4 + 3  # pixel AUROC is the same in both


def test_a_papers_aupro_is_never_compared_with_the_exact_one() -> None:
    published = number("AnomalyCLIP", "visa", "pixel aupro")
    row = against(published, record({"pixel_auroc": 0.955, "pixel_aupro": 0.870}))
    assert (row.verdict, row.ours, row.difference) == ("undefined", None, None)
    assert row.reasons == ("the record has no pixel_aupro_200",)
    both = against(published, record({"pixel_aupro": 0.870, "pixel_aupro_200": 0.5}))
    assert both.ours == 50.0


def test_a_fragile_metric_is_compared_by_its_range_and_marked_where_that_is_wide() -> None:
    published = number("AnomalyCLIP", "visa", "pixel aupro")  # 87.0

    def measured(low: float, high: float) -> Comparison:
        ranges = {"pixel_aupro_200": (low, high)}
        one = ClassResult(normal=1, anomalous=1, metrics={"pixel_aupro_200": 0.90}, ranges=ranges)
        return against(published, record({}, classes={each.name: one for each in published.cards[0].classes}))

    wide, narrow, far = measured(0.85, 0.92), measured(0.8999, 0.9001), measured(0.889, 0.91)
    assert [row.verdict for row in (wide, narrow, far)] == ["undecided", "differs", "differs"]
    assert [row.difference for row in (wide, narrow, far)] == [pytest.approx(3.0)] * 3
    assert wide.span == pytest.approx((85.0, 92.0))
    for style in ("md", "txt"):
        text = render_comparison([wide, narrow], style, tolerance=1.0)
        assert text.count("90.00 †") == 1
        assert "† The last digits of the scores, which differ from machine to machine, can move this value" in text
        assert "†" not in render_comparison([narrow], style, tolerance=1.0)
    (row,) = csv.DictReader(io.StringIO(comparison_csv([wide])))
    assert (float(row["low"]), float(row["high"])) == pytest.approx((85.0, 92.0))


def test_the_range_is_averaged_over_the_seeds_and_lacks_where_one_seed_lacks_it() -> None:
    published = number("AnomalyCLIP", "visa", "pixel aupro")
    metrics: Metrics = {"pixel_aupro_200": 0.9}
    spans = ((0.8, 0.9), (0.9, 1.0), None)
    made = []
    for seed, span in enumerate(spans):
        ranges = {} if span is None else {"pixel_aupro_200": span}
        one = ClassResult(normal=1, anomalous=1, metrics=metrics, ranges=ranges)
        classes = {each.name: one for each in published.cards[0].classes}
        made.append(record({}, classes=classes, cell={"seed": seed}))
    assert against(published, *made[:2]).span == pytest.approx((85.0, 95.0))
    assert against(published, *made).span is None


def test_undefined_is_a_dash() -> None:
    row = against(number("AnomalyCLIP", "visa", "image ap"), record({"image_ap": None}))
    assert (row.verdict, row.ours, row.reasons) == ("undefined", None, ("undefined on these images",))
    assert "–" in render_comparison([row], "txt", tolerance=1.0)
    zero = against(number("AnomalyCLIP", "visa", "image ap"), record({"image_ap": 0.0}))
    assert (zero.verdict, zero.ours) == ("differs", 0.0)


def test_synthetic_results_are_never_compared_and_their_values_are_nowhere() -> None:
    numbers = [n for n in load_published() if n.dataset == "visa"]
    metrics: Metrics = {
        "image_auroc": 0.43217,
        "image_ap": 0.43217,
        "pixel_auroc": 0.43217,
        "pixel_aupro_200": 0.43217,
    }
    real = compare(numbers, [record(metrics)], tolerance=1.0)
    assert "43.2" in render_comparison(real, "txt", tolerance=1.0)
    for what in (("data",), ("weights",), ("data", "weights")):
        rows = compare(numbers, [record(metrics, synthetic=what)], tolerance=100.0)
        assert {row.verdict for row in rows if row.records} == {"synthetic"}
        assert all(row.ours is row.difference is row.deviation is None for row in rows)
        for text in (*(render_comparison(rows, s, tolerance=100.0) for s in ("txt", "md")), comparison_csv(rows)):
            assert "43.2" not in text
            assert "0.432" not in text
            assert f"generated {' and '.join(what)}" in text
        assert "SYNTHETIC" in render_comparison(rows, "md", tolerance=1.0)
        assert counts(rows, 1.0).startswith("Of the published numbers: 0 within 1 point, 0 differ, 0 undecided, ")


def test_real_and_synthetic_results_of_one_name_are_rows_of_their_own() -> None:
    synthetic = record(dict(AS_PUBLISHED), synthetic=("data",), cell={"dataset": data_id("visa", "mini")})
    rows = compare([number("AnomalyCLIP", "visa", "image ap")], [synthetic, record(dict(AS_PUBLISHED))], tolerance=1.0)
    assert sorted(row.verdict for row in rows) == ["synthetic", "within"]
    assert len({row.title for row in rows}) == 2


def test_seeds_are_averaged_with_their_deviation() -> None:
    published = number("AnomalyCLIP", "visa", "image auroc")
    seeds = [record({"image_auroc": v}, cell={"seed": s}) for s, v in ((0, 0.80), (1, 0.84), (2, 0.82))]
    row = against(published, *seeds)
    assert row.ours == pytest.approx(82.0)
    assert row.deviation == pytest.approx(2.0)
    assert row.reasons == ("mean of seeds 0, 1, 2, published 111",)
    assert len(row.records) == 3
    assert "82.00 ± 2.00" in render_comparison([row], "txt", tolerance=1.0)
    assert against(published, seeds[0]).deviation is None
    undefined = record({"image_auroc": None}, cell={"seed": 3})
    assert against(published, *seeds, undefined).verdict == "undefined"


def test_what_was_not_run_or_failed_is_said_and_methods_that_are_not_here_are_left_out() -> None:
    failed = record({}, status="failed", error="RuntimeError: no", classes={})
    numbers = [n for n in load_published() if n.dataset == "visa" and n.class_name is None]
    rows = compare(numbers, [failed], tolerance=1.0)
    assert {row.verdict for row in rows} == {"not run"}
    assert "AnomalyCLIP, ensemble of Q-K, Q-Q, K-K, V-V" not in {row.title for row in rows}
    text = render_comparison(rows, "txt", tolerance=1.0)
    assert "Not run: anomalyclip on VisA." in text
    assert f"{len(rows)} not run." in text


def test_what_was_not_run_is_said_once_and_not_per_class_as_well() -> None:
    numbers = [n for n in load_published() if n.dataset == "mvtec" and n.method == "anomalyclip"]
    text = render_comparison(compare(numbers, [], tolerance=1.0), "txt", tolerance=1.0)
    assert "Not run: anomalyclip on MVTec AD.\n" in text
    one = ClassResult(normal=1, anomalous=1, metrics={"image_auroc": 0.9})
    every_other = {each.name: one for each in load_cards()["mvtec"].classes if each.name != "wood"}
    rows = compare(numbers, [record({}, dataset="mvtec", classes=every_other)], tolerance=1.0)
    assert "Not run: anomalyclip on MVTec AD: wood.\n" in render_comparison(rows, "txt", tolerance=1.0)


def test_rows_keep_the_order_of_the_papers_whatever_was_run() -> None:
    numbers = [n for n in load_published() if n.class_name is None]
    made = [record({"image_ap": 0.9}, dataset="visa"), record({"image_ap": 0.9}, dataset="mvtec", method="clip")]
    text = render_comparison(compare(numbers, made, tolerance=1.0), "md", tolerance=1.0)
    assert list(dict.fromkeys(row[0] for row in cells_of(text)[2:])) == ["MVTec AD", "VisA"]


def test_per_class_numbers_meet_the_results_of_the_class() -> None:
    nut = ClassResult(normal=1, anomalous=1, metrics={"image_auroc": 0.924})
    pill = ClassResult(normal=1, anomalous=1, metrics={"image_auroc": 0.500})
    made = record({}, dataset="mvtec", classes={"metal_nut": nut, "pill": pill})
    row = against(number("AnomalyCLIP", "mvtec", "image auroc", "log", "metal_nut"), made)
    assert (row.verdict, row.ours) == ("within", pytest.approx(92.4))
    assert against(number("AnomalyCLIP", "mvtec", "image auroc", "log", "pill"), made).verdict == "differs"
    assert against(number("AnomalyCLIP", "mvtec", "image auroc", "log", "wood"), made).verdict == "not run"
    mean = against(number("AnomalyCLIP", "mvtec", "image auroc", "log"), made)
    assert mean.reasons == ("data: mean of 2 of 15 classes",)


# --------------------------------------------------------------------------------------------------------- intervals


def with_images(count: int) -> Record:
    """A record of HeadCT on so many images, half of them anomalous, with intervals."""
    rng, metrics, images = np.random.default_rng(0), ImageMetrics(), PerImageAccumulator()
    for index in range(count):
        score = rng.normal() + 2.0 * (index % 2)
        metrics.update(score, index % 2)
        images.add(str(index), index % 2, score, np.zeros((1, 1)))
    (name,) = (each.name for each in load_cards()["headct"].classes)
    one = ClassResult(normal=count // 2, anomalous=count // 2, metrics=metrics.compute())
    return with_intervals(record({}, dataset="headct", classes={name: one}), {name: images.finish()})


def published_as(value: float, number: Number) -> Number:
    return replace(number, row=number.row.model_copy(update={"value": value}))


@pytest.mark.parametrize("count", [100, 10_000])
def test_a_verdict_says_what_the_interval_says(count: int) -> None:
    made = with_images(count)
    auroc = number("AnomalyCLIP", "headct", "image auroc")
    found = {}
    for offset in (-9.0, -1.0, -0.3, 0.0, 0.3, 1.0, 9.0):
        value = 100 * (made.mean["image_auroc"] or 0) + offset
        [row] = compare([published_as(value, auroc)], [made], tolerance=1.0)
        assert row.interval is not None
        low, high = row.interval
        assert low < value - offset < high
        inside, outside = value - 1 <= low <= high <= value + 1, high < value - 1 or low > value + 1
        assert row.verdict == ("within" if inside else "differs" if outside else "undecided")
        found[offset] = row.verdict
    assert found[-9.0] == found[9.0] == "differs"
    assert found[0.0] == ("undecided" if count == 100 else "within")
    text = render_comparison([row], "txt", tolerance=1.0)
    assert f"{row.ours:.2f} [{low:.1f}, {high:.1f}]" in text
    [line] = csv.DictReader(io.StringIO(comparison_csv([row])))
    assert (float(line["interval_low"]), float(line["interval_high"])) == row.interval


def test_a_papers_aupro_has_the_margin_of_the_exact_one() -> None:
    rng, images = np.random.default_rng(0), PerImageAccumulator()
    for index in range(20):
        mask = np.zeros((16, 16), bool)
        mask[4:9, 4:9] = index % 2 > 0
        scores = (rng.random((16, 16)) + mask).astype(np.float32)
        images.add(str(index), index % 2, float(scores.max()), scores)
        images.add_pixels(image_pixels(scores, find_regions(mask)))
    kvasir = load_cards()["kvasir"].classes[0].name
    one = ClassResult(normal=10, anomalous=10, metrics={"pixel_aupro": 0.9, "pixel_aupro_200": 0.8})
    made = record({}, dataset="kvasir", classes={kvasir: one})
    made = with_intervals(made, {kvasir: images.finish()})
    [row] = compare([number("AnomalyCLIP", "kvasir", "pixel aupro")], [made], tolerance=1.0)
    exact = next(each for each in estimates_of([made]) if each.metric == "pixel_aupro")
    assert exact.low is not None
    assert exact.high is not None
    assert row.interval == pytest.approx((80 - 90 + 100 * exact.low, 80 - 90 + 100 * exact.high))


def test_the_command_shows_the_intervals_of_records_and_says_which_have_none(compared: Bench, tmp_path: Path) -> None:
    made, older = with_images(40), record(dict(AS_PUBLISHED))
    write_record(tmp_path / "r", made)
    write_record(tmp_path / "r", older)
    code, out, err = compared("--output", tmp_path / "o.csv")
    assert code == 0
    assert f"no intervals of 1 result of an earlier version: {older.id}; run with --force" in " ".join(err.split())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "o.csv").read_text())))
    of_table2 = [
        row
        for row in rows
        if row["verdict"] in ("within", "differs", "undecided")
        and "Table 2" in row["source"]
        and row["records"] == made.id
    ]
    assert {bool(row["interval_low"]) for row in of_table2} == {True}
    assert "In brackets: 95% bootstrap interval" in out


# ----------------------------------------------------------------------------------------------------------- reasons


def backbone(**changes: Any) -> dict[str, BackboneId]:
    return {"backbone": VIT_L.model_copy(update=changes)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cell": {"seed": 0}}, "seed 0, published 111"),
        ({"cell": {"seed": 0, "checkpoint": "a" * 64}}, "checkpoint given, not trained by the run"),
        ({"cell": backbone(name="ViT-L-14-336-quickgelu=weights.pt")}, None),
        ({"cell": backbone(dtype="bfloat16")}, "dtype bfloat16"),
        ({"image_size": None}, "image size not stated, published 518"),
        ({"cell": {"protocol": Protocol(pos_interp="bicubic")}}, "protocol.pos_interp=bicubic, published bilinear"),
        ({"cell": {"protocol": Protocol(raw_class_names=True)}}, "quirk protocol.raw_class_names=True"),
        ({"cell": {"protocol": Protocol(mask_gt0=True)}}, None),
        ({"cell": {"changed": {"deep_depth": 5, "word": ""}}}, "options deep_depth=5, word="),
        ({"scores_whole_class": True}, "image scores depend on all test images of a class"),
        ({"warnings": ("7 images instead of 9",)}, "data: 7 images instead of 9"),
    ],
)
def test_a_condition_that_differs_is_a_reason(changes: dict[str, Any], reason: str | None) -> None:
    row = against(number("AnomalyCLIP", "visa", "image auroc"), record(dict(AS_PUBLISHED), **changes))
    assert row.reasons == ((reason,) if reason else ())
    assert row.verdict == "within"


OTHER_EXPERIMENTS: list[tuple[dict[str, Any], str]] = [
    ({"cell": {"auxiliary": data_id("btad")}}, "trained on btad, published on mvtec"),
    (
        {"cell": backbone(name="ViT-B-16:openai", sha256="b" * 64)},
        "backbone ViT-B-16:openai, published ViT-L-14-336-quickgelu:openai",
    ),
    ({"image_size": 336}, "image size 336, published 518"),
    (
        {"cell": {"references": {"candle": ("a", "b")}, "options": {"shots": 2}}},
        "2 reference images per class, published none",
    ),
    (
        {"classes": {"candle": ClassResult(normal=1, anomalous=1, metrics={"image_auroc": 0.8})}},
        "data: mean of 1 of 12 classes",
    ),
]


@pytest.mark.parametrize(("changes", "reason"), OTHER_EXPERIMENTS)
def test_a_result_of_another_experiment_is_not_held_against_the_number(changes: dict[str, Any], reason: str) -> None:
    published = number("AnomalyCLIP", "visa", "image auroc")
    other = record(dict(AS_PUBLISHED), **changes)
    row = against(published, other)
    assert (row.verdict, row.difference, row.reasons) == ("not comparable", None, (reason,))
    fitting = record(dict(AS_PUBLISHED), cell={"seed": 7})
    [held] = compare([published], [other, fitting], tolerance=1.0)
    assert held.records == (fitting.id,)
    assert held.verdict == "within"


def test_a_row_trained_on_one_dataset_meets_only_records_of_that_training() -> None:
    """A table of another paper trains on VisA for all but VisA; the protocol here, on MVTec AD."""
    published = number("AnomalyCLIP", "btad", "image auroc")
    on_visa = replace(
        published, conditions=published.conditions.model_copy(update={"auxiliary": {"*": "visa", "visa": "mvtec"}})
    )
    made = {
        name: record({"image_auroc": 0.9}, dataset="btad", cell={"auxiliary": data_id(name)})
        for name in ("mvtec", "visa")
    }
    rows = compare([published, on_visa], made.values(), tolerance=1.0)
    assert [row.records for row in rows] == [(made["mvtec"].id,), (made["visa"].id,)]
    [row] = compare([on_visa], [made["mvtec"]], tolerance=1.0)
    assert row.verdict == "not comparable"


def variant(**changed: Any) -> Record:
    """A record of AnomalyCLIP on MVTec AD with some options."""
    metrics: Metrics = {"image_auroc": 0.9, "pixel_auroc": 0.9, "pixel_aupro_200": 0.8, "image_ap": 0.95}
    title = "AnomalyCLIP" + (f" ({', '.join(changed)})" if changed else "")
    cell = {"options": changed, "changed": changed}
    return record(metrics, dataset="mvtec", title=title, cell=cell)


def test_a_variant_is_held_against_its_own_printed_rows() -> None:
    """Under each reading another one, and never against those of the method itself."""
    table4 = [n for n in load_published() if n.dataset == "mvtec" and "table4" in n.file and n.metric == "image_auroc"]
    text, code = variant(deep_depth=1), variant(deep_depth=1, local_weight=1.0)
    untrained = variant(attention="original", deep_depth=1, word="", epochs=0)
    rows = [row for row in compare(table4, [text, code, untrained], tolerance=1.0) if row.records]
    assert {(row.number.row.method, row.reading, row.records) for row in rows} == {
        ("AnomalyCLIP, modules: Base", "by the code", (untrained.id,)),
        ("AnomalyCLIP, modules: +T2", "by the text", (text.id,)),
        ("AnomalyCLIP, modules: +T2", "by the code", (code.id,)),
    }
    assert not any(row.reasons for row in rows)
    assert against(number("AnomalyCLIP", "mvtec", "image auroc"), text).verdict == "not run"
    text_of_rows = render_comparison(rows, "md", tolerance=1.0)
    assert "| AnomalyCLIP (deep_depth) as AnomalyCLIP, modules: +T2, by the text " in text_of_rows


def test_the_method_itself_is_the_last_row_of_its_ablations_too() -> None:
    """By the code that is +T4, by the text +T3."""
    numbers = [n for n in load_published() if n.dataset == "mvtec" and n.class_name is None and n.is_row]
    rows = [row for row in compare(numbers, [variant()], tolerance=1.0) if row.records]
    assert {(row.number.row.method, row.reading) for row in rows} == {
        ("AnomalyCLIP, modules: +T3", "by the text"),
        ("AnomalyCLIP, modules: +T4", "by the code"),
        ("AnomalyCLIP, losses: local and global", ""),
        ("AnomalyCLIP, without several layers", "by the text"),
    }


def test_options_of_a_users_own_are_held_against_the_method_itself() -> None:
    published = number("AnomalyCLIP", "mvtec", "image auroc")
    assert against(published, variant(context=8)).reasons == ("options context=8",)
    layers = replace(published, others=({"feature_layers": [6, 24]},))
    assert against(layers, variant(feature_layers=(6, 24))).verdict == "not run"


def test_a_row_of_an_ablation_that_nobody_printed_is_held_against_nothing() -> None:
    published = number("AnomalyCLIP", "mvtec", "image auroc")
    made = variant(context=8).model_copy(update={"placement": Placement(main=False)})
    assert against(published, made).verdict == "not run"
    of_table4 = number("AnomalyCLIP, modules: +T2", "mvtec", "image auroc")
    row = variant(deep_depth=1).model_copy(update={"placement": Placement(main=False)})
    assert against(of_table4, row).records == (row.id,)


def test_a_row_trained_on_another_set_says_so() -> None:
    published = number("AnomalyCLIP (medical training)", "headct", "image ap")
    row = against(published, record({"image_ap": 0.951}, dataset="headct"))
    assert row.verdict == "not comparable"
    assert row.reasons == ("trained on mvtec, published on a medical set built from CVC-ColonDB",)


def test_values_are_shown_with_the_decimals_that_were_printed() -> None:
    rerun = number("AnomalyCLIP (retrained by the authors of ZEP)", "mvtec", "pixel auroc", "zep", "carpet")
    long = number("APRIL-GAN (published checkpoint, re-run)", "mvtec", "pixel auroc", "reruns", "bottle")
    assert [n.printed for n in (rerun, long, number("AnomalyCLIP", "sdd", "image ap"))] == ["98.84", "83.4576", "80.0"]


# ------------------------------------------------------------------------------------------- APRIL-GAN and AdaCLIP

POSITIONS = {"april_gan": "bicubic", "adaclip": "bicubic_no_antialias"}
ADACLIP_AUXILIARIES = {name: "+".join(auxiliaries_for(name, "adaclip")) for name in load_cards()}


def trained(method: str, dataset: str, auxiliary: str, value: float = 0.9, **changes: Any) -> Record:
    """A record of a method that was trained on one dataset, or on several with `+` between them."""
    metrics: Metrics = dict.fromkeys(("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro_200"), value)
    layout = "adaclip" if method == "adaclip" and dataset not in ("mvtec", "visa", "btad", "mpdd") else "original"
    tower = VIT_L.model_copy(update={"plain_gelu": True, "pos_interp": POSITIONS.get(method)})
    cell = {"dataset": data_id(dataset, layout), "auxiliary": data_id(auxiliary), "backbone": tower}
    cell |= changes.pop("cell", {})
    return record(metrics, dataset=dataset, method=method, cell=cell, **changes)


def test_vands_quoted_rows_are_those_of_april_gans_code() -> None:
    """Class names are spelled by an option of the method itself, so they are no reason."""
    for dataset, auxiliary in (("mvtec", "visa"), ("visa", "mvtec")):
        row = against(number("VAND", dataset, "pixel aupro"), trained("april_gan", dataset, auxiliary, 0.8))
        assert (row.verdict, row.reasons) == ("differs", ("the source computes in float16 (autocast)",))
    for tower, protocol, reason in (
        (VIT_L, Protocol(pos_interp="bicubic"), []),  # then the method's way is that of the protocol
        (VIT_L.model_copy(update={"pos_interp": "bilinear"}), Protocol(), ["bilinear, published bicubic"]),
    ):
        made = trained("april_gan", "visa", "mvtec", cell={"backbone": tower, "protocol": protocol})
        said = against(number("VAND", "visa", "image ap"), made).reasons
        assert [text for text in said if "pos_interp" in text] == [f"protocol.pos_interp={each}" for each in reason]
    other = against(number("VAND", "visa", "pixel aupro"), trained("april_gan", "visa", "btad"))
    assert other.verdict == "not comparable"
    run_by_others = against(number("VAND", "mpdd", "pixel aupro"), trained("april_gan", "mpdd", "mvtec"))
    assert run_by_others.verdict == "undecided"
    assert "trained on mvtec, published not stated" in run_by_others.reasons
    medical = against(number("VAND (medical training)", "headct", "image ap"), trained("april_gan", "headct", "mvtec"))
    assert medical.reasons[0] == "trained on mvtec, published on a medical set built from CVC-ColonDB"


@pytest.mark.parametrize("dataset", ["mvtec", "visa", "btad", "cvc_colondb", "cvc_clinicdb"])
def test_adaclips_two_settings_meet_results_of_their_own_training(dataset: str) -> None:
    files = {"adaclip_tables": ADACLIP_AUXILIARIES[dataset], "protocol": auxiliaries_for(dataset)[0]}
    made = {file: trained("adaclip", dataset, auxiliary) for file, auxiliary in files.items()}
    for file, own in made.items():
        published = number("AdaCLIP", dataset, "pixel auroc", file)
        [row] = compare([published], made.values(), tolerance=1.0)
        assert row.records == (own.id,)
        assert ("the source's text exchanges the two colon datasets" in " ".join(row.reasons)) == (
            file == "adaclip_tables"
        )
        other = next(each for each in made.values() if each is not own)
        assert against(published, other).verdict == "not comparable"


def test_adaclips_numbers_meet_results_on_its_own_test_sets() -> None:
    """Of DAGM and SDD it tests on other images than AnomalyCLIP."""
    for dataset in ("dagm", "sdd"):
        published = number("AdaCLIP", dataset, "pixel auroc", "adaclip_tables")
        made = trained("adaclip", dataset, ADACLIP_AUXILIARIES[dataset])
        assert against(published, made).verdict == "differs"
        [row] = compare([number("VAND", dataset, "pixel auroc")], [trained("april_gan", dataset, "mvtec")], tolerance=1)
        assert (row.verdict == "not comparable") == (dataset == "sdd")  # thirds, by a split of our own
        other = made.cell.model_copy(update={"dataset": data_id(dataset)})
        barred = against(published, made.model_copy(update={"cell": other}))
        assert barred.verdict == "not comparable"
        assert "data: the layout original holds another test set than the published one" in barred.reasons


def test_the_order_of_the_auxiliary_datasets_is_no_reason() -> None:
    published = number("AdaCLIP", "visa", "image auroc", "adaclip_tables")
    for name in ("mvtec+cvc_colondb", "cvc_colondb+mvtec"):
        assert against(published, trained("adaclip", "visa", name)).verdict != "not comparable"
    assert against(published, trained("adaclip", "visa", "mvtec+cvc_clinicdb")).verdict == "not comparable"


def over(number: Number, value: Callable[[int], float], **changes: Any) -> list[Record]:
    """Records on all datasets of a mean, trained by AdaCLIP's protocol."""
    return [
        trained("adaclip", card.name, ADACLIP_AUXILIARIES[card.name], value(place), **changes)
        for place, card in enumerate(number.cards)
    ]


def test_a_mean_over_datasets_is_compared_with_the_mean_of_the_results() -> None:
    published = number("AdaCLIP", "industrial mean (7)", "image auroc", "ablations")  # 90.2
    made = over(published, lambda place: 0.872 + place / 100)
    row = against(published, *made, tolerance=0.01)
    assert (row.verdict, row.ours) == ("within", pytest.approx(90.2))
    assert row.records == tuple(record.id for record in made)
    assert row.interval is row.deviation is None
    with_warning = [made[0].model_copy(update={"warnings": ("7 images",)}), *made[1:]]
    row = against(published, *with_warning)
    assert "data: 7 images (MVTec AD)" in row.reasons
    assert "the source computes in float16 (autocast)" in row.reasons
    [line] = csv.DictReader(io.StringIO(comparison_csv([row])))
    assert (line["dataset"], line["class"], line["records"].count(" ")) == ("industrial mean (7)", "mean", 6)
    assert "industrial mean (7)" in render_comparison([row], "md", tolerance=1.0)


def test_a_mean_over_datasets_needs_a_comparable_result_on_each() -> None:
    published = number("AdaCLIP", "medical mean", "pixel auroc", "ablations")
    made = over(published, lambda place: 0.85)
    assert len(made) == 4
    assert against(published, *made).verdict == "within"
    some = against(published, *made[1:])
    assert (some.verdict, some.difference) == ("not comparable", None)
    assert "data: mean of 3 of 4 datasets" in some.reasons
    of_another = [trained("adaclip", "isic", "visa"), *made[1:]]
    barred = against(published, *of_another)
    assert barred.verdict == "not comparable"
    assert "trained on visa, published on mvtec+cvc_colondb (ISIC 2016)" in barred.reasons
    assert against(published, *made, of_another[0]).records == tuple(record.id for record in made)
    undefined = [made[0].model_copy(update={"mean": {**made[0].mean, "pixel_auroc": None}}), *made[1:]]
    assert against(published, *undefined).verdict == "undefined"
    synthetic = [each.model_copy(update={"synthetic": ("weights",)}) for each in made]
    shown = against(published, *synthetic)
    assert (shown.verdict, shown.ours, shown.difference) == ("synthetic", None, None)
    assert against(published).verdict == "not run"


def test_a_mean_over_datasets_is_not_made_of_different_options_or_backbones() -> None:
    published = number("AdaCLIP", "medical mean", "pixel auroc", "ablations")
    made, others = over(published, lambda place: 0.85), over(published, lambda place: 0.5, cell={"seed": 0})
    [row] = compare([published], [*made[:2], *others[2:]], tolerance=1.0)  # trainings under two seeds
    assert row.verdict == "differs"
    half = over(published, lambda place: 0.85, cell={"backbone": VIT_L.model_copy(update={"dtype": "bfloat16"})})
    rows = compare([published], [*made[:2], *half[2:]], tolerance=1.0)
    assert [row.verdict for row in rows] == ["not comparable"] * 2


def test_rows_of_adaclips_ablations_are_read_by_the_text_and_by_the_code() -> None:
    published = number("AdaCLIP, without HSF", "medical mean", "image auroc", "ablations")
    readings = {"by the text": "map", "by the code": "cls"}
    made = []
    for score in readings.values():
        changed = {"options": {"image_score": score}, "changed": {"image_score": score}}
        made += over(published, lambda place: 0.918, cell=changed, title=f"AdaCLIP (image_score={score})")
    rows = compare([published], [*made, *over(published, lambda place: 0.9)], tolerance=1.0)
    assert {row.label: row.verdict for row in rows} == {
        f"AdaCLIP (image_score={score}) as AdaCLIP, without HSF, {reading}": "within"
        for reading, score in readings.items()
    }


def test_the_interval_of_a_mean_over_datasets_is_that_of_independent_ones() -> None:
    """With the same interval on each of n datasets it is narrower by the square root of n."""
    made = with_images(100)
    [one] = compare([number("AnomalyCLIP", "headct", "image auroc")], [made], tolerance=1.0)
    assert one.interval is not None
    assert one.ours is not None
    cards = tuple(load_cards()[name] for name in ("headct", "brainmri", "br35h"))
    mean = replace(number("AnomalyCLIP", "headct", "image auroc"), cards=cards)
    alike = []
    for card in cards:
        cell = made.cell.model_copy(update={"dataset": data_id(card.name)})
        classes = {card.classes[0].name: next(iter(made.classes.values()))}
        renamed = {"id": cell.id, "cell": cell, "dataset_title": card.title, "classes": classes}
        alike.append(made.model_copy(update=renamed))
    row = against(mean, *alike)
    assert row.ours == pytest.approx(one.ours)
    assert row.interval is not None
    for ours, wide in zip(row.interval, one.interval, strict=True):
        assert (ours - one.ours) * 3**0.5 == pytest.approx(wide - one.ours)


def test_seeds_of_a_few_shot_method_are_one_group() -> None:
    made = [
        record({"image_auroc": 0.9}, cell={"seed": seed, "references": {}, "references_sha256": str(seed) * 64})
        for seed in (0, 1)
    ]
    [(_, group)] = group_seeds(made)
    assert len(group) == 2


def test_what_the_source_does_not_state_is_a_reason() -> None:
    made = record({"pixel_aupro_200": 0.1, "pixel_auroc": 0.1}, dataset="mpdd", method="coop", cell={"seed": 3})
    expected = (
        "trained on mvtec, published not stated",
        "seed 3, published not stated",
        "backbone ViT-L-14-336-quickgelu:openai, published not stated",
        "image size 518, published not stated",
    )
    assert against(number("CoOp", "mpdd", "pixel auroc"), made).reasons == expected
    with_aupro = (*expected, "AUPRO with 200 thresholds, published not stated")
    row = against(number("CoOp", "mpdd", "pixel aupro"), made, tolerance=100)
    assert (row.verdict, row.reasons) == ("undecided", with_aupro)


def test_a_seed_is_no_reason_for_a_method_that_learns_nothing() -> None:
    made = record({"image_ap": 0.8}, method="clip", cell={"seed": 3})
    assert against(number("CLIP", "visa", "image ap"), made).reasons == ("image size 518, published not stated",)


def test_masks_above_zero_are_a_reason_only_where_they_are_read_differently() -> None:
    reason = "protocol.mask_gt0=False, published True"
    kvasir: Metrics = {"pixel_auroc": 0.8}
    assert against(number("AnomalyCLIP", "kvasir", "pixel auroc"), record(kvasir, dataset="kvasir")).reasons == (
        reason,
    )
    alike = record(kvasir, dataset="kvasir", cell={"protocol": Protocol(mask_gt0=True)})
    assert against(number("AnomalyCLIP", "kvasir", "pixel auroc"), alike).reasons == ()
    lossless = record({"pixel_auroc": 0.8}, dataset="mpdd")
    assert against(number("AnomalyCLIP", "mpdd", "pixel auroc"), lossless).reasons == ()


def test_the_spelling_of_class_names_is_a_reason_only_where_it_differs() -> None:
    reason = "protocol.raw_class_names=False, published True"
    made = record({"image_ap": 0.8}, dataset="mvtec", method="winclip", image_size=240)
    name = "WinCLIP (unofficial re-implementation)"
    assert against(number(name, "mvtec", "image ap", "winclip"), made).reasons == (
        "backbone ViT-L-14-336-quickgelu:openai, published ViT-B-16-plus-240:laion400m_e31",
        reason,
        "the source's prompt ensemble lacks two templates, has one twice, and is averaged before normalising",
    )
    assert reason in against(number(name, "mvtec", "image ap", "winclip", "metal_nut"), made).reasons
    assert reason not in against(number(name, "mvtec", "image ap", "winclip", "pill"), made).reasons


def test_another_test_set_and_images_left_out_are_reasons() -> None:
    skipped = ClassResult(normal=1, anomalous=1, skipped=(Skipped(key="k", reason="r"),), metrics={"image_ap": 0.8})
    classes = {"electrical commutators": skipped}
    made = record({}, dataset="sdd", classes=classes, cell={"dataset": data_id("sdd", "adaclip")})
    assert against(number("AnomalyCLIP", "sdd", "image ap"), made).reasons == (
        "data: the layout adaclip holds another test set than the published one",
        "data: images left out, as they or their masks cannot be used: 1",
    )
    of_wood = record({}, dataset="mvtec", classes={"wood": skipped, "pill": skipped.model_copy(update={"skipped": ()})})
    assert against(number("AnomalyCLIP", "mvtec", "image ap", "log", "wood"), of_wood).reasons == (
        "data: images left out, as they or their masks cannot be used: 1",
    )
    assert against(number("AnomalyCLIP", "mvtec", "image ap", "log", "pill"), of_wood).reasons == ()
    published_split = record({"image_ap": 0.8}, dataset="sdd", cell={"dataset": data_id("sdd", "anomalyclip")})
    assert against(number("AnomalyCLIP", "sdd", "image ap"), published_split).reasons == ()


# -------------------------------------------------------------------------------------- AA-CLIP, FAPrompt and MRAD


def made_by(method: str, dataset: str, auxiliary: str, **changes: Any) -> Record:
    """A record of a method under AnomalyCLIP's conditions, trained on one dataset."""
    metrics: Metrics = dict.fromkeys(("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro_200"), 0.9)
    cell = {"auxiliary": data_id(auxiliary)} | changes.pop("cell", {})
    return record(metrics, dataset=dataset, method=method, cell=cell, **changes)


@pytest.mark.parametrize(
    ("method", "printed", "file"),
    [
        ("aa_clip", "AA-CLIP", "aa_clip"),
        ("aa_clip", "AA-CLIP", "psmp"),
        ("mrad_clip", "MRAD", "psmp"),
        ("mrad_clip", "MRAD", "coevoad"),
    ],
)
def test_numbers_of_methods_trained_on_visa_meet_results_of_that_training(method: str, printed: str, file: str) -> None:
    """They are told apart from those of the default protocol, which trains on MVTec AD for all but MVTec AD."""
    btad = number(printed, "btad", "pixel auroc", file)
    made = {name: made_by(method, "btad", name) for name in ("visa", "mvtec")}
    [row] = compare([btad], made.values(), tolerance=1.0)
    assert row.records == (made["visa"].id,)
    other = against(btad, made["mvtec"])
    assert (other.verdict, other.reasons[0]) == ("not comparable", "trained on mvtec, published on visa")
    assert against(number(printed, "mvtec", "pixel auroc", file), made_by(method, "mvtec", "visa")).difference


def test_of_aa_clips_log_the_training_data_and_the_whole_class_are_told() -> None:
    tower = VIT_L.model_copy(update={"plain_gelu": True, "pos_interp": "bicubic"})
    made = made_by("aa_clip", "mvtec", "visa", cell={"backbone": tower}, scores_whole_class=True)
    notes = ("the source's log does not name its training data; the scripts beside it say VisA",)
    image, pixel = (
        against(number("AA-CLIP", "mvtec", f"{level} auroc", "aa_clip"), made).reasons for level in ("image", "pixel")
    )
    assert image == ("image scores depend on all test images of a class", *notes)
    assert pixel == notes


def test_second_hand_numbers_are_marked_wherever_they_are_shown() -> None:
    found = [n for n in load_published() if n.conditions.second_hand]
    assert {n.file for n in found} == {"second_hand.csv"}
    assert all(n.conditions.second_hand for n in load_published() if n.file == "second_hand.csv")
    assert all(("as quoted in" in n.row.source) == bool(n.conditions.second_hand) for n in load_published())
    review = number("FAPrompt", "mvtec", "image auroc", "second_hand")
    row = against(review, made_by("faprompt", "mvtec", "visa"))
    read = "a machine-written review of the submitted version of FAPrompt's paper"
    assert (row.verdict, row.reasons) == ("differs", (f"published number second hand, read in {read}",))
    note = "§ Second hand: read in a text about the paper, not in the paper, its code or its logs."
    for style in ("md", "txt"):
        compared, alone = render_comparison([row], style, tolerance=1.0), render_published([review], style)
        assert "91.9§ [1]" in compared
        assert "(91.9§)" in alone
        assert note in compared
        assert note in alone
        at_first_hand = [number("FAPrompt", "mvtec", "image auroc", "edmprompt")]
        assert "§" not in render_published(at_first_hand, style)
        assert "§" not in render_comparison(
            [against(at_first_hand[0], made_by("faprompt", "mvtec", "visa"))], style, tolerance=1.0
        )
    for text in (comparison_csv([row]), published_csv([review])):
        [line] = csv.DictReader(io.StringIO(text))
        assert (line["published"], line["second_hand"]) == ("91.9", read)


# --------------------------------------------------------------------------------------------------------- rendering


def cells_of(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_a_row_says_all_that_a_reader_needs() -> None:
    rows = [
        against(number("AnomalyCLIP", "visa", "pixel aupro"), record(dict(AS_PUBLISHED), cell={"seed": 0})),
        against(number("AnomalyCLIP", "visa", "image ap", "log"), record({"image_ap": 0.8}, cell={"seed": 0})),
    ]
    text = render_comparison(rows, "md", tolerance=1.0)
    assert cells_of(text)[2:] == [
        ["VisA", "image AP", "AnomalyCLIP", "85.3 [1]", "80.00", "-5.30", "differs", "a"],
        ["VisA", "pixel AUPRO", "AnomalyCLIP", "87.0 [2]", "87.00", "+0.00", "within", "a"],
    ]
    assert "- a: seed 0, published 111" in text
    assert f"- [2] {TABLE1}\n" in text
    assert "**" not in text
    assert "Of the published numbers: 1 within 1 point, 1 differ, 0 undecided, 0 not comparable, 0 undefined" in text


def test_many_reasons_get_letters_of_their_own() -> None:
    made = [record({"image_ap": 0.8}, warnings=tuple(f"warning {i}" for i in range(30)))]
    text = render_comparison(
        compare([number("AnomalyCLIP", "visa", "image ap")], made, tolerance=1), "txt", tolerance=1
    )
    assert "z: data: warning 25\naa: data: warning 26\n" in text
    assert " y z aa ab ac ad" in text


def test_names_with_a_pipe_do_not_break_markdown() -> None:
    made = record(dict(AS_PUBLISHED), title="A|B <i>", warnings=("a|b",))
    text = render_comparison(
        compare([number("AnomalyCLIP", "visa", "image ap")], [made], tolerance=1), "md", tolerance=1
    )
    line = next(line for line in text.splitlines() if "A" in line and line.startswith("| VisA"))
    assert r"A\|B &lt;i&gt;" in line
    assert line.replace(r"\|", "").count("|") == 9
    assert r"a: data: a\|b" in text


def test_every_row_is_in_the_csv_also_what_was_not_run() -> None:
    numbers = [n for n in load_published() if n.dataset == "visa" and n.class_name is None]
    rows = list(
        csv.DictReader(io.StringIO(comparison_csv(compare(numbers, [record(dict(AS_PUBLISHED))], tolerance=1))))
    )
    assert len(rows) == sum(n.method is not None for n in numbers)
    found = {(r["method"], r["metric"], r["level"], r["published"]): r for r in rows}
    row = found["anomalyclip", "aupro", "pixel", "86.7"]
    assert (row["verdict"], row["class"]) == ("within", "mean")
    assert float(row["ours"]) == pytest.approx(87.0)
    assert float(row["difference"]) == pytest.approx(0.3)
    assert found["clip", "ap", "image", "71.5"]["verdict"] == "not run"
    assert found["clip", "ap", "image", "71.5"]["ours"] == ""


def test_the_dry_table_is_in_the_papers_form_and_ranks_nothing() -> None:
    numbers = [n for n in load_published() if n.class_name is None]
    text = render_published(numbers, "md")
    assert "**" not in text
    assert "<u>" not in text
    assert "Published numbers alone" in text
    table = text.split("AnomalyCLIP's Table 1, industrial: image level (AUROC, AP), %")[1].split("##")[0]
    header, _, mvtec, *others = cells_of(table)
    [table1, quoted] = [
        re.search(rf"\[(\d+)\] {re.escape(TABLE1 + more)}$", text, re.MULTILINE)[1]  # type: ignore[index]
        for more in ("", "; marked there as taken from the original paper")
    ]
    assert header == ["", "CLIP", "CLIP-AC", "WinCLIP", "VAND", "CoOp", "AnomalyCLIP"]
    assert mvtec == [
        f"MVTec AD [{table1}]",
        "(74.1, 87.6)",
        "(71.5, 86.4)",
        f"(91.8, 96.5) [{quoted}]",
        f"(86.1, 93.5) [{quoted}]",
        "(88.8, 94.8)",
        "(91.5, 96.2)",
    ]
    assert others[-1][0] == f"DTD-Synthetic [{table1}]"
    assert others[-1][5] == "–"
    assert len(published_csv(numbers).splitlines()) == len(numbers) + 1


# ------------------------------------------------------------------------------------------------------ command line


def test_without_results_the_published_numbers_are_printed_alone(compared: Bench, tmp_path: Path) -> None:
    code, out, err = compared("--methods", "coop,winclip", "--datasets", "headct", "--output", tmp_path / "o.md")
    assert code == 0
    assert "published numbers alone" in err
    assert "(81.8, 80.2)  (78.4, 78.8)" in out
    assert "BrainMRI" not in out
    assert "AnomalyCLIP  " not in out
    assert "| HeadCT [1] | (81.8, 80.2) | (78.4, 78.8) |" in (tmp_path / "o.md").read_text()
    assert not (tmp_path / "r").exists()


def test_a_mean_over_datasets_is_shown_where_all_of_them_are_chosen(compared: Bench) -> None:
    def levels(*datasets: str) -> list[str]:
        shown = compared("--methods", "adaclip", "--datasets", ",".join(datasets))[1]
        return [part.split(" ")[0] for part in shown.split("AdaCLIP's ablations, means over datasets: ")[1:]]

    medical = ("headct", "brainmri", "br35h", "isic", "cvc_colondb", "cvc_clinicdb", "tn3k")
    assert levels(*medical) == ["image", "pixel"]
    assert levels(*medical[1:]) == ["pixel"]  # HeadCT has no masks


def test_results_are_compared_and_written(compared: Bench, tmp_path: Path) -> None:
    write_record(tmp_path / "r", record(dict(AS_PUBLISHED)))
    write_record(tmp_path / "r", record({}, method="clip", status="failed", error="RuntimeError: no", classes={}))
    before = sorted(path.name for path in (tmp_path / "r").rglob("*"))
    code, out, err = compared("--output", tmp_path / "o.csv", "--tolerance", "0.2")
    assert code == 0
    assert "left out: CLIP on VisA failed: RuntimeError: no" in err
    said = r"Of the published numbers: \d+ within 0\.2 points, \d+ differ, \d+ undecided, 0 not comparable, "
    assert re.search(said, out)
    assert "Not run: clip on MVTec AD, VisA, MPDD, " in out
    assert "candle" not in out
    rows = list(csv.DictReader(io.StringIO((tmp_path / "o.csv").read_text())))
    assert {row["verdict"] for row in rows} == {"within", "differs", "undecided", "undefined", "not run"}
    assert sorted(path.name for path in (tmp_path / "r").rglob("*")) == before


def test_classes_are_shown_when_asked_for(compared: Bench, tmp_path: Path) -> None:
    assert "VisA: candle" not in compared()[1]
    assert "VisA: candle" in compared("--classes")[1]
    write_record(tmp_path / "r", record(dict(AS_PUBLISHED)))
    assert "VisA: candle" in compared("--classes")[1]
    assert "VisA: candle" not in compared()[1]


def test_variants_are_shown_only_where_they_are_compared(compared: Bench, tmp_path: Path) -> None:
    """Of synthetic results one row per method says enough."""
    variant = {"title": "AnomalyCLIP (context=8)", "cell": {"options": {"context": 8}, "changed": {"context": 8}}}
    for synthetic, dataset in ((("data", "weights"), "visa"), ((), "mvtec")):
        write_record(tmp_path / "r", record(dict(AS_PUBLISHED), dataset=dataset, synthetic=synthetic))
        write_record(tmp_path / "r", record(dict(AS_PUBLISHED), dataset=dataset, synthetic=synthetic, **variant))
    lines = compared()[1].splitlines()
    assert {line.split()[0] for line in lines if "(context=8)" in line} == {"MVTec"}
    assert any("synthetic" in line and line.startswith("VisA") for line in lines)


def test_records_of_another_backbone_are_left_out(compared: Bench, tmp_path: Path) -> None:
    write_record(tmp_path / "r", record(dict(AS_PUBLISHED)))
    code, out, err = compared("--backbone", "ViT-B-16:openai")
    assert code == 0
    assert "fit the selection" in err
    assert "Published numbers alone" in out
    assert "Published numbers alone" not in compared("--backbone", VIT_L.name)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "anomalyclop"], "did you mean anomalyclip"),
        (["--methods", "genclip"], "unknown method with published numbers 'genclip'"),
        (["--datasets", "mvtek"], "did you mean mvtec"),
        (["--output", "o.txt"], ".md or .csv"),
    ],
)
def test_mistakes_are_answered_with_the_way_out(compared: Bench, arguments: list[str], said: str) -> None:
    code, out, err = compared(*arguments)
    assert code == 2
    assert said in err
    assert not out


def test_comparing_imports_no_torch(tmp_path: Path) -> None:
    write_record(tmp_path, record(dict(AS_PUBLISHED)))
    code = (
        "import sys; sys.argv = ['bench', 'compare', '--results', sys.argv[1]]\nfrom benchmark.cli import main\n"
        "try: main()\nexcept SystemExit: print([m for m in ('torch', 'open_clip') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "Of the published numbers" in done.stdout
    assert done.stdout.strip().endswith("[]")
