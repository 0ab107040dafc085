"""Which records may share a table: what is refused, that the advice helps, and which records are out of date."""

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import made_run

from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.placement import AblationRow, Placement
from benchmark.records.records import (
    ClassResult,
    Record,
    TrainingReport,
    keep_record,
    path_key,
    read_records,
    write_record,
)
from benchmark.tables.ablations import make_ablations
from benchmark.tables.comparable import TableError, check_comparable, main_records
from benchmark.tables.selection import alongside, choose_records, newest, put_back
from benchmark.tables.tables import make_tables

Bench = Callable[..., tuple[int, str, str]]
NUMBERS = {"image_auroc": 0.5, "image_ap": 0.5, "pixel_auroc": 0.5, "pixel_aupro": 0.5}
TITLES = {"learner": "Learner", "plain": "Plain"}


def record(method: str = "learner", dataset: str = "d0", **given: Any) -> Record:
    """A record with everything that identifies its numbers in `given`."""
    learns = method == "learner"
    options = {"size": given.get("option", 3)} if learns else {}
    data = DataId(name=dataset, card_version=1, layout="x", fingerprint=f"{dataset} {given.get('images', 0)}")
    auxiliary = DataId(
        name=given.get("auxiliary", "aux"),
        card_version=1,
        layout="x",
        fingerprint=str(given.get("auxiliary_images", 0)),
    )
    sha256 = given.get("backbone", "a") * 64
    cell = Cell(
        method=method,
        method_version=given.get("version", 1),
        options=options,
        changed={name: value for name, value in options.items() if value != 3},
        dataset=data,
        auxiliary=auxiliary if learns else None,
        checkpoint=given.get("checkpoint"),
        seed=given.get("seed", 0),
        backbone=BackboneId(
            name="clip:x",
            architecture="clip",
            sha256=sha256,
            dtype=given.get("dtype", "float32"),
            synthetic=False,
            plain_gelu=given.get("variant", False),
        ),
        protocol=Protocol(mask_gt0=given.get("mask_gt0", False)),
        metrics_version=given.get("metrics", 1),
    )
    training = TrainingReport(
        checkpoint="c",
        sha256=given.get("training", "c") * 64,
        synthetic=False,
        origin="trained",
        source="Aux",
        images=1,
        skipped=(),
        curve=(),
        seconds=None,
    )
    option = given.get("option", 3)
    row = AblationRow(
        ablation="size",
        method="Learner",
        title="Size",
        base={},
        row=given.get("row", str(option)),
        place=option,
        default=option == 3,
    )
    main = given.get("main", True)
    result = ClassResult(normal=1, anomalous=1, metrics=dict(NUMBERS))
    return Record(
        id=cell.id,
        title=TITLES[method] + (f" (size={option})" if learns and option != 3 else ""),
        dataset_title=dataset.upper(),
        domain="industrial",
        cell=cell,
        status=given.get("status", "done"),
        synthetic=("weights",) if given.get("synthetic") else (),
        classes={"a": result},
        mean=dict(NUMBERS),
        training=training if learns else None,
        run=made_run(created=f"2026-01-01T00:00:{given.get('created', 0):02}+00:00"),
        placement=Placement(main=main, ablations=(row,) if learns and not main else ()),
    )


UNUSUAL: dict[str, Any] = {
    "option": 4,
    "row": "4",
    "images": 1,
    "auxiliary": "other",
    "auxiliary_images": 1,
    "backbone": "b",
    "variant": True,
    "version": 2,
    "checkpoint": "d" * 64,
    "dtype": "bfloat16",
    "mask_gt0": True,
    "metrics": 2,
    "training": "e",
    "status": "failed",
    "synthetic": True,
    "main": False,
}


@st.composite
def some_records(draw: st.DrawFn) -> list[Record]:
    """Records of two methods on two datasets that differ in up to three fields of the cell, whichever these are."""
    differing = draw(st.lists(st.sampled_from(sorted(UNUSUAL)), min_size=1, max_size=3, unique=True))
    places = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["learner", "learner", "plain"]),
                st.sampled_from(["d0", "d1"]),
                st.sets(st.sampled_from(differing)),
                st.integers(0, 1),
                st.integers(0, 3),
            ),
            min_size=1,
            max_size=8,
        )
    )
    found = [
        record(method, dataset, seed=seed, created=created, **{name: UNUSUAL[name] for name in names})
        for method, dataset, names, seed, created in places
    ]
    return list({each.id: each for each in found}.values())


def assert_homogeneous(records: Sequence[Record]) -> None:
    """One of each per column, and one training per column, auxiliary dataset and seed; spelled out here once more."""
    done = [each for each in main_records(records) if each.status == "done"]
    columns, trainings, sources, places = (defaultdict(set) for _ in range(4))
    for each in done:
        cell = each.cell
        backbone = cell.backbone
        columns[each.title].add(
            (
                cell.method,
                str(cell.options),
                backbone.sha256,
                backbone.plain_gelu,
                backbone.dtype,
                cell.method_version,
                cell.metrics_version,
            )
        )
        if cell.auxiliary is not None and each.training is not None:
            trainings[each.title, cell.auxiliary.name, cell.seed].add(each.training.sha256)
        places[each.title, each.dataset_title, cell.seed].add(each.id)
        sources[each.title, each.dataset_title].add(cell.auxiliary and cell.auxiliary.name)
    assert all(len(found) == 1 for grouped in (columns, trainings, sources, places) for found in grouped.values())
    assert len({(bool(each.synthetic), each.cell.protocol) for each in done}) <= 1
    assert len({(each.dataset_title, each.cell.dataset.fingerprint) for each in done}) == len(
        {each.dataset_title for each in done}
    )


def options_of(message: str) -> dict[str, Any]:
    """Read the options that a message advises as the command line does."""
    words = shlex.split(message.rpartition(" with ")[2])
    found: dict[str, Any] = {"chosen": []}
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name == "--record":
            found["chosen"].append(value)
        else:
            assert name == "--backbone"
            found["backbone"] = value
    return found


@settings(deadline=None, max_examples=200)
@given(some_records())
def test_records_share_a_table_or_the_advice_that_is_given_makes_them(records: list[Record]) -> None:
    try:
        kept, _ = choose_records(records)
    except TableError as error:
        message = str(error)
        assert any(each.id in message.partition("; choose")[0] for each in records)
        kept, _ = choose_records(records, **options_of(message))
        assert kept
    make_tables(main_records(kept))
    make_ablations(kept)
    assert_homogeneous(kept)
    shuffled, _ = choose_records(kept[::-1])
    assert {each.id for each in shuffled} == {each.id for each in kept}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": "b"}, "backbones"),
        ({"dtype": "bfloat16"}, "dtypes"),
        ({"training": "e"}, "trainings on aux with seed 0"),
        ({"checkpoint": "d" * 64, "training": "e"}, "trainings"),
        ({"mask_gt0": True}, "protocols"),
    ],
)
def test_a_column_of_two_kinds_is_refused(changes: dict[str, Any], said: str) -> None:
    """On two datasets, so that no place of the table is taken twice."""
    one, other = record(), record(dataset="d1", **changes)
    with pytest.raises(TableError, match=said) as caught:
        check_comparable([one, other])
    assert one.id in str(caught.value)
    assert other.id in str(caught.value)
    for wanted in (one, other):
        assert choose_records([one, other], chosen=[wanted.id])[0] == [wanted]
        assert choose_records([one, other], chosen=[wanted.id.rpartition("--")[2]])[0] == [wanted]


def test_other_methods_keep_their_columns_when_a_record_is_chosen() -> None:
    records = [record(), record(dataset="d1", dtype="bfloat16"), record("plain"), record("plain", "d1")]
    assert choose_records(records, chosen=[records[1].id])[0] == records[1:]


def test_two_trainings_of_one_method_may_be_on_two_auxiliary_datasets() -> None:
    records = [record(), record(dataset="d1", auxiliary="other", training="e")]
    assert choose_records(records)[0] == records


def test_a_backbone_is_advised_where_one_record_is_not_enough() -> None:
    """By its sha256 if two files have the same name."""
    records = [record(method, backbone=backbone) for method in TITLES for backbone in "ab"]
    with pytest.raises(TableError, match=r"--backbone ([ab])\1{11}$"):
        choose_records(records)
    assert choose_records(records, backbone="a" * 12)[0] == [
        each for each in records if each.cell.backbone.sha256[0] == "a"
    ]
    assert choose_records(records, backbone="aaa")[0] == []


def test_rows_of_an_ablation_share_all_but_their_options() -> None:
    rows = [record(main=False), record(option=4, main=False, dtype="bfloat16")]
    with pytest.raises(TableError, match="different dtypes"):
        make_ablations(rows)
    with pytest.raises(TableError, match="different dtypes") as caught:
        choose_records([*rows, record("plain")])
    kept, _ = choose_records([*rows, record("plain")], **options_of(str(caught.value)))
    assert [table.stem for table in make_ablations(kept)] == ["learner_size"]


def test_a_real_result_that_failed_hides_no_synthetic_ones() -> None:
    synthetic, failed = record(synthetic=True), record("plain", status="failed")
    assert choose_records([synthetic, failed]) == ([synthetic, failed], [])
    kept, said = choose_records([synthetic, record("plain", "d1")])
    assert [each.title for each in kept] == ["Plain"]
    assert "1 synthetic result" in said[0]


def test_a_chosen_record_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TableError, match="--record nope: no finished record of this id"):
        choose_records([record()], chosen=["nope"])
    both = [record(), record(dtype="bfloat16")]
    with pytest.raises(TableError, match="cannot share a table with another record that was chosen"):
        choose_records(both, chosen=[each.id for each in both])


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"metrics": 2}, {"images": 1}, {"auxiliary_images": 1, "training": "e"}]
)
def test_the_newest_counts_and_the_older_are_named(changes: dict[str, Any]) -> None:
    old, new = record(), record(created=1, **changes)
    kept, said = choose_records([old, new])
    assert kept == [new]
    assert old.id in said[0]
    assert new.id not in said[0]
    assert "bench results prune" in said[0]
    assert choose_records([old, new], chosen=[old.id])[0] == [old]
    failed = new.model_copy(update={"status": "failed"})
    assert newest([old, failed]) == (sorted([old, failed], key=lambda each: each.id), [])


@pytest.mark.parametrize("changes", [{"images": 1}, {"auxiliary_images": 1, "training": "e"}])
def test_images_that_are_put_back_count_again(changes: dict[str, Any]) -> None:
    old, new = record(), record(created=1, **changes)
    assert put_back([old], [old, new]) == [old]
    assert put_back([new], [old, new]) == put_back([old], [old]) == []
    failed = new.model_copy(update={"status": "failed"})
    assert put_back([old], [old, failed, record("plain", created=1)]) == []
    for second in (1, 2):  # the clock of records is coarse
        kept = old.model_copy(update={"kept": f"2026-01-01T00:00:0{second}+00:00"})
        assert put_back([kept], [kept, new]) == []
        current, outdated = newest([kept, new])
        assert (current, [each.records for each in outdated]) == ([kept], [(new,)])
        assert put_back([new], [kept, new]) == [new]


def test_other_methods_follow_the_images_that_were_put_back() -> None:
    methods = ("learner", "plain")
    old, new = ([record(method, images=n, created=n) for method in methods] for n in (0, 1))
    kept = old[0].model_copy(update={"kept": "2026-01-01T00:00:02+00:00"})
    assert {each.id for each in newest([kept, old[1], *new])[0]} == {each.id for each in old}


def test_the_run_that_meets_a_record_again_writes_it_down(tmp_path: Path) -> None:
    old = record()
    write_record(tmp_path, old)
    kept = keep_record(tmp_path, old.id)
    assert read_records(tmp_path)[0] == [kept]
    assert kept.kept is not None
    assert kept.kept > old.run.created
    assert kept.model_copy(update={"kept": None}) == old


def test_two_folders_of_one_name_are_a_conflict_and_none_is_out_of_date() -> None:
    first, second = (
        record("plain", images=n, created=n).model_copy(update={"location": path_key(Path(f"{n}/parts"))})
        for n in range(2)
    )
    assert {each.id for each in newest([first, second])[0]} == {first.id, second.id}
    with pytest.raises(TableError, match="different images or labels") as caught:
        choose_records([first, second])
    kept, _ = choose_records([first, second], **options_of(str(caught.value)))
    assert len(kept) == 1
    same_place = second.model_copy(update={"location": first.location})
    assert newest([first, same_place])[0] == [same_place]


def test_a_version_counts_for_all_results_of_a_method_under_the_same_conditions() -> None:
    old = [record(dataset=name) for name in ("d0", "d1")]
    new, elsewhere = record(version=2), record(dataset="d1", backbone="b")
    kept, outdated = newest([*old, new, elsewhere, record("plain")])
    assert {each.id for each in kept} == {new.id, elsewhere.id, record("plain").id}
    assert [each.records for each in outdated] == [tuple(sorted(old, key=lambda each: each.id))]


def variant(row: str, place: int, option: int, *, main: bool = False, **given: Any) -> Record:
    """A row of the ablation of sizes."""
    made = record(option=option, main=False, **given)
    placed = made.placement.ablations[0].model_copy(update={"row": row, "place": place, "default": not place})
    return made.model_copy(update={"placement": Placement(main=main, ablations=(placed,))})


def test_a_row_that_was_redefined_counts_as_it_is_now() -> None:
    default, old = variant("default", 0, 3, main=True), [variant("big", 1, 4, dataset=name) for name in ("d0", "d1")]
    new = variant("big", 1, 5, created=1)
    kept, said = choose_records([default, *old, new])
    assert {each.id for each in kept} == {default.id, new.id}
    assert "2 results of an older definition of the ablation size (big) of Learner" in said[0]
    assert all(each.id in said[0] for each in old)
    assert [list(table.grids[0].values) for table in make_ablations(kept)] == [["default", "big"]]
    chosen, _ = choose_records([default, *old, new], chosen=[old[0].id])
    assert {each.id for each in chosen} == {each.id for each in (default, *old)}
    failed = new.model_copy(update={"status": "failed"})
    assert newest([old[0], failed])[1] == []
    assert newest([default, *old, variant("small", 2, 2, created=1), variant("big", 1, 4, dataset="d2")])[1] == []


def test_a_row_whose_place_another_row_has_taken_is_gone() -> None:
    first = [variant("default", 0, 3), variant("big", 1, 4, created=1), variant("small", 2, 2)]
    kept, outdated = newest([*first, variant("huge", 1, 9, created=2)])
    assert [each.records for each in outdated] == [(first[1],)]
    assert len(kept) == 3
    moved = [variant("small", 1, 2, dataset="d1", created=2), variant("big", 2, 4, dataset="d1", created=2)]
    assert newest([*first, *moved])[1] == []  # on the other dataset the rows are in the former order
    shorter = variant("small", 1, 2)
    assert put_back([first[0], shorter], [*first[:2], shorter]) == [shorter]
    kept_again = shorter.model_copy(update={"kept": "2026-01-01T00:00:01+00:00"})
    assert [each.records for each in newest([*first[:2], kept_again])[1]] == [(first[1],)]


def test_a_record_that_gives_two_rows_loses_the_one_that_was_redefined() -> None:
    two = variant("default", 0, 3)
    same = two.placement.ablations[0].model_copy(update={"row": "big", "place": 1, "default": False})
    two = two.model_copy(update={"placement": Placement(main=False, ablations=(*two.placement.ablations, same))})
    new = variant("big", 1, 4, dataset="d1", created=1)
    kept, outdated = newest([two, new])
    assert [each.records for each in outdated] == [(two,)]
    assert {each.id: [row.row for row in each.placement.ablations] for each in kept} == {
        two.id: ["default"],
        new.id: ["big"],
    }


def test_a_definition_that_is_put_back_counts_again() -> None:
    old, new = variant("big", 1, 4), variant("big", 1, 5, created=1)
    assert put_back([old], [old, new]) == [old]
    assert put_back([new], [old, new]) == []
    for_main = old.model_copy(update={"placement": Placement()})  # a run that asks for no row
    assert put_back([for_main], [old, new]) == []


def test_prune_takes_an_older_definition_out_of_the_ablation(bench: Bench, tmp_path: Path) -> None:
    both, alone, new = variant("big", 1, 4, main=True), variant("big", 1, 4, seed=1), variant("big", 1, 5, created=1)
    for each in (both, alone, new):
        write_record(tmp_path, each)
    code, out, err = bench("results", "prune", "--results", tmp_path)
    assert (code, out.split()) == (0, [alone.id])
    assert f"{both.id} leaves the ablation, and stays in other tables" in err
    left = {each.id: each for each in read_records(tmp_path)[0]}
    assert left == {new.id: new, both.id: both.model_copy(update={"placement": Placement()})}
    assert bench("results", "prune", "--results", tmp_path)[1] == ""


def test_a_run_stands_beside_all_that_may_share_its_tables() -> None:
    mine = [variant("default", 0, 3, dataset="d1"), variant("big", 1, 4, dataset="d1")]
    earlier = [variant("default", 0, 3), variant("big", 1, 4)]
    others = [variant("big", 1, 4, dtype="bfloat16", created=2), variant("big", 1, 4, dataset="d2", mask_gt0=True)]
    twice = [variant("big", 1, 4, dataset=f"e{n}", training=which, auxiliary="o") for n, which in enumerate("ef")]
    found = alongside([*mine, *earlier, *others, *twice], mine)
    assert {each.id for each in found} >= {each.id for each in (*mine, *earlier)}
    assert not {each.id for each in found} & {each.id for each in others}
    assert make_ablations(found)[0].grids[0].datasets[:2] == ("D0", "D1")
    assert len([each for each in twice if each in found]) == 1


def test_prune_removes_what_tables_leave_out(bench: Bench, tmp_path: Path) -> None:
    old, new, other = record(), record(version=2), record("plain")
    for each in (old, new, other):
        write_record(tmp_path, each, {})
    code, out, err = bench("tables", "--results", tmp_path)
    assert code == 0
    assert f"left out: 1 result of version 1 of learner, which is not the newest: {old.id}" in err
    code, out, err = bench("results", "prune", "--results", tmp_path, "--dry-run")
    assert (code, out.split()) == (0, [old.id])
    assert "1 of 3 records would be removed" in err
    assert len(read_records(tmp_path)[0]) == 3
    code, out, err = bench("results", "prune", "--results", tmp_path)
    assert (code, out.split()) == (0, [old.id])
    assert {each.id for each in read_records(tmp_path)[0]} == {new.id, other.id}
    assert len(list((tmp_path / "records").iterdir())) == 4
    code, out, err = bench("results", "prune", "--results", tmp_path)
    assert (code, out) == (0, "")
    assert "0 of 2" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "lerner"], "unknown method with results 'lerner'; did you mean learner?"),
        (["--datasets", "d00"], "unknown dataset with results 'd00'; did you mean d0"),
        (["--domain", "industry"], "unknown domain with results 'industry'; did you mean industrial?"),
        (["--metric", "pixel_aupro_20"], "unknown metric 'pixel_aupro_20'; did you mean pixel_aupro_200"),
        (["--backbone", "clip:y"], "unknown backbone with results 'clip:y'; did you mean clip:x?"),
        (["--record", "nope"], "--record nope: no finished record"),
    ],
)
def test_names_that_are_not_known_are_errors(bench: Bench, tmp_path: Path, arguments: list[str], said: str) -> None:
    write_record(tmp_path, record())
    code, _, err = bench("tables", "--results", tmp_path, *arguments)
    assert code == 2
    assert said in err


def test_the_selection_of_the_command(bench: Bench, tmp_path: Path) -> None:
    for each in (record(), record("plain"), record("plain", "d1")):
        write_record(tmp_path, each)
    code, out, _ = bench("tables", "--results", tmp_path, "--methods", "plain,learner", "--datasets", "D0,d1")
    assert code == 0
    assert re.search(r"^ +Plain +Learner$", out, flags=re.MULTILINE)
    assert bench("tables", "--results", tmp_path, "--metric", "auroc,aupro", "--domain", "industrial")[0] == 0
    assert "## Pixel level (AUROC, AUPRO), %" in (tmp_path / "tables/main_pixel.md").read_text(encoding="utf-8")
    assert "## Image level (AUROC), %" in (tmp_path / "tables/main_image.md").read_text(encoding="utf-8")


def test_files_to_write_and_files_to_delete_are_told_apart(bench: Bench, tmp_path: Path) -> None:
    write_record(tmp_path, record("plain"))
    assert bench("tables", "--results", tmp_path)[0] == 0
    assert bench("tables", "--results", tmp_path, "--check")[0] == 0
    (tmp_path / "tables/old.md").write_text("old")
    code, out, err = bench("tables", "--results", tmp_path, "--check")
    assert (code, "old.md: no record gives it; delete it" in out) == (1, True)
    assert "no record gives 1 files (delete them)" in err
    assert "bench tables" not in err
    (tmp_path / "tables/results.csv").unlink()
    code, out, err = bench("tables", "--results", tmp_path, "--check")
    assert "1 files are not what the records give (`bench tables` writes them), and no record gives 1 files" in err


def test_results_that_all_failed_give_no_tables_and_say_so(bench: Bench, tmp_path: Path) -> None:
    for each in (record("plain", status="failed"), record("plain", "d1")):
        write_record(tmp_path, each.model_copy(update={"error": "out of luck"}))
    code, _, err = bench("tables", "--results", tmp_path, "--datasets", "d0")
    assert (code, "no main tables: 1 of 1 results failed, the first on D0: out of luck" in err) == (0, True)
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"results.csv", "uncertainty.csv"}
    assert bench("tables", "--results", tmp_path)[0] == 0
    assert (tmp_path / "tables/main_image.md").is_file()


def test_the_report_takes_the_options_that_it_advises(bench: Bench, tmp_path: Path) -> None:
    both = [record("plain"), record("plain", "d1", dtype="bfloat16")]
    for each in both:
        write_record(tmp_path, each)
    code, _, err = bench("report", "--results", tmp_path)
    assert code == 2
    wanted = options_of(err.strip())["chosen"]
    code, _, err = bench("report", "--results", tmp_path, *(word for each in wanted for word in ("--record", each)))
    assert code == 0
    assert {path.stem for path in (tmp_path / "report/records").iterdir()} == set(wanted)
