"""What the pages speak of, gathered from records: methods, datasets and classes in their order."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.data import Card, load_cards
from benchmark.metrics import ClassImages
from benchmark.records import Record
from benchmark.report.names import distinct
from benchmark.tables import (
    SYNTHETIC,
    check_comparable,
    column_order,
    notes_of,
    row_order,
    set_variants_apart,
    uncertainty,
)

if TYPE_CHECKING:
    from benchmark.tables import AblationTable

Read = Callable[[Record], Mapping[str, ClassImages] | None]
Estimates = Mapping[tuple[str, str, str | None, str], uncertainty.Estimate]
"""By method, dataset, class (None: the mean) and metric."""


@dataclass(frozen=True)
class ClassPage:
    """A class of a dataset, and where it is shown."""

    name: str
    slug: str
    page: str
    normal: int
    anomalous: int


@dataclass(frozen=True)
class Dataset:
    """A dataset, and the records on it."""

    title: str
    name: str
    domain: str
    slug: str
    classes: tuple[ClassPage, ...]
    records: tuple[Record, ...]
    """Done, in the order of the methods, then seeds."""
    card: Card | None
    """None for a dataset whose card does not ship along."""

    @property
    def page(self) -> str:
        """Its page, from the top of the site."""
        return f"datasets/{self.slug}.html"

    @property
    def fingerprint(self) -> str:
        """Of its list of test samples."""
        return self.records[0].cell.dataset.fingerprint

    def first(self, title: str) -> Record | None:
        """Return the record of a method under its first seed."""
        return next((record for record in self.records if record.title == title), None)


@dataclass(frozen=True)
class Material:
    """All that the pages are made of."""

    records: tuple[Record, ...]
    """All, in order: failed ones and variants too."""
    main: tuple[Record, ...]
    """Those that are done and not a row of an ablation."""
    titles: tuple[str, ...]
    """Methods of the main tables."""
    datasets: tuple[Dataset, ...]
    estimates: Estimates
    ablations: tuple["AblationTable", ...]
    notes: tuple[str, ...]

    @property
    def banner(self) -> tuple[str, ...]:
        """What says that results are synthetic."""
        return tuple(note for note in self.notes if note.startswith(SYNTHETIC))

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records of cells that failed."""
        return tuple(record for record in self.records if record.status == "failed")


def gather(records: Sequence[Record], read: Read, keep: uncertainty.Keep = uncertainty.made_now) -> Material:
    """Return the material of the pages; the order of the records does not matter.

    Args:
        records: those that may share a table.
        read: gives the results per image of a record by class, None where there are none.
        keep: keeps the replicates of the bootstrap.

    Raises:
        TableError: the records are not comparable.
    """
    ordered = sorted(records, key=lambda r: (*row_order(r), *column_order(r), r.cell.seed, r.id))
    shown, ablations = set_variants_apart(ordered)
    main = [record for record in shown if record.status == "done"]
    check_comparable(main)
    found = uncertainty.estimates(main, read, keep)
    return Material(
        records=tuple(ordered),
        main=tuple(main),
        titles=tuple(dict.fromkeys(record.title for record in sorted(main, key=column_order))),
        datasets=tuple(_datasets(main)),
        estimates={(each.title, each.dataset, each.class_name, each.metric): each for each in found},
        ablations=tuple(ablations),
        notes=notes_of(shown),
    )


def _datasets(main: Sequence[Record]) -> list[Dataset]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in main:
        groups[record.dataset_title].append(record)
    names = [same[0].cell.dataset.name for same in groups.values()]
    # Two folders of a user's own have one name and two titles.
    keys = [name if names.count(name) == 1 else f"{name} {title}" for name, title in zip(names, groups, strict=True)]
    made = []
    for slug, (title, same) in zip(distinct(keys), groups.items(), strict=True):
        name = same[0].cell.dataset.name
        card = load_cards().get(name)
        classes = {key: result for record in same for key, result in record.classes.items()}
        slugs = distinct(list(classes))
        pages = [f"datasets/{slug}--{each}.html" if len(classes) > 1 else f"datasets/{slug}.html" for each in slugs]
        made.append(
            Dataset(
                title=title,
                name=name,
                domain=same[0].domain,
                slug=slug,
                classes=tuple(
                    ClassPage(key, each, page, result.normal, result.anomalous)
                    for (key, result), each, page in zip(classes.items(), slugs, pages, strict=True)
                ),
                records=tuple(same),
                card=card if card is not None and card.title == title else None,
            )
        )
    return made
