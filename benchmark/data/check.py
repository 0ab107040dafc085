"""The check of a dataset on disk: numbers of images found and expected, and everything that is wrong with its files."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tabulate import tabulate

from benchmark.common import file_sha256, listed, printable
from benchmark.data.layouts import Sample
from benchmark.data.meta import check_meta
from benchmark.data.pixels import look, over_all
from benchmark.data.samples import SampleSet
from benchmark.data.sheet import in_words
from benchmark.data.tree import Leftover, Problem, relative

_SHOWN = 20

Progress = Callable[[int], None]
"""Called after each file with the number of samples that it holds; the sum is `len(sample_set.samples)`."""


@dataclass(frozen=True, slots=True)
class Row:
    """Numbers of images of a class (defect None) or of one of its defects. Unknown expected numbers are None."""

    class_name: str
    defect: str | None
    train: int
    normal: int
    anomalous: int
    masks: int
    expected_train: int | None = None
    expected_normal: int | None = None
    expected_anomalous: int | None = None


@dataclass(frozen=True, slots=True)
class Identical:
    """Image files with identical content: their paths relative to the dataset's directory."""

    paths: tuple[str, ...]
    crosses_labels: bool
    crosses_classes: bool
    crosses_splits: bool


@dataclass(frozen=True)
class CheckReport:
    """The result of a check."""

    title: str
    directory: Path
    reason: str
    note: str
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    identical: tuple[Identical, ...]
    files: int
    """Number of image files that were read."""
    notes: tuple[str, ...] = ()
    left_out: tuple[Leftover, ...] = ()
    ranges: str = ""
    """How images of more than 8 bits are read, in a sentence; empty where there are none."""
    examples: tuple[str, ...] = ()
    """What was taken for what, of a plain folder, whose files no card describes."""

    @property
    def broken(self) -> bool:
        """Whether numbers on this dataset would be wrong or could not be computed."""
        return any(p.fatal for p in self.problems)


def check_dataset(sample_set: SampleSet, *, workers: int = 2, progress: Progress | None = None) -> CheckReport:
    """Read every image and mask of a dataset and compare what is there with the card.

    Args:
        sample_set: the dataset, as `benchmark.data.samples` found it.
        workers: threads that read.
        progress: called after every image file with its number of samples.
    """
    by_file: dict[Path, list[Sample]] = defaultdict(list)
    for sample in sample_set.samples:
        by_file[sample.path].append(sample)
    problems = [*sample_set.problems, *_count_problems(sample_set)]
    ranges, turned_black = sample_set.ranges, sample_set.turned_black  # before each thread looks for it
    pool = ThreadPoolExecutor(workers)
    try:
        looks = []
        normal_masks = dict(sample_set.normal_masks)
        found = pool.map(lambda each: look(sample_set, each, normal_masks.get(each[0].key)), by_file.values())
        for samples, seen in zip(by_file.values(), found, strict=True):
            looks.append(seen)
            if progress:
                progress(len(samples))
        identical = _identical(sample_set, by_file, pool)
        problems += [_both_labels(group) for group in identical if group.crosses_labels]
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C must not wait for thousands of images
    problems += [*over_all(looks, sample_set.layout.mask_threshold), *check_meta(sample_set)]
    return CheckReport(
        title=f"{sample_set.title} ({sample_set.card.name})",
        directory=sample_set.directory,
        reason=sample_set.reason,
        note=sample_set.layout.note,
        rows=tuple(_rows(sample_set)),
        problems=tuple(sorted(set(problems), key=lambda p: (not p.fatal, p.kind, p.path, p.message))),
        identical=identical,
        files=len(by_file),
        notes=(*sample_set.notes, *([turned_black] if turned_black else [])),
        left_out=sample_set.left_out,
        ranges=ranges.told,
        examples=tuple(in_words(sample_set)) if sample_set.card.domain == "custom" else (),
    )


# ---- counts


def _rows(data: SampleSet) -> Iterator[Row]:
    expected = data.expected
    # The numbers of train images and of defects are those of the published set.
    published = data.layout.counts is None and not data.synthetic
    for owner in data.card.classes:
        samples = [s for s in data.samples if s.class_name == owner.name]
        row = _row(owner.name, None, samples)
        normal, anomalous = expected.get(owner.name, (None, None))
        train = owner.train if published else None
        yield replace(row, expected_train=train, expected_normal=normal, expected_anomalous=anomalous)
        names = {s.defect for s in samples if s.defect}
        # Where a repackaged copy names all defects alike, the published ones say nothing about it.
        known = owner.defects if published and names & set(owner.defects) else {}
        for defect in sorted(names | set(known)):
            row = _row(owner.name, defect, [s for s in samples if s.defect == defect])
            yield replace(row, expected_anomalous=known.get(defect, 0) if known else None)


def _row(class_name: str, defect: str | None, samples: Sequence[Sample]) -> Row:
    test = [s for s in samples if s.split == "test"]
    return Row(
        class_name=class_name,
        defect=defect,
        train=len(samples) - len(test),
        normal=sum(s.label == 0 for s in test),
        anomalous=sum(s.label == 1 for s in test),
        masks=sum(s.mask is not None for s in test),
    )


def _count_problems(data: SampleSet) -> Iterator[Problem]:
    for name, (found, expected) in data.differences.items():
        message = f"{found[0]} normal and {found[1]} anomalous test images, expected {expected[0]} and {expected[1]}"
        yield Problem(name, "counts", message, fatal=True)
    for name in data.lacking:
        yield Problem(name, "counts", "no test images; the class is not tested", fatal=False)
    for row in _rows(data):
        # Where the class itself is off, the table shows by which defects.
        if (
            row.class_name not in data.differences
            and row.defect
            and row.expected_anomalous not in {None, row.anomalous}
        ):
            message = f"{row.anomalous} anomalous test images, expected {row.expected_anomalous}"
            yield Problem(f"{row.class_name}/{row.defect}", "defect-counts", message, fatal=False)
        if row.train and row.expected_train not in {None, row.train}:
            message = f"{row.train} train images, expected {row.expected_train}; they are not evaluated"
            yield Problem(row.class_name, "train-counts", message, fatal=False)


# ---- files


def _identical(data: SampleSet, by_file: dict[Path, list[Sample]], pool: ThreadPoolExecutor) -> tuple[Identical, ...]:
    """Find groups of identical images; only files of equal size need to be read."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in by_file:
        if path.is_file() and (size := path.stat().st_size) > 0:  # empty files are reported as unreadable
            by_size[size].append(path)
    twins = [path for paths in by_size.values() if len(paths) > 1 for path in paths]
    by_hash: dict[str, list[Path]] = defaultdict(list)
    for path, digest in zip(twins, pool.map(_sha256, twins), strict=True):
        if digest:
            by_hash[digest].append(path)
    groups = [sorted(paths) for paths in by_hash.values() if len(paths) > 1]
    return tuple(_describe(data, group, by_file) for group in sorted(groups))


def _describe(data: SampleSet, group: Sequence[Path], by_file: dict[Path, list[Sample]]) -> Identical:
    def differ(values: Iterable[object]) -> bool:
        return len(set(values)) > 1

    return Identical(
        paths=tuple(relative(path, data.directory) for path in group),
        crosses_labels=differ(tuple(s.label for s in by_file[path]) for path in group),
        crosses_classes=differ(by_file[path][0].class_name for path in group),
        crosses_splits=differ(tuple(s.split for s in by_file[path]) for path in group),
    )


def _both_labels(group: Identical) -> Problem:
    first, *others = group.paths
    message = f"is identical to {listed(others, 3)}, but not all of them count as normal, nor all as anomalous"
    return Problem(first, "both-labels", f"{message}; remove those that are in the wrong place", fatal=False)


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:  # reported as unreadable already
        return ""


# ---- text


def render(report: CheckReport) -> str:
    """Return the report as text for a terminal."""
    head = (f"{report.title}: {report.directory}", report.reason, report.note, *report.notes, report.ranges)
    parts = [*(printable(line) for line in head if line), "", _table(report.rows), ""]
    if report.examples:
        parts += ["What was taken for what:", *(f"  {line}" for line in report.examples), ""]
    for kind in dict.fromkeys(p.kind for p in report.problems):
        problems = [p for p in report.problems if p.kind == kind]
        parts.append(f"{'ERROR' if problems[0].fatal else 'warning'} {kind} ({len(problems)})")
        parts += [f"  {printable(p.path)}: {printable(p.message)}" for p in problems[:_SHOWN]]
        parts += [f"  … and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    if report.identical:
        redundant = sum(len(group.paths) - 1 for group in report.identical)
        parts.append(f"note: {len(report.identical)} groups of identical images, {redundant} redundant")
        # The groups that matter come first.
        order = sorted(report.identical, key=lambda g: (not g.crosses_labels, not g.crosses_classes, g.paths))
        parts += [f"  {_group(group)}" for group in order[:_SHOWN]]
        parts += [f"  … and {len(order) - _SHOWN} more"] if len(order) > _SHOWN else []
    # What may be images of the dataset comes first.
    for loud, title in ((True, "warning left out"), (False, "note: not used")):
        if lines := [each.text for each in report.left_out if each.loud == loud]:
            parts.append(f"{title} ({len(lines)})")
            parts += [f"  {printable(line)}" for line in lines[:_SHOWN]]
            parts += [f"  … and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    errors = sum(p.fatal for p in report.problems)
    verdict = f"BROKEN: {errors} errors" if report.broken else "OK"
    warnings = len(report.problems) - errors + sum(each.loud for each in report.left_out) + len(report.notes)
    parts.append(f"{verdict}, {warnings} warnings, {report.files} image files read")
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    def cell(found: int, expected: int | None) -> str:
        return f"{found}" if expected is None else f"{found} / {expected}" + (" !" if found != expected else "")

    body = [
        [
            row.class_name if row.defect is None else "",
            printable(row.defect or "(all)"),
            cell(row.train, row.expected_train),
            "" if row.defect else cell(row.normal, row.expected_normal),
            cell(row.anomalous, row.expected_anomalous),
            str(row.masks),
        ]
        for row in rows
    ]
    headers = ["class", "defect", "train", "normal", "anomalous", "masks"]
    table: str = tabulate(body, headers, disable_numparse=True, colalign=("left", "left", *["right"] * 4))
    return f"Test images unless said otherwise; found / expected.\n{table}"


def _group(group: Identical) -> str:
    crossed = {
        "NORMAL AND ANOMALOUS": group.crosses_labels,
        "several classes": group.crosses_classes,
        "train and test": group.crosses_splits,
    }
    across = ", ".join(what for what, crosses in crossed.items() if crosses)
    return " = ".join(map(printable, group.paths)) + (f"  (across {across})" if across else "")
