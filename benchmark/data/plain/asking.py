"""Sentences that ask the user which images are normal, where the names of folders do not say so."""

import posixpath
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from benchmark.common import listed
from benchmark.data.plain.arranged import Arrangement, Found, Names, Owner, UnclearError
from benchmark.data.plain.places import Place
from benchmark.data.plain.roles import may_be_normal
from benchmark.data.tree import plain

_SHOWN = 8


def one_side_said(result: Arrangement, found: Sequence[Found], names: Names, roots: Mapping[Owner, set[int]]) -> None:
    """Refuse classes of which only anomalous images are known, while folders beside them may hold the normal ones.

    Raises:
        UnclearError: There are such folders, and the user has not said what they are.
    """
    if names.meaning.normal or names.meaning.abnormal:
        return
    unsaid: set[str] = set()
    one_sided = [root for root, labels in roots.items() if labels == {1}]
    for file in (file for each in result.left_out for file in each.files):
        place = names.places[file]
        owner = tuple(name.casefold() for name in place.before)
        for root in one_sided:
            if len(owner) > len(root) and owner[: len(root)] == root and not place.no_use:
                unsaid.add(place.paths[len(root)])
    if unsaid:
        known, first = sorted({each.side for each in found if each.label == 1}), min(unsaid)
        raise UnclearError(
            f"found {folders_of(known)} for anomalous images, but nothing says which are normal; say "
            f"{option('normal', [first])} if {first}/ holds them, or {option('abnormal', known)} if there are none"
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
    normal = next(
        (name for name in names if may_be_normal(name) or plain(name) in {f"un{plain(each)}" for each in names}),
        names[0],
    )
    others = [name for name in names if name != normal]
    say = f"{there}; say which are normal, as in {option('normal', [normal])}"
    return f"{say} {option('abnormal', others)}" if len(others) <= _SHOWN else f"{say}; the others are then anomalous"


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
