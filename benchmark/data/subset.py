"""A part of a dataset: some of its classes, a few images of each, or all images but those that a method is shown."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral

from benchmark.data.layouts import Sample
from benchmark.data.samples import DatasetError, SampleSet, in_drawing_order


def subsets(data: Sequence[SampleSet], *, classes: Sequence[str] = (), limit: int | None = None) -> list[SampleSet]:
    """Return a part of each dataset; a dataset with none of the classes is left out.

    Args:
        data: The datasets.
        classes: Names of classes; without names, all.
        limit: Most test images of a class. Normal and anomalous ones are drawn in turn, in the order of a hash of their
            names, so that a larger limit keeps the images of a smaller one.

    Raises:
        DatasetError: No dataset has a class of that name, or the limit is no whole number from 1 on.
    """
    if limit is not None and (not isinstance(limit, Integral) or isinstance(limit, bool) or limit < 1):
        raise DatasetError(f"limit={limit!r}: say a whole number from 1 on, or leave it out")
    known = {name: each.card.title for each in data for name in _classes(each)}
    for name in classes:
        if name not in known:
            raise DatasetError(f"--classes {name}: no dataset of this run has that class; there are {', '.join(known)}")
    kept = [each for each in data if not classes or not _classes(each).isdisjoint(classes)]
    return [_part(each, [name for name in classes if name in _classes(each)], limit) for each in kept]


def _classes(data: SampleSet) -> set[str]:
    return {sample.class_name for sample in data.test}


def _part(data: SampleSet, classes: Sequence[str], limit: int | None) -> SampleSet:
    chosen = [sample for sample in data.samples if not classes or sample.class_name in classes]
    if limit is not None:
        drawn = {sample.key for name in _classes(data) for sample in _drawn(data, name, limit)}
        chosen = [sample for sample in chosen if sample.split != "test" or sample.key in drawn]
    if len(chosen) == len(data.samples):
        return data
    words = [", ".join(classes)] if classes else []
    words += [f"{limit} images a class" if len(_classes(data)) > 1 else f"{limit} images"] if limit is not None else []
    gone = {sample.photograph for sample in data.samples} - {sample.photograph for sample in chosen}
    problems = tuple(problem for problem in data.problems if problem.path not in gone)
    return replace(data, samples=tuple(chosen), problems=problems, part="; ".join(words))


def hold_out(data: SampleSet, shots: int) -> SampleSet:
    """Return a plain folder of which every class has `shots` normal training images, if need be from its test images.

    They are normal test images of the class in the order of a hash of their names, those first that are not tested
    anyway. Without images that were tested it is a part of the folder. A class that would be left without normal test
    images keeps them.
    """
    if data.card.domain != "custom":
        return data
    tested = {sample.key for sample in data.test}
    spare = replace(data, samples=tuple(sample for sample in data.whole if sample.key not in tested))
    moved: dict[str, Sample] = {}
    for name in sorted(_classes(data)):
        lacking = shots - sum(sample.label == 0 and sample.class_name == name for sample in data.train)
        (unused, _), (normal, _) = _in_order(spare, name), _in_order(data, name)
        if 0 < lacking < len(unused) + len(normal):
            moved |= {sample.key: sample for sample in [*unused, *normal][:lacking]}
    if not moved:
        return data
    samples = (*(each for each in data.samples if each.key not in moved), *moved.values())
    shown = tuple(replace(each, split="train") if each.key in moved else each for each in samples)
    if not (lost := len(tested & moved.keys())):
        return replace(data, samples=shown)
    words = f"without {lost} normal images"
    note = f"{lost} normal images are not tested: methods that are shown normal images see them"
    return replace(data, samples=shown, notes=(*data.notes, note), part=f"{data.part}; {words}" if data.part else words)


def _drawn(data: SampleSet, class_name: str, limit: int) -> list[Sample]:
    normal, anomalous = _in_order(data, class_name)
    half = max(limit - len(anomalous), (limit + 1) // 2)
    return [*normal[:half], *anomalous[: limit - min(half, len(normal))]]


def _in_order(data: SampleSet, class_name: str) -> tuple[list[Sample], list[Sample]]:
    """Return the normal and the anomalous test images of a class, in the order in which images are drawn."""
    of_class = in_drawing_order(data, (sample for sample in data.test if sample.class_name == class_name))
    return [each for each in of_class if each.label == 0], [each for each in of_class if each.label == 1]
