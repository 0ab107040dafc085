"""The site: collects the data of the report, renders its pages, and writes all files into one folder."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

from benchmark.data import SampleSet
from benchmark.errors import BenchError
from benchmark.records import Record
from benchmark.report.boards import all_standings
from benchmark.report.charts.texts import TextFeatures, text_features
from benchmark.report.class_images import by_method
from benchmark.report.facts import MethodFacts
from benchmark.report.images import qualitative
from benchmark.report.images.gallery import Gallery, class_gallery
from benchmark.report.images.ranked import RankedDataset, rank_dataset
from benchmark.report.pages.ablations import ablations_page
from benchmark.report.pages.about import about_page
from benchmark.report.pages.cost import cost_page, overview_costs
from benchmark.report.pages.dataset import dataset_pages
from benchmark.report.pages.failures import FailureImages, failure_images, failures_page
from benchmark.report.pages.figures import keeps_texts, no_figure, text_charts
from benchmark.report.pages.matrix import matrix_page
from benchmark.report.pages.methods import method_page, methods_page
from benchmark.report.pages.overview import overview_page
from benchmark.report.pages.published import published_page
from benchmark.report.pages.records import records_page
from benchmark.report.rendering import SiteFiles, common_context
from benchmark.report.report_data import DatasetResults, ReadPerImage, collect_report_data
from benchmark.report.sources import PerImage, candidates, no_images, source_of, unused_folders
from benchmark.tables import load_published

MARKER = "zsad-bench-report.json"
"""File at the top of a report. A folder with this file may be replaced by a newer report."""


class ReportError(BenchError):
    """Raised if the report cannot be written. The message names the folder and what to do."""


@dataclass(frozen=True)
class Site:
    """A report that was written."""

    index: Path
    """The page to open first."""
    pages: int
    """Number of pages."""
    size: int
    """Size of all files in bytes."""


def write_site(
    output: Path,
    records: Sequence[Record],
    read: ReadPerImage,
    found: Sequence[SampleSet] = (),
    *,
    facts: Mapping[str, MethodFacts] = MappingProxyType({}),
    messages: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Site:
    """Write the report of some records. The same records and images give the same bytes.

    Args:
        output: Folder of the report. An older report in it is replaced when the new one is complete.
        records: Records that may share a table.
        read: Returns the results per image of a record.
        found: Datasets whose images can be shown.
        facts: What is known of methods besides their results, by name.
        messages: Messages about records that were left out, for the page "How the numbers were made".
        say: Called with messages about the progress.

    Raises:
        ReportError: If `output` holds anything but a report.
        TableError: If the records are not comparable.
        OSError: If the folder cannot be written.
    """
    _check_output(output)
    say("reading records and results per image")
    content = make_site(records, read, found, facts=facts, messages=messages, say=say)
    _replace(output, content)
    count = sum(path.endswith(".html") for path in content)
    return Site(output / "index.html", count, sum(map(len, content.values())))


def make_site(
    records: Sequence[Record],
    read: ReadPerImage,
    found: Sequence[SampleSet] = (),
    *,
    facts: Mapping[str, MethodFacts] = MappingProxyType({}),
    messages: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, bytes]:
    """Return the files of the report by path. See `write_site` for the arguments.

    Raises:
        TableError: If the records are not comparable.
    """
    report = collect_report_data(records)
    site = SiteFiles(common_context(report))
    figure = qualitative.QualitativeFigure()
    texts: dict[str, TextFeatures] = {}
    failures: dict[str, FailureImages] = {}
    sources: list[SampleSet] = []
    unsure: list[SampleSet] = []
    for dataset in report.datasets:  # one after the other, as the results per image of all need much memory
        say(f"{dataset.title}: {len(dataset.classes)} classes")
        images = _images(dataset, report.titles, read)
        if images and keeps_texts(dataset, texts):
            texts[dataset.title] = text_features(images)
        if not images:  # without the names of the images it cannot be told whether a folder holds them
            unsure += candidates(dataset, found)
        samples = source_of(dataset, images, found)
        galleries: dict[str, Gallery] = {}
        ranked = rank_dataset(images, report.titles, [each.name for each in dataset.classes])
        if samples is not None:
            sources.append(samples)
            galleries = _galleries(dataset, images, samples, ranked, site)
            figure.add(dataset, galleries, images, samples)
        note = "" if samples is not None else no_images(dataset, found, maps=bool(images))
        failures[dataset.title] = failure_images(dataset, ranked, galleries, samples)
        for page in dataset_pages(report, dataset, images=images, galleries=galleries, note=note):
            site.page(page.path, page.template, **page.context)
    for line in unused_folders(found, sources + unsure):
        say(line)
    say("figures")
    standings = all_standings(report)
    costs = overview_costs(report, standings)
    site.page("index.html", "overview.html", **overview_page(report, standings), costs=costs)
    site.page("matrix.html", "matrix.html", **matrix_page(report))
    site.page("failures.html", "failures.html", **failures_page(report, failures))
    site.page("ablations.html", "ablations.html", **ablations_page(report.ablations))
    site.page("methods.html", "methods.html", **methods_page(report, facts))
    for column in report.columns:
        site.page(report.page_of(column.title), "method.html", **method_page(report, column, facts))
    site.page("cost.html", "cost.html", **cost_page(report, standings))
    site.page("published.html", "published.html", **published_page(report, load_published()))
    shown, pictures = figure.render(report.titles)
    site.content |= pictures
    missing = no_figure(report, images=bool(sources), results=bool(texts))
    site.page("figures.html", "figures.html", **shown, no_images=missing, texts=text_charts(report, texts))
    site.page("records.html", "records.html", **records_page(report))
    site.page("about.html", "about.html", **about_page(report), messages=messages)
    site.records(report)
    site.tables(report)
    site.static()
    site.content[MARKER] = json.dumps({"made by": "zsad-bench", "version": version("zsad-bench")}).encode()
    return dict(sorted(site.content.items()))


def _images(dataset: DatasetResults, titles: Sequence[str], read: ReadPerImage) -> PerImage:
    """Return the results per image of each method with its lowest seed, without the methods that have none."""
    found = {title: record for title in titles if (record := dataset.first_seed(title)) is not None}
    made = {title: read(record) for title, record in found.items()}
    return {title: images for title, images in made.items() if images}


def _galleries(
    dataset: DatasetResults, images: PerImage, samples: SampleSet, ranked: RankedDataset, site: SiteFiles
) -> dict[str, Gallery]:
    """Add the photos to the site and return the gallery of each class, with all images that the failures link to."""
    made = {}
    for each in dataset.classes:
        of_class = by_method(images, each.name)
        if of_class:
            linked = {image.key for image in ranked.images if image.class_name == each.name}
            protocol = dataset.records[0].cell.protocol
            made[each.name] = class_gallery(of_class, samples, protocol, stem=each.slug, also=linked)
            site.content |= {f"images/{dataset.slug}/{name}": data for name, data in made[each.name].photos.items()}
    return made


def _check_output(output: Path) -> None:
    """Raise `ReportError` if the folder holds anything but a report."""
    if output.exists() and not output.is_dir():
        raise ReportError(f"{output} is a file; name a folder with --output")
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).is_file():
        raise ReportError(f"{output} holds files that are no report; name a new or empty folder with --output")


def _replace(output: Path, content: Mapping[str, bytes]) -> None:
    """Write all files into a temporary folder beside the output, then put that folder in the place of the output."""
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
