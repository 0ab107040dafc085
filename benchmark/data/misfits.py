"""What is said of a directory that no layout of a card fits: what was looked for, what is there, what to type."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.common import listed, what_is_it
from benchmark.data.cards import Card, CsvIndex, Layout
from benchmark.data.examples import example
from benchmark.data.formats import is_image, kind_of
from benchmark.data.layouts import Sample
from benchmark.data.tree import Problem, Tree, stem

_MOST = 10
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z", ".rar"}
_OF_LISTS = frozenset({"bad-split", "outside-root", "unknown-class"})
"""Problems of what a list says, which no download mends."""
_DEPTH = 3
"""Folders above the files in which a dataset is searched for that lies deeper."""


@dataclass(frozen=True)
class Misfit:
    """Why a layout that was tried is not that of a directory, though it has something of it."""

    layout: str
    path: str
    """The file at fault."""
    message: str
    table: str = ""
    """The table of the layout that is at fault; the directory is then the right one."""

    @property
    def text(self) -> str:
        """The reason in a line."""
        return f"{self.path}: layout {self.layout}: {self.message}"


def misfit(layout: Layout, samples: Sequence[Sample], problems: Sequence[Problem], table: str = "") -> Misfit | None:
    """Return why a layout without test images does not fit, or None where nothing of it is there.

    Args:
        layout: that was tried.
        samples: that were found, of which none is a test image.
        problems: that were found.
        table: the list of samples that the layout has there, or "".
    """
    if fatal := [problem for problem in problems if problem.fatal] or list(problems):
        kind, count = Counter(problem.kind for problem in fatal).most_common(1)[0]
        first = next(problem for problem in fatal if problem.kind == kind)
        more = f" (and {count - 1} more)" if count > 1 else ""
        return Misfit(layout.name, first.path, f"{first.message}{more}", table if kind in _OF_LISTS else "")
    if samples:
        return Misfit(layout.name, samples[0].key, f"{len(samples)} training images, but no test image")
    return None


def nothing_fits(card: Card, tree: Tree, misfits: Sequence[Misfit]) -> str:
    """Return the message that no layout of a card fits a directory."""
    lines = [f"{card.name}: no layout of the card fits {tree.directory}."]
    if not deeper_root(card, tree):
        misfits = [*misfits, *(each for layout in card.layouts for each in _misplaced(layout, tree))]
    reasons = sorted({each.text for each in misfits}, key=lambda text: (len(text), text))
    if reasons:
        lines += ["Nearly right:", *(f"  {_short(reason)}" for reason in reasons[:_MOST])]
    lines.append("Looked for (the extensions of images do not matter):")
    for layout in card.layouts:
        roots = " or ".join(root or "the directory itself" for root in layout.roots)
        lines.append(f"  {layout.name}: {', '.join(looked_for(layout))}, below {roots}")
    if any("<class>" in line for line in lines):
        lines.append(f"  where <class> is {listed([each.name for each in card.classes], 6)}")
    tops: dict[str, int] = {}
    for path in tree.files:
        top, slash, _ = path.partition("/")
        tops[top + slash] = tops.get(top + slash, 0) + 1
    there = [f"{top} ({n} files)" if top.endswith("/") else top for top, n in tops.items()]
    lines.append(f"There is: {listed(there, _MOST) or 'no file'}.")
    lines += [f"  {problem.path}: {problem.message}" for problem in tree.problems[:_MOST]]
    lines += [f"  {text}" for text in _in_disguise(tree)]
    tables = [each.table for each in misfits if each.table]
    lines.append(f"Correct {tables[0]}, or give {_own(card)}." if tables else _way_out(card, tree))
    return "\n".join(lines)


def _misplaced(layout: Layout, tree: Tree) -> Iterator[Misfit]:
    """Yield the files that seem to be the table of a layout, but have another folder or format."""
    index = (layout.index.file,) if isinstance(layout.index, CsvIndex) else ()
    tables = [*index, *(layout.labels.file if layout.labels else ())]
    if not tables or any(tree.find(posixpath.join(root, table)) for root in layout.roots for table in tables):
        return
    name = posixpath.basename(stem(tables[0])).casefold()
    for file in tree.files:
        if kind_of(file) == "table" and posixpath.basename(stem(file)).casefold() == name:
            text = Path(file).suffix.casefold() == ".csv"
            way = f"move it to {tables[0]}" if text else f"save it as CSV, as {tables[0]}"
            yield Misfit(layout.name, file, f"is looked for as {' or '.join(tables)}; {way}", table=file)


def looked_for(layout: Layout) -> list[str]:
    """Return the paths, with placeholders, by which a layout is known."""
    files = [layout.index.shown] if layout.index else []
    for rule in layout.rules:
        if rule.split == "test":
            files.append(example(rule.pattern) or "images as the card describes them")
    return list(dict.fromkeys([*files, *(layout.labels.file if layout.labels else ())]))


def _own(card: Card) -> str:
    return f"the dataset's own directory with --data-path {card.name}=DIR"


def _way_out(card: Card, tree: Tree) -> str:
    option, directory = f"--data-path {card.name}=", tree.directory
    if deeper := deeper_root(card, tree):
        return f"The dataset seems to lie deeper; say {option}{directory / deeper}"
    own = directory.absolute().name
    if len(card.classes) > 1 and card.class_of(own):
        return f"{own} is one class of the dataset; say {option}{directory.absolute().parent}"
    if archives := [path for path in tree.files if Path(path).suffix.lower() in _ARCHIVES]:
        return f"Unpack {listed(archives, 3)}, or give {_own(card)}."
    home = f"; its home page is {card.home}" if card.home else ""
    return f"Complete the download, or give {_own(card)}{home}."


def deeper_root(card: Card, tree: Tree) -> str | None:
    """Return the folder below a directory in which files lie as by a layout of the card, if there is just one."""
    rules = [rule for layout in card.layouts for rule in layout.rules if rule.split == "test"]
    lists = [path for layout in card.layouts if layout.index for path in layout.index.lists(card.classes)]
    indices = {path.casefold() for path in lists}
    found: Counter[str] = Counter()
    for file in tree.files:
        parts = file.split("/")
        for depth in range(1, min(_DEPTH, len(parts) - 1) + 1):
            rest = "/".join(parts[depth:])
            if rest.casefold() in indices or (
                is_image(file) and any(_known(card, rule.match(stem(rest))) for rule in rules)
            ):
                found["/".join(parts[:depth])] += 1
                break
    if len(found) != 1:
        return None
    return next(iter(found))


def _known(card: Card, match: re.Match[str] | None) -> bool:
    if match is None:
        return False
    groups = match.groupdict()
    return "class" not in groups or card.class_of(groups["class"]) is not None


def _in_disguise(tree: Tree) -> list[str]:
    """Return a line on images that are no images but pointers of Git LFS, or web pages."""
    images = [path for path in tree.files if is_image(path)]
    what = what_is_it(tree.files[images[0]]) if images else None
    return [f"{images[0]}: {what}"] if what and "image" not in what else []


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"
