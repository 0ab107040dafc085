"""Dataset cards: what a dataset is, and the layouts in which its files are distributed.

A card is a TOML file in `datasets/` and contains no code. Regular expressions over relative paths say which files are
samples, which class and label they have, and where their masks are. `benchmark.data.samples` reads a directory by a
card.
"""

import functools
import re
import string
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from benchmark.common import CARD_LIMIT, Model, is_blank, read_limited, shipped_folder, validation_problems
from benchmark.data.archives import Download
from benchmark.data.relative_paths import RelativePath, relative_path
from benchmark.errors import BenchError

PLAIN = "folder-"
"""Start of the names of plain folders in ids and file names; no card's name has a hyphen."""
SUBSET = "-subset"
"""End of the name of a part of a dataset in ids and file names."""
Label = Literal["normal", "anomalous", "mask_exists", "mask_nonzero", "table"]
Domain = Literal["industrial", "medical", "custom"]
Level = Literal["image", "pixel"]
Split = Literal["train", "test"]


class CardError(BenchError, ValueError):
    """A card is missing or wrong. The message names the file and the field and says what is expected."""


class ClassCard(Model):
    """One class: its name in tables and in prompts, its folders, and its published numbers of test images."""

    name: str = Field(min_length=1)
    prompt: str | None = None
    """Plain-English name in prompts; by default the class name with underscores as spaces."""
    folders: tuple[str, ...] = ()
    """Names of folders that hold this class in some layout, besides `name`."""
    train: int | None = Field(default=None, ge=0)
    normal: int | None = Field(default=None, ge=0)
    anomalous: int | None = Field(default=None, ge=0)
    defects: dict[str, int] = Field(default_factory=dict)

    @property
    def prompt_name(self) -> str:
        """The class name in prompts."""
        return self.prompt or self.name.replace("_", " ")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if is_blank(self.prompt_name):
            raise ValueError(f"{self.prompt_name!r} is no class name: it has no letter, or it has control characters")
        return self

    @model_validator(mode="after")
    def _defects_add_up(self) -> Self:
        if self.defects and sum(self.defects.values()) != self.anomalous:
            raise ValueError(f"defects add up to {sum(self.defects.values())}, but anomalous = {self.anomalous}")
        return self


class Rule(Model):
    """Which files are samples, and their split, label, class, defect type and mask.

    `pattern` must match the whole path of an image relative to the layout's root, with forward slashes and *without*
    its extension. It may have the named groups `class` (the folder of a class), `defect`, and others that the `mask`
    templates use. A rule without the group `class` has the field `class`, unless the card has only one class. Rules
    are tried in order and the first match counts. A file that no rule matches is no sample.
    """

    pattern: str
    split: Split = "test"
    label: Label
    """With `mask_exists` a sample is anomalous if it has a mask file, with `mask_nonzero` if its mask (of this piece)
    has a nonzero pixel, with `table` if the layout's `labels` file says so."""
    class_name: str | None = Field(default=None, alias="class")
    defect: str | None = None
    mask: tuple[str, ...] = ()
    """Templates of the mask's path without extension; `{group}` stands for the text of a group of the pattern. The
    first mask that exists is used. A normal sample needs none."""

    def match(self, path: str) -> re.Match[str] | None:
        """Return how the pattern matches a path; case does not matter, since copies write `Good` for `good`."""
        return re.fullmatch(self.pattern, path, re.IGNORECASE)

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            groups = set(re.compile(self.pattern).groupindex)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"bad regex {self.pattern!r}: {error}") from None
        if {"class", "defect"} & groups & {k for k, v in (("class", self.class_name), ("defect", self.defect)) if v}:
            raise ValueError("class or defect is given both as a field and as a group of the pattern")
        for template in self.mask:
            relative_path(template)
            fields = [each[1:] for each in string.Formatter().parse(template) if each[1] is not None]
            if any(layout or conversion for _, layout, conversion in fields):  # could nest, or pad to any length
                raise ValueError(f"mask {template!r}: a group stands in braces alone, without ! and :")
            names = {name for name, _, _ in fields if name is not None}
            if names - groups:
                raise ValueError(f"mask {template!r} uses {sorted(names - groups)}, not groups of the pattern")
        if self.label.startswith("mask_") and not self.mask:
            raise ValueError(f"label = {self.label!r} needs mask templates")
        return self


class LabelTable(Model):
    """A CSV file that says which images are anomalous. Blanks around headers and cells are ignored."""

    file: tuple[RelativePath, ...]
    """Paths of the file relative to the layout's root; the first that exists is read."""
    key: str
    column: str
    anomalous: tuple[str, ...]
    """Values of `column` that mean anomalous, besides the usual words for it; all others must be words for normal."""
    key_width: int = Field(default=0, ge=0, le=255)
    """Keys are padded with zeros to this length and compared with the pattern's group `stem`."""


class CsvIndex(Model):
    """A CSV file that lists the samples (VisA) and is used instead of rules; its paths count from the layout's root."""

    file: RelativePath
    class_column: str
    split_column: str
    label_column: str
    image_column: str
    mask_column: str
    normal: str = "normal"
    """The value of `label_column` that means normal, besides the usual words for it."""


class HoldOut(Model):
    """A seeded split of the normal samples by their sorted keys: `fraction` of them is test, the rest train."""

    fraction: float = Field(gt=0, lt=1)
    seed: int = Field(ge=0, lt=2**32)


class Layout(Model):
    """One way in which the files of the dataset are arranged on disk.

    It has either rules or an index; that of a plain folder has neither, since code reads it.
    """

    name: str
    """original, anomalyclip, adaclip, …; of distributions with the same files, the first one."""
    also: tuple[str, ...] = ()
    """Other distributions with the same files."""
    roots: tuple[RelativePath, ...] = ("",)
    """Folders below the dataset's directory from which paths count; the first one with test samples is used."""
    needs: tuple[RelativePath, ...] = ()
    """Folders below the root. The layout fits only if at least one of them holds a file."""
    rules: tuple[Rule, ...] = ()
    index: CsvIndex | None = None
    labels: LabelTable | None = None
    pieces: int = Field(default=1, ge=1, le=1000)
    """Each image is cut into this many bands of rows, [i·h//n, (i+1)·h//n)."""
    hold_out: HoldOut | None = None
    mask_threshold: int | None = Field(default=0, ge=0, le=254)
    """A mask pixel is anomalous if its grey value is above this: 0 for lossless masks, 127 for JPEG masks. None, which
    plain folders have: each file is read by what it is."""
    counts: dict[str, tuple[int, int]] | None = None
    """Numbers of (normal, anomalous) test images per class, where this layout differs from the published numbers."""
    note: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.index is not None and self.rules:
            raise ValueError("a layout has either rules or an index")
        if any(rule.label == "table" for rule in self.rules) != (self.labels is not None):
            raise ValueError("labels and a rule with label = 'table' go together")
        by_table = [re.compile(rule.pattern).groupindex for rule in self.rules if rule.label == "table"]
        if not all("stem" in groups for groups in by_table):
            raise ValueError("a rule with label = 'table' needs a group named stem")
        return self


class Card(Model):
    """What a dataset is."""

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    title: str
    version: int = Field(ge=1)
    """Raised by every change of the card that can change a number."""
    domain: Domain
    levels: tuple[Level, ...] = Field(min_length=1)
    """`image` if there are normal and anomalous images, `pixel` if there are masks."""
    licence: str
    home: str = ""
    reference: str
    download: Download | None = None
    """How it is had; None of a dataset that is not published."""
    beyond: bool = False
    """Whether it is beyond the 17 datasets of the papers' main tables. Such a dataset takes part only where it is
    named."""
    folders: tuple[RelativePath, ...]
    """Names of the dataset's directory besides `name`; case, blanks, `-` and `_` are ignored."""
    overlaps: tuple[str, ...] = ()
    """Cards known or reported to share images with this one."""
    classes: tuple[ClassCard, ...] = Field(min_length=1)
    layouts: tuple[Layout, ...] = Field(min_length=1)
    notes: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _unique("class", (c.name for c in self.classes))
        _unique("class folder", (f for c in self.classes for f in {c.name, *c.folders}))
        _unique("layout", (layout.name for layout in self.layouts))
        names = {c.name for c in self.classes}
        for layout in self.layouts:
            if not layout.rules and layout.index is None and self.domain != "custom":
                raise ValueError(f"layout {layout.name!r} has neither rules nor an index")
            for class_name in layout.counts or {}:
                if class_name not in names:
                    raise ValueError(f"layout {layout.name!r} counts an unknown class {class_name!r}")
            for rule in layout.rules:
                if rule.class_name is not None and rule.class_name not in names:
                    raise ValueError(f"layout {layout.name!r} names an unknown class {rule.class_name!r}")
                if rule.class_name is None and len(names) > 1 and "class" not in re.compile(rule.pattern).groupindex:
                    raise ValueError(f"layout {layout.name!r}: pattern {rule.pattern!r} does not say the class")
        return self

    def class_of(self, folder: str) -> ClassCard | None:
        """Return the class that the folder holds, or None if the card does not know it; case does not matter."""
        return self._by_folder.get(folder.casefold())

    @functools.cached_property
    def _by_folder(self) -> dict[str, ClassCard]:
        owners: dict[str, ClassCard] = {}
        for each in self.classes:
            for folder in (each.name, *each.folders):
                owners.setdefault(folder.casefold(), each)
        return owners

    def expected(self, layout: Layout) -> dict[str, tuple[int, int]]:
        """Return the expected numbers of (normal, anomalous) test images by class; unknown numbers are left out."""
        published = {c.name: (c.normal, c.anomalous) for c in self.classes}
        known = {k: (n, a) for k, (n, a) in published.items() if n is not None and a is not None}
        return known if layout.counts is None else dict(layout.counts)


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"duplicate {what} {name!r}")
        seen.add(name)


def load_card(path: Path) -> Card:
    """Read and validate one card.

    Raises:
        CardError: The file cannot be read, is no TOML or does not follow the schema.
    """
    try:
        data: dict[str, Any] = tomllib.loads(read_limited(path, CARD_LIMIT).decode())
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: it is nested too deeply
        raise CardError(f"{path}: not valid TOML: {error}") from None
    try:
        card = Card.model_validate(data)
    except ValidationError as error:
        problems = "\n".join(f"  {line}" for line in validation_problems(error))
        raise CardError(f"{path}: the card is wrong:\n{problems}") from None
    if card.name != path.stem:
        raise CardError(f"{path}: name = {card.name!r}, but a card is named after its file")
    return card


def cards_directory() -> Path:
    """Return the folder of the cards."""
    return shipped_folder("_datasets", "datasets")


@functools.cache
def load_cards(directory: Path | None = None) -> dict[str, Card]:
    """Read all cards of a folder (default: those shipped), by name in alphabetical order."""
    paths = sorted((directory or cards_directory()).glob("*.toml"))
    return {path.stem: load_card(path) for path in paths}
