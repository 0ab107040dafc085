"""The data of the report: methods, datasets and classes in the order in which the pages show them."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from benchmark.common import unique_slugs
from benchmark.data import Card, load_cards
from benchmark.metrics import METRICS, ClassImages
from benchmark.records import Record
from benchmark.tables import (
    SYNTHETIC,
    AblationTable,
    Column,
    check_comparable,
    columns_of,
    dataset_stems,
    main_records,
    make_ablations,
    mean_values,
    notes_of,
    places_of,
    results_of,
    row_order,
    uncertainty,
)

ReadPerImage = Callable[[Record], Mapping[str, ClassImages] | None]
"""Returns the results per image of a record by class, or None where the record has none."""
Estimates = Mapping[tuple[str, str, str | None, str], uncertainty.Estimate]
"""Estimates by method, dataset, class and metric; the class is None for the mean over classes."""


@dataclass(frozen=True)
class ClassPage:
    """A class of a dataset and the page that shows it."""

    name: str
    slug: str
    page: str
    """Path of the page from the top of the site."""
    normal: int
    """Number of normal test images."""
    anomalous: int
    """Number of anomalous test images."""


@dataclass(frozen=True)
class DatasetResults:
    """A dataset and its records."""

    title: str
    name: str
    domain: str
    slug: str
    classes: tuple[ClassPage, ...]
    records: tuple[Record, ...]
    """The records with status "done", ordered by method and then by seed."""
    card: Card | None
    """The dataset's card; None if no card ships with the package."""

    @property
    def group(self) -> str:
        """The datasets with which it is averaged: its domain, or the further ones of its domain."""
        return self.records[0].group

    @property
    def is_plain(self) -> bool:
        """Whether it is a plain folder of a user's own images."""
        return self.domain == "custom"

    @property
    def card_name(self) -> str:
        """Name of the dataset's card, also of a part of a dataset."""
        return self.records[0].cell.dataset.card_name

    @property
    def page(self) -> str:
        """Path of the dataset's page from the top of the site."""
        return f"datasets/{self.slug}.html"

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the list of test samples."""
        return self.records[0].cell.dataset.fingerprint

    @cached_property
    def _by_method(self) -> Mapping[str, tuple[Record, ...]]:
        return {title: tuple(same) for title, same in groupby(self.records, key=lambda record: record.title)}

    def of_method(self, title: str) -> tuple[Record, ...]:
        """Return the records of a method, the lowest seed first."""
        return self._by_method.get(title, ())

    def first_seed(self, title: str) -> Record | None:
        """Return the record of a method with its lowest seed, or None if the method has no record."""
        return next(iter(self.of_method(title)), None)

    def value(self, title: str, metric: str, class_name: str | None = None) -> float | None:
        """Return the mean of a metric over the seeds of a method in percent, None where it is undefined.

        Args:
            title: Title of the method.
            metric: Key of the metric.
            class_name: A class of the dataset; None for the mean over the classes.
        """
        return self._values.get((title, class_name), {}).get(metric)

    @cached_property
    def _values(self) -> Mapping[tuple[str, str | None], Mapping[str, float | None]]:
        metrics = tuple(METRICS)
        found: dict[tuple[str, str | None], list[dict[str, float | None]]] = {}
        for title, records in self._by_method.items():
            found[title, None] = [record.mean for record in records]
            for each in self.classes:
                found[title, each.name] = [result.metrics for result in results_of(records, each.name)]
        return {place: dict(zip(metrics, mean_values(of, metrics), strict=True)) for place, of in found.items()}


@dataclass(frozen=True)
class ReportData:
    """Everything that the pages are rendered from."""

    records: tuple[Record, ...]
    """All records in order, including failed ones and variants of ablations."""
    main: tuple[Record, ...]
    """The records with status "done" that are not rows of an ablation."""
    columns: tuple[Column, ...]
    """The methods of the main tables, in their order."""
    datasets: tuple[DatasetResults, ...]
    estimates: Estimates
    ablations: tuple[AblationTable, ...]
    notes: tuple[str, ...]
    main_failed: tuple[Record, ...] = ()
    """Those of the main tables whose cells failed, also of methods that have no column."""

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles of the methods in the main tables."""
        return tuple(column.title for column in self.columns)

    @property
    def banner(self) -> tuple[str, ...]:
        """The notes that mark the results as synthetic."""
        return tuple(note for note in self.notes if note.startswith(SYNTHETIC))

    @cached_property
    def _files(self) -> Mapping[str, str]:
        ids = [record.id for record in self.records]
        return {key: f"records/{stem}.json" for key, stem in zip(ids, unique_slugs(ids), strict=True)}

    @cached_property
    def _anchors(self) -> Mapping[str, str]:
        return {record.id: f"r{place}" for place, record in enumerate(self.records)}

    @cached_property
    def _method_pages(self) -> Mapping[str, str]:
        names = [next(r.cell.method for r in self.main if r.title == title) for title in self.titles]
        keys = [
            name if names.count(name) == 1 else f"{name} {title}"
            for name, title in zip(names, self.titles, strict=True)
        ]
        stems = unique_slugs(keys)
        return {title: f"methods/{stem}.html" for title, stem in zip(self.titles, stems, strict=True)}

    def page_of(self, title: str) -> str:
        """Return the path of a method's page from the top of the site."""
        return self._method_pages[title]

    def file_of(self, record: Record) -> str:
        """Return the path of a record's JSON file from the top of the site."""
        return self._files[record.id]

    def anchor_of(self, record: Record) -> str:
        """Return the id of a record's row on the page of records, which a number links to."""
        return self._anchors[record.id]

    def failure_of(self, method: str, dataset: DatasetResults) -> Record | None:
        """Return the failed cell of a method on a dataset, of its lowest seed; None where none failed."""
        return self._failures.get((method, dataset.title))

    @cached_property
    def _failures(self) -> Mapping[tuple[str, str], Record]:
        return {(record.title, record.dataset_title): record for record in reversed(self.main_failed)}

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records of the cells that failed, also of ablations."""
        return tuple(record for record in self.records if record.status == "failed")


def collect_report_data(records: Sequence[Record]) -> ReportData:
    """Return the data of the pages. The order of `records` does not change the result.

    Args:
        records: Records that may share a table.

    Raises:
        TableError: If the records are not comparable.
    """
    place = places_of(records)
    ordered = sorted(records, key=lambda r: (*row_order(r), place[r.title], r.cell.seed, r.id))
    shown = main_records(ordered)
    main = [record for record in shown if record.status == "done"]
    check_comparable(main)
    found = uncertainty.estimates(main)
    return ReportData(
        records=tuple(ordered),
        main=tuple(main),
        columns=columns_of(main),
        datasets=tuple(_datasets(main)),
        estimates={(each.title, each.dataset, each.class_name, each.metric): each for each in found},
        ablations=tuple(make_ablations(ordered, noted=tuple(METRICS))),
        notes=notes_of(main, tuple(METRICS)),  # failures stand with their errors on pages of their own
        main_failed=tuple(record for record in shown if record.status == "failed"),
    )


def _datasets(main: Sequence[Record]) -> list[DatasetResults]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in main:
        groups[record.dataset_title].append(record)
    datasets = []
    for slug, (title, same) in zip(dataset_stems(groups), groups.items(), strict=True):
        name = same[0].cell.dataset.name
        card = load_cards().get(same[0].cell.dataset.card_name)
        classes = {key: result for record in same for key, result in record.classes.items()}
        slugs = unique_slugs(list(classes))
        pages = [f"datasets/{slug}--{each}.html" if len(classes) > 1 else f"datasets/{slug}.html" for each in slugs]
        datasets.append(
            DatasetResults(
                title=title,
                name=name,
                domain=same[0].domain,
                slug=slug,
                classes=tuple(
                    ClassPage(key, each, page, result.normal, result.anomalous)
                    for (key, result), each, page in zip(classes.items(), slugs, pages, strict=True)
                ),
                records=tuple(same),
                card=card,
            )
        )
    return datasets
