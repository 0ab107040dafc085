"""The site: gathers what the pages show, renders them, and writes all files into one folder."""

import base64
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmark.data import SampleSet
from benchmark.errors import BenchError
from benchmark.metrics import ClassImages
from benchmark.records import Record
from benchmark.report import pages, qualitative
from benchmark.report.gallery import Cases, by_method, cases
from benchmark.report.gather import Dataset, Material, Read, gather
from benchmark.report.names import distinct
from benchmark.tables import Keep, load_published, made_now

MARKER = "zsad-bench-report.json"
"""Lies at the top of a report, and says that the folder may be replaced by a newer one."""
NAVIGATION = (
    ("index.html", "Leaderboard"),
    ("ablations.html", "Ablations"),
    ("training.html", "Training"),
    ("published.html", "Published"),
    ("figures.html", "Figures"),
    ("about.html", "About"),
)
Say = Callable[[str], None]
PerImage = Mapping[str, Mapping[str, ClassImages]]
"""Results per image by method, then class."""


class ReportError(BenchError):
    """The report cannot be written; the message names the folder and the way out."""


@dataclass(frozen=True)
class Site:
    """What was written."""

    index: Path
    pages: int
    size: int
    """Bytes of all files."""


@dataclass
class _Files:
    """Files of the site by path from its top, and how its pages are rendered."""

    common: dict[str, Any]
    content: dict[str, bytes] = field(default_factory=dict)
    templates: Environment = field(
        default_factory=lambda: Environment(
            loader=PackageLoader("benchmark.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
    )

    def page(self, path: str, template: str, **context: Any) -> None:
        root = "../" * path.count("/")
        text = self.templates.get_template(template).render(root=root, here=path, **self.common, **context)
        self.content[path] = text.encode()


def write_site(
    output: Path,
    records: Sequence[Record],
    read: Read,
    found: Sequence[SampleSet] = (),
    *,
    messages: Sequence[str] = (),
    keep: Keep = made_now,
    say: Say = lambda line: None,
) -> Site:
    """Write the report of some records; the same records and images give the same bytes.

    Args:
        output: its folder; an older report there is replaced once the new one is whole.
        records: those that may share a table.
        read: gives the results per image of a record by class, None where there are none.
        found: the datasets whose images can be shown.
        messages: what was left out before, for the page on how the numbers were made.
        keep: keeps the replicates of the bootstrap.
        say: called with a line of progress now and then.

    Raises:
        ReportError: `output` holds something else.
        TableError: the records are not comparable.
        OSError: the folder cannot be written.
    """
    _check_output(output)
    say("reading records and results per image")
    content = make_site(records, read, found, messages=messages, keep=keep, say=say)
    _replace(output, content)
    count = sum(path.endswith(".html") for path in content)
    return Site(output / "index.html", count, sum(map(len, content.values())))


def make_site(
    records: Sequence[Record],
    read: Read,
    found: Sequence[SampleSet] = (),
    *,
    messages: Sequence[str] = (),
    keep: Keep = made_now,
    say: Say = lambda line: None,
) -> dict[str, bytes]:
    """Return the files of the report by path; the arguments are those of `write_site`.

    Raises:
        TableError: the records are not comparable.
    """
    material = gather(records, read, keep)
    samples = {each.card.title: each for each in found}
    record_files = {
        record.id: f"{stem}.json"
        for record, stem in zip(material.records, distinct([r.id for r in material.records]), strict=True)
    }
    site = _Files(_common(material))
    tiles = qualitative.Tiles()
    texts: dict[str, PerImage] = {}
    for dataset in material.datasets:
        say(f"{dataset.title}: {len(dataset.classes)} classes")
        images = _images(dataset, material.titles, read)
        if images:
            texts[dataset.title] = images
        galleries, note = _galleries(dataset, images, samples.get(dataset.title), site)
        if galleries:
            tiles.add(dataset, galleries, images, samples[dataset.title])
        _dataset_pages(site, material, dataset, galleries=galleries, note=note, record_files=record_files)
    say("figures")
    site.page("index.html", "index.html", **pages.index(material))
    site.page("ablations.html", "ablations.html", **pages.ablations(material.ablations))
    site.page("training.html", "training.html", **pages.training(material))
    site.page("published.html", "published.html", **pages.published(material, load_published()))
    missing = "No images were found to show; `bench report --data DIR` says where the datasets lie."
    shown, pictures = tiles.figure(material.titles)
    site.content |= pictures
    site.page("figures.html", "figures.html", **shown, no_images=missing, texts=pages.texts(material, texts))
    site.page("about.html", "about.html", **pages.about(material, record_files), messages=messages)
    for record in material.records:
        text = json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
        site.content[f"records/{record_files[record.id]}"] = (text + "\n").encode()
    for name in ("report.css", "report.js"):
        site.content[f"static/{name}"] = (files("benchmark.report") / "static" / name).read_bytes()
    site.content["static/plotly.min.js"] = _plotly()
    site.content[MARKER] = json.dumps({"made by": "zsad-bench", "version": version("zsad-bench")}).encode()
    return dict(sorted(site.content.items()))


def _common(material: Material) -> dict[str, Any]:
    """Return what every page is given."""
    counts = {
        "records": len(material.records),
        "methods": len(material.titles),
        "datasets": len(material.datasets),
        "images": sum(each.normal + each.anomalous for dataset in material.datasets for each in dataset.classes),
        "failed": len(material.failed),
    }
    return {"nav": NAVIGATION, "banner": material.banner, "version": version("zsad-bench"), "counts": counts}


def _images(dataset: Dataset, titles: Sequence[str], read: Read) -> PerImage:
    """Return the results per image under the first seed of each method that has them."""
    found = {title: record for title in titles if (record := dataset.first(title)) is not None}
    made = {title: read(record) for title, record in found.items()}
    return {title: images for title, images in made.items() if images}


def _galleries(
    dataset: Dataset, images: PerImage, samples: SampleSet | None, site: _Files
) -> tuple[dict[str, Cases], str]:
    """Return the gallery of each class, its photos being added to the site, or why there is none."""
    if note := pages.no_images(dataset, samples, maps=bool(images)):
        return {}, note
    assert samples is not None
    made = {}
    for each in dataset.classes:
        of_class = by_method(list(images), images, each.name)
        if of_class:
            made[each.name] = cases(of_class, samples, dataset.records[0].cell.protocol, stem=each.slug)
            site.content |= {f"images/{dataset.slug}/{name}": data for name, data in made[each.name].photos.items()}
    return made, ""


def _dataset_pages(
    site: _Files,
    material: Material,
    dataset: Dataset,
    *,
    galleries: Mapping[str, Cases],
    note: str,
    record_files: Mapping[str, str],
) -> None:
    """Add the page of a dataset and, where there are several, those of its classes; `note`: why there is no gallery."""
    nothing = Cases((), {}, ())
    covers = {
        name: f"images/{dataset.slug}/{case.photo}"
        for name, found in galleries.items()
        for case in sorted(found.shown, key=lambda case: (case.label, case.photo))[:1]
    }
    gallery_context = {"gallery_note": note or "None of its images could be shown.", "colours": _colours()}
    alone = len(dataset.classes) == 1
    site.page(
        dataset.page,
        "dataset.html",
        **pages.dataset(material, dataset),
        **gallery_context,
        gallery=galleries.get(dataset.classes[0].name, nothing) if alone else None,
        total=sum(each.normal + each.anomalous for each in dataset.classes),
        covers={each.name: covers.get(each.name) for each in dataset.classes},
        record_files=record_files,
    )
    if alone:
        return
    for index, each in enumerate(dataset.classes):
        site.page(
            each.page,
            "class.html",
            dataset=dataset,
            of=each,
            before=dataset.classes[index - 1] if index else None,
            after=dataset.classes[index + 1] if index + 1 < len(dataset.classes) else None,
            synthetic="data" in dataset.records[0].synthetic,
            rows=pages.class_page(material, dataset, each),
            titles=material.titles,
            gallery=galleries.get(each.name, nothing),
            total=each.normal + each.anomalous,
            **gallery_context,
        )


def _colours() -> str:
    """Return the colours of the heatmaps, 256 times red, green and blue."""
    from benchmark.predict import colours

    return base64.b64encode(colours(np.linspace(0, 1, 256)).tobytes()).decode()


def _plotly() -> bytes:
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()


def _check_output(output: Path) -> None:
    """Refuse a folder that holds anything but a report."""
    if output.exists() and not output.is_dir():
        raise ReportError(f"{output} is a file; name a folder with --output")
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).is_file():
        raise ReportError(f"{output} holds files that are no report; name a new or empty folder with --output")


def _replace(output: Path, content: Mapping[str, bytes]) -> None:
    """Write all files beside the output and put them in its place at once."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as name:
        made, old = Path(name) / "new", Path(name) / "old"
        for path, data in content.items():
            target = made / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        if output.exists():
            output.rename(old)
        try:
            made.rename(output)
        except OSError:
            if old.exists():
                old.rename(output)
            raise
