"""Where datasets lie: by the names of folders, or by what a folder holds, and what to type where they are not found."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from benchmark.common import listed
from benchmark.data.cards import Card, load_cards
from benchmark.data.formats import kind_of
from benchmark.data.misfits import looked_for
from benchmark.data.samples import DatasetError, SampleSet, read_samples
from benchmark.data.tree import plain, subfolders
from benchmark.data.words import label_of

_NEAR = 0.1
"""Part of the expected test images that may be missing or too many in a folder that is known by its counts alone."""
_MOST = 100
"""Subfolders that are searched for what to type."""
_UP = 3
"""Folders above the given one that are searched for what to type."""


def find_directories(card: Card, data: Path | None, path: Path | None) -> list[Path]:
    """Return the directories that may hold the dataset, sorted.

    Args:
        card: has the names to search for; case, blanks, `-` and `_` are ignored.
        data: the folder that holds the datasets, or the dataset's own directory, if it has its name.
        path: the dataset's own directory; if it is given, it is the only one.

    Raises:
        DatasetError: `path`, or else `data`, is given but is no directory.
    """
    if path is not None:
        if not path.is_dir():
            raise DatasetError(f"{card.name}: {path} is not a directory; correct --data-path {card.name}=DIR")
        return [path]
    if data is None:
        return []
    if not data.is_dir():
        raise DatasetError(f"{card.name}: the data root {data} is not a directory; correct --data or BENCH_DATA")
    below = _below(card, data)
    others = (_below(other, data) for other in load_cards().values() if other.name != card.name)
    itself = [data] if _is_named(card, data) and not any(others) else []
    return [*itself, *below]


def _below(card: Card, data: Path) -> list[Path]:
    """Return the folders below a directory that have a name of the card, sorted."""
    found: dict[str, Path] = {}  # by real path: a link beside its target is the same directory
    for folder in (card.name, *card.folders):
        level = [data]
        for part in PurePosixPath(folder).parts:
            level = [child for parent in level for child in subfolders(parent) if plain(child.name) == plain(part)]
        for directory in level:
            real = os.path.realpath(directory)
            found[real] = min(directory, found.get(real, directory))
    return sorted(found.values())


def _is_named(card: Card, directory: Path) -> bool:
    """Return whether a directory has a name of the card."""
    paths = (directory.absolute(), directory.resolve())  # a link may have the name, or what it leads to
    own = [[plain(part) for part in path.parts] for path in paths]
    names = [[plain(part) for part in PurePosixPath(folder).parts] for folder in (card.name, *card.folders)]
    return any(parts[-len(name) :] == name for name in names for parts in own)


def locate(card: Card, data: Path | None, path: Path | None, *, follow_links: bool = False) -> SampleSet | None:
    """Find and read a dataset; return None if no directory has its name.

    Of several directories, the one whose numbers of images are nearest to the expected ones is used.

    Args:
        card: of the dataset.
        data: as in `find_directories`.
        path: as in `find_directories`.
        follow_links: whether links that lead out of the directory are followed.

    Raises:
        DatasetError: As in `find_directories`, or there are directories but no layout fits any of them.
    """
    directories = find_directories(card, data, path)
    sets, errors = [], []
    for directory in directories:
        try:
            sets.append(read_samples(card, directory, follow_links=follow_links))
        except DatasetError as error:
            errors.append(str(error))
    if not sets:
        if errors:
            raise DatasetError("\n".join(errors))
        return None
    best = min(sets, key=lambda s: s.distance)
    if path is None and best.directory == data:
        best = replace(best, reason=f"{best.reason}; --data names the dataset itself")
    others = ", ".join(str(d) for d in directories if d != best.directory)
    if not others:
        return best
    why = "its counts are nearest to the expected ones" if len(sets) > 1 else "no layout fits the others"
    return replace(best, reason=f"{best.reason}; {best.directory.name} was taken, not {others}, since {why}")


def recognise(cards: Iterable[Card], directory: Path, *, follow_links: bool = False) -> SampleSet | None:
    """Read a directory that has no card's name by the card whose layout it has, and nearly its numbers of images.

    Of the classes that are there, at most a tenth of the expected test images may be missing or too many. Return None
    where there is no such card.
    """
    there = {plain(path.stem if path.is_file() else path.name) for path in directory.iterdir()}
    found: list[tuple[float, int, SampleSet]] = []
    for card in cards:
        if there.isdisjoint(_tops(card)):  # then its files need not be listed
            continue
        try:
            samples = read_samples(card, directory, follow_links=follow_links)
        except DatasetError:
            continue
        present = {sample.class_name for sample in samples.test}
        expected = sum(sum(counts) for name, counts in samples.expected.items() if name in present)
        pairs = [pair for name, pair in samples.differences.items() if name in present]
        off = sum(abs(n - m) for pair in pairs for n, m in zip(*pair, strict=True))
        if expected and off <= _NEAR * expected:
            found.append((off / expected, len(found), samples))
    if not found:
        return None
    best = min(found)[2]
    return replace(best, reason=f"{best.reason}; taken for {best.card.title} by its layout and its numbers of images")


def _tops(card: Card) -> set[str]:
    """Return the names of what lies at the top of a directory by some layout of the card."""
    tops: set[str] = set()
    for layout in card.layouts:
        names = {root.split("/")[0] for root in layout.roots if root}
        names |= {path.split("/")[0] for path in looked_for(layout)}
        if "<class>" in names:
            names |= {name for each in card.classes for name in (each.name, *each.folders)}
        tops |= {plain(name) for name in names}
    return tops


def _holds_classes(card: Card, directory: Path) -> bool:
    """Return whether a directory holds classes of a card: two by their names, or one and a layout fits."""
    classes = [each.name for each in subfolders(directory)[:_MOST] if card.class_of(each.name)]
    if len([name for name in classes if not name.isdecimal()]) > 1:
        return True
    try:
        return bool(classes) and bool(read_samples(card, directory).samples)
    except DatasetError:
        return False


def _renamed(data: Path, folders: Sequence[Path], cards: Sequence[Card]) -> str:
    """Return what to type where a dataset under another name, or its archive, is at, above or below a folder."""
    home = data.resolve()
    above = [folder for child, folder in zip((home, *home.parents), home.parents, strict=False) if _is_class(child)]
    for folder in (data, *folders, *above[:_UP]):
        for card in cards:
            if _holds_classes(card, folder):
                classes = [f"{each.name}/" for each in subfolders(folder)[:_MOST] if card.class_of(each.name)]
                what = "is a class" if len(classes) == 1 else "are classes"
                say = f"say --data-path {card.name}={folder}"
                return f"{listed(classes, 3)} in {folder} {what} of {card.title}; {say}"
    titles = {plain(PurePosixPath(name).name) for card in cards for name in (card.name, *card.folders)}
    for each in sorted(data.iterdir()):
        if kind_of(each.name) == "archive" and plain(each.name.partition(".")[0]) in titles and each.is_file():
            return f"unpack {each}"
    return ""


def _is_class(directory: Path) -> bool:
    return any(len(card.classes) > 1 and card.class_of(directory.name) for card in load_cards().values())


def hint(data: Path, cards: Sequence[Card]) -> str:
    """Return what to type where no dataset of some cards was found in a folder, or "" where nothing is near."""
    home = data.resolve()
    folders = subfolders(data)[:_MOST]
    names = {plain(PurePosixPath(name).parts[0]) for card in cards for name in (card.name, *card.folders)}
    if deeper := [folder for folder in folders if names & {plain(each.name) for each in subfolders(folder)}]:
        return f"there are datasets in {listed([str(each) for each in deeper], 3)}; say --data {deeper[0]}"
    for folder in home.parents:
        if inside := [card for card in cards if _is_named(card, folder)]:
            return f"it lies in {inside[0].title}; say --data-path {inside[0].name}={folder}"
    if renamed := _renamed(data, folders, cards):
        return renamed
    if any(label_of(folder.name) == 0 for folder in folders):
        return f"for images of your own say --folder {data}"
    if beside := [card.title for card in cards if _below(card, home.parent)]:
        return f"there is {listed(beside, 3)} in the folder above; say --data {home.parent}"
    return ""
