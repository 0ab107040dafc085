"""Results per image of a class: those of each method, and the images that all methods have."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.metrics import ClassImages


@dataclass(frozen=True)
class CommonImages:
    """The images of a class that all methods have, in the order of the first method."""

    keys: tuple[str, ...]
    labels: npt.NDArray[np.uint8]
    """Labels of shape `(N,)`, 0 or 1."""
    rows: Mapping[str, list[int]]
    """For each method, where its results of these images stand."""


def by_method(images: Mapping[str, Mapping[str, ClassImages]], class_name: str) -> dict[str, ClassImages]:
    """Return the results per image of a class by method, without the methods that have none.

    Args:
        images: Results per image of a dataset, by method and class.
        class_name: Name of the class.
    """
    return {title: classes[class_name] for title, classes in images.items() if class_name in classes}


def common_images(images: Mapping[str, ClassImages]) -> CommonImages:
    """Return the images that all methods have.

    Args:
        images: Results per image of a class, by method.
    """
    places = {title: {key: place for place, key in enumerate(of.keys)} for title, of in images.items()}
    first = next(iter(images.values()), None)
    if first is None:
        return CommonImages((), np.zeros(0, np.uint8), {})
    kept = [place for place, key in enumerate(first.keys) if all(key in known for known in places.values())]
    keys = tuple(first.keys[place] for place in kept)
    return CommonImages(keys, first.labels[kept], {title: [of[key] for key in keys] for title, of in places.items()})
