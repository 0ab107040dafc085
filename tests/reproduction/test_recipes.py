"""Recipes: every number of a paper's table is in them once, under the conditions that its source states."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from benchmark.contract import Learner, training_options
from benchmark.errors import BenchError
from benchmark.protocol import auxiliaries_for
from benchmark.registry import all_methods
from benchmark.reproduction.checkpoints import (
    PublishedCheckpoint,
    PublishedFile,
    checkpoint_for,
    find_checkpoint,
    published_checkpoints,
)
from benchmark.reproduction.recipe import Recipe, RecipeError, load_recipe, load_recipes
from benchmark.reproduction.table import make_table
from benchmark.tables.published import published_directory

NAMES = sorted(load_recipes())
Key = tuple[str, str, str, str, str, str]


def printed(file: str, *, source: str = "") -> Counter[Key]:
    """Return the rows of a CSV file that are no classes; `source` must stand in what the row says of its source."""
    with (published_directory() / file).open(encoding="utf-8", newline="") as lines:
        return Counter(
            (file, row["method"], row["dataset"], row["level"], row["metric"], row["value"])
            for row in csv.DictReader(lines)
            if row.get("class", "mean") == "mean" and source in row["source"]
        )


def in_table(recipe: Recipe) -> Counter[Key]:
    """Return the numbers of the rows of a recipe's table before anything was run."""
    numbers = [row.number for row in make_table(recipe, [], tolerance=1.0).rows]
    return Counter(
        (n.file, n.row.method, n.row.dataset, n.row.level, n.row.metric, f"{n.row.value:g}") for n in numbers
    )


def as_numbers(rows: Counter[Key]) -> Counter[Key]:
    return Counter({(*key[:-1], f"{float(key[-1]):g}"): count for key, count in rows.items()})


@pytest.mark.parametrize(
    ("names", "file", "source"),
    [
        (["adaclip-ablations"], "adaclip_ablations.csv", ""),
        (["anomalyclip-table1"], "anomalyclip_table1_industrial.csv", "Table 1"),
        (["anomalyclip-table2"], "anomalyclip_table2_medical.csv", "Table 2"),
        (["anomalyclip-table4"], "anomalyclip_table4_modules.csv", "Table 4"),
        (["anomalyclip-table5"], "anomalyclip_table5_losses.csv", "Table 5"),
        (["adaclip-table1"], "adaclip_tables1_2.csv", "Table 1"),
        (["adaclip-table2"], "adaclip_tables1_2.csv", "Table 2"),
        (["adaclip-supplement"], "adaclip_supplement_anomalyclip_protocol.csv", ""),
    ],
)
def test_each_printed_row_of_a_paper_has_one_row(names: list[str], file: str, source: str) -> None:
    rows = as_numbers(printed(file, source=source))
    assert rows
    assert in_table(load_recipes()[names[0]]) == rows


@pytest.mark.parametrize("name", NAMES)
def test_each_row_is_printed_and_stands_once(name: str) -> None:
    recipe = load_recipes()[name]
    rows = in_table(recipe)
    files = {part.file for part in recipe.rows}
    known = as_numbers(sum((printed(file) for file in files), Counter()))
    assert set(rows.values()) == {1}
    assert rows.keys() <= known.keys()
    for part in recipe.rows:  # a part is all of a method on the datasets that it names
        methods = {key[1] for key in rows if key[0] == part.file}
        assert set(part.methods) <= methods


def test_the_recipes_of_authors_hold_all_their_printed_numbers() -> None:
    """The logs and tables of which a recipe takes all, but for methods that are no subject of it."""
    for name, file, method in (
        ("aa-clip", "aa_clip_official_log_per_class.csv", "AA-CLIP"),
        ("faprompt", "edmprompt_readme.csv", "FAPrompt"),
        ("faprompt", "second_hand.csv", "FAPrompt"),
        ("mrad", "psmp_clip_tables.csv", "MRAD"),
        ("mrad", "coevoad_readme.csv", "MRAD"),
        ("april-gan", "april_gan_adaclip_reruns.csv", "APRIL-GAN (published checkpoint, re-run)"),
    ):
        wanted = {key for key in as_numbers(printed(file)) if key[1] == method}
        assert wanted
        assert wanted <= in_table(load_recipes()[name]).keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_under_the_conditions_that_its_sources_state(name: str) -> None:
    recipe = load_recipes()[name]
    for number in recipe.numbers:
        conditions = number.conditions
        learns = number.method is not None and issubclass(all_methods()[number.method], Learner)
        for card in number.cards:
            stated = conditions.auxiliary_for(card.name)
            if stated is not None and learns:
                assert set(stated.split("+")) == set(auxiliaries_for(card.name, recipe.rule)), number
        if conditions.seed is not None:
            assert recipe.seeds == (conditions.seed,)
        if "mask_gt0" in conditions.protocol:
            assert recipe.protocol.mask_gt0 == conditions.protocol["mask_gt0"]


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_an_ablation_has_its_place_in_the_tables_of_ablations(name: str) -> None:
    recipe = load_recipes()[name]
    known = {ablation.name for method in all_methods().values() for ablation in method.ablations}
    assert set(recipe.ablations) <= known
    for run in recipe.runs():
        assert run.placement.main or run.placement.ablations
        assert run.placement.ablations or run.placement.main
        assert {row.ablation for row in run.placement.ablations} <= set(recipe.ablations)


def test_both_readings_of_table_4_are_run() -> None:
    """By the text five rows, by the code five, of which +T3 by the text and +T4 by the code are the defaults."""
    runs = load_recipes()["anomalyclip-table4"].runs()
    rows = {(row.ablation, row.row) for run in runs for row in run.placement.ablations}
    names = ("base", "+T1", "+T2", "+T3", "+T4")
    assert rows == {(ablation, row) for ablation in ("modules", "modules_code") for row in names}
    assert len(runs) == 9


@pytest.mark.parametrize("name", NAMES)
def test_the_mini_run_of_a_recipe_is_not_on_what_its_methods_are_trained_on(name: str) -> None:
    assert "mvtec" not in load_recipes()[name].mini.datasets


def test_a_wrong_recipe_names_the_file_and_the_field(tmp_path: Path) -> None:
    path = tmp_path / "some-table.toml"
    start = 'title = "t"\npaper = "p"\n[mini]\ndatasets = ["visa"]\n[[rows]]\n'
    for content, words in (
        (start + 'file = "nowhere.csv"', "nowhere.csv"),
        ("seed = 1\n" + start + 'file = "musc_readme.csv"', "seed"),
        ('rule = "mine"\n' + start + 'file = "musc_readme.csv"', "mine"),
        (start.replace("visa", "btad") + 'file = "musc_readme.csv"', "btad"),
        ("title = ", "TOML"),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(RecipeError, match=words) as error:
            load_recipe(path)
        assert str(path) in str(error.value)


# --- published checkpoints


def test_the_sums_of_published_files_are_those_that_the_methods_know() -> None:
    """What an import refuses by its sha256 and what a recipe looks for by it are the same."""
    of_catalogue = {
        file.sha256: (each.method, each.auxiliary)
        for each in published_checkpoints()
        for file in each.files
        if file.sha256
    }
    assert len(of_catalogue) == sum(file.sha256 is not None for each in published_checkpoints() for file in each.files)
    for method in all_methods().values():
        for sha256, auxiliary in method.published.items() if issubclass(method, Learner) else ():
            if len(auxiliary) < 3:  # no recipe trains on 14 datasets
                assert set(of_catalogue[sha256][1]) == set(auxiliary)


def test_published_checkpoints_are_of_methods_here_with_the_default_options() -> None:
    methods = all_methods()
    for each in published_checkpoints():
        assert issubclass(methods[each.method], Learner)
        assert training_options(methods[each.method].Options())
        assert checkpoint_for(each.method, reversed(each.auxiliary)) == each
    assert checkpoint_for("adaclip", ["mvtec"]) is None  # the supplement's training is not published


CONTENT, OTHER = b"published", b"something else"
SHA256 = "1" * 64


@pytest.fixture
def entry(tmp_path: Path) -> PublishedCheckpoint:
    """A checkpoint of two files, of which one has a known sum."""
    import hashlib

    known = PublishedFile(path="weights/visa/epoch_15.pth", sha256=hashlib.sha256(CONTENT).hexdigest())
    files = (known, PublishedFile(path="exps/memory.pt"))
    return PublishedCheckpoint(method="anomalyclip", auxiliary=("visa",), where="a page", files=files)


def put(folder: Path, name: str, content: bytes = CONTENT) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_is_known_by_its_sum_whatever_its_name(entry: PublishedCheckpoint, tmp_path: Path) -> None:
    renamed = put(tmp_path, "mine/renamed.pth")
    memory = put(tmp_path, "exps/memory.pt", OTHER)
    found = find_checkpoint(entry, tmp_path)
    assert found.complete
    assert dict(zip(entry.files, (renamed, memory), strict=True)) == found.paths


def test_a_file_of_the_same_name_with_another_sum_is_told_and_not_taken(
    entry: PublishedCheckpoint, tmp_path: Path
) -> None:
    wrong = put(tmp_path, "weights/visa/epoch_15.pth", OTHER)
    put(tmp_path, "memory.pt", b"a memory")
    found = find_checkpoint(entry, tmp_path)
    assert not found.complete
    assert found.missing == (entry.files[0],)
    assert found.others == (wrong,)


def test_two_files_of_a_name_without_a_sum_are_an_error_unless_one_lies_as_published(
    entry: PublishedCheckpoint, tmp_path: Path
) -> None:
    put(tmp_path, "a/memory.pt")
    put(tmp_path, "b/memory.pt")
    with pytest.raises(BenchError, match=r"memory\.pt.*leave one"):
        find_checkpoint(entry, tmp_path)
    as_published = put(tmp_path, "repository/exps/memory.pt")
    assert find_checkpoint(entry, tmp_path).paths[entry.files[1]] == as_published


def test_without_a_folder_nothing_is_found_and_a_wrong_one_is_an_error(
    entry: PublishedCheckpoint, tmp_path: Path
) -> None:
    assert find_checkpoint(entry, None).missing == entry.files
    with pytest.raises(BenchError, match="--checkpoints"):
        find_checkpoint(entry, tmp_path / "nowhere")
