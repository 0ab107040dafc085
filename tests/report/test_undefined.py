"""Sets on which little or nothing is defined, and plain folders: what tables and pages of the report make of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.records import made_run

from benchmark.cli.data_options import DataOptions, FolderOptions
from benchmark.cli.report import find_images
from benchmark.common.regions import find_regions
from benchmark.data.cards import load_cards
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.loading import Loaded
from benchmark.data.samples import SampleSet
from benchmark.data.subset import subsets
from benchmark.errors import BenchError
from benchmark.metrics.per_image import ClassImages
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.records import ClassResult, Record, Skipped, mean_over_classes
from benchmark.records.undefined import undefined_notes
from benchmark.report.site import make_site
from benchmark.running.accumulator import ClassAccumulator
from benchmark.running.recording import describe
from benchmark.tables.render import render, summary
from benchmark.tables.tables import make_tables

Read = Callable[[Record], Mapping[str, ClassImages] | None]
NOTHING = "No metric is defined on these images"


def draw_folder(directory: Path, normal: int, anomalous: int, *, masks: bool) -> Path:
    """A plain folder of images of one pattern each."""
    rng = np.random.default_rng(0)
    for folder, count in (("normal", normal), ("abnormal", anomalous), ("masks", anomalous if masks else 0)):
        for index in range(count):
            (directory / folder).mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((16, 16), np.uint8) if folder == "masks" else rng.integers(0, 255, (16, 16, 3), np.uint8)
            if folder == "masks":
                pixels[4:9, 4:9] = 255
            Image.fromarray(pixels).save(directory / folder / f"{index}.png")
    return directory


def scored(
    samples: SampleSet, method: str = "clip", *, classes: Sequence[str] = ("object",), broken: bool = False
) -> tuple[Record, dict[str, ClassImages]]:
    """Return a record of made-up scores, the images dealt out to classes in turn; `broken` ones cannot be read."""
    rng = np.random.default_rng(len(method))
    accumulators = {name: ClassAccumulator() for name in classes}
    for index, sample in enumerate(samples.test):
        accumulator = accumulators[classes[index % len(classes)]]
        if broken:
            accumulator.skipped.append(Skipped(key=sample.key, reason="broken"))
            continue
        maps = rng.random((8, 8)).astype(np.float32)
        mask = np.zeros((8, 8), bool)
        mask[2:5, 2:5] = bool(sample.label)
        item = Loaded(sample, regions=find_regions(mask) if samples.has_masks else None)
        accumulator.add(item, float(rng.random()), maps, maps if samples.has_masks else None)
    results = {name: each.result(with_masks=samples.has_masks) for name, each in accumulators.items()}
    images = {name: found for name, each in accumulators.items() if (found := each.per_image()) is not None}
    return _record(samples, method, results), images


def _record(samples: SampleSet, method: str, results: dict[str, ClassResult]) -> Record:
    known = DataId(name=samples.name, card_version=1, layout=samples.layout.name, fingerprint=samples.fingerprint)
    backbone = BackboneId(name="mini:v2", architecture="mini", sha256="a" * 64, dtype="float32", synthetic=False)
    cell = Cell(
        method=method, method_version=1, options={}, dataset=known, seed=0, backbone=backbone, protocol=Protocol()
    )
    return Record(
        id=cell.id,
        title=method.upper(),
        dataset_title=samples.title,
        domain=samples.card.domain,
        cell=cell,
        image_size=8,
        status="done",
        classes=results,
        prompts={sample.class_name: sample.prompt_name for sample in samples.test},
        mean=mean_over_classes(results.values()),
        run=made_run(),
    )


def pages_of(site: Mapping[str, bytes]) -> dict[str, str]:
    return {path: unescape(content.decode()) for path, content in site.items() if path.endswith(".html")}


def check_site(records: Sequence[Record], read: Read = lambda record: None, found: Sequence[SampleSet] = ()) -> str:
    """Make the report, see that each dataset's page is reached from the first, and return the first page."""
    pages = pages_of(make_site(records, read, found))
    for title in {record.dataset_title for record in records}:
        link = re.search(rf'<a href="(datasets/[^"]+)">{re.escape(title)}</a>', pages["index.html"])
        assert link, title
        assert link[1] in pages
    return pages["index.html"]


SHAPES = {
    "one normal image": (1, 0, False),
    "only normal": (3, 0, False),
    "only anomalous": (0, 3, False),
    "only anomalous, with masks": (0, 3, True),
    "one of each": (1, 1, True),
    "no masks": (2, 2, False),
}


def test_samples_that_are_all_anomalous_have_no_metric_and_the_reason_is_told(tmp_path: Path) -> None:
    samples = read_folder(PlainFolder(directory=draw_folder(tmp_path / "set", 2, 2, masks=False)))
    record, _ = scored(samples)
    card = load_cards()["real_iad"]
    of_card = record.cell.dataset.model_copy(update={"name": card.name})
    result = record.classes["object"]
    result = result.model_copy(update={"metrics": result.metrics | {"sample_auroc": None}})
    record = record.model_copy(
        update={
            "cell": record.cell.model_copy(update={"dataset": of_card}),
            "classes": {"object": result},
            "mean": mean_over_classes([result]),
        }
    )
    assert undefined_notes(record)[0] == "No sample metrics, since all samples are anomalous."
    assert "sample" not in " ".join(undefined_notes(scored(samples)[0]))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_set_stands_in_the_tables_and_in_the_report(tmp_path: Path, shape: str) -> None:
    normal, anomalous, masks = SHAPES[shape]
    folder = draw_folder(tmp_path / "set <b> & 'x'", normal, anomalous, masks=masks)
    samples = read_folder(PlainFolder(directory=folder))
    record, images = scored(samples)
    tables = {table.name: table for table in make_tables([record])}
    assert [row.title for row in tables["main_image"].rows] == [samples.title]
    assert ("main_pixel" in tables) == masks
    both = bool(normal and anomalous)
    assert tables["main_image"].rows[0].is_defined == both
    assert "–" in render(tables["main_image"], "md").splitlines()[6] or both
    side = "normal" if normal else "anomalous"
    said = f"No image metrics, since all images are {side}."
    assert (said in summary(tables.values())) != both
    index = check_site([record], lambda _: images, [samples])
    assert (said in index) != both
    assert (NOTHING not in index) == (both or masks)


def test_sets_on_which_nothing_is_defined_stand_beside_others(tmp_path: Path) -> None:
    """With records of one method alone, of two, and with images of which none could be read."""
    sets = [
        read_folder(PlainFolder(directory=draw_folder(tmp_path / name, *counts, masks=masks)))
        for name, (*counts, masks) in SHAPES.items()
    ]
    records = [scored(samples, method)[0] for samples in sets for method in ("clip", "winclip")]
    records.append(scored(read_folder(PlainFolder(directory=sets[0].directory, name="gone")), broken=True)[0])
    check_site(records)
    rows = {row.title: row for row in make_tables(records)[0].rows}
    assert {title for title, row in rows.items() if not row.is_defined} == {
        "one normal image",
        "only normal",
        "only anomalous",
        "only anomalous, with masks",
        "gone",
    }
    assert rows["Mean (2 of 7 rows)"].is_mean
    assert "gone: No image metrics, since no image could be read." in make_tables(records)[0].notes


def test_a_set_without_the_metrics_of_the_others_is_reached_too(tmp_path: Path) -> None:
    sets = [
        read_folder(PlainFolder(directory=draw_folder(tmp_path / name, *counts, masks=masks)))
        for name, (*counts, masks) in SHAPES.items()
        if name in ("only normal", "only anomalous, with masks")
    ]
    index = check_site([scored(samples)[0] for samples in sets])
    assert '<option value="image_auroc"' not in index, "no set has it"


def test_a_class_of_one_label_leaves_its_dataset_without_a_mean_and_says_so(tmp_path: Path) -> None:
    samples = read_folder(PlainFolder(directory=draw_folder(tmp_path / "set", 4, 2, masks=True)))
    test = sorted(samples.test, key=lambda sample: (sample.key.endswith("0.png"), sample.key))
    record, images = scored(replace(samples, samples=tuple(test)), classes=("a", "b", "c"))
    assert [(each.normal, each.anomalous) for each in record.classes.values()] == [(1, 1), (1, 1), (2, 0)]
    tables = {table.name: table for table in make_tables([record])}
    assert not tables["main_image"].rows[0].is_defined
    assert [row.is_defined for row in tables["folder-set_image"].rows if not row.is_mean] == [True, True, False]
    notes = "\n".join(tables["main_image"].notes)
    assert "set: No mean of the image and pixel metrics, since all images of c are normal." in notes
    pages = pages_of(make_site([record], lambda _: images, [samples]))
    assert NOTHING in pages["datasets/folder-set--c.html"]
    assert "No mean of the image and pixel metrics" in pages["datasets/folder-set.html"]


def test_a_dataset_whose_card_has_no_image_metrics_is_in_no_table_of_them(tmp_path: Path) -> None:
    samples = read_folder(PlainFolder(directory=draw_folder(tmp_path / "set", 0, 2, masks=True)))
    record = scored(samples)[0]
    data = record.cell.dataset.model_copy(update={"name": "kvasir"})
    record = record.model_copy(update={"cell": record.cell.model_copy(update={"dataset": data}), "domain": "medical"})
    assert [table.name for table in make_tables([record])] == ["main_pixel"]


def shown(site: Mapping[str, bytes], path: str) -> set[str]:
    """Keys of the images of a page's gallery."""
    return set(re.findall(r'<li class="case".*?<code>(.*?)</code>', pages_of(site)[path], flags=re.DOTALL))


def test_the_gallery_of_a_plain_folder_goes_by_its_images_not_by_its_name(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "parts", 2, 2, masks=True)
    run = read_folder(PlainFolder(directory=folder, name="nuts", class_name="metal nut"))
    record, images = scored(run)
    other = read_folder(PlainFolder(directory=draw_folder(tmp_path / "other", 3, 1, masks=True), name="nuts"))
    said: list[str] = []
    found = [other, read_folder(PlainFolder(directory=folder))]
    site = make_site([record], lambda _: images, found, say=said.append)
    assert shown(site, "datasets/folder-nuts.html") == {sample.key for sample in run.test}
    unused = [line for line in said if "no result was made from these images" in line]
    assert [line.split(":")[0] for line in unused] == [str(other.directory)]
    assert "images/figures/folder-nuts-0.webp" in site


def test_without_results_per_image_no_folder_is_called_unused(tmp_path: Path) -> None:
    """Which part of a folder was tested cannot be told, nor so whether it holds the images."""
    run = read_folder(PlainFolder(directory=draw_folder(tmp_path / "parts", 2, 2, masks=True)))
    record, _ = scored(run)
    said: list[str] = []
    make_site([record], lambda _: None, [run], say=said.append)
    assert said
    assert not [line for line in said if "no result was made from these images" in line]


def test_images_that_changed_since_are_not_shown_as_those_of_the_results(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "parts", 2, 2, masks=False)
    record, images = scored(read_folder(PlainFolder(directory=folder)))
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "normal/0.png")
    site = make_site([record], lambda _: images, [read_folder(PlainFolder(directory=folder))])
    assert shown(site, "datasets/folder-parts.html") == set()
    assert "The images in parts are not those" in pages_of(site)["datasets/folder-parts.html"]


def test_the_gallery_of_a_part_of_a_folder_shows_that_part(tmp_path: Path) -> None:
    whole = read_folder(PlainFolder(directory=draw_folder(tmp_path / "parts", 3, 3, masks=False)))
    (part,) = subsets([whole], limit=2)
    record, images = scored(part)
    site = make_site([record], lambda _: images, [whole])
    assert shown(site, "datasets/folder-parts-subset.html") == {sample.key for sample in part.test}
    assert len(part.test) == 2


def test_without_images_the_way_to_them_is_that_of_the_dataset(tmp_path: Path) -> None:
    samples = read_folder(PlainFolder(directory=draw_folder(tmp_path / "parts", 2, 2, masks=False)))
    record, images = scored(samples)
    pages = pages_of(make_site([record], lambda _: images))
    for path in ("datasets/folder-parts.html", "figures.html"):
        assert "bench report --folder DIR" in pages[path]
        assert "--data" not in pages[path]
    data = record.cell.dataset.model_copy(update={"name": "btad"})
    update = {"cell": record.cell.model_copy(update={"dataset": data}), "domain": "industrial", "dataset_title": "BTAD"}
    pages = pages_of(make_site([record.model_copy(update=update)], lambda _: images))
    for path in ("datasets/btad.html", "figures.html"):
        assert "bench report --data DIR" in pages[path]
        assert "report --folder" not in pages[path]


def test_folders_are_given_to_the_command_and_those_that_are_not_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = draw_folder(tmp_path / "parts", 2, 2, masks=False)
    record, _ = scored(read_folder(PlainFolder(directory=folder)))
    assert find_images([record], DataOptions(), FolderOptions()) == []
    assert "no images of parts: give --folder DIR" in capsys.readouterr().err
    (found,) = find_images([record], DataOptions(), FolderOptions(folder=[f"nuts={folder}"]))
    assert (found.title, found.fingerprint) == ("nuts", record.cell.dataset.fingerprint)
    assert capsys.readouterr().err == ""
    with pytest.raises(BenchError, match="none: is not a folder"):
        find_images([record], DataOptions(), FolderOptions(folder=[str(tmp_path / "none")]))


def test_the_line_of_a_run_says_what_is_undefined_and_why(tmp_path: Path) -> None:
    samples = read_folder(PlainFolder(directory=draw_folder(tmp_path / "set", 2, 0, masks=False)))
    line = describe(scored(samples)[0])
    assert line == "2 images (2 normal, 0 anomalous), 1.0 s. No image metrics, since all images are normal."


def test_the_notes_of_a_report_speak_of_what_is_in_it(tmp_path: Path) -> None:
    samples = read_folder(PlainFolder(directory=draw_folder(tmp_path / "parts", 2, 2, masks=True)))
    record, images = scored(samples)
    pages = pages_of(make_site([record], lambda _: images))
    assert not [path for path, text in pages.items() if "results.csv" in text]
    assert "AUPRO-200 is that of 200 thresholds" in pages["index.html"]
