"""Ablations: which variants there are, and what their tables say."""

import csv
import io
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from support.records import made_run

from benchmark.contract import Ablation
from benchmark.errors import BenchError
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.placement import Placement
from benchmark.records.records import Record
from benchmark.registry import all_methods
from benchmark.running.variants import select_ablations, variants_of
from benchmark.tables.ablations import AblationTable, Grid, ablation_files, ablation_summary, make_ablations
from benchmark.tables.comparable import TableError
from methods.clip import Clip


@dataclass(frozen=True, slots=True)
class ToyOptions:
    size: int = 3
    layers: tuple[int, ...] = (1, 2)


class Toy(Clip):
    name = "toy"
    title = "Toy"
    Options = ToyOptions
    ablations = (
        Ablation("size", "Size of it", {"2": {"size": 2}, "3": {}}),
        Ablation("layers", "Layers of it", {"one": {"layers": (1,)}, "both": {}}),
    )


PLACEMENTS = variants_of(Toy, ToyOptions(), Toy.ablations)


def record(
    options: ToyOptions,
    dataset: str,
    mean: dict[str, float | None],
    *,
    seed: int = 0,
    method: str = "toy",
    placements: dict[Any, Placement] | None = None,
    **changes: Any,
) -> Record:
    backbone = BackboneId(name="mini:v", architecture="mini", sha256="a" * 64, dtype="float32", synthetic=True)
    cell = Cell(
        method=method,
        method_version=1,
        options=asdict(options),
        dataset=DataId(name=dataset, card_version=1, layout="x", fingerprint=dataset),
        seed=seed,
        backbone=backbone,
        protocol=Protocol(**changes),
    )
    written = Record(
        id=cell.id,
        title=f"{method} {options}",
        dataset_title=dataset.upper(),
        domain="industrial",
        cell=cell,
        status="done",
        synthetic=("weights",),
        mean=mean,
        run=made_run(),
        placement=(placements or PLACEMENTS)[options] if method == "toy" else Placement(),
    )
    return Record.model_validate_json(written.model_dump_json())  # as it is read back: tuples are lists


def pixel(auroc: float, aupro: float | None) -> dict[str, float | None]:
    return {"image_auroc": None, "image_ap": None, "pixel_auroc": auroc, "pixel_aupro": aupro}


@pytest.fixture
def records() -> list[Record]:
    numbers = {
        ToyOptions(): (pixel(0.9, 0.8), pixel(0.7, 0.6)),
        ToyOptions(size=2): (pixel(0.85, 0.81), pixel(0.71, None)),
        ToyOptions(layers=(1,)): (pixel(0.5, 0.4), pixel(0.3, 0.2)),
    }
    return [
        record(options, name, mean)
        for options, both in numbers.items()
        for name, mean in zip(("btad", "mpdd"), both, strict=True)
    ]


def test_ablations_share_their_default() -> None:
    assert list(PLACEMENTS) == [ToyOptions(size=2), ToyOptions(), ToyOptions(layers=(1,))]
    assert [(row.ablation, row.row, row.default) for row in PLACEMENTS[ToyOptions()].ablations] == [
        ("size", "3", True),
        ("layers", "both", True),
    ]


def test_what_is_set_for_all_becomes_the_default() -> None:
    variants = variants_of(Toy, ToyOptions(size=5), Toy.ablations[1:])
    assert {row.row: options for options, each in variants.items() for row in each.ablations} == {
        "one": ToyOptions(5, (1,)),
        "both": ToyOptions(5),
    }


def test_what_is_set_for_all_has_a_table_of_its_own(records: list[Record]) -> None:
    """The rows have the same titles, and other numbers."""
    placements = variants_of(Toy, ToyOptions(layers=(3,)), Toy.ablations[:1])
    other = [record(each, "btad", pixel(0.2, 0.1), placements=placements) for each in placements]
    tables = {table.stem: table for table in make_ablations([*records, *other])}
    (apart,) = set(tables) - {"toy_size", "toy_layers"}
    assert apart.startswith("toy_size--layers")
    assert tables[apart].grids[0].title == "Toy (layers=(3,)): Size of it, pixel level"
    assert tables["toy_size"] == make_ablations(records)[1]


def test_ablations_are_chosen_by_name() -> None:
    assert [each.name for each in select_ablations(Toy, [])] == ["size", "layers"]
    assert [each.name for each in select_ablations(Toy, ["layers"])] == ["layers"]
    with pytest.raises(BenchError, match="did you mean layers"):
        select_ablations(Toy, ["layer"])
    with pytest.raises(BenchError, match="clip declares no ablations"):
        select_ablations(Clip, [])


def test_a_change_stays_with_its_dataset_in_a_terminal(records: list[Record]) -> None:
    tables = make_ablations(records)
    heads = [line.split("  ") for line in ablation_summary(tables, width=40).splitlines() if line.startswith("   ")]
    names = [[word.strip() for word in head if word.strip()] for head in heads]
    assert [name for _, name in names] == ["change"] * len(names)
    assert [name for name, _ in names] == [name for table in tables for each in table.grids for name in each.datasets]
    assert ablation_summary(tables, width=400) == ablation_summary(tables)


def test_tables_have_the_change_against_the_default(records: list[Record]) -> None:
    text = ablation_summary(make_ablations(records))
    assert "SYNTHETIC WEIGHTS" in text
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith(("2 ", "3 ", "one", "both"))}
    assert "(85.0, 81.0)" in rows["2"]
    assert "(-5.0, +1.0)" in rows["2"]
    assert "(71.0, –)" in rows["2"]
    assert "(+1.0, –)" in rows["2"]
    assert "(78.0, –)" in rows["2"]  # the mean over datasets is undefined where one of them is
    assert rows["3"].count("default") == 3
    assert "(40.0, 30.0)" in rows["one"]
    assert "image level" not in text  # nothing of it is defined


def test_files_are_written_per_ablation(records: list[Record]) -> None:
    files = ablation_files(make_ablations(records))
    assert files.keys() == {f"toy_{name}.{kind}" for name in ("size", "layers") for kind in ("md", "tex", "csv")}
    assert "## Toy: Size of it, pixel level (AUROC, AUPRO), %" in files["toy_size.md"]
    banner = [line for line in files["toy_size.tex"].splitlines() if "SYNTHETIC" in line and not line.startswith("%")]
    assert banner
    assert all(line.startswith(r"\multicolumn{7}{l}{") for line in banner)
    read = csv.DictReader(io.StringIO(files["toy_size.csv"]))
    rows = {(r["variant"], r["dataset"], r["metric"]): (r["value"], r["change"]) for r in read}
    assert rows["2", "BTAD", "pixel_auroc"] == ("85.00", "-5.00")
    assert rows["2", "MPDD", "pixel_aupro"] == ("", "")
    assert rows["3", "Mean", "pixel_auroc"] == ("80.00", "")


def test_the_order_of_records_changes_nothing(records: list[Record]) -> None:
    assert make_ablations(records[::-1]) == make_ablations(records)


def test_each_domain_has_a_mean_of_its_own(records: list[Record]) -> None:
    medical = [
        record(ToyOptions(size=size), name, pixel(0.2, 0.1)).model_copy(update={"domain": "medical"})
        for size in (2, 3)
        for name in ("brain", "colon")
    ]
    of_sizes = [each for each in records if each.cell.options["layers"] == [1, 2]]
    (table,) = (each for each in make_ablations([*of_sizes, *medical]) if each.stem == "toy_size")
    assert table.grids[0].datasets == ("BTAD", "MPDD", "BRAIN", "COLON", "Mean, industrial", "Mean, medical")
    assert table.grids[0].values["3"][4:] == (
        (pytest.approx(80), pytest.approx(70)),
        (pytest.approx(20), pytest.approx(10)),
    )
    (alone,) = (each for each in make_ablations([*of_sizes, medical[0], medical[2]]) if each.stem == "toy_size")
    assert alone.grids[0].datasets == ("BTAD", "MPDD", "BRAIN", "Mean, industrial")


def test_other_records_change_nothing(records: list[Record]) -> None:
    """Also the default under another seed, where no ablation asked for it."""
    elsewhere = record(ToyOptions(), "btad", pixel(0.1, 0.1), seed=1).model_copy(update={"placement": Placement()})
    other = record(ToyOptions(), "btad", pixel(0.1, 0.1), method="other")
    assert make_ablations([*records, elsewhere, other]) == make_ablations(records)
    assert make_ablations([elsewhere, other]) == []


def test_a_record_may_stand_in_the_main_tables_and_in_ablations() -> None:
    run, ablated = Placement(), PLACEMENTS[ToyOptions()]
    both = run.joined(ablated)
    assert both.main
    assert both == ablated.joined(run)
    assert both.joined(ablated) == both
    moved = ablated.ablations[0].model_copy(update={"place": 7})
    (row, other) = both.joined(Placement(main=False, ablations=(moved,))).ablations
    assert {(row.ablation, row.place), (other.ablation, other.place)} == {("size", 7), ("layers", 1)}


def test_a_failed_variant_is_missing_with_a_note(records: list[Record]) -> None:
    failed = records[2].model_copy(update={"status": "failed", "error": "out of luck", "mean": {}})
    text = ablation_summary(make_ablations([*records[:2], failed, *records[3:]]))
    assert "out of luck" in text
    assert next(line for line in text.splitlines() if line.startswith("2 ")).split()[1] == "–"


def test_what_is_not_comparable_shares_no_table(records: list[Record]) -> None:
    other = record(ToyOptions(size=2), "btad", pixel(0.5, 0.5), mask_gt0=True)
    with pytest.raises(TableError, match="protocols"):
        make_ablations([*records, other])


@pytest.mark.parametrize("method", [m for m in all_methods().values() if m.ablations])
def test_declared_grids_have_known_options_and_a_default_row(method: Any) -> None:
    base = method.Options()
    for ablation in method.ablations:
        found = variants_of(method, base, [ablation])
        assert base in found, f"{method.name} {ablation.name} has no default row"
        assert len(found) == len(ablation.variants), f"{method.name} {ablation.name} says a row twice"


def test_no_row_of_the_csv_is_a_formula() -> None:
    grid = Grid("t", ("image_auroc",), ("=2+2",), {"+T1": ((50.0,),)}, {"+T1": ((-1.0,),)})
    text = ablation_files([AblationTable("toy", (grid,), ())])["toy.csv"]
    assert text.splitlines()[1] == "'+T1,'=2+2,image_auroc,50.00,-1.00"


def test_an_ablation_on_which_nothing_is_defined_is_one_table_of_dashes() -> None:
    undefined = dict.fromkeys(("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro"))
    (table,) = make_ablations([record(options, "d", undefined) for options in PLACEMENTS])[:1]
    assert [grid.title for grid in table.grids] == ["Toy: Layers of it, image level"]
    assert not table.grids[0].is_defined
    assert "| one | – | – |" in " ".join(ablation_files([table])["toy_layers.md"].split())
