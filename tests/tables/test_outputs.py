"""Everything below `tables/`: which records count, what is written, and that what is out of date is found."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.reference import REFERENCE

from benchmark.data.folders import PlainFolder, read_folder
from benchmark.metrics.per_image import read_per_image
from benchmark.records.intervals import with_intervals
from benchmark.records.placement import AblationRow, Placement
from benchmark.records.records import Record, per_image_path, read_record, read_records, write_record
from benchmark.tables.outputs import Outputs, differences, left_over, make_outputs, write_files
from benchmark.tables.selection import choose_records

Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of CLIP and CLIP-AC, two of them with another option, on a folder of parts."""
    from PIL import Image
    from support.running import run_jobs

    from benchmark.clip.weights import parse_backbone
    from benchmark.common.settings import Settings
    from benchmark.protocol import Protocol
    from benchmark.records.cells import backbone_id
    from benchmark.registry import all_methods
    from benchmark.running.planning import Setting, plan
    from methods.clip import ClipOptions

    root, rng = tmp_path_factory.mktemp("outputs"), np.random.default_rng(0)
    for index in range(6):
        folder = root / "parts" / ("normal" if index < 3 else "abnormal")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    source = parse_backbone("tiny:random")
    known = all_methods()
    chosen = [(known["clip"], ClipOptions()), (known["clip_ac"], ClipOptions(0.01)), (known["clip"], ClipOptions(0.01))]
    setting = Setting(backbone_id(source, dtype="float32"), Protocol())
    jobs = plan(
        chosen, [read_folder(PlainFolder(directory=root / "parts", class_name="part"))], setting, seeds=[0]
    ).jobs
    run_jobs(jobs, Settings(root, workers=0))
    return root


def titles(made: Outputs) -> list[str]:
    return [column.title for column in made.tables[0].columns]


def records_of(results: Path) -> list[Record]:
    records, problems = read_records(results)
    assert not problems
    return records


def test_what_was_written_is_up_to_date_and_what_is_not_is_shown(results: Path, tmp_path: Path) -> None:
    made = make_outputs(records_of(results))
    assert {"main_image.md", "results.csv", "uncertainty.md", "uncertainty.csv"} <= made.files.keys()
    assert "[" in made.files["uncertainty.md"]
    assert len(differences(tmp_path, made.files)) == len(made.files)
    write_files(tmp_path, made.files)
    assert differences(tmp_path, made.files) == left_over(tmp_path, made.files) == []
    table = tmp_path / "main_image.csv"
    table.write_text(table.read_text().replace("CLIP-AC", "CLIP-AD"))
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations/old.md").write_text("old")
    (tmp_path / "results.csv").unlink()
    (tmp_path / "uncertainty.csv").write_bytes(made.files["uncertainty.csv"].replace("\n", "\r\n").encode())
    changed, missing, ends = differences(tmp_path, made.files)
    assert "-name,CLIP image_auroc" in changed
    assert "CLIP-AD" in changed
    assert "results.csv: missing" in missing
    assert "line ends" in ends
    assert left_over(tmp_path, made.files) == [tmp_path / "ablations/old.md"]


def test_tables_need_the_records_alone(results: Path, tmp_path: Path) -> None:
    """Nothing else of the results is there, and the machine has no cache."""
    shutil.copytree(results / "records", tmp_path / "records", ignore=shutil.ignore_patterns("*.npz"))
    records = records_of(tmp_path)
    assert all(not per_image_path(tmp_path, record.id).exists() for record in records)
    whole = make_outputs(records_of(results)).files
    assert make_outputs(records).files == whole
    assert "[" in whole["uncertainty.md"]
    older = [record.model_copy(update={"draws": None}) for record in records]
    without = make_outputs(older).files
    assert without.keys() == whole.keys()
    assert without["main_image.md"] == whole["main_image.md"]
    assert "[" not in without["uncertainty.md"].partition("\n- ")[0]


def test_a_record_that_is_written_again_keeps_its_intervals(results: Path, tmp_path: Path) -> None:
    for record in records_of(results):
        assert record.draws is not None
        assert record.draws.moves.keys() == {"image_auroc", "image_ap"}
        [part] = record.classes.values()
        assert part.intervals.keys() == {"image_auroc", "image_ap"}
        assert read_record(write_record(tmp_path, record)) == record
        images = read_per_image(per_image_path(results, record.id), record.images_sha256 or "")
        assert with_intervals(record.model_copy(update={"draws": None}), images) == record


def test_real_results_are_not_mixed_with_synthetic_ones(results: Path) -> None:
    synthetic = records_of(results)
    cell = synthetic[0].cell.model_copy(update={"seed": 7})
    real = [synthetic[0].model_copy(update={"synthetic": (), "cell": cell, "id": cell.id})]
    kept, said = choose_records([*synthetic, *real])
    assert kept == real
    assert "3 synthetic results" in said[0]
    assert "--record ID" in said[0]
    assert choose_records([*synthetic, *real], chosen=[synthetic[0].id])[0] == synthetic
    assert choose_records(synthetic) == (synthetic, [])
    assert choose_records(synthetic, methods=["clip_ac"])[0] == [r for r in synthetic if r.cell.method == "clip_ac"]
    assert choose_records(synthetic, backbone="other") == ([], [])


def test_rows_of_ablations_have_no_column_whatever_code_is_installed(results: Path) -> None:
    """The record alone says what is a row of an ablation; other variants of a method have columns of their own."""
    records = records_of(results)
    columns = titles(make_outputs(records))
    assert columns == ["CLIP", "CLIP (temperature=0.01)", "CLIP-AC (temperature=0.01)"]
    made = []
    for place, name in enumerate(("both", "half")):
        clip = next(record for record in records if record.title == "CLIP")
        cell = clip.cell.model_copy(update={"method": "not_installed", "options": {"part": name}})
        row = AblationRow(
            ablation="part", method="Unheard", title="Parts", base={}, row=name, place=place, default=not place
        )
        title = "Unheard" if name == "both" else "Unheard (part=half)"
        placement = Placement(main=name == "both", ablations=(row,))
        fields = {"id": cell.id, "cell": cell, "title": title, "placement": placement}
        made.append(Record.model_validate_json(clip.model_copy(update=fields).model_dump_json()))
    files = make_outputs([*records, *made])
    assert "Unheard" in titles(files)
    assert "Unheard (part=half)" not in titles(files)
    assert "## Unheard: Parts, image level" in files.files["ablations/not_installed_part.md"]
    assert "Unheard (part=half)" in files.files["results.csv"]
    alone = make_outputs(made[1:])
    assert titles(alone) == ["Unheard (part=half)"]


def test_the_record_speaks_of_its_results_per_image(results: Path) -> None:
    for record in records_of(results):
        assert (record.image_size, record.year) == (112, 2021)
        assert record.images_sha256
        assert per_image_path(results, record.id).is_file()
        images = read_per_image(per_image_path(results, record.id), record.images_sha256)
        assert sum(len(each.keys) for each in images.values()) == 6
        assert all(each.texts["text"].shape[:2] == (1, 2) for each in images.values())
    assert {tuple(record.cell.changed) for record in records_of(results)} == {(), ("temperature",)}


def test_the_ids_of_the_committed_records_are_those_of_their_cells() -> None:
    records, problems = read_records(REFERENCE)
    assert not problems
    assert len(records) > 100
    for record in records:
        assert record.cell.id == record.id


def test_an_id_that_was_asked_for_changes_neither_equality_nor_copies(results: Path) -> None:
    asked, fresh = (record.cell for record in (records_of(results)[0], records_of(results)[0]))
    assert asked.id
    assert asked == fresh
    assert asked.model_dump() == fresh.model_dump()
    other = asked.model_copy(update={"seed": 7})
    assert "--s7--" in other.id
    assert other.id == fresh.model_copy(update={"seed": 7}).id != asked.id
