"""Sentences that ask the user which images are normal, where the names of folders do not say so."""

import itertools
import posixpath
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from benchmark.common import listed
from benchmark.data.plain.arranged import Arrangement, Found, Names, Owner, UnclearError
from benchmark.data.plain.places import Place
from benchmark.data.plain.roles import likely_label, may_be_normal, opposite, role_of
from benchmark.data.tree import plain

_SHOWN = 8


def one_side_said(result: Arrangement, found: Sequence[Found], names: Names, roots: Mapping[Owner, set[int]]) -> None:
    """Refuse classes of which only anomalous images are known, while folders beside them may hold the normal ones.

    Raises:
        UnclearError: There are such folders, and the user has not said what they are.
    """
    if names.meaning.normal or names.meaning.abnormal:
        return
    unsaid: dict[Owner, set[str]] = defaultdict(set)
    one_sided = [root for root, labels in roots.items() if labels == {1}]
    for file in (file for each in result.left_out for file in each.files):
        place = names.places[file]
        owner = tuple(name.casefold() for name in place.before)
        for root in one_sided:
            if len(owner) > len(root) and owner[: len(root)] == root and not place.no_use:
                unsaid[root].add(place.paths[len(root)])
    if unsaid:
        known, normal = (sorted({each.side for each in found if each.label == label}) for label in (1, 0))
        first = sorted(map(min, unsaid.values()))
        raise UnclearError(
            f"found {folders_of(known)} for anomalous images, but nothing says which are normal beside them; say "
            f"{option('normal', [*normal, *first])} if {folders_of(first)} holds them, or "
            f"{option('abnormal', known)} if there are none"
        )


def nothing_said(pictures: Sequence[str], places: Mapping[str, Place]) -> str:
    """Return what to say where no folder says normal or anomalous."""
    if not pictures:
        return "there are no images to test; put normal ones into a folder normal, and anomalous ones into abnormal"
    chains = [places[file].before or tuple(filter(None, posixpath.dirname(file).split("/")))[-1:] for file in pictures]
    counts = _telling(chains)
    if not counts:
        return (
            f"{len(pictures)} images lie in no folder that says which of them are normal; put the normal ones into a "
            "folder normal, and the anomalous ones into a folder abnormal, or say --normal . if all are normal"
        )
    names = sorted(counts)
    there = f"found {listed([f'{name}/ ({counts[name]} images)' for name in names], _SHOWN)}"
    if len(names) == 1:
        return (
            f"{there}, whose name says neither normal nor anomalous; say {option('normal', names)} or "
            f"{option('abnormal', names)}"
        )
    return f"{there}{_which_are_normal(names)}"


def _which_are_normal(names: Sequence[str]) -> str:
    """Return what to say where there are several folders; nothing is chosen where no known word decides."""
    if all((role := role_of(name, ())) is not None and role.split for name in names):
        return f", whose names do not say which are normal; say {option('normal', names)} if all are"
    labels = _likely_labels(names)
    rest = "; the others are then anomalous" if len(names) > _SHOWN else ""
    if normal := [name for name in names if labels[name] == 0]:
        return f"; say which are normal, as in {_sides(normal, names)}{rest}"
    negated = {opposite(name) for name in names}
    likely = sorted(names, key=lambda name: (labels[name] == 1, not may_be_normal(name), plain(name) in negated, name))
    say = f", whose names do not say which are normal; say {_sides(likely[:1], names)}"
    if len(names) > 2:
        return f"{say} if {likely[0]}/ alone is normal, and else likewise{rest}"
    return f"{say} if {likely[0]}/ is normal, or {_sides(likely[1:], names)} if {likely[1]}/ is"


def _sides(normal: Sequence[str], names: Sequence[str]) -> str:
    """Return the options that say which folders are normal, and that the others are anomalous if these are few."""
    others = [name for name in names if name not in normal] if len(names) <= _SHOWN else []
    return " ".join(filter(None, (option("normal", normal), option("abnormal", others))))


def _likely_labels(names: Sequence[str]) -> dict[str, int | None]:
    """Return which folders are normal (0) and anomalous (1) by known words in their names and those of opposites."""
    labels = {name: likely_label(name) for name in names}
    for name, other in itertools.permutations(names, 2):
        if (negated := opposite(name)) and negated == plain(other):
            for one, two in ((name, other), (other, name)):
                if labels[one] is None and (label := labels[two]) is not None:
                    labels[one] = 1 - label
    return labels


def option(side: str, names: Iterable[str]) -> str:
    """Return the options that say that folders are of a side, `normal` or `abnormal`."""
    return " ".join(f"--{side} {shlex.quote(name)}" for name in names)


def folders_of(names: Sequence[str]) -> str:
    """Return a list of folders, for a sentence."""
    return listed([f"{name}/" for name in names], _SHOWN)


def _telling(chains: Sequence[tuple[str, ...]]) -> Counter[str]:
    """Return the names of folders that should say what their images are, with the numbers of these.

    They are the outermost names in which the images differ, or those below where each of these holds the same ones, as
    classes do.
    """
    named = [chain for chain in chains if chain]
    if not named:
        return Counter()
    depth = 0
    while all(len(chain) > depth + 1 for chain in named) and len({chain[depth] for chain in named}) == 1:
        depth += 1
    below = defaultdict(set)
    for chain in named:
        below[chain[depth]].add(chain[depth + 1] if len(chain) > depth + 1 else "")
    inner = set(map(frozenset, below.values()))
    if len(below) > 1 and len(inner) == 1 and len(same := next(iter(inner))) > 1 and "" not in same:
        depth += 1
    return Counter(chain[depth] for chain in named)
