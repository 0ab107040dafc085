"""The report without a browser: what its files hold, what they never hold, and when they are refused."""

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from support.documents import Document
from support.study import KIND, PARTS, Study, make_study

from benchmark.records.records import Record
from benchmark.report import ReportError, write_site
from benchmark.report.boards import domains, leaderboard
from benchmark.report.images import gallery
from benchmark.report.report_data import collect_report_data
from benchmark.report.site import MARKER, make_site
from benchmark.report.values import UNDEFINED, ShownValue, dataset_rows, dataset_values, defect_rows, shown_value

PAGES = {
    *("index.html", "matrix.html", "failures.html", "methods.html", "ablations.html", "cost.html", "published.html"),
    *("figures.html", "records.html", "about.html"),
}


@pytest.fixture(scope="module")
def documents(site_files: Mapping[str, bytes]) -> dict[str, Document]:
    return {path: Document(content) for path, content in site_files.items() if path.endswith(".html")}


def test_there_is_a_page_for_everything(site_files: Mapping[str, bytes]) -> None:
    assert set(site_files) >= PAGES | {"datasets/parts.html", "datasets/scans.html", "datasets/parts--a.html"}
    assert len([path for path in site_files if path.startswith("datasets/parts--")]) == 3
    assert not [path for path in site_files if path.startswith("datasets/scans--")], "one class has no page of its own"
    assert len([path for path in site_files if path.startswith("records/")]) == 8


def test_every_link_leads_somewhere(site_files: Mapping[str, bytes], documents: dict[str, Document]) -> None:
    for path, document in documents.items():
        ids = {attributes["id"] for _, attributes in document.tags if "id" in attributes}
        for _, attributes in document.tags:
            for target in (attributes.get("href"), attributes.get("src")):
                if not target or target.startswith(("data:", "http")):
                    continue
                file, _, anchor = target.partition("#")
                found = (Path("/") / Path(path).parent / file).resolve().relative_to("/").as_posix() if file else path
                assert found in site_files, (path, target)
                assert not anchor or file or anchor in ids, (path, target)


def test_names_never_become_markup(documents: dict[str, Document]) -> None:
    for path, document in documents.items():
        for tag, attributes in document.tags:
            assert not [name for name in attributes if name.startswith("on")], path
            if tag == "script":
                assert "src" in attributes or attributes.get("type") == "application/json", path
            assert tag not in ("b", "i") or set(attributes) <= {"class"}
        scripts = [data for tag, data in document.data if tag == "script" and "alert(1)" in data]
        assert not scripts or all("<" not in data for data in scripts)
    assert "<script>alert(1)</script>" in documents["datasets/parts.html"].text
    assert "Parts <b>2</b>" in documents["index.html"].text
    for path in ("records.html", "datasets/parts.html"):
        assert "onerror" in documents[path].text, "the error of the failed cell"


def test_the_page_of_a_class_shows_its_kinds_of_defect(study: Study, documents: dict[str, Document]) -> None:
    report = collect_report_data(study.records)
    parts, scans = report.datasets
    pixels = [row.numbers[0].text for row in defect_rows(report, parts, "A", "pixel_auroc")]
    assert [row.title for row in defect_rows(report, parts, "A", "image_auroc")] == [f"{KIND} (5)"]
    assert pixels == ["50.0"]
    assert defect_rows(report, scans, "brain", "image_auroc") == [], "its kinds have no names"
    for path in ("datasets/parts--a.html", "datasets/parts--a-1.html"):
        if path in documents:
            assert f"{KIND} (5)" in documents[path].text
    assert "Kinds of defect" not in documents["datasets/scans.html"].text


def test_charts_show_names_as_they_are(documents: dict[str, Document]) -> None:
    """Plotly reads some HTML in texts."""
    data = " ".join(data for tag, data in documents["figures.html"].data if tag == "script")
    names = [trace["name"] for trace in json.loads(data)["data"]]
    assert names[2:] == ["F_Q &lt;i&gt;, normal", "F_Q &lt;i&gt;, abnormal"]


def test_file_names_suit_every_file_system(site_files: Mapping[str, bytes]) -> None:
    assert all(re.fullmatch(r"[a-z0-9_./-]+", path) for path in site_files)
    assert len({path.casefold() for path in site_files}) == len(site_files)


def test_nothing_is_loaded_from_elsewhere(site_files: Mapping[str, bytes], documents: dict[str, Document]) -> None:
    for path, document in documents.items():
        for tag, attributes in document.tags:
            for name in ("src", "srcset", "data", "action", "poster"):
                assert not re.match(r"(https?:)?//", attributes.get(name) or ""), (path, tag)
            if tag == "link":
                assert not re.match(r"(https?:)?//", attributes["href"] or ""), path
        policies = [a["content"] or "" for t, a in document.tags if a.get("http-equiv") == "Content-Security-Policy"]
        assert len(policies) == 1
        assert policies[0].startswith("default-src 'none'; script-src 'self' file:;")
        assert "http" not in policies[0]
    own = b"".join(content for path, content in site_files.items() if path.startswith(("static/js/", "static/css/")))
    assert own
    for word in (b"http:", b"https:", b"url(", b"@import", b"fetch(", b"XMLHttpRequest", b"import(", b"innerHTML"):
        assert word not in own


def test_charts_have_their_script_and_no_page_waits_for_plotly(documents: dict[str, Document]) -> None:
    for path, document in documents.items():
        scripts = [
            attributes["src"] or "" for tag, attributes in document.tags if tag == "script" and "src" in attributes
        ]
        assert not any("plotly" in source for source in scripts), path
        charts = any("data-chart" in attributes for _, attributes in document.tags)
        assert any(source.endswith("js/charts.js") for source in scripts) == charts, path


def test_undefined_is_a_dash_and_never_zero(study: Study, documents: dict[str, Document]) -> None:
    report = collect_report_data(study.records)
    rows = dataset_rows(report, "pixel_auroc")
    assert [row.title for row in rows] == ["Parts <b>2</b>"], "no method has it on the scans"
    assert shown_value(None) == ShownValue(UNDEFINED, "")
    assert leaderboard(report, "medical", "pixel_auroc", {}) is None
    cells = documents["about.html"].text
    assert UNDEFINED in cells
    assert not re.search(r"\b0\.0\b", cells)


def test_the_mean_is_over_the_datasets_of_a_domain_that_the_compared_methods_share(study: Study) -> None:
    """A method that lacks one of them has no mean, and changes no other's."""
    report = collect_report_data([r for r in study.records if r.title != "CLIP"])
    domain = report.datasets[0].domain
    whole = leaderboard(report, domain, "image_auroc", {})
    assert whole is not None
    assert (whole.complete, whole.known, whole.lacking) == (1, 1, ())
    values = dataset_values(report.datasets[0], "image_auroc", report.titles)
    assert {each.title: each.mean.text for each in whole.rows} == {
        title: f"{value:.1f}" for title, value in zip(report.titles, values, strict=True) if value is not None
    }
    few = [r for r in study.records if (r.title, r.dataset_title) != ("CLIP", report.datasets[0].title)]
    board = leaderboard(collect_report_data(few), domain, "image_auroc", {"CLIP": 1.0})
    assert board is not None
    means = {each.title: each.mean.text for each in board.rows}
    assert means.pop("CLIP") == UNDEFINED
    assert means == {each.title: each.mean.text for each in whole.rows}
    assert [each.rank.text for each in board.rows if each.title == "CLIP"] == ["1.00"]
    assert [each.rank.text for each in board.rows if each.title != "CLIP"] == [UNDEFINED] * 2


def test_there_is_no_mean_over_several_domains(study: Study) -> None:
    board = leaderboard(collect_report_data(study.records), "all", "image_auroc", {})
    assert board is not None
    assert {each.mean.text for each in board.rows} == {UNDEFINED}


def test_datasets_beyond_the_papers_are_a_choice_of_their_own(study: Study) -> None:
    assert {each.group for each in study.records} == {"industrial", "medical"}
    beyond = [r.model_copy(update={"beyond": r.dataset_title == PARTS}) for r in study.records]
    report = collect_report_data(beyond)
    assert domains(report) == ["further industrial", "medical", "all"]
    found = {domain: leaderboard(report, domain, "image_auroc", {}) for domain in domains(report)}
    assert {domain: board.known for domain, board in found.items() if board} == dict.fromkeys(found, 1)
    assert found["all"] is not None
    assert found["medical"] is not None
    assert [row.mean for row in found["all"].rows] == [row.mean for row in found["medical"].rows]
    assert {row.domain for row in dataset_rows(report, "image_auroc")} == {"further industrial", "medical"}


def test_variants_of_an_ablation_stand_on_its_page_alone(documents: dict[str, Document]) -> None:
    assert "branch=vision" not in documents["index.html"].text
    assert "vision-enhanced" in documents["ablations.html"].text
    assert "default" in documents["ablations.html"].text


def test_the_costs_of_methods_are_shown_beside_their_results(study: Study, documents: dict[str, Document]) -> None:
    """Two datasets of 40 images in two seconds: half of them in the tower, a quarter in the method."""
    document = documents["cost.html"]
    assert "GenCLIP 7.0 0.005 25.0 12.5 37.5 12.5 –" in document.text
    assert document.text.count("SYNTHETIC") == 1
    assert "branch=vision" not in document.text


def test_the_failed_cell_is_shown(documents: dict[str, Document]) -> None:
    assert "1 cell failed" in documents["index.html"].text
    assert "WinCLIP" in documents["records.html"].text


def test_every_page_of_synthetic_results_says_so(documents: dict[str, Document]) -> None:
    for path, document in documents.items():
        assert any(attributes.get("class") == "banner" for _, attributes in document.tags), path
        assert "SYNTHETIC MINIATURE" in document.text, path
    assert "Not compared." in documents["published.html"].text


def test_real_results_have_no_banner_and_are_compared(real_study: Study) -> None:
    made = make_site(real_study.records, lambda record: None)
    pages = {path: Document(content) for path, content in made.items() if path.endswith(".html")}
    assert not [path for path, document in pages.items() if "SYNTHETIC" in document.text]
    assert "Not compared." not in pages["published.html"].text
    assert "arXiv" in pages["published.html"].text
    assert "91.9§" in pages["published.html"].text
    assert "§ Second hand: read in a text about the paper" in pages["published.html"].text
    assert "differ" in pages["published.html"].text


def test_without_results_per_image_there_is_everything_but_galleries(
    study: Study, site_files: Mapping[str, bytes]
) -> None:
    said: list[str] = []
    made = make_site(study.records, lambda record: None, study.found, say=said.append)
    assert not [path for path in made if path.startswith("images/")]
    assert "There are no results per image" in Document(made["datasets/parts--a.html"]).text
    assert "no text embeddings" in Document(made["figures.html"]).text
    assert "There are no results per image" in Document(made["figures.html"]).text
    # Whether a folder holds the images cannot be told.
    assert not [line for line in said if "no result was made from these images" in line]
    for path in ("index.html", "published.html", "methods.html", "ablations.html"):
        assert made[path] == site_files[path]
    assert "[" in Document(made["datasets/scans.html"]).text.partition("Results")[2][:500]


def test_without_draws_there_are_no_intervals(study: Study) -> None:
    fields = ("draws", "classes")
    older = []
    for record in study.records:
        classes = {name: each.model_copy(update={"intervals": {}}) for name, each in record.classes.items()}
        older.append(record.model_copy(update=dict(zip(fields, (None, classes), strict=True))))
    made = make_site(older, lambda record: None)
    assert "[" not in Document(made["datasets/scans.html"]).text.partition("Results")[2][:500]


def test_without_the_images_the_page_says_how_to_get_them(
    study: Study, files_without_images: Mapping[str, bytes]
) -> None:
    assert not [path for path in files_without_images if path.startswith("images/")]
    assert "has no dataset card" in Document(files_without_images["datasets/scans.html"]).text
    renamed = [_on_btad(record) for record in study.records if record.dataset_title == "Scans"]
    made = make_site(renamed, study.read)
    assert "bench report --data DIR" in Document(made["datasets/btad.html"]).text
    other = replace(study.found[1], samples=study.found[1].samples[1:])
    made = make_site(study.records, study.read, [study.found[0], other])
    assert "are not those that the records of Scans were made from" in Document(made["datasets/scans.html"]).text
    assert [path for path in made if path.startswith("images/parts/")]


def _on_btad(record: Record) -> Record:
    data = record.cell.dataset.model_copy(update={"name": "btad"})
    cell = record.cell.model_copy(update={"dataset": data})
    return record.model_copy(update={"cell": cell, "dataset_title": "BTAD", "domain": "industrial"})


def test_an_image_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    made = make_site(study.records, study.read, study.found)
    gone = study.found[1].samples[0].path
    gone.unlink()
    after = make_site(study.records, study.read, study.found)
    assert str(gone) in Document(after["datasets/scans.html"]).text
    photos = [len([path for path in each if path.startswith("images/scans/")]) for each in (made, after)]
    assert photos[1] == photos[0] - 1


def test_the_same_records_give_the_same_bytes(study: Study, site_files: Mapping[str, bytes]) -> None:
    shuffled = study.records
    random.Random(1).shuffle(shuffled)
    assert make_site(shuffled, study.read, study.found) == site_files


def test_the_site_is_small(site_files: Mapping[str, bytes]) -> None:
    own = sum(len(content) for path, content in site_files.items() if path != "static/plotly.min.js")
    assert own < 1_250_000
    assert len(site_files["static/plotly.min.js"]) < 6_000_000


def test_photos_wait_until_they_are_seen(documents: dict[str, Document]) -> None:
    for path, document in documents.items():
        for tag, attributes in document.tags:
            assert tag != "img" or attributes["loading"] == "lazy", path


def test_an_older_report_is_replaced_and_nothing_else(study: Study, tmp_path: Path) -> None:
    output = tmp_path / "report"
    made = write_site(output, study.records, lambda record: None)
    assert made.index == output / "index.html"
    assert made.size == sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    (output / "stale.html").write_text("old")
    write_site(output, study.records, lambda record: None)
    assert not (output / "stale.html").exists()
    (output / MARKER).unlink()
    with pytest.raises(ReportError, match="holds files that are no report"):
        write_site(output, study.records, lambda record: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report"]
    with pytest.raises(ReportError, match="is a file"):
        write_site(output / "index.html", study.records, lambda record: None)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=12))
def test_ranking_errors_add_up_to_the_auroc(images: list[tuple[int, int]]) -> None:
    scores = np.array([score for score, _ in images], float)
    labels = np.array([label for _, label in images], np.uint8)
    wrong = gallery.ranking_errors(scores, labels)
    shares = gallery.fractions_right(scores, labels)
    if len(set(labels.tolist())) == 2:
        for label in (0, 1):
            assert shares[labels == label].mean() == pytest.approx(roc_auc_score(labels, scores))
            assert wrong[labels == label].mean() == pytest.approx(1 - roc_auc_score(labels, scores), abs=2e-3)
    else:
        assert np.isnan(shares).all()
        order = np.argsort(wrong, kind="stable")
        assert (np.diff(scores[order]) * (-1 if labels[0] else 1) >= 0).all()


def test_the_worst_of_every_method_is_shown() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 1] * 100, np.uint8)
    wrong = np.stack([gallery.ranking_errors(rng.random(200), labels) for _ in range(4)])
    shown = gallery.select_images(wrong, labels)
    for of_method in wrong:
        for label in (0, 1):
            places = np.flatnonzero(labels == label)
            assert places[of_method[places].argmax()] in shown
            assert places[of_method[places].argmin()] in shown
    assert len(shown) <= 5 * 2 * (gallery.WORST + gallery.BEST)
    assert (np.diff(wrong.mean(axis=0)[shown]) <= 0).all(), "the worst come first"


def test_charts_are_what_plotly_takes(documents: dict[str, Document]) -> None:
    found = 0
    for document in documents.values():
        for tag, data in document.data:
            if tag == "script" and data.strip():
                figure = json.loads(data)
                if "layout" not in figure:
                    continue  # the data of another script
                go.Figure(data=figure["data"], layout=figure["layout"])
                found += 1
    assert found >= 4


def test_the_command_writes_the_report(study: Study, bench: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = bench("report", "--results", study.results, "--data", study.results.parent)
    assert code == 0
    assert Path(out.strip()) == study.results / "report" / "index.html"
    assert Path(out.strip()).is_file()
    assert "MB" in err
    assert "no results per image" not in err
    code, out, err = bench("report", "--results", study.results, "--backbone", "none")
    assert (code, out) == (2, "")
    assert "unknown backbone with results 'none'; known: mini:v2" in err
    code, out, err = bench("report", "--results", study.results / "nothing")
    assert code == 2
    assert "`bench run` makes them" in err


def test_the_command_says_once_that_there_are_no_results_per_image(
    study: Study, bench: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """As in a folder of results from elsewhere, of which the records alone were passed on."""
    shutil.copytree(study.results / "records", tmp_path / "records", ignore=shutil.ignore_patterns("*.npz"))
    code, _, err = bench("report", "--results", tmp_path)
    assert code == 0
    lines = [line for line in err.splitlines() if "results per image" in line]
    assert "all 7 results have no results per image" in " ".join(err.split())
    assert sum("no results per image" in line for line in lines) <= 1
    assert "no images" not in err  # nor is the mini suite drawn for images that cannot be shown
    assert (tmp_path / "report" / "index.html").is_file()


def test_the_report_needs_no_torch() -> None:
    code = (
        "import sys, benchmark.report.site, benchmark.tables.outputs; "
        "print([m for m in ('torch', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
