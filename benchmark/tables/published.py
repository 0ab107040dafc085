"""Published numbers: what papers and logs print, each with its source and the conditions it was made under.

They lie in `results/published/`: CSV files of printed numbers, and `sources.toml`, which says what the printed names
stand for and under which conditions the numbers were made, as far as that is known.
"""

import csv
import functools
import io
import json
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from benchmark.common import CARD_LIMIT, TABLE_LIMIT, Model, read_limited, shipped_folder, validation_problems
from benchmark.data import Card, load_cards
from benchmark.errors import BenchError
from benchmark.metrics import METRICS, Level, metrics_of
from benchmark.protocol import Protocol
from benchmark.tables.marks import SECOND_HAND_MARK

SOURCES = "sources.toml"
COLUMNS = ("method", "dataset", "level", "metric", "value", "source")
CLASS_COLUMNS = ("method", "dataset", "class", *COLUMNS[2:])
MEAN = "mean"  # the value of the column `class` in the row of the mean over classes
OTHERWISE = "*"
AUPRO, THEIR_AUPRO = "pixel_aupro", "pixel_aupro_200"
"""What a paper's AUPRO is called, and the metric that it is: that of the published code."""


class PublishedError(BenchError):
    """A file of published numbers is wrong; the message names the file, the row or field, and the way out."""


def printed_metrics(level: Level) -> tuple[str, ...]:
    """Return what published metrics of a level are called, without the level, in the order in which they are shown."""
    return tuple(metric.short for metric in metrics_of(level) if metric.key != THEIR_AUPRO)


class Variant(Model):
    """What a printed name stands for: a method here, perhaps with options."""

    method: str
    options: dict[str, Any] | None = None
    """Those that are not at the method's defaults. Null for the method itself, whatever variants a user has made of it;
    see `Number.variant_of`."""
    reading: str = ""
    """How a row is read that can be read in several ways."""


def _as_variants(given: Any) -> Any:
    return [{"method": given}] if isinstance(given, str) else [given] if isinstance(given, dict) else given


Variants = Annotated[tuple[Variant, ...], BeforeValidator(_as_variants), Field(min_length=1)]


class Conditions(Model):
    """Under which conditions some numbers were made; what the source does not state is null."""

    files: tuple[str, ...] = Field(min_length=1)
    methods: tuple[str, ...] = Field(min_length=1)
    """As printed."""
    datasets: tuple[str, ...] = ()
    """As printed; empty for all."""
    backbone: str | None = None
    """As `--backbone` spells it."""
    image_size: int | None = None
    """Side of the input in pixels."""
    auxiliary: dict[str, str] = Field(default_factory=dict)
    """Card of the target, or `*` for all others → card of the dataset that was trained on, several with `+` between
    them, or what it is in several words if it has no card; empty if not stated."""
    layouts: dict[str, str] = Field(default_factory=dict)
    """Card → layout whose test images the source scored, where they are not those that the card counts."""
    aupro: Literal["aupro_200"] | None = None
    """Which AUPRO the source computed."""
    seed: int | None = None
    protocol: dict[str, Any] = Field(default_factory=dict)
    """What is known of the fields of `Protocol`."""
    second_hand: str = ""
    """The text about the paper in which the numbers were read; empty if they were read where their authors print them.
    They are marked wherever they are shown."""
    notes: tuple[str, ...] = ()
    """What else in the source's code may move its numbers, in short phrases."""

    @field_validator("protocol")
    @classmethod
    def _quirks_are_known(cls, given: dict[str, Any]) -> dict[str, Any]:
        Protocol.model_validate(given, strict=True)
        return given

    @field_validator("auxiliary")
    @classmethod
    def _auxiliaries_are_known(cls, given: dict[str, str]) -> dict[str, str]:
        cards = load_cards()
        for name in (
            *(each for each in given if each != OTHERWISE),
            *(name for each in given.values() if " " not in each for name in each.split("+")),
        ):
            if name not in cards:
                raise ValueError(f"{name!r} is no card")
        return given

    @field_validator("layouts")
    @classmethod
    def _layouts_are_known(cls, given: dict[str, str]) -> dict[str, str]:
        cards = load_cards()
        for name, layout in given.items():
            if name not in cards or layout not in {each.name for each in cards[name].layouts}:
                raise ValueError(f"{layout!r} is no layout of a card {name!r}")
        return given

    def auxiliary_for(self, card: str) -> str | None:
        """Return the card of the auxiliary dataset for a target, None if not stated."""
        return self.auxiliary.get(card, self.auxiliary.get(OTHERWISE))


class Sources(Model):
    """The content of `sources.toml`."""

    files: dict[str, str]
    """CSV file → its title, in the order in which they are shown."""
    methods: dict[str, Variants]
    """Printed name → name of a method here, a variant of one, or a list of variants, a reading each."""
    other_methods: tuple[str, ...] = ()
    """Printed names that are no method here."""
    datasets: dict[str, str] = Field(default_factory=dict)
    """Printed name → card, where it is not the card's title."""
    means: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Printed name of a mean over datasets → their cards; at each level those count that have it."""
    conditions: tuple[Conditions, ...]

    @field_validator("methods")
    @classmethod
    def _readings_are_of_one_method(cls, given: dict[str, tuple[Variant, ...]]) -> dict[str, tuple[Variant, ...]]:
        for name, variants in given.items():
            if len({variant.method for variant in variants}) > 1:
                raise ValueError(f"{name!r} stands for several methods")
        return given

    @field_validator("means")
    @classmethod
    def _means_are_of_cards(cls, given: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name in (each for cards in given.values() for each in cards):
            if name not in load_cards():
                raise ValueError(f"{name!r} is no card")
        return given


class Row(Model):
    """A row of a CSV file, as printed."""

    method: str = Field(min_length=1)
    dataset: str = Field(min_length=1)
    class_name: str = Field(default=MEAN, alias="class", min_length=1)
    level: Level
    metric: str
    value: float = Field(ge=0, le=100)
    """Percent."""
    source: str = Field(min_length=1)

    @field_validator("metric")
    @classmethod
    def _metric_is_of_the_level(cls, given: str, info: ValidationInfo) -> str:
        level = info.data.get("level")  # missing where it is wrong itself
        if level and given not in printed_metrics(level):
            raise ValueError(f"{given} is no metric of the {level} level")
        return given


@dataclass(frozen=True)
class Number:
    """A published number and what it is a number of."""

    file: str
    title: str
    """Of the file."""
    row: Row
    variants: tuple[Variant, ...]
    """What the printed method stands for, a reading each; empty if it is no method here."""
    others: tuple[dict[str, Any], ...]
    """The options of all variants of the method that some printed name stands for."""
    cards: tuple[Card, ...]
    """The dataset; several for a mean over datasets."""
    conditions: Conditions

    @property
    def is_mean(self) -> bool:
        """Whether it is a mean over datasets, each with the same weight."""
        return len(self.cards) > 1

    @property
    def dataset(self) -> str:
        """Name of the card; of a mean over datasets, as printed."""
        return self.row.dataset if self.is_mean else self.cards[0].name

    @property
    def dataset_title(self) -> str:
        """Title of the card; of a mean over datasets, as printed."""
        return self.row.dataset if self.is_mean else self.cards[0].title

    @property
    def method(self) -> str | None:
        """Name of the method here, None if it is none."""
        return self.variants[0].method if self.variants else None

    @property
    def is_row(self) -> bool:
        """Whether the printed name is that of a row of an ablation, not of a method."""
        return any(variant.options is not None for variant in self.variants)

    def variant_of(self, changed: Mapping[str, Any]) -> Variant | None:
        """Return what the number is of that a result with these options may be held against, None if there is nothing.

        A result of a variant is held against the numbers of that variant. One that no printed name stands for is held
        against the numbers of the method itself.

        Args:
            changed: the options that are not at the method's defaults, as records have them.
        """
        options = json.loads(json.dumps(changed))  # tuples become lists, as in TOML
        for variant in self.variants:
            if options == variant.options or (variant.options is None and options not in self.others):
                return variant
        return None

    @property
    def distance(self) -> int:
        """How far the source is from the method, by what it begins with.

        0: its own paper (`NAME …`); 1: its own repository (`OWNER/NAME …`), with logs of other runs; 2: others.
        """
        owner, _, name = self.row.source.split()[0].rpartition("/")
        return 2 if name != self.row.method else 1 if owner else 0

    @property
    def printed(self) -> str:
        """The value with the decimals that it is printed with, at least one, and a mark if it is second hand."""
        value = self.row.value
        text = f"{value:.1f}" if round(value, 1) == value else f"{value:.4f}".rstrip("0")
        return text + (SECOND_HAND_MARK if self.conditions.second_hand else "")

    @property
    def class_name(self) -> str | None:
        """The class, None for the mean over classes."""
        return None if self.row.class_name == MEAN else self.row.class_name

    @property
    def metric(self) -> str:
        """The metric of a record to compare it with: for a paper's AUPRO `aupro_200`, never the exact one."""
        key = f"{self.row.level}_{self.row.metric}"
        return THEIR_AUPRO if key == AUPRO else key

    @property
    def kind_is_unknown(self) -> bool:
        """Whether the source does not say which AUPRO it printed."""
        return self.row.metric == "aupro" and self.conditions.aupro is None

    @property
    def heading(self) -> str:
        """The metric as papers spell it."""
        return METRICS[f"{self.row.level}_{self.row.metric}"].heading


def published_directory() -> Path:
    """Return the folder of the published numbers."""
    return shipped_folder("_published", "results/published")


@functools.cache
def load_published(directory: Path | None = None) -> tuple[Number, ...]:
    """Read all published numbers of a folder (default: those shipped), by file in the order of `sources.toml`.

    Raises:
        PublishedError: a file is missing or wrong; names it and the row or field.
    """
    directory = directory or published_directory()
    sources = read_sources(directory / SOURCES)
    for name in sorted({path.name for path in directory.glob("*.csv")} ^ set(sources.files)):
        what = "is not named there" if name not in sources.files else "is named there but does not exist"
        raise PublishedError(f"{directory / SOURCES}: {name} {what}; correct the table [files]")
    return tuple(number for name in sources.files for number in read_numbers(directory / name, sources))


def select_numbers(
    numbers: Iterable[Number], *, methods: Collection[str] = (), datasets: Collection[str] = (), classes: bool = False
) -> tuple[Number, ...]:
    """Return the published numbers of some methods on some datasets; without names, of all.

    Args:
        numbers: Published numbers.
        methods: Names of methods.
        datasets: Names of datasets; a mean over datasets needs all of its own.
        classes: Whether the numbers of single classes are among them.
    """
    return tuple(
        number
        for number in numbers
        if (classes or number.class_name is None)
        and (not methods or number.method in methods)
        and (not datasets or all(card.name in datasets for card in number.cards))
    )


def read_sources(path: Path) -> Sources:
    """Read `sources.toml`.

    Raises:
        PublishedError: it cannot be read, or breaks the schema; names the field.
    """
    try:
        content = tomllib.loads(read_limited(path, CARD_LIMIT).decode())
    except (OSError, ValueError, RecursionError) as error:  # the last: nested too deeply
        raise PublishedError(f"{path}: not readable TOML: {error}") from None
    try:
        return Sources.model_validate(content)
    except ValidationError as error:
        raise PublishedError(f"{path}: {validation_problems(error)[0]}") from None


def read_numbers(path: Path, sources: Sources) -> list[Number]:
    """Read a CSV file of printed numbers.

    Raises:
        PublishedError: it cannot be read, its columns are others, or a row is wrong; names the file and the row.
    """
    numbers: list[Number] = []
    places: dict[tuple[str, ...], int] = {}
    try:
        content = read_limited(path, TABLE_LIMIT).decode()
        reader = csv.reader(io.StringIO(content, newline=""), strict=True)
        header = tuple(next(reader, ()))
        if header not in (COLUMNS, CLASS_COLUMNS):
            raise PublishedError(f"{path}, row 1: the columns must be {','.join(COLUMNS)}, with class after dataset")
        for cells in reader:
            place = f"{path}, row {reader.line_num}"
            number = _resolve(_row(header, cells, place), path.name, sources, place)
            row = number.row
            key = (row.method, row.dataset, row.class_name, row.level, row.metric)
            if key in places:
                raise PublishedError(f"{place}: row {places[key]} is of the same number; leave one")
            places[key] = reader.line_num
            numbers.append(number)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PublishedError(f"{path}: not readable CSV: {error}") from None
    return numbers


def _row(header: Sequence[str], cells: Sequence[str], place: str) -> Row:
    if len(cells) != len(header):
        raise PublishedError(f"{place}: {len(cells)} cells, not {len(header)}; quote a cell that holds a comma")
    try:
        return Row.model_validate(dict(zip(header, cells, strict=True)))
    except ValidationError as error:
        raise PublishedError(f"{place}: {validation_problems(error)[0]}") from None


def _resolve(row: Row, file: str, sources: Sources, place: str) -> Number:
    """Return the number with the method, cards and conditions that its printed names stand for."""
    cards = _cards(row, sources, place)
    if row.method not in (*sources.methods, *sources.other_methods):
        raise PublishedError(
            f"{place}: unknown method {row.method!r}; name it in [methods] or other_methods of {SOURCES}"
        )
    for conditions in sources.conditions:
        fits = file in conditions.files and row.method in conditions.methods
        if fits and row.dataset in (conditions.datasets or (row.dataset,)):
            variants = sources.methods.get(row.method, ())
            named = [each for other in sources.methods.values() for each in other]
            same = [each.options for each in named if variants and each.method == variants[0].method and each.options]
            return Number(file, sources.files.get(file, file), row, variants, tuple(same), cards, conditions)
    raise PublishedError(f"{place}: no entry of [[conditions]] of {SOURCES} fits {row.method} on {row.dataset}")


def _cards(row: Row, sources: Sources, place: str) -> tuple[Card, ...]:
    """Return the card that a row is of, or those that it is a mean of."""
    known = load_cards()
    if row.dataset in sources.means:
        found = tuple(known[name] for name in sources.means[row.dataset] if row.level in known[name].levels)
        if len(found) < 2 or row.class_name != MEAN:
            raise PublishedError(f"{place}: {row.dataset!r} is a mean over datasets; give two or more, and no class")
        return found
    by_title = {card.title: name for name, card in known.items()}
    name = sources.datasets.get(row.dataset, by_title.get(row.dataset))
    if name not in known:
        raise PublishedError(
            f"{place}: {row.dataset!r} is no title of a card; say in [datasets] of {SOURCES} which card it stands for, "
            "or in [means] of which it is a mean"
        )
    if row.class_name not in (MEAN, *(each.name for each in known[name].classes)):
        raise PublishedError(
            f"{place}: {row.class_name!r} is no class of {name}; spell it as datasets/{name}.toml does"
        )
    return (known[name],)
