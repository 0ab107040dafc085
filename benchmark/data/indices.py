"""Reading the samples of a directory by lists of them: one CSV file, or a JSON file for each class."""

import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from benchmark.common import TABLE_LIMIT, printable, read_limited
from benchmark.data.cards import Card, CsvIndex, JsonIndex
from benchmark.data.csv_tables import BadTableError, label_in, read_csv
from benchmark.data.found import Found, FoundImage
from benchmark.data.listed_paths import find_listed, leads_out
from benchmark.data.words import split_of


@dataclass(frozen=True)
class _Entry:
    """What a list says of one image."""

    list: str
    """The file, as messages name it."""
    table: str
    """The file, as its path below the dataset's directory."""
    where: str
    """The place in the list."""
    class_name: str
    split: str
    label: str | int
    """0 normal, 1 anomalous, or a word for it."""
    image: str
    mask: str
    defect: str = ""
    label_name: str = ""
    """What holds the label, as messages call it."""
    split_name: str = ""
    """What holds the split, likewise."""

    @property
    def content(self) -> tuple[str | int, ...]:
        return self.class_name, self.split, self.label, self.image, self.mask, self.defect


def by_index(card: Card, index: CsvIndex | JsonIndex, prefix: str, found: Found) -> None:
    """Find the images that the lists of a layout name, whose paths count from the folder `prefix` of the tree.

    Raises:
        BadTableError: A list cannot be read, or is not as the card describes it.
    """
    if isinstance(index, CsvIndex):
        entries, below = _csv_entries(index, prefix, found), prefix
    else:
        entries, below = _json_entries(card, index, prefix, found), _images_of(index, prefix, found)
    owner_of = cache(card.class_of)
    seen: dict[str, _Entry] = {}
    unknown: dict[str, str] = {}
    respelled: dict[str, _Entry] = {}
    for entry in entries:
        owner = owner_of(entry.class_name)
        if owner is None:
            unknown[entry.class_name] = entry.table
            continue
        if not entry.image:
            message = f"a row of {entry.class_name!r} names no image; get the whole list"
            found.report(entry.table, "missing-file", message)
            continue
        file = _listed_file(entry.image, entry, below, found, respelled)
        if file is None:
            continue
        found.matched.add(file)
        if (first := seen.setdefault(file, entry)) is not entry:
            same = first.content == entry.content
            message = f"listed twice in {entry.list}" + ("" if same else ", differently; the first counts")
            found.report(file, "listed-twice", message, fatal=not same)
            continue
        label = _label(entry, index.normal)
        mask = _listed_file(entry.mask, entry, below, found, respelled) if label == 1 and entry.mask else None
        if mask:
            found.mask_folders.add(posixpath.dirname(mask))
        elif label == 1 and "pixel" in card.levels:
            message = f"an anomalous image without mask; {entry.list} says {entry.mask!r}"
            found.report(file, "missing-mask", message)
        split = split_of(entry.split)
        if split is None:
            message = f"{entry.split_name} is {entry.split!r} in {entry.where} of {entry.list}, not train or test"
            found.report(file, "bad-split", message)
            continue
        found.images.append(FoundImage(file, owner, label, entry.defect, split, mask))
    for name, table in sorted(unknown.items()):
        found.report(table, "unknown-class", f"{name!r} is no class of the card; ignored", fatal=False)
    for path, entry in list(respelled.items())[:1]:
        count = f" (and {len(respelled) - 1} more)" if len(respelled) > 1 else ""
        message = f"{entry.where} of {entry.list} has {path!r}{count}; "
        message += "taken as the file of this name below the dataset's folder"
        found.report(entry.table, "respelled-path", message, fatal=False)


def _label(entry: _Entry, normal: str) -> int:
    said = entry.label
    if isinstance(said, int):
        return said
    return label_in(said, {normal: 0}, f"{entry.where}: {entry.label_name}", entry.table)


def _listed_file(path: str, entry: _Entry, prefix: str, found: Found, respelled: dict[str, _Entry]) -> str | None:
    """Return the file that a list names. A file that is missing or outside the dataset is a problem: None."""
    file, as_written = find_listed(path, prefix, found.tree)
    where = f"{entry.where} of {entry.list}"
    if file is not None:
        if not as_written:
            respelled.setdefault(path, entry)
    elif leads_out(path):
        message = f"listed in {where}; it leads out of the dataset and is not read; correct the list"
        found.report(path, "outside-root", message)
    else:
        found.report(prefix + path, "missing-file", f"listed in {where} but not there; complete the download")
    return file


def _csv_entries(index: CsvIndex, prefix: str, found: Found) -> Iterator[_Entry]:
    table = found.tree.find(prefix + index.file)
    if table is None:
        return
    columns = (index.class_column, index.split_column, index.label_column, index.image_column, index.mask_column)
    for line, row in read_csv(found.tree, table, columns):
        yield _Entry(
            list=index.file,
            table=table,
            where=f"line {line}",
            class_name=row[index.class_column],
            split=row[index.split_column],
            label=row[index.label_column],
            image=row[index.image_column],
            mask=row[index.mask_column],
            label_name=index.label_column,
            split_name=index.split_column,
        )


def _json_entries(card: Card, index: JsonIndex, prefix: str, found: Found) -> Iterator[_Entry]:
    """Yield what the lists of the classes say; a class without list has no images."""
    for owner in card.classes:
        paths = (found.tree.find(prefix + path) for path in index.of_class(owner))
        if table := next(filter(None, paths), None):
            yield from _entries_of(card, owner.name, index, table, found)


def _images_of(index: JsonIndex, prefix: str, found: Found) -> str:
    """Return the folder from which the paths of the lists count, with a slash at its end."""
    folders = [found.tree.folder(posixpath.join(prefix, each).rstrip("/")) for each in index.images]
    starts = [f"{each}/" if each else "" for each in folders]
    return next((each for each in starts if any(file.startswith(each) for file in found.tree.files)), starts[0])


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object has {printable(next(each for each in names if names.count(each) > 1))!r} twice")
    return content


def _entries_of(card: Card, class_name: str, index: JsonIndex, table: str, found: Found) -> Iterator[_Entry]:
    try:
        content = json.loads(read_limited(found.tree.files[table], TABLE_LIMIT), object_pairs_hook=_no_key_twice)
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: it is nested too deeply
        message = f"cannot be read as JSON: {error}; get the dataset's own file"
        raise BadTableError(table, message) from None
    parts = {split: content.get(split) for split in ("train", "test")} if isinstance(content, dict) else {}
    lists = {split: part for split, part in parts.items() if isinstance(part, list)}
    if not lists:
        raise BadTableError(table, "has no list 'train' or 'test'; get the dataset's own file")
    meta = content.get("meta", {})
    start = _text(meta, "prefix", table, "meta") or ""
    if (normal := _text(meta, "normal_class", table, "meta")) not in (None, index.normal):
        message = f"calls normal images {normal!r}, its card {index.normal!r}; get the dataset's own file"
        raise BadTableError(table, message)
    for split, entries in lists.items():
        for number, each in enumerate(entries, 1):
            where = f"entry {number} of {split!r}"
            kind, image, mask = (
                _text(each, key, table, where) for key in (index.label_key, index.image_key, index.mask_key)
            )
            if kind is None or image is None:
                missing = index.label_key if kind is None else index.image_key
                raise BadTableError(table, f"{where} has no {missing!r}; get the dataset's own file")
            category = _text(each, "category", table, where) or ""
            if (owner := card.class_of(category)) is not None and owner.name != class_name:
                message = f"{where} is of {category!r}, the list of {class_name!r}; get the dataset's own file"
                raise BadTableError(table, message)
            if kind == index.normal and mask:
                message = f"{where} is {kind!r} and has a mask; it counts as normal; get the dataset's own file"
                found.report(table, "contradiction", message)
            anomalous = kind != index.normal and bool(mask)
            yield _Entry(
                list=table,
                table=table,
                where=where,
                class_name=class_name,
                split=split,
                label=int(anomalous),
                image=posixpath.join(start, image) if image else "",
                mask=posixpath.join(start, mask) if mask else "",
                defect=kind if anomalous else "",
            )


def _text(entry: Any, key: str, table: str, where: str) -> str | None:
    """Return the text that an object of a list has under a key; None where it has none.

    Raises:
        BadTableError: It is no object, or what it has is no text.
    """
    value = entry.get(key) if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or not isinstance(value, str | None):
        there = f"{key} is no text" if isinstance(entry, dict) else "it is no object"
        raise BadTableError(table, f"{where} is not as expected: {there}; get the dataset's own file")
    return None if value is None else printable(value)
