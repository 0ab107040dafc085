"""LaTeX tables with published numbers beside ours: which number is taken, its marks, and a table that LaTeX reads."""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.as_published import AS_PUBLISHED, VIT_L, data_id, record
from support.study import Study

from benchmark.records.records import Record
from benchmark.tables.beside import METRICS_BESIDE, beside_published
from benchmark.tables.published import load_published, published_directory

Bench = Callable[..., tuple[int, str, str]]
TABLE1 = "AnomalyCLIP (ICLR 2024, arXiv 2310.18961) Table 1"
FACTS = 4  # year, evaluated at, seeds, trained on


def drawn(records: Sequence[Record], metrics: Sequence[str] = METRICS_BESIDE) -> str:
    return beside_published(records, load_published(), metrics=metrics)


def cells(text: str, row: str) -> list[str]:
    """Return the cells of the first row of this name."""
    line = next(line for line in text.splitlines() if line.startswith(f"{row} & "))
    return line.removesuffix(r" \\").split(" & ")[1:]


def notes(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\\item\[(.*?)\] (.*)$", text, flags=re.MULTILINE))


def check_structure(text: str) -> None:
    """Environments are closed in order, every row has all columns, every mark has its note and every note its mark."""
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    for table in text.split(r"\begin{threeparttable}")[1:]:
        (spec,) = re.findall(r"\\begin\{tabular\}\{(l+)\}", table)
        grid, below = table.split(r"\end{tabular}")
        widths = []
        for line in grid.splitlines():
            if line.endswith(r"\\"):
                spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", line)]
                widths.append(len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) - len(spans))
        assert max(widths) == len(spec)
        assert all(width % 2 for width in widths)  # a name and pairs
        marks = {mark for group in re.findall(r"\\tnote\{(.*?)\}", grid) for mark in group.split(",")}
        assert marks == set(notes(below)) - {""}
        listed = below.partition(r"\end{tablenotes}")[0] if r"\end{tablenotes}" in below else ""
        assert not re.search(r"(?<!\\)[_%&#$^~]", listed)


def test_a_comparable_number_stands_beside_ours_with_its_source_alone() -> None:
    text = drawn([record(AS_PUBLISHED)])
    assert cells(text, "VisA") == ["(82.1, 85.4)", r"(82.1, 85.4)\tnote{a}"]
    image, pixel = text.split(r"\end{threeparttable}")[:2]
    assert cells(pixel, "VisA") == ["(95.5, 87.0)", r"(95.5, 87.0)\tnote{a}"]
    assert notes(image) == notes(pixel) == {"a": TABLE1}
    check_structure(text)


def test_a_number_of_another_experiment_says_why_it_is_not_comparable() -> None:
    other = VIT_L.model_copy(update={"name": "ViT-B-16:openai", "sha256": "0" * 64})
    text = drawn([record(AS_PUBLISHED, cell={"backbone": other, "seed": 5})])
    assert cells(text, "VisA")[1] == r"(82.1, 85.4)\tnote{a,1}"
    said = "not comparable: backbone ViT-B-16:openai, published ViT-L-14-336-quickgelu:openai"
    assert notes(text)["1"] == said  # and no reason that bars nothing
    check_structure(text)


def test_synthetic_results_are_never_compared() -> None:
    text = drawn([record(AS_PUBLISHED, synthetic=("data",))])
    assert notes(text)["1"] == "synthetic: generated data"
    assert r"\textbf{SYNTHETIC MINIATURE" in text


def test_the_papers_of_the_methods_in_the_table_are_taken_before_others() -> None:
    """CLIP and WinCLIP have no number of their own paper; AnomalyCLIP's table prints them beside its own."""
    names = ("clip", "winclip", "anomalyclip")
    text = drawn([record(AS_PUBLISHED, dataset="mvtec", method=name) for name in names])
    taken = [re.sub(r"\\tnote\{.*?\}", "", cell) for cell in cells(text, "MVTec AD")[1::2]]
    assert taken == ["(74.1, 87.6)", "(91.8, 96.5)", "(91.5, 96.2)"]
    assert all(source.startswith(TABLE1) for mark, source in notes(text).items() if mark.isalpha())


def test_the_repository_of_a_method_is_taken_before_other_papers_and_before_a_quotation_of_its_own() -> None:
    numbers = [each for each in load_published() if (each.method, each.dataset) == ("aa_clip", "mvtec")]
    assert {"Mwxinnn/AA-CLIP", "MoECLIP"} <= {each.row.source.split()[0] for each in numbers}
    other = next(each for each in numbers if (each.distance, each.metric) == (2, "pixel_auroc"))
    row = other.row.model_copy(update={"source": "AA-CLIP (CVPR 2025) main table"})
    quoted = replace(other, row=row, conditions=other.conditions.model_copy(update={"second_hand": "a summary"}))
    assert quoted.distance == 0
    text = beside_published([record(AS_PUBLISHED, dataset="mvtec", method="aa_clip")], [quoted, *numbers])
    assert notes(text.split(r"\begin{threeparttable}")[2])["a"].startswith("Mwxinnn/AA-CLIP ")


def test_of_the_tables_of_a_paper_the_comparable_one_is_taken() -> None:
    """AdaCLIP's paper trains on two datasets, and in its supplement on one."""
    usual = record(AS_PUBLISHED, method="adaclip")
    cell = usual.cell.model_copy(update={"auxiliary": data_id("mvtec+cvc_colondb")})
    two = usual.model_copy(update={"cell": cell})
    sources = [notes(drawn([each], ["image_auroc"]))["a"].partition("arXiv 2407.15795) ")[2] for each in (usual, two)]
    assert sources == ["supplement Table 6", "Table 1"]


def test_a_second_hand_number_is_taken_last_and_marked() -> None:
    usual, numbers = record(AS_PUBLISHED, method="faprompt"), load_published()
    assert cells(drawn([usual]), "VisA")[1].startswith("(83.3, 85.9)")
    second_hand = [each for each in numbers if each.conditions.second_hand]
    text = beside_published([usual], second_hand)
    assert cells(text, "VisA")[1] == r"(84.6§, 86.8§)\tnote{a}"
    assert "Second hand" in notes(text)[""]


def test_every_published_number_is_the_one_that_its_source_prints() -> None:
    printed = set()
    for path in published_directory().glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("class", "mean") == "mean":
                    printed.add((row["source"], row["level"], row["metric"], f"{float(row['value']):.1f}"))
    names = ("clip", "winclip", "april_gan", "anomalyclip", "adaclip", "aa_clip")
    records = [record(AS_PUBLISHED, dataset=data, method=name) for name in names for data in ("mvtec", "visa", "btad")]
    metrics = ("image_auroc", "image_f1max", "pixel_auroc", "pixel_aupro_200")
    text = drawn(records, metrics)
    check_structure(text)
    count = 0
    for level, table in zip(("image", "pixel"), text.split(r"\begin{threeparttable}")[1:], strict=True):
        shown = [metric.replace("_200", "").removeprefix(f"{level}_") for metric in metrics if metric.startswith(level)]
        sources = {mark: source.replace("\\", "") for mark, source in notes(table).items()}
        for line in re.findall(r"^(?:MVTec AD|VisA|BTAD) & .*$", table, flags=re.MULTILINE):
            for cell in line.removesuffix(r" \\").split(" & ")[2::2]:
                shared = re.search(r"\)\\tnote\{(.*?)\}$", cell)
                for metric, part in zip(shown, re.sub(r"\)(\\tnote\{.*?\})?$", "", cell[1:]).split(", "), strict=False):
                    if value := re.match(r"[\d.]+", part):
                        own = re.search(r"\\tnote\{(.*?)\}", part) or shared
                        assert own is not None
                        source = sources[own[1].partition(",")[0]].replace("{[}", "[").replace("{]}", "]")
                        assert (source, level, metric, value[0]) in printed
                        count += 1
    assert count > 40


def test_no_published_number_stands_beside_the_exact_aupro() -> None:
    text = drawn([record(AS_PUBLISHED | {"pixel_aupro": 0.8})], ["pixel_auroc", "pixel_aupro"])
    assert cells(text, "VisA") == ["(95.5, 80.0)", r"(95.5, --)\tnote{a}"]
    assert "none stands beside it" in notes(text)[""]


def test_means_are_of_our_numbers_alone() -> None:
    text = drawn([record(AS_PUBLISHED, dataset=name) for name in ("visa", "mvtec")])
    assert cells(text, "Mean")[1::2] == ["--"]


def test_a_method_that_nobody_has_published_has_an_empty_column(real_study: Study) -> None:
    text = drawn(real_study.records)
    assert "genclip" not in {number.method for number in load_published()}
    assert cells(text, "Scans")[1::2] == ["--"] * 3
    check_structure(text)


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(deadline=None, max_examples=30)
@given(title=HOSTILE, dataset=HOSTILE)
@example("a_b & 100% \\input{x}", "[x] ~^#$*")
def test_names_from_outside_stay_text(title: str, dataset: str) -> None:
    records = [record(AS_PUBLISHED).model_copy(update={"title": title, "dataset_title": dataset})]
    text = drawn(records)
    check_structure(text)
    assert set(re.findall(r"\\[a-zA-Z]+", text.split(r"\begin{tabular}")[1].split(r"\end{tabular}")[0])) <= {
        *(rf"\{name}" for name in ("multicolumn", "cmidrule", "toprule", "midrule", "bottomrule", "heavyrulewidth")),
        *(rf"\{name}" for name in ("tnote", "textbackslash", "textasciitilde", "textasciicircum", "textbf")),
        *(rf"\{name}" for name in ("underline", "pm")),
    }


@pytest.mark.parametrize(
    ("source", "distance"),
    [(TABLE1, 0), ("zqhang/AnomalyCLIP results/log.txt", 1), ("Crane (x/Crane) Table 1; AnomalyCLIP", 2)],
)
def test_the_distance_of_a_source_goes_by_what_it_begins_with(source: str, distance: int) -> None:
    number = next(each for each in load_published() if each.row.method == "AnomalyCLIP")
    assert replace(number, row=number.row.model_copy(update={"source": source})).distance == distance


def test_the_command_writes_it(bench: Bench, real_study: Study, tmp_path: Path) -> None:
    file = tmp_path / "table.tex"
    chosen = ("--methods", "genclip,clip", "--metric", "auroc")
    assert bench("export", "results", file, "--results", real_study.results, *chosen)[0] == 0
    text = file.read_text(encoding="utf-8")
    check_structure(text)
    assert text.index("{GenCLIP}") < text.index("{CLIP}")
    code, _, err = bench("export", "results", file, "--results", real_study.results, "--methods", "winclip")
    assert (code, "no result that fits has finished" in err) == (2, True)
