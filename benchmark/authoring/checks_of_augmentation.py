"""Checks of augmentations: what they return, and that the generator alone decides what they draw."""

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmark.authoring.method_under_test import MethodUnderTest
from benchmark.contract import Augmentation, ClassName, Learner, Picture
from benchmark.errors import ContractError

SEEDS = 8
"""Generators with which each picture is changed."""
THREADS = 4


def is_augmented(tested: MethodUnderTest) -> bool:
    """Return whether a method learns from changed images."""
    return issubclass(tested.method, Learner) and any(stage.augment for stage in tested.stages)


class Companions:
    """The pictures of a class, as the harness offers them to an augmentation."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures
        kinds = dict.fromkeys(picture.kind for picture in pictures)
        self.kinds: Mapping[str, Sequence[int]] = {
            kind: [place for place, each in enumerate(pictures) if each.kind == kind] for kind in kinds
        }

    def read(self, place: int) -> Picture:
        """Return a copy of a picture."""
        return _copy(self._pictures[place])


def augmentation(tested: MethodUnderTest) -> str:
    """Check the augmentation of every stage on the pictures of the check."""
    pictures, changed = tested.given.pictures, 0
    jobs = [(place, seed) for place in range(len(pictures)) for seed in range(SEEDS)]
    for augment in dict.fromkeys(stage.augment for stage in tested.stages if stage.augment):
        before = _global_states()
        made = [_augmented(augment, pictures, *job) for job in jobs]
        if drawn := [name for name, state in _global_states().items() if state != before[name]]:
            raise ContractError(f"augment draws from the global generator of {drawn[0]}, not from the one it is given")
        with ThreadPoolExecutor(THREADS) as pool:
            again = list(pool.map(partial(_augmented, augment, pictures), *zip(*jobs, strict=True)))
        if not all(map(_same, made, again)):
            raise ContractError("augment makes two pictures of one picture with the same seed, in several threads")
        for picture in pictures:
            _augmented(augment, [picture], 0, 0)  # a class may have one image
        changed += sum(not _same(each, pictures[place]) for each, (place, _) in zip(made, jobs, strict=True))
    return f"changes {changed} of {len(jobs)} pictures, the same with the same seed, in several threads"


def _augmented(augment: Augmentation, pictures: Sequence[Picture], place: int, seed: int) -> Picture:
    picture = pictures[place]
    others = Companions([each for each in pictures if each.class_name == picture.class_name])
    given = _copy(picture)
    made = augment(given, others, np.random.default_rng([seed, place]))
    if not _same(given, picture):
        raise ContractError("augment changes the picture that it is given; change a copy of the image and of the mask")
    _check(made)
    return made


def _check(made: Picture) -> None:
    if not isinstance(made, Picture):
        raise ContractError(f"augment returns a {type(made).__name__}, not a Picture")
    image, mask = made.image, made.mask
    for name, array, dtype in (("an image", image, np.uint8), ("a mask", mask, np.bool_)):
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise ContractError(f"augment returns {name} of {found}, not an array of {np.dtype(dtype).name}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ContractError(f"augment returns an image of shape {image.shape}, not (H, W, 3)")
    if mask.shape != image.shape[:2]:
        raise ContractError(f"augment returns a mask of shape {mask.shape} for an image of shape {image.shape}")
    if made.label not in (0, 1):  # that of AdaCLIP keeps the label of the image it replaces, whatever is in it
        raise ContractError(f"augment returns the label {made.label!r}, not 0 or 1")
    if not isinstance(made.class_name, ClassName):
        found = type(made.class_name).__name__
        raise ContractError(f"augment returns the class name as {found}, not ClassName; keep that of the picture")


def _copy(picture: Picture) -> Picture:
    return replace(picture, image=picture.image.copy(), mask=picture.mask.copy())


def _same(one: Picture, other: Picture) -> bool:
    arrays = np.array_equal(one.image, other.image) and np.array_equal(one.mask, other.mask)
    return arrays and (one.label, one.class_name, one.kind) == (other.label, other.class_name, other.kind)


def _global_states() -> dict[str, object]:
    """Return the states of the generators that all code shares."""
    numpys = np.random.get_state(legacy=False)  # noqa: NPY002
    drawn = (numpys["state"]["key"].tobytes(), numpys["state"]["pos"], numpys["has_gauss"])
    return {"numpy": drawn, "random": random.getstate(), "torch": torch.get_rng_state().numpy().tobytes()}
