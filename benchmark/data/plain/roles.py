"""What the name of a folder says of the images in it: normal or anomalous, masks, train or test.

A name of several words is understood where each of them is: `test_good`, `GoodImages`, `defect-masks`, `no crack`.
"""

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from typing import Literal

from benchmark.data import words
from benchmark.data.tree import plain

Share = Literal["", "train", "test", "validation"]
"""The split that a folder's name says; "" where it says none."""
_MOST_WORDS = 6
_ALIKE = 0.9
"""Likeness, 0 to 1, from which a word is another with a mistake."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a folder's name says."""

    label: int | None = None
    """0 normal, 1 anomalous."""
    mask: bool = False
    split: Share = ""
    no_kind: bool = False
    """Whether the images are neither normal nor a kind of defect (results, thumbnails, unsorted ones)."""
    rest: str = ""
    """Of a folder of masks, the words that are left: `crack` in `crack_masks`."""


def role_of(name: str, others: Collection[str]) -> Role | None:
    """Return what a folder's name says; None where it says nothing.

    Args:
        name: of the folder, without its path.
        others: names of all folders, in the form of `plain`. `label_crack` is a folder of masks only where there is a
            folder `crack`; else it may be a kind of defect.
    """
    tokens = words_of(name)
    if not tokens or len(tokens) > _MOST_WORDS:
        return None
    if len(tokens) == 1 and tokens[0] in {"no", "yes"}:
        return Role(label=int(tokens[0] == "yes"))
    role = _read(tokens) or _of_others(tokens, others)
    of_pixels = role is not None and role.label is not None and not words.OF_PIXELS.isdisjoint(tokens)
    return replace(role, mask=True) if role and of_pixels else role


def _of_others(tokens: tuple[str, ...], others: Collection[str]) -> Role | None:
    if tokens[0] in {"with", *words.NEGATIONS}:
        return None  # people with masks and without, labels that are not there
    for n in range(1, min(3, len(tokens))):
        ahead, last = "".join(tokens[:-n]), "".join(tokens[-n:])
        if last in words.SURE_MASKS or (last in words.MASKS and ahead in others):
            return Role(mask=True, rest=" ".join(tokens[:-n]))
        if last in words.NO_KIND and ahead in others:
            return Role(no_kind=True)  # crack_heatmap beside crack
        if "".join(tokens[:n]) in words.MASKS and "".join(tokens[n:]) in others:
            return Role(mask=True, rest=" ".join(tokens[n:]))
    return None


def sounds_like_masks(name: str) -> bool:
    """Return whether a word for masks is among those of a name."""
    tokens = words_of(name)
    pairs = [first + second for first, second in itertools.pairwise(tokens)]
    return not words.MASKS.isdisjoint([*tokens, *pairs])


def sounds_normal(name: str) -> bool:
    """Return whether a word for normal images is among those of a name, and nothing negates it."""
    tokens = words_of(name)
    return bool(tokens) and tokens[0] not in words.NEGATIONS and not words.SURE_NORMAL.isdisjoint(tokens)


def may_be_normal(name: str) -> bool:
    """Return whether a name is more likely that of normal images, for an example; `MT_Free`, `no_lesion`."""
    tokens = words_of(name)
    negated = len(tokens) > 1 and (tokens[0] in words.NEGATIONS or tokens[-1] in {"free", "less"})
    return negated or any(words.label_of(token) == 0 for token in (name, *tokens) if not token[1:].isdecimal())


def opposite(name: str) -> str:
    """Return what a name negates: `crack` for `no_crack`, `noncrack` and `crack-free`; "" where it negates nothing."""
    tokens = words_of(name)
    if len(tokens) > 1 and tokens[0] in words.NEGATIONS:
        return "".join(tokens[1:])
    if len(tokens) > 1 and tokens[-1] in {"free", "less"}:
        return "".join(tokens[:-1])
    whole = "".join(tokens)
    longest = max((start for start in words.NEGATING if whole.startswith(start)), key=len, default="")
    return whole[len(longest) :] if longest and len(whole) - len(longest) > (longest != "不") else ""


def likely_label(name: str) -> int | None:
    """Return what a name says of its images by known words, for an example: `unhealthy` 1, `ok_front` 0, else None."""
    tokens = words_of(name)
    role = role_of(name, ())
    known = words.label_of(name) if role is None or role.label is None else role.label
    if known is not None:
        return known
    if negated := opposite(name):
        said = None if negated.isdecimal() else words.label_of(negated)
        return None if said is None else 1 - said
    labels = {words.label_of(token) for token in tokens if len(token) > 2 or token in words.NORMAL | words.ANOMALOUS}
    labels -= {None}
    return labels.pop() if len(labels) == 1 else None


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name: `GoodParts_02` is good, parts, 02."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)", " ", name)
    return tuple(plain(token) for token in re.split(r"[\W_]+", apart) if token)


@cache
def _read(tokens: tuple[str, ...]) -> Role | None:
    """Return what words say together; None where one of them is unknown, they disagree, or none says anything."""
    for end in range(len(tokens), 0, -1):
        first = _word(tokens[:end])
        if first is None:
            continue
        if end == len(tokens):
            return first
        rest = tokens[end:]
        joined = first if _says_nothing(rest) else _join(first, _read(rest))
        if joined is not None:
            return joined
    if len(tokens) > 1 and _says_nothing(tokens[:1]):  # 1_good, JPEGImages
        return _read(tokens[1:])
    return None


def _says_nothing(tokens: Sequence[str]) -> bool:
    return all(token in words.FILLERS or token.isdecimal() for token in tokens)


def _word(tokens: tuple[str, ...]) -> Role | None:
    word = "".join(tokens)
    if (label := _label(tokens)) is not None:
        return Role(label=label)
    if word in words.MASKS or _is_misspelt(word):
        return Role(mask=True)
    for split, names in (("train", words.TRAIN), ("test", words.TEST), ("validation", words.VALIDATION)):
        if word in names:
            return Role(split=split)  # type: ignore[arg-type]
    if word in words.NO_KIND:
        return Role(no_kind=True)
    return Role() if word in words.IMAGES else None


def _is_misspelt(word: str) -> bool:
    """Return whether a word is `groundtruth` with a letter wrong, missing, doubled or exchanged with the next."""
    right = "groundtruth"
    return abs(len(word) - len(right)) < 2 and SequenceMatcher(None, word, right).ratio() >= _ALIKE


def _label(tokens: tuple[str, ...]) -> int | None:
    word = "".join(tokens)
    if word in words.NORMAL:
        return 0
    if word in words.ANOMALOUS:
        return 1
    if len(tokens) > 1 and tokens[0] in words.NEGATIONS and (label := _label(tokens[1:])) is not None:
        return 1 - label
    if len(tokens) > 1 and tokens[-1] == "free" and _label(tokens[:-1]) == 1:
        return 0
    return None


def _join(one: Role, other: Role | None) -> Role | None:
    if other is None:
        return None
    labels = {each for each in (one.label, other.label) if each is not None}
    splits = {each for each in (one.split, other.split) if each}
    if len(labels) > 1 or len(splits) > 1:
        return None
    return replace(
        one,
        label=next(iter(labels), None),
        split=next(iter(splits), ""),
        mask=one.mask or other.mask,
        no_kind=one.no_kind or other.no_kind,
    )
