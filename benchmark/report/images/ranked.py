"""How the methods rank each image of a dataset, reduced to the images that a list of failures can begin with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmark.metrics import ClassImages
from benchmark.report.class_images import by_method, common_images
from benchmark.report.images.gallery import Array, fractions_right

KEPT = 250
"""A dataset with at most so many images is kept whole. Of a larger one, so many images are shared out among the pairs
of methods."""
PER_LIST = 60
"""Number of images that are kept of a larger dataset for each list over all methods."""


@dataclass(frozen=True)
class RankedImage:
    """An image, and how each method ranks it."""

    key: str
    class_name: str
    label: int
    """0 for a normal, 1 for an anomalous image."""
    right: tuple[float | None, ...]
    """For each method, the fraction of the images of the class with the other label that are ranked on the right side
    of this image, with four decimals; None for a method without results per image."""

    @property
    def is_wrong(self) -> bool:
        """Whether every method puts the image on the wrong side: below 0.5 for all of them."""
        known = [each for each in self.right if each is not None]
        return bool(known) and max(known) < 0.5


@dataclass(frozen=True)
class RankedDataset:
    """The images of a dataset that are kept, and what they were chosen from."""

    images: tuple[RankedImage, ...]
    counts: tuple[int, int]
    """Number of ranked images, normal and anomalous."""
    wrong: tuple[int, int]
    """Number of images that every method puts on the wrong side, normal and anomalous."""
    per_pair: int
    """Number of images that are kept for each pair of methods; 0 if all images are kept."""

    @property
    def is_whole(self) -> bool:
        """Whether all ranked images are kept."""
        return len(self.images) == sum(self.counts)


def rank_dataset(
    images: Mapping[str, Mapping[str, ClassImages]], titles: Sequence[str], classes: Sequence[str]
) -> RankedDataset:
    """Return how the methods rank the images of a dataset.

    Classes of which all images have one label are left out, since nothing ranks their images. Only the images that all
    methods with results per image have are ranked.

    Args:
        images: Results per image, by method and class.
        titles: Titles of all methods of the report.
        classes: Names of the classes.
    """
    found = [each for name in classes for each in _ranked_class(by_method(images, name), titles, name)]
    wrong = [sum(each.is_wrong for each in found if each.label == label) for label in (0, 1)]
    counts = [sum(each.label == label for each in found) for label in (0, 1)]
    per_pair = 0
    if len(found) > KEPT:
        right = np.array([[np.nan if each is None else each for each in image.right] for image in found])
        per_pair = images_per_pair(len(titles))
        found = [found[i] for i in sorted(select(right, per_list=PER_LIST, per_pair=per_pair))]
    return RankedDataset(tuple(found), (counts[0], counts[1]), (wrong[0], wrong[1]), per_pair)


def images_per_pair(methods: int) -> int:
    """Return how many images of a dataset are kept for each pair of so many methods, at least one."""
    pairs = methods * (methods - 1) // 2
    return max(1, KEPT // max(1, pairs))


def _ranked_class(images: Mapping[str, ClassImages], titles: Sequence[str], class_name: str) -> list[RankedImage]:
    common = common_images(images)
    if len(set(common.labels.tolist())) < 2:
        return []
    right = {title: fractions_right(of.scores[common.rows[title]], common.labels) for title, of in images.items()}
    return [
        RankedImage(
            key=key,
            class_name=class_name,
            label=int(common.labels[i]),
            right=tuple(round(float(right[title][i]), 4) if title in right else None for title in titles),
        )
        for i, key in enumerate(common.keys)
    ]


def select(right: Array, *, per_list: int, per_pair: int) -> set[int]:
    """Return the indices of the images that a list can begin with.

    These are the images on the wrong side for all methods that have the lowest mean fraction, those with the largest
    difference between their best and their worst method, and for each pair of methods those with the largest
    difference. Of equal images the earlier one is taken.

    Args:
        right: Fractions of shape `(N, methods)`; NaN for a method without results.
        per_list: Number of images of each of the first two lists.
        per_pair: Number of images of each pair.
    """
    columns = right[:, ~np.isnan(right).all(axis=0)]
    if not columns.size:
        return set()
    low, high = np.nanmin(columns, axis=1), np.nanmax(columns, axis=1)
    mean = np.nanmean(columns, axis=1)
    wrong = [int(i) for i in np.argsort(mean, kind="stable") if high[i] < 0.5]
    chosen = {*wrong[:per_list], *_first(high - low, per_list)}
    for a, b in combinations(columns.T, 2):
        chosen |= _first(np.nan_to_num(abs(a - b)), per_pair)
    return chosen


def _first(values: Array, count: int) -> set[int]:
    """Return the indices of the largest values."""
    return {int(i) for i in np.argsort(-values, kind="stable")[:count]}
