"""A small study as the report reads it: odd names, two domains, a variant, a failure, images and results per image."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from support.records import made_run

from benchmark.common.regions import find_regions
from benchmark.data.cards import Card, ClassCard, Layout, Rule
from benchmark.data.samples import Sample, SampleSet
from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.per_image import ClassImages, PerImageAccumulator, read_per_image
from benchmark.metrics.pixel import image_pixels
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.intervals import with_intervals
from benchmark.records.placement import Placement
from benchmark.records.records import (
    ClassResult,
    DefectResult,
    Parameters,
    Record,
    TrainingReport,
    mean_over_classes,
    per_image_path,
    read_records,
    write_record,
)
from benchmark.running.variants import variants_of
from methods.genclip import GenClip, GenClipOptions

SCRIPT = "<script>alert(1)</script>"
KIND = "scratch <i>1</i>"
FAILURE = 'RuntimeError: <img src="https://example.org/x.png" onerror="alert(1)">'
PARTS, SCANS = "Parts <b>2</b>", "Scans"
CLASSES = {PARTS: (SCRIPT, "A", "a"), SCANS: ("brain",)}
LABELS = (0, 0, 0, 0, 0, 1, 1, 1, 1, 1)
GENCLIP = asdict(GenClipOptions())
ROWS = variants_of(GenClip, GenClipOptions(), GenClip.ablations)
"""Of the ablations: the default is also in the main tables."""


@dataclass(frozen=True)
class Study:
    """Where it lies, and its parts."""

    results: Path
    found: tuple[SampleSet, ...]

    @property
    def records(self) -> list[Record]:
        return read_records(self.results)[0]

    def read(self, record: Record) -> dict[str, ClassImages] | None:
        """Return the results per image of a record by class."""
        path = per_image_path(self.results, record.id)
        return read_per_image(path, record.images_sha256) if record.images_sha256 else None


def make_study(folder: Path, *, synthetic: bool = True) -> Study:
    found = tuple(_samples(folder, title) for title in CLASSES)
    results = folder / "results"
    for samples in found:
        for strength, (method, title) in enumerate((("clip", "CLIP"), ("clip_ac", "CLIP-AC"), ("genclip", "GenCLIP"))):
            write(results, samples, method, title, strength=strength, synthetic=synthetic)
    variant = {"branch": "vision"}
    write(results, found[0], "genclip", "GenCLIP (branch=vision)", strength=2, synthetic=synthetic, changed=variant)
    failed = _record(found[0], "winclip", "WinCLIP", {}, synthetic=synthetic)
    write_record(results, failed.model_copy(update={"status": "failed", "error": FAILURE}))
    return Study(results, found)


def write(
    results: Path,
    samples: SampleSet,
    method: str,
    title: str,
    *,
    strength: float,
    synthetic: bool,
    changed: Mapping[str, Any] | None = None,
) -> None:
    images = {
        each.name: class_images(samples, each.name, strength=strength, texts=method == "genclip")
        for each in samples.card.classes
    }
    record = _record(samples, method, title, images, synthetic=synthetic, changed=changed)
    write_record(results, with_intervals(record, images), images)


def class_images(samples: SampleSet, class_name: str, *, strength: float, texts: bool = False) -> ClassImages:
    """Random scores, the more apart the stronger."""
    rng = np.random.default_rng(sum(map(ord, class_name)) + int(10 * strength))
    gathering = PerImageAccumulator()
    for sample in samples.test:
        if sample.class_name == class_name:
            raw = rng.random((4, 4)).astype(np.float32)
            gathering.add(sample.key, sample.label, float(rng.normal() + strength * sample.label), raw)
            if samples.has_masks:
                truth = np.zeros((16, 16), bool)
                truth[4:9, 4:9] = bool(sample.label)
                gathering.add_pixels(image_pixels(np.kron(raw, np.ones((4, 4), np.float32)), find_regions(truth)))
    if texts:
        embeddings = rng.normal(size=(4, 2, 8))
        gathering.add_texts({"F_T, block 2": embeddings, "F_Q <i>": embeddings[:1] + 1})
    return gathering.finish()


def _record(
    samples: SampleSet,
    method: str,
    title: str,
    images: Mapping[str, ClassImages],
    *,
    synthetic: bool,
    changed: Mapping[str, Any] | None = None,
) -> Record:
    learns = method == "genclip"
    dataset = DataId(name=samples.card.name, card_version=1, layout="plain", fingerprint=samples.fingerprint)
    cell = Cell(
        method=method,
        method_version=1,
        options=(GENCLIP | dict(changed or {})) if learns else {},
        changed=dict(changed or {}),
        dataset=dataset,
        auxiliary=dataset.model_copy(update={"name": "mvtec", "fingerprint": "m"}) if learns else None,
        seed=0,
        backbone=BackboneId(name="mini:v2", architecture="mini", sha256="a" * 64, dtype="float32", synthetic=synthetic),
        protocol=Protocol(),
    )
    training = TrainingReport(
        checkpoint=f"genclip--mvtec--{len(changed or {})}",
        sha256="c" * 64,
        synthetic=synthetic,
        origin="trained",
        source="MVTec AD",
        images=9,
        skipped=(),
        curve=tuple({"total": 2 / epoch, "focal": 1 / epoch} for epoch in (1, 2, 3)),
        seconds=1.0,
    )
    results = {name: _result(each) for name, each in images.items()}
    return Record(
        id=cell.id,
        title=title,
        dataset_title=samples.card.title,
        domain=samples.card.domain,
        cell=cell,
        image_size=112,
        status="done",
        synthetic=("data", "weights") if synthetic else (),
        classes=results,
        mean=mean_over_classes(results.values()),
        training=training if learns else None,
        parameters=Parameters(frozen=7_000_000, learned=5000 if learns else 0),
        run=made_run(packages={"torch": "2"}, seconds={"total": 1.0, "vision": 0.5, "method": 0.25, "metrics": 0.25}),
        placement=_placement(dict(changed or {})) if learns else Placement(),
    )


def _placement(changed: dict[str, Any]) -> Placement:
    rows = ROWS[GenClipOptions(**changed)]
    return rows if changed else Placement().joined(rows)


def _result(images: ClassImages) -> ClassResult:
    metrics = ImageMetrics()
    for score, label in zip(images.scores, images.labels, strict=True):
        metrics.update(float(score), int(label))
    known = images.pixels is not None
    pixel = dict.fromkeys(("pixel_auroc", "pixel_ap", "pixel_f1max", "pixel_aupro", "pixel_aupro_200"), 0.5)
    shown = {name: value if known else None for name, value in pixel.items()}
    found = {**metrics.compute(), **shown}
    kinds = {KIND: DefectResult(images=5, metrics=found)}
    return ClassResult(normal=5, anomalous=5, metrics=found, defects=kinds if known else {})


def _samples(folder: Path, title: str) -> SampleSet:
    masks = title == PARTS
    rule = Rule(pattern="(?P<class>.*)/.*" if masks else ".*", label="normal", mask=("m",) if masks else ())
    card = Card(
        name="parts" if masks else "scans",
        title=title,
        version=1,
        domain="industrial" if masks else "medical",
        levels=("image", "pixel") if masks else ("image",),
        licence="none",
        reference="none",
        folders=(),
        classes=tuple(ClassCard(name=name, normal=5, anomalous=5) for name in CLASSES[title]),
        layouts=(Layout(name="plain", rules=(rule,)),),
    )
    directory = folder / card.name
    directory.mkdir(parents=True)
    rng = np.random.default_rng(0)
    truth = np.zeros((24, 32), np.uint8)
    truth[6:13, 8:17] = 255
    Image.fromarray(truth).save(directory / "mask.png")
    samples = []
    for index, each in enumerate(card.classes):
        for number, label in enumerate(LABELS):
            path = directory / f"{index}-{number}.png"
            Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(path)
            mask = directory / "mask.png" if label and masks else None
            key = f"{each.name}/{number}.png"
            kind = KIND if label else ""
            samples.append(Sample(key, path, each.name, each.name, label, kind, "test", mask, None))
    return SampleSet(card, directory, card.layouts[0], "made", tuple(samples), ())
