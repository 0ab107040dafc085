"""The samples of a dataset: which images a directory has, with their classes, labels and masks.

A directory is listed once. Every layout of the card is tried on that list, and the layout whose numbers of images are
nearest to the expected ones is used. The result does not depend on the order in which the file system lists a folder,
and no file outside of the dataset's directory is opened.
"""

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from benchmark.common import TABLE_LIMIT, listed, read_limited
from benchmark.data.cards import SUBSET, Card, Layout
from benchmark.data.contents import digests, remembered, stamp
from benchmark.data.csv_tables import BadTableError
from benchmark.data.formats import DECODED
from benchmark.data.images import find_extremes
from benchmark.data.layouts import Sample, read_layout
from benchmark.data.leftovers import not_of_the_layout, unread
from benchmark.data.masks import LOSSY
from benchmark.data.misfits import Misfit, misfit, nothing_fits
from benchmark.data.odd_images import odd_images
from benchmark.data.ranges import Extremes, Ranges
from benchmark.data.suspicions import Marked, MaskFacts, facts_as_text, suspicions
from benchmark.data.tree import Leftover, Problem, Tree, counted_from, relative, walk
from benchmark.errors import BenchError

Counts = tuple[int, int]
"""Numbers of normal and anomalous images."""

MINI_MARKER = "zsad-bench-mini.json"
"""A file at the top of a mini suite, which marks the datasets below it as generated."""


_DOUBTS = frozenset({"doubtful-kind", "no-such-folder", "same-name"})
"""Problems of plain folders that change numbers where the user thinks otherwise."""
_MOST_DOUBTS = 8
DRAWN = "drawn"
"""Stands for the content of a generated file that nobody changed."""


class DatasetError(BenchError):
    """A directory cannot be read as a dataset. The message names both, what was searched for, and what to do."""


@dataclass(frozen=True)
class SampleSet:
    """The samples of a dataset, sorted by class in the card's order, then by key."""

    card: Card
    directory: Path
    layout: Layout
    reason: str
    """Which layout was used and, where several fit, why."""
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]
    root: str = ""
    """The folder below `directory` from which the layout's paths count."""
    part: str = ""
    """Which part of the dataset it is, in words; empty for the whole."""
    notes: tuple[str, ...] = ()
    """What a reader of results must know of how the samples were chosen, in sentences."""
    left_out: tuple[Leftover, ...] = ()
    """The files of the directory that are no samples and no masks."""
    normal_masks: tuple[tuple[str, Path], ...] = ()
    """The masks of normal images, which should be black, by the key of their sample."""
    options: str = ""
    """The options by which a plain folder was read."""
    whole: tuple[Sample, ...] = ()
    """All samples of the dataset, where `samples` are some of them; by default `samples`."""

    def __post_init__(self) -> None:
        if not self.whole:  # is kept by `dataclasses.replace`
            object.__setattr__(self, "whole", self.samples)

    @cached_property
    def _extremes(self) -> dict[Path, Extremes]:
        return find_extremes((s.path for s in self.whole), f"looking for the range of {self.card.title}")

    @cached_property
    def ranges(self) -> Ranges:
        """Black and white of images of more than 8 bits, found over all images of the dataset."""
        return Ranges.holding(self._extremes.values())

    @property
    def turned_black(self) -> str:
        """Which images are black by the range of all, in a sentence; empty where none is."""
        return self.ranges.turned_black({relative(path, self.directory): e for path, e in self._extremes.items()})

    @property
    def name(self) -> str:
        """The name in ids and in names of files; a part of a dataset has another than the whole."""
        return f"{self.card.name}{SUBSET}" if self.part else self.card.name

    @property
    def title(self) -> str:
        """The name in tables."""
        return f"{self.card.title} (subset: {self.part})" if self.part else self.card.title

    @cached_property
    def synthetic(self) -> bool:
        """Whether the images are generated, which those of a mini suite are."""
        return self._suite is not None

    @property
    def argument(self) -> str:
        """What names the dataset on the command line of `bench data check`."""
        return self.options or self.card.name

    @property
    def expected(self) -> dict[str, Counts]:
        """The expected numbers of (normal, anomalous) test images by class; empty for generated images and parts."""
        return {} if self.synthetic or self.part else self.card.expected(self.layout)

    @cached_property
    def test(self) -> tuple[Sample, ...]:
        """The samples that are evaluated."""
        return tuple(s for s in self.samples if s.split == "test")

    @cached_property
    def test_by_class(self) -> dict[str, tuple[Sample, ...]]:
        """The samples that are evaluated, by class, in order."""
        found: dict[str, list[Sample]] = {}
        for s in self.test:
            found.setdefault(s.class_name, []).append(s)
        return {name: tuple(each) for name, each in found.items()}

    @cached_property
    def test_classes(self) -> dict[str, str]:
        """The classes that are evaluated, in order, with their names in prompts."""
        return {name: each[0].prompt_name for name, each in self.test_by_class.items()}

    @cached_property
    def train(self) -> tuple[Sample, ...]:
        """The samples that are not evaluated."""
        return tuple(s for s in self.samples if s.split == "train")

    @property
    def has_masks(self) -> bool:
        """Whether the layout has masks, so that pixel metrics can be computed."""
        rules = self.layout.rules
        return "pixel" in self.card.levels and (not rules or any(rule.mask for rule in rules))

    @cached_property
    def has_views(self) -> bool:
        """Whether the test images are views of physical samples, and all views of each are tested."""
        tested = {s.key for s in self.test}
        cut = {(s.class_name, s.view_of) for s in self.whole if s.split == "test" and s.key not in tested}
        return all(s.view_of and (s.class_name, s.view_of) not in cut for s in self.test)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the test samples: names, classes, labels, mask threshold, pieces, content of images and masks.

        The range of images is part of it where they have more than 8 bits.

        Paths count from the layout's root, so the fingerprint does not depend on where the dataset is. Of a generated
        image that is as it was drawn the content is left out: its pixels are fixed, its bytes depend on the library
        that wrote them.
        """
        _ = self.stamps  # before the files are read
        lines: list[object] = [self.layout.mask_threshold]
        if self.ranges:
            lines.append(str(self.ranges))
        lossy = {extension for name in LOSSY for extension in DECODED[name]}
        if self.layout.mask_threshold == 0 and any(s.mask.suffix.lower() in lossy for s in self.test if s.mask):
            lines.append("masks of lossy compression at half")
        ordered = sorted(self.test, key=lambda s: s.key)
        known = self.contents(ordered)
        for s in ordered:
            mask = None if s.mask is None else counted_from(relative(s.mask, self.directory), self.root)
            key, names = counted_from(s.key, self.root), (s.class_name, s.prompt_name)
            lines.append((key, names, s.label, mask, s.piece, known[s.path], s.mask and known[s.mask]))
        return hashlib.sha256(json.dumps(lines).encode()).hexdigest()

    @cached_property
    def stamps(self) -> dict[Path, tuple[int, int] | None]:
        """Size and time of change of the test images and masks when the fingerprint was first asked for."""
        return self._stamps_now()

    def check_unchanged(self) -> None:
        """Check that the test images and masks are still the files of which the fingerprint was made.

        Raises:
            DatasetError: A file was changed since. The message names it.
        """
        if changed := [path for path, now in self._stamps_now().items() if now != self.stamps[path]]:
            more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise DatasetError(
                f"{changed[0]}{more}: the file was changed while the run was at it; run again when nobody writes there"
            )

    def _stamps_now(self) -> dict[Path, tuple[int, int] | None]:
        found = {path: stamp(path) for s in self.test for path in (s.path, s.mask) if path is not None}
        # Not the inode: some network file systems give another one at each look.
        return {path: now[:2] if now else None for path, now in found.items()}

    def contents(self, samples: Sequence[Sample]) -> dict[Path, str | None]:
        """Return the sha256 of the images and masks of samples; `DRAWN` for one that is as the mini suite drew it.

        None stands for a file that is missing or cannot be read.
        """
        paths = [path for s in samples for path in (s.path, s.mask) if path is not None]
        known = digests(paths, self.title)
        drawn = self._drawn()
        if not drawn:  # then no path needs to be resolved, which on a network file system takes time for each
            return known
        return {
            path: DRAWN if digest and drawn.get(path.resolve()) == digest else digest for path, digest in known.items()
        }

    @cached_property
    def _suite(self) -> Path | None:
        """The folder of the mini suite that this directory belongs to."""
        real = self.directory.resolve()
        return next((folder for folder in (real, *real.parents) if (folder / MINI_MARKER).is_file()), None)

    def _drawn(self) -> dict[Path, str]:
        """Return the sha256 of each file of the mini suite as it was drawn; empty for other data."""
        if self._suite is None:
            return {}
        try:
            files = json.loads(read_limited(self._suite / MINI_MARKER, TABLE_LIMIT)).get("files", {})
        except (OSError, ValueError):
            return {}
        return {self._suite / name: digest for name, digest in files.items()}

    @cached_property
    def _suspicions(self) -> tuple[Problem, ...]:
        """What looks wrong with the masks, which are a user's own."""
        test = {s.key: s for s in self.test}
        pairs = [(s, s.mask) for s in self.test if s.mask]
        pairs += [(test[key], mask) for key, mask in self.normal_masks if key in test]
        known = remembered(
            "mask_facts", (mask for _, mask in pairs), facts_as_text, f"looking at the masks of {self.title}"
        )
        marked = [
            Marked(relative(mask, self.directory), s.key, s.label, MaskFacts(**json.loads(text)))
            for s, mask in pairs
            if (text := known[mask])
        ]
        return tuple(suspicions(marked, self.layout.mask_threshold))

    @cached_property
    def _odd_images(self) -> list[str]:
        """What is odd about the images, which are a user's own."""
        return odd_images(self.test, self.title)

    @property
    def differences(self) -> dict[str, tuple[Counts, Counts]]:
        """Numbers of (normal, anomalous) test images, found and expected, of each class where they differ."""
        found = count(self.test)
        pairs = {name: (found.get(name, (0, 0)), e) for name, e in self.expected.items()}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def lacking(self) -> tuple[str, ...]:
        """The classes without test images of a card that says of no class how many there are."""
        if self.synthetic or self.part or self.card.domain == "custom" or self.expected:
            return ()
        found = {s.class_name for s in self.test}
        return tuple(each.name for each in self.card.classes if each.name not in found)

    @property
    def distance(self) -> int:
        """The number of test images that are missing or too many, summed over classes and labels."""
        return sum(abs(n - m) for pair in self.differences.values() for n, m in zip(*pair, strict=True))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of results on these samples must know, in sentences."""
        warnings = [*self.notes]
        doubts = [f"left out: {each.text}" for each in self.left_out if each.loud]
        if self.card.domain == "custom":
            warnings += self._odd_images
            doubts += [f"{each.path}: {each.message}" for each in self.problems if each.kind in _DOUBTS]
        warnings += doubts[:_MOST_DOUBTS]
        if (more := len(doubts) - _MOST_DOUBTS) > 0:
            warnings.append(f"{more} more such, which `bench data check` names")
        if self.ranges:
            warnings.append(self.ranges.told)
            warnings += [text] if (text := self.turned_black) else []
        if off := [f"{name} {f[0]}/{f[1]} instead of {e[0]}/{e[1]}" for name, (f, e) in self.differences.items()]:
            warnings.append(f"normal/anomalous test images differ from the expected: {listed(off, 3, 'more classes')}")
        if self.lacking:
            warnings.append(f"without test images: {listed(self.lacking, 3, 'more classes')}")
        if self.layout.mask_threshold is None and (odd := Counter(p.kind for p in self._suspicions)):
            told = ", ".join(f"{kind} {n}" for kind, n in sorted(odd.items()))
            warnings.append(f"masks look wrong: {told}; `bench data check` says more")
        kinds = Counter(p.kind for p in self.problems if p.fatal)
        if kinds:
            warnings.append(f"files with problems: {', '.join(f'{kind} {n}' for kind, n in sorted(kinds.items()))}")
        return tuple(warnings)


def count(samples: Iterable[Sample]) -> dict[str, Counts]:
    """Return the numbers of normal and anomalous samples per class."""
    counts: dict[str, Counts] = {}
    for s in samples:
        normal, anomalous = counts.get(s.class_name, (0, 0))
        counts[s.class_name] = (normal + 1 - s.label, anomalous + s.label)
    return counts


def in_drawing_order(data: SampleSet, samples: Iterable[Sample], *, seed: int | None = None) -> list[Sample]:
    """Return samples in the order of a hash of their names, in which images are drawn.

    Therefore a draw of more images contains that of fewer, and a file that is added or missing changes little.
    """
    start = "" if seed is None else f"{seed} "

    def place(sample: Sample) -> str:
        return hashlib.sha256(f"{start}{counted_from(sample.key, data.root)}".encode()).hexdigest()

    return sorted(samples, key=place)


def references(data: SampleSet, shots: int, *, seed: int) -> dict[str, tuple[Sample, ...]]:
    """Return `shots` normal training images of each tested class, drawn by seed, or all where there are fewer."""
    drawn: dict[str, list[Sample]] = {s.class_name: [] for s in data.test}
    for s in in_drawing_order(data, data.train, seed=seed):
        if s.label == 0 and s.class_name in drawn:
            drawn[s.class_name].append(s)
    return {name: tuple(each[:shots]) for name, each in drawn.items()}


def read_samples(card: Card, directory: Path, *, follow_links: bool = False) -> SampleSet:
    """Read a directory by the layout of the card that fits best.

    A layout fits if it has at least one test sample. The layout whose numbers of images are nearest to the expected
    ones is used, and the first of several that are equally near.

    Raises:
        DatasetError: No layout fits. The message lists what was searched for and what is there.
    """
    tree = walk(directory, follow_links=follow_links)
    fits: list[SampleSet] = []
    tables: list[Misfit] = []  # layouts whose table cannot be read, which is said even where another layout fits
    misfits: list[Misfit] = []
    for layout in card.layouts:
        for root in (tree.folder("/".join(PurePosixPath(r).parts)) for r in layout.roots):
            try:
                samples, problems, spare = read_layout(card, layout, tree, root)
            except BadTableError as error:
                tables.append(Misfit(layout.name, error.path, str(error), table=error.path))
                continue
            if any(s.split == "test" for s in samples):
                masks = tuple((image, tree.files[mask]) for image, mask in spare.items())
                fits.append(SampleSet(card, directory, layout, "", samples, problems, root, normal_masks=masks))
                break
            if reason := misfit(layout, samples, problems, _list_of(card, layout, root, tree)):
                misfits.append(reason)
    if not fits:
        raise DatasetError(nothing_fits(card, tree, [*tables, *misfits]))
    best = min(fits, key=lambda s: s.distance)
    bad = [Problem(each.path, "bad-table", f"layout {each.layout}: {each.message}", fatal=False) for each in tables]
    problems = (*tree.problems, *bad, *best.problems)
    return replace(best, reason=_reason(best, fits), problems=problems, left_out=_left_out(best, tree))


def _list_of(card: Card, layout: Layout, root: str, tree: Tree) -> str:
    lists = layout.index.lists(card.classes) if layout.index else ()
    return next((file for name in lists if (file := tree.find(posixpath.join(root, name)))), "")


def _left_out(data: SampleSet, tree: Tree) -> tuple[Leftover, ...]:
    used = {s.photograph for s in data.samples} | {problem.path for problem in data.problems}
    masks = [*(s.mask for s in data.samples if s.mask), *(mask for _, mask in data.normal_masks)]
    used |= {relative(mask, data.directory) for mask in masks}
    layout = data.layout
    lists = layout.index.lists(data.card.classes) if layout.index else ()
    names = (*(layout.labels.file if layout.labels else ()), *lists)
    tables = {tree.find(posixpath.join(data.root, name)) for name in names}
    others = replace(tree, files={file: path for file, path in tree.files.items() if file not in tables})
    return (*not_of_the_layout(tree, used), *unread(others))


def _reason(best: SampleSet, fits: Sequence[SampleSet]) -> str:
    reason = f"layout {best.layout.name!r}" + (f" in {best.root}" if best.root else "")
    if len(fits) > 1:
        offs = ", ".join(f"{s.layout.name} ({s.distance})" for s in fits)
        reason += f", nearest to the expected counts of those that fit (images off: {offs}; of equals the first)"
    metas = (posixpath.join(folder, "meta.json") for folder in {"", best.root})
    if any((best.directory / meta).is_file() for meta in metas):
        reason += "; its meta.json is not trusted: labels and masks come from the files"
    return reason
