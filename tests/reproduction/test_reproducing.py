"""The command `bench reproduce`: what it says before it runs, what it runs, and the table at its end."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.archive_server import archive_server, card_as_drawn, files_below, served_archive, served_card, zipped
from support.records import made_record
from support.suites import SUITE_FOLDER, draw_classes

from benchmark.api.requests import Computation, Places
from benchmark.clip.weights import DEFAULT_BACKBONE, KNOWN_FILES
from benchmark.data.cards import load_cards
from benchmark.data.samples import count
from benchmark.data.search import locate
from benchmark.errors import BenchError
from benchmark.metrics.names import METRICS
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, DataId
from benchmark.records.records import ClassResult, Record, read_records
from benchmark.reproduction import checkpoints, needs
from benchmark.reproduction.costs import WORK, cost_of, images_of
from benchmark.reproduction.describe import COPIES, render_needs
from benchmark.reproduction.needs import Needs, find_needs
from benchmark.reproduction.recipe import NOT_REPRODUCIBLE, Recipe, load_recipes
from benchmark.reproduction.reproducing import Reproduction
from benchmark.reproduction.table import make_table, render_table, table_csv
from benchmark.tables.comparison import compare

Bench = Callable[..., tuple[int, str, str]]
NAMES = sorted(load_recipes())
CHEAP = ["--workers", "0", "--device", "cpu"]


# --- before anything is run


def test_without_a_name_all_recipes_are_listed(bench: Bench) -> None:
    code, out, _ = bench("reproduce")
    assert code == 0
    assert all(name in out for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_needs_nothing_and_writes_nothing(
    bench: Bench, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = bench("reproduce", name, "--dry-run")
    assert code == 0, err
    recipe = load_recipes()[name]
    assert all(card.title in out and card.name in out for card in recipe.cards)
    assert f"bench data get {recipe.cards[0].name}" in out
    assert "on an NVIDIA H100 in float32, from what was measured there: 32 passes" in out
    assert list(tmp_path.iterdir()) == []


def test_without_data_a_run_says_the_ways_out(bench: Bench) -> None:
    code, _, err = bench("reproduce", "anomalyclip-table1")
    assert code == 2
    assert "--data DIR" in err
    assert "--mini" in err


def test_a_wrong_name_suggests_the_right_one(bench: Bench) -> None:
    code, _, err = bench("reproduce", "anomalyclip-tabel1", "--dry-run")
    assert code == 2
    assert "anomalyclip-table1" in err


def test_a_wrong_name_is_answered_with_all_recipes_that_begin_alike(bench: Bench) -> None:
    of_paper = [name for name in NAMES if name.startswith("anomalyclip-")]
    for wrong in ("anomalyclip-table9", "anomalyclip", "AnomalyCLIP-Table1"):
        code, _, err = bench("reproduce", wrong, "--dry-run")
        assert code == 2
        assert f"unknown recipe '{wrong}'; recipes that begin alike: {', '.join(of_paper)}" in " ".join(err.split())
    code, _, err = bench("reproduce", "winclop-table1", "--dry-run")
    assert code == 2
    assert "did you mean winclip-table1" in err


def test_a_table_that_cannot_be_reproduced_says_why(bench: Bench) -> None:
    code, _, err = bench("reproduce", "anomalyclip-table3", "--dry-run")
    said = " ".join(err.split())
    assert code == 2
    assert "CVC-ColonDB in a way that is not published; recipes that begin alike: anomalyclip-table1, " in said
    page = (Path(__file__).parents[2] / "docs/reproduce.md").read_text(encoding="utf-8")
    for name, why in NOT_REPRODUCIBLE.items():
        assert name not in NAMES
        assert why in page


def test_a_mini_run_takes_no_data(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("reproduce", "winclip-table1", "--mini", "--data", tmp_path)
    assert code == 2
    assert "--mini" in err


def needs_of(recipe: Recipe, folder: Path | None = None) -> Needs:
    return find_needs(recipe, recipe.runs(), Places(), Computation(), checkpoints=folder)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A folder with files that have the sums of AnomalyCLIP's published ones."""
    folder = tmp_path / "files"
    sums = {
        file.name + str(index): file.sha256
        for index, each in enumerate(checkpoints.published_checkpoints())
        if each.method == "anomalyclip"
        for file in each.files
    }

    def make(count: int) -> Path:
        for name in list(sums)[:count]:
            (folder / name).mkdir(parents=True)
            (folder / name / "epoch_15.pth").write_bytes(b"x")
        return folder

    monkeypatch.setattr(checkpoints, "file_sha256", lambda path: sums.get(path.parent.name))
    return make


def imported(needs: Needs) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.method.name, each.auxiliary) for each in needs.learned if each.imported]


def test_published_checkpoints_take_the_place_of_trainings(published: Callable[..., Path]) -> None:
    recipe = load_recipes()["anomalyclip-table1"]
    found = needs_of(recipe, published(2))
    assert sorted(imported(found)) == [("anomalyclip", ("mvtec",)), ("anomalyclip", ("visa",))]
    before, after = (cost_of(recipe, recipe.runs(), each) for each in (needs_of(recipe), found))
    assert before.trainings - after.trainings == 2
    assert after.passes <= before.passes
    text = render_needs(recipe, recipe.runs(), found, data=None)
    assert text.count("published checkpoint\n") == 2


def test_the_files_found_in_the_folder_of_checkpoints_are_counted(published: Callable[..., Path]) -> None:
    """Two of AnomalyCLIP by their sums, two of APRIL-GAN by name alone."""
    recipe = load_recipes()["anomalyclip-table1"]
    folder = published(0)
    folder.mkdir()

    def text() -> str:
        return render_needs(recipe, recipe.runs(), needs_of(recipe, folder), data=None)

    assert f"\n0 of 4 published files found in {folder}\n" in text()
    (folder / "junk.pth").write_bytes(b"x")
    (folder / "junk.txt").write_bytes(b"x")
    published(1)
    named = folder / "visa_pretrained.pth"
    named.write_bytes(b"x")
    found = text()
    assert f"\n2 of 4 published files found in {folder}\n" in found
    assert f"{named}: known by its name alone" in found
    assert found.count("known by its name alone") == 1
    assert "published files found" not in render_needs(recipe, recipe.runs(), needs_of(recipe), data=None)


def test_of_a_method_all_checkpoints_are_taken_or_none(published: Callable[..., Path]) -> None:
    """Otherwise a column would mix numbers of a training with those of a checkpoint."""
    recipe = load_recipes()["anomalyclip-table1"]
    assert imported(needs_of(recipe, published(1))) == []


def test_rows_of_ablations_are_trainings_of_their_own(published: Callable[..., Path]) -> None:
    recipe = load_recipes()["anomalyclip-table5"]
    assert {each.found for each in needs_of(recipe).learned} == {None}
    with pytest.raises(BenchError, match="--checkpoints: no published checkpoint"):
        needs_of(recipe, published(2))


def test_trainings_that_checkpoints_replace_need_no_dataset(published: Callable[..., Path]) -> None:
    """AnomalyCLIP alone on medical data trains on MVTec AD, which is no target there."""
    recipe = load_recipes()["anomalyclip-table2"]
    only = tuple(run for run in recipe.runs() if run.method.name == "anomalyclip")
    names = []
    for folder in (None, published(2)):
        found = find_needs(recipe, only, Places(), Computation(), checkpoints=folder)
        names.append([each.card.name for each in found.datasets if not each.tested])
    assert names == [["mvtec"], []]


def test_weights_are_there_or_have_the_size_that_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipes()["winclip-table1"]
    monkeypatch.setattr(needs, "kept_file", lambda known: None)
    (lacking,) = needs_of(recipe).weights
    known = KNOWN_FILES["ViT-B-16-plus-240:laion400m_e32"]
    assert (lacking.there, lacking.size) == (False, known.size)
    assert cost_of(recipe, recipe.runs(), needs_of(recipe)).weights == known.size
    monkeypatch.setattr(needs, "kept_file", lambda known: tmp_path)
    assert needs_of(recipe).weights[0].there


def test_layouts_with_other_test_images_are_told() -> None:
    """Of KolektorSDD as its publisher has it, and of AdaCLIP's DAGM."""
    for name, card, layouts in (
        ("anomalyclip-table1", "sdd", ("anomalyclip",)),
        ("adaclip-table1", "sdd", ("adaclip",)),
        ("adaclip-table1", "dagm", ("adaclip",)),
        ("anomalyclip-table2", "covid19", ("original",)),
    ):
        recipe = load_recipes()[name]
        assert recipe.layouts(load_cards()[card]) == layouts
        text = render_needs(recipe, recipe.runs(), needs_of(recipe), data=None)
        assert f"{load_cards()[card].title}: the published test images are those of the layout {layouts[0]}" in text


def test_a_copy_with_the_published_test_images_is_named_where_it_lies() -> None:
    """It is not where `bench data get` fetches from, which gives other images; the layout adaclip has no such copy."""
    for name, there in (("anomalyclip-table1", True), ("adaclip-table1", False)):
        recipe = load_recipes()[name]
        text = render_needs(recipe, recipe.runs(), needs_of(recipe), data=None)
        (line,) = [each for each in text.splitlines() if each.startswith("KolektorSDD: the published test images")]
        assert line.endswith("1oqaxUZYi44jlLT4WtT6D5T6onPTNZXsu, for a person to fetch") == there


def test_copies_are_of_layouts_that_exist() -> None:
    cards = load_cards()
    for card, layout in COPIES:
        assert layout in {each.name for each in cards[card].layouts}


# --- what it costs


@pytest.mark.parametrize("name", NAMES)
def test_the_work_of_every_method_of_a_recipe_is_known(name: str) -> None:
    assert {run.method.name for run in load_recipes()[name].runs()} <= WORK.keys()


def test_passes_are_reckoned_from_images() -> None:
    """AnomalyCLIP's Table 1 by hand: 14,695 images, MVTec AD 1,725, VisA 2,162."""
    recipe = load_recipes()["anomalyclip-table1"]
    cost = cost_of(recipe, recipe.runs(), needs_of(recipe))
    assert cost.images == 1725 + 2162 + 458 + 741 + 255 + 8050 + 1304
    scoring = cost.images * (1 + 0.45 + 1)  # the shared pass, WinCLIP's windows, APRIL-GAN's own pass
    storing = (1725 + 2162) * 1.0  # features of the shared pass
    april_gan = 3 * 1725 + 2162  # three epochs of mosaics; features of VisA
    assert cost.passes == pytest.approx(scoring + storing + april_gan)
    assert cost.trainings == 6
    assert cost.features == pytest.approx((4.2 * (1725 + 2162) + 22 * 2162) / 1000)
    assert cost.gpu_hours == pytest.approx((cost.passes / 32 + 6 * 130) / 3600)


def test_counts_of_images_are_those_of_the_documentation() -> None:
    assert sum(images_of(card) for card in load_cards().values() if not card.beyond) == 22_893


# --- the table


BACKBONE = BackboneId(
    name=DEFAULT_BACKBONE,
    architecture="ViT-L-14-336-quickgelu",
    sha256=KNOWN_FILES[DEFAULT_BACKBONE].sha256,
    dtype="float32",
    synthetic=False,
)


def _published_layout(card: str) -> str:
    return next(each.name for each in load_cards()[card].layouts if each.counts is None)


def result(method: str, card: str, value: float, **changes: Any) -> Record:
    """Return a record of a whole dataset with one value for every metric."""
    known = load_cards()[card]
    metrics = dict.fromkeys(METRICS, value)
    each = ClassResult(normal=1, anomalous=1, metrics=metrics)
    cell = {
        "method": method,
        "dataset": DataId(name=card, card_version=1, layout=_published_layout(card), fingerprint="f"),
        "backbone": BACKBONE,
        "protocol": Protocol(mask_gt0=True),
        **changes,
    }
    made = made_record({c.name: each for c in known.classes}, cell=cell, title=method, dataset=known.title)
    return made.model_copy(update={"image_size": 518})


def test_verdicts_are_those_of_the_comparison() -> None:
    recipe = load_recipes()["anomalyclip-table1"]
    records = [result("clip", card.name, 0.743) for card in recipe.cards]
    wanted = compare(recipe.numbers, records, tolerance=1.0)
    rows = make_table(recipe, records, tolerance=1.0).rows
    assert {(row.number.row, row.verdict, row.difference) for row in rows} == {
        (row.number.row, row.verdict, row.difference) for row in wanted
    }
    assert {row.verdict for row in rows} >= {"differs", "not run"}
    (mvtec,) = [
        row for row in rows if (row.title, row.number.dataset, row.number.metric) == ("clip", "mvtec", "image_auroc")
    ]
    assert (mvtec.number.row.value, mvtec.verdict) == (74.1, "within")
    assert mvtec.difference == pytest.approx(0.2)


def test_the_authors_checkpoint_leaves_no_condition_that_differs() -> None:
    """So docs/reproduce.md says of AnomalyCLIP in its Table 1."""
    recipe = load_recipes()["anomalyclip-table1"]
    records = []
    for card in recipe.cards:
        (name,) = recipe.auxiliaries([card])[card.name]
        learned = {"auxiliary": DataId(name=name, card_version=1, layout="published", fingerprint="f")}
        records.append(result("anomalyclip", card.name, 0.9, **learned, checkpoint="c" * 64))
    rows = [row for row in make_table(recipe, records, tolerance=1.0).rows if row.verdict != "not run"]
    assert len(rows) == 28
    assert {row.reasons for row in rows} == {("checkpoint given, not trained by the run",)}


def test_the_table_says_why_a_row_was_not_run() -> None:
    recipe = load_recipes()["winclip-table1"]
    table = make_table(recipe, [], tolerance=1.0, why_not={"visa": "data: no such folder"})
    reasons = {row.number.dataset: row.reasons for row in table.rows}
    assert reasons == {"mvtec": ("left out of this run",), "visa": ("data: no such folder",)}
    assert "data: no such folder" in render_table(table, "txt")


@pytest.mark.parametrize("style", ["txt", "md"])
def test_the_papers_own_method_stands_first_and_the_others_in_its_order(style: str) -> None:
    text = render_table(make_table(load_recipes()["anomalyclip-table1"], [], tolerance=1.0), style)
    start = "## " if style == "md" else ""
    places = [
        text.index(f"\n{start}{name}\n") for name in ("AnomalyCLIP", "CLIP", "CLIP-AC", "WinCLIP", "VAND", "CoOp")
    ]
    assert places == sorted(places)


def test_a_small_table_at_the_end_counts_the_verdicts_of_each_method() -> None:
    """Of 28 numbers each: AnomalyCLIP's of all datasets, CLIP's of BTAD alone."""
    recipe = load_recipes()["anomalyclip-table1"]
    records = [result("anomalyclip", card.name, 0.9) for card in recipe.cards] + [result("clip", "btad", 0.5)]
    table = make_table(recipe, records, tolerance=1.0)
    last = render_table(table, "txt").split("\nBy method\n")[1].strip().splitlines()
    assert last[0].split()[0] == "Method"
    assert last[-6].split()[0] == "AnomalyCLIP"
    for name, run in (("AnomalyCLIP", 28), ("CLIP", 4), ("CoOp", 0)):
        rows = [row for row in table.rows if row.number.row.method == name]
        (found,) = [line for line in last if line.split()[0] == name]
        assert sum(map(int, found.split()[1:])) == len(rows)
        assert int(found.split()[-1]) == len(rows) - run
    assert last[0].endswith("not run")
    assert "Our AUPRO is AUPRO-200 here" in render_table(table, "md")
    metrics = {row["ours_is"] for row in csv.DictReader(table_csv(table).splitlines()) if row["metric"] == "aupro"}
    assert metrics == {"pixel_aupro_200"}


def test_a_part_of_a_recipe_has_the_numbers_of_its_methods_alone() -> None:
    whole = load_recipes()["anomalyclip-table1"]
    part = whole.part(["april_gan", "anomalyclip"])
    assert {number.row.method for number in part.numbers} == {"VAND", "AnomalyCLIP"}
    assert len(part.numbers) == sum(number.method in ("april_gan", "anomalyclip") for number in whole.numbers)
    assert {run.method.name for run in part.runs()} == {"april_gan", "anomalyclip"}
    assert part.title.endswith(": APRIL-GAN, AnomalyCLIP alone")
    with pytest.raises(BenchError, match="unknown method of this recipe 'mrad_tf'"):
        whole.part(["mrad_tf"])


@pytest.mark.parametrize("name", NAMES)
def test_the_own_method_of_a_recipe_is_known(name: str) -> None:
    assert load_recipes()[name].own is not None


def test_what_cannot_be_trained_says_so_before_and_after(drawn: Path) -> None:
    """Of BTAD alone: AnomalyCLIP trains on MVTec AD there."""
    recipe = load_recipes()["anomalyclip-table1"]
    places = Places(paths={"btad": drawn / "BTech_Dataset_transformed"})
    found = find_needs(recipe, recipe.runs(), places, Computation(), checkpoints=None)
    assert [card.name for card in found.found] == ["btad"]
    text = render_needs(recipe, recipe.runs(), found, data=None)
    why = "MVTec AD, on which it is trained, was not found"
    assert f"  AnomalyCLIP: 28 of 28; {why}\n" in text
    assert "  CLIP: 24 of 28\n" in text
    table = make_table(recipe, [result("clip", "btad", 0.9)], tolerance=1.0, untrained=found.untrained)
    reasons = {row.reasons for row in table.rows if (row.title, row.number.dataset) == ("AnomalyCLIP", "btad")}
    assert reasons == {(why,)}


def test_before_a_run_the_images_that_are_there_are_counted_and_generated_ones_are_marked(drawn: Path) -> None:
    recipe = load_recipes()["winclip-table1"]
    places = Places(paths={"visa": drawn / "VisA_20220922"})
    needs = find_needs(recipe, recipe.runs(), places, Computation(), checkpoints=None)
    lines = render_needs(recipe, recipe.runs(), needs, data=None).splitlines()
    images = sum(map(sum, count(locate(load_cards()["visa"], None, places.paths["visa"]).test).values()))
    assert any(line.split() == ["Dataset", "Test", "images", "Here", "For", "Where"] for line in lines)
    (visa,) = [line.split() for line in lines if line.startswith("VisA ")]
    assert visa[1:4] == ["2,162", f"{images:,}", "test"]
    assert visa[-2:] == ["generated", "data)"]
    (mvtec,) = [line.split() for line in lines if line.startswith("MVTec AD ")]
    assert mvtec[2:] == ["1,725", "test", "not", "found"]


def test_a_synthetic_result_that_is_undefined_says_why() -> None:
    recipe = load_recipes()["anomalyclip-table1"]
    made = result("clip", "btad", 0.5)
    mean = made.mean | {"pixel_aupro_200": None}
    table = make_table(recipe, [made.model_copy(update={"mean": mean, "synthetic": ("weights",)})], tolerance=1.0)
    reasons = {row.number.metric: row.reasons for row in table.rows if row.verdict == "synthetic"}
    assert reasons.pop("pixel_aupro_200")[-1] == "AUPRO-200 is undefined on these images"
    assert len(reasons) == 3
    assert all("undefined" not in text for each in reasons.values() for text in each)
    said = "Undefined: 1 of the 4 synthetic results, as the column Why says."
    assert all(said in render_table(table, style) for style in ("txt", "md"))
    whole = make_table(recipe, [made.model_copy(update={"synthetic": ("weights",)})], tolerance=1.0)
    assert "Undefined: " not in render_table(whole, "txt")


def test_the_csv_has_every_row() -> None:
    table = make_table(load_recipes()["anomalyclip-table2"], [], tolerance=1.0)
    rows = list(csv.DictReader(table_csv(table).splitlines()))
    assert len(rows) == 120
    assert {row["verdict"] for row in rows} == {"not run"}


def test_the_report_of_an_empty_folder_names_the_commands_that_fill_one(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("report", "--results", tmp_path)
    assert code == 2
    assert "`bench run` makes them, and `bench reproduce` in results/reproduce/NAME" in " ".join(err.split())


# --- runs


@pytest.fixture
def drawn(made_once: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few classes of the mini suite, where commands look for all of it."""
    classes = [
        *(("mvtec", name) for name in ("screw", "grid")),
        ("visa", "candle"),
        ("btad", "01"),
        ("mpdd", "tubes"),
    ]
    folder = made_once(f"recipes/{SUITE_FOLDER}", lambda folder: draw_classes(folder, classes))
    monkeypatch.setenv("BENCH_CACHE", str(folder.parent))
    return folder


def test_a_mini_run_marks_all_as_synthetic_and_says_what_was_cut(bench: Bench, drawn: Path, tmp_path: Path) -> None:
    command = ("reproduce", "anomalyclip-table1", "--mini", *CHEAP, "--results", tmp_path)
    code, out, err = bench(*command)
    assert code == 0, err
    assert "SYNTHETIC" in out.splitlines()[2]
    assert "were edited" not in out + err
    assert "generated miniatures of BTAD, MPDD alone, of 7 datasets" in out
    assert "APRIL-GAN, CoOp, AnomalyCLIP with shipped checkpoints" in out
    rows = list(csv.DictReader((tmp_path / "anomalyclip-table1.csv").read_text(encoding="utf-8").splitlines()))
    run = [row for row in rows if row["dataset"] in ("btad", "mpdd")]
    assert {row["verdict"] for row in run} == {"synthetic"}
    assert {row["verdict"] for row in rows if row not in run} == {"not run"}
    assert {(row["ours"], row["difference"]) for row in rows} == {("", "")}
    records, _ = read_records(tmp_path)
    clip = next(each for each in records if (each.cell.method, each.cell.dataset.name) == ("clip", "btad"))
    by_id = {row["records"]: float(row["synthetic"]) for row in run if row["ours_is"] == "image_auroc"}
    assert by_id[clip.id] == pytest.approx(100 * (clip.mean["image_auroc"] or 0))
    value = f"{100 * (clip.mean['image_auroc'] or 0):.2f} (SYNTHETIC)"
    assert value in (tmp_path / "anomalyclip-table1.md").read_text(encoding="utf-8")
    assert {each.cell.protocol.mask_gt0 for each in records} == {True}
    again = bench(*command)
    assert "12 were there" in again[2]
    assert f"bench report --results {tmp_path}" in again[2]
    assert again[1] == out


def test_a_run_on_some_of_the_datasets_says_which_are_missing(bench: Bench, drawn: Path, tmp_path: Path) -> None:
    data = drawn / "VisA_20220922"
    code, out, err = bench("reproduce", "winclip-table1", "--data", data, *CHEAP, "--results", tmp_path)
    assert code == 1
    assert "bench data get mvtec" in err
    assert "6 not run" in out


def test_published_files_are_imported_and_no_training_is_made(bench: Bench, drawn: Path, tmp_path: Path) -> None:
    """APRIL-GAN's own code has written the file, for the small CLIP; VisA is tested with what MVTec AD taught."""
    official = Path(__file__).parents[1] / "golden/official_run/april_gan/mvtec_epoch_3.pth"
    put = tmp_path / "files/exps/pretrained/mvtec_pretrained.pth"
    put.parent.mkdir(parents=True)
    shutil.copy(official, put)
    data = drawn / "VisA_20220922"
    command = ("reproduce", "april-gan", "--data", data, "--checkpoints", tmp_path / "files", *CHEAP)
    code, out, err = bench(*command, "--dry-run", "--results", tmp_path / "dry", "--backbone", "mini:v2")
    assert code == 0, err
    assert "APRIL-GAN  MVTec AD      published checkpoint" in out
    assert not (tmp_path / "dry").exists()
    code, out, err = bench(*command, "--results", tmp_path / "r", "--backbone", "mini:v2")
    assert code == 1, err  # MVTec AD and BTAD are not there
    (record,) = read_records(tmp_path / "r")[0]
    assert (record.cell.dataset.name, record.cell.seed) == ("visa", 0)
    assert record.cell.checkpoint is not None
    assert "trained APRIL-GAN" not in err


@pytest.mark.slow
def test_a_run_fetches_the_datasets_that_are_missing(
    bench: Bench, small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MVTec AD, of two classes, is fetched from a local server; VisA needs a person."""
    drawn = locate(load_cards()["mvtec"], small_suite, None)
    assert drawn is not None
    content = zipped(files_below(drawn.directory))
    mvtec = card_as_drawn(load_cards()["mvtec"], drawn)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    command = ("reproduce", "winclip-table1", "--get", "--backbone", "mini:v2", *CHEAP, "--results", tmp_path / "r")
    assert "say --data" in bench(*command)[2]
    with archive_server() as server:
        archive = served_archive("mvtec.zip", content, server.put("mvtec.zip", content))
        monkeypatch.setitem(load_cards(), "mvtec", served_card(mvtec, archive, unattended=True, steps=""))
        by_hand = served_card(load_cards()["visa"], served_archive("visa.zip", b"x"), unattended=False, steps="Ask.")
        monkeypatch.setitem(load_cards(), "visa", by_hand)
        code, out, err = bench(*command, "--data", tmp_path / "data", "--accept")
    assert code == 1, err
    assert "MVTec AD (mvtec): fetched" in err
    assert "VisA: not there, and a person must fetch it" in err
    rows = list(csv.DictReader((tmp_path / "r/winclip-table1.csv").read_text(encoding="utf-8").splitlines()))
    assert {(row["dataset"], row["verdict"]) for row in rows} == {("mvtec", "synthetic"), ("visa", "not run")}
    assert "SYNTHETIC" in out


def test_a_dry_mini_run_lists_its_trainings_and_cells(bench: Bench, drawn: Path, tmp_path: Path) -> None:
    """Table 5 has four rows, of which each is a training of its own."""
    code, out, err = bench(
        "reproduce", "anomalyclip-table5", "--mini", "--dry-run", *CHEAP, "--results", tmp_path / "results"
    )
    assert code == 0, err
    assert out.count("train  anomalyclip") == 4
    assert out.count("to do  anomalyclip") == 4
    assert not (tmp_path / "results").exists()


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_runs_on_the_mini_suite(
    bench: Bench, name: str, made_once: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from benchmark.mini.suite import make_suite

    folder = made_once(f"whole/{SUITE_FOLDER}", make_suite)
    monkeypatch.setenv("BENCH_CACHE", str(folder.parent))
    code, _, err = bench("reproduce", name, "--mini", *CHEAP, "--results", tmp_path)
    assert code == 0, err
    assert "0 failed" in err
    recipe = load_recipes()[name]
    rows = list(csv.DictReader((tmp_path / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["verdict"] for row in rows} == {"synthetic", "not run"}
    records, _ = read_records(tmp_path)
    assert {each.cell.dataset.name for each in records} == set(recipe.mini.datasets)
    run = {id for row in rows for id in row["records"].split()}
    assert run == {each.id for each in records}
    if name.startswith("anomalyclip") and recipe.ablations:
        assert bench("tables", "--results", tmp_path)[0] == 0
        stems = {path.stem for path in (tmp_path / "tables/ablations").glob("*.md")}
        assert {f"anomalyclip_{ablation}" for ablation in recipe.ablations} <= stems


def test_mini_and_data_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--mini"):
        Reproduction(recipe=load_recipes()["mrad"], computation=Computation(), places=Places(data=tmp_path), mini=True)
