"""How the files of a plain folder are understood: which images are normal, which anomalous, and which files are masks.

A pure function of the list of files and of what the user says. Each image file ends as an image, as a mask, or in the
list of what is left out; what could mean two things is refused with what to type.
"""

import posixpath
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from benchmark.common import listed
from benchmark.data.cards import Split
from benchmark.data.formats import DECODED, extension, is_image, kind_of
from benchmark.data.plain.arranged import Arrangement, Found, Names, Owner, UnclearError
from benchmark.data.plain.asking import folders_of, nothing_said, one_side_said, option
from benchmark.data.plain.own_masks import add_masks, each_has_a_mask, without_strays
from benchmark.data.plain.pairing import beside, companions, drawings, elsewhere
from benchmark.data.plain.places import Meaning, Place
from benchmark.data.plain.roles import opposite, sounds_like_masks, sounds_normal
from benchmark.data.tree import plain, stem
from benchmark.data.words import label_of

_SHOWN = 8


def arrange(files: Sequence[str], meaning: Meaning, *, mask_suffix: str = "") -> Arrangement:
    """Return how the files of a plain folder are understood.

    Args:
        files: paths relative to the directory, of all files.
        meaning: what the names of folders mean.
        mask_suffix: what follows an image's name in that of its mask; "" for the usual words.

    Raises:
        UnclearError: The names can mean several things, or there is nothing to test.
    """
    places = {file: meaning.place(posixpath.dirname(file)) for file in files if is_image(file)}
    usable = {file: place for file, place in places.items() if not place.no_use}
    masks = {file: place for file, place in usable.items() if place.mask}
    if not (mask_suffix or meaning.masks) and any(place.label is not None for place in usable.values()):
        loose = [file for file, place in usable.items() if file not in masks and place.label is None]
        away = elsewhere(loose, [file for file in usable if file not in masks])
        masks |= {file: replace(usable[file], mask=posixpath.dirname(file)) for file in away}
    drawn = drawings((file for file in usable if file not in masks), mask_suffix)
    unread = {file: meaning.place(posixpath.dirname(file)) for file in files if kind_of(file) == "undecoded"}
    unread = {file: place for file, place in unread.items() if not (place.mask or place.no_use)}
    near = beside([*(file for file in usable if file not in masks and file not in drawn), *unread], mask_suffix)
    names = Names(meaning, places | unread, masks, near, mask_suffix)
    result = Arrangement()
    result.leave_out(drawn, "drawn from the image of the same name beside it")
    no_use = {file: place.no_use for file, place in places.items() if place.no_use}
    result.leave_out(no_use, no_use)
    pictures = without_strays(result, [file for file in usable if file not in {*masks, *near, *drawn}], names)
    found = _choose_splits(result, _label(result, pictures, names), places)
    if meaning.no_masks:
        result.leave_out([*masks, *near], "masks are not read, as --masks none says")
    else:
        found = add_masks(result, found, names)
    _report_twins(result, [each.file for each in found])
    _report_companions(result, [each.file for each in found])
    result.images = _name_kinds(found)
    result.taken = _taken(result.images, near)
    return result


# ---- normal and anomalous


def _label(result: Arrangement, pictures: Sequence[str], names: Names) -> list[Found]:
    """Return the images with what their folders say, or without labels where their masks say it."""
    places = [names.places[file] for file in pictures]
    if clash := next((place.clash for place in places if place.clash), ""):
        raise UnclearError(f"{clash}: one says normal, the other anomalous; move what is in the inner one elsewhere")
    roots = _class_roots(places)
    if roots:
        found = _by_names(result, pictures, names, roots)
        one_side_said(result, found, names, roots)
        _report_doubtful_kinds(result, found, names.meaning)
        return found
    together = len({place.before for place in places}) == 1
    if (names.masks or names.near) and not names.meaning.no_masks and (together or each_has_a_mask(pictures, names)):
        shared = len(posixpath.commonprefix([place.before for place in places]))
        return [
            Found(file, (), None, "/".join(place.before[shared:]), _split(place), None, posixpath.dirname(file))
            for file, place in zip(pictures, places, strict=True)
        ]
    raise UnclearError(nothing_said(pictures, names.places))


def _class_roots(places: Iterable[Place]) -> dict[Owner, set[int]]:
    """Return the labels that folders give to images, by the names above these folders, which are those of classes."""
    roots: dict[Owner, set[int]] = defaultdict(set)
    for place in places:
        if place.label is not None:
            roots[_folded(place.before)].add(place.label)
    for outer in roots:
        inner = next((each for each in roots if len(each) > len(outer) and each[: len(outer)] == outer), None)
        if inner is not None:
            raise UnclearError(
                f"{'/'.join(inner)}/ has folders of normal or anomalous images, and so has "
                f"{'/'.join(outer) or 'the directory'} above it; give the one you mean as --folder, as in --folder "
                f"DIR/{'/'.join(inner)}, or move the other away"
            )
    return dict(roots)


def _by_names(
    result: Arrangement, pictures: Sequence[str], names: Names, roots: Mapping[Owner, set[int]]
) -> list[Found]:
    """Return the images of the classes; a folder beside normal ones that says nothing is a kind of defect."""
    found = []
    spelled: dict[Owner, Owner] = {}  # the first spelling of each class
    _refuse_twin_classes(names, pictures, roots)
    loose: dict[str, str] = {}
    for file in pictures:
        place = names.places[file]
        folded = _folded(place.before)
        root = next((folded[:end] for end in range(len(folded), -1, -1) if folded[:end] in roots), None)
        if root is None:
            loose[file] = "neither its folder nor one beside it says normal or anomalous"
            continue
        owner = spelled.setdefault(root, place.before[: len(root)])
        if place.label is not None:
            kind = "/".join(place.after) if place.label else ""
            found.append(Found(file, owner, place.label, kind, _split(place), None, place.side))
        elif len(folded) == len(root):
            loose[file] = "it lies in no folder that says normal or anomalous; put it into one"
        elif names.meaning.abnormal or 0 not in roots[root]:
            loose[file] = "its folder says neither normal nor anomalous"
        else:
            kind = "/".join(place.before[len(root) :])
            found.append(Found(file, owner, 1, kind, _split(place), None, place.paths[len(root)]))
    result.leave_out(loose, loose)
    return found


def _report_doubtful_kinds(result: Arrangement, found: Sequence[Found], meaning: Meaning) -> None:
    """Report folders that were taken for kinds of defect although something speaks against it."""
    sides = {each.side for each in found if each.label == 1}
    said = {side for side in sides if meaning.place(side).label == 1}
    _refuse_normal_kinds(found, sides - said, meaning)
    for side in sorted(sides - said):
        beside_it = sorted(each for each in said if posixpath.dirname(each) == posixpath.dirname(side))
        doubt = ""
        name = posixpath.basename(side)
        if sounds_like_masks(name):
            doubt = f"if it holds masks, say --masks {shlex.quote(side)}"
        elif twin := _same_names(side, found):
            doubt = f"its images have the names of those in {twin}/; if it holds masks, say --masks {shlex.quote(side)}"
        elif beside_it:
            doubt = f"if it is none, say {option('abnormal', beside_it)}"
        if doubt:
            result.report(f"{side}/", "doubtful-kind", f"taken for a kind of defect; {doubt}", fatal=False)


def _refuse_normal_kinds(found: Sequence[Found], kinds: Iterable[str], meaning: Meaning) -> None:
    """Refuse folders that may be normal or kinds of defect: of a word for normal, or `no_crack` beside `crack`.

    Raises:
        UnclearError: There are such folders, and the user has not said which are normal.
    """
    beside: dict[str, set[str]] = defaultdict(set)
    for folder in meaning.folders:
        beside[posixpath.dirname(folder)].add(plain(posixpath.basename(folder)))
    doubtful = []
    for side in sorted(kinds):
        name = posixpath.basename(side)
        says_normal = sounds_normal(name) or (len(name) > 2 and label_of(name) == 0)
        negated = opposite(name)
        if says_normal or (negated and negated in beside[posixpath.dirname(side)]):
            doubtful.append(side)
    if doubtful and not meaning.normal:
        normal, abnormal = ({each.side for each in found if each.label == label} for label in (0, 1))
        said = option("normal", sorted({*normal, *doubtful}))
        raise UnclearError(
            f"{folders_of(doubtful)} may be normal or a kind of defect; say {said} if it is normal, or "
            f"{option('abnormal', sorted(abnormal))} if it is not"
        )


def _same_names(side: str, found: Sequence[Found]) -> str:
    """Return another folder of anomalous images that has the names of all in a folder; "" where there is none.

    Names that are counted from 0 or 1 say nothing: numbers begin anew in each kind of defect.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for each in found:
        if each.label == 1:
            names[each.side].add(stem(posixpath.basename(each.file)).casefold())
    own = names[side]
    counted = any(re.search(r"(?<!\d)0*[01]$", name) for name in own)
    others = (each for each, theirs in names.items() if each != side and own <= theirs)
    return "" if counted or len(own) < 2 else next(others, "")


def _name_kinds(found: Sequence[Found]) -> list[Found]:
    """Name the kind of images whose folder says no more than anomalous, where their class has several folders."""
    sides: dict[tuple[Owner, str, str], set[str]] = defaultdict(set)
    for each in found:
        if each.label == 1:
            sides[each.owner, each.split, posixpath.dirname(each.side)].add(each.side)
    several = {owner for (owner, _, _), beside in sides.items() if len(beside) > 1}
    with_kinds = several | {each.owner for each in found if each.kind}
    return [
        replace(each, kind=posixpath.basename(each.side))
        if each.label == 1 and not each.kind and each.owner in with_kinds
        else each
        for each in found
    ]


def _refuse_twin_classes(names: Names, pictures: Sequence[str], roots: Mapping[Owner, set[int]]) -> None:
    """Refuse folders of classes that stand side by side and differ in case alone.

    Raises:
        UnclearError: There are such folders.
    """
    depth = max(map(len, roots))
    paths = sorted({path for file in pictures for path in names.places[file].paths[:depth]})
    seen: dict[tuple[str, str], str] = {}
    for path in paths:
        first = seen.setdefault((posixpath.dirname(path), posixpath.basename(path).casefold()), path)
        if first != path:
            raise UnclearError(f"{first}/ and {path}/ differ only in upper and lower case; rename or join them")


def _folded(names: Iterable[str]) -> Owner:
    return tuple(name.casefold() for name in names)


# ---- train and test


def _split(place: Place) -> Split:
    return "train" if place.split == "train" else "test"


def _choose_splits(result: Arrangement, found: Sequence[Found], places: Mapping[str, Place]) -> list[Found]:
    """Keep images for choosing settings out of the test where there are others; refuse images to train on alone."""
    shares = {each.file: places[each.file].split for each in found}
    if set(shares.values()) == {"train"}:
        outer = sorted({_train_folder(each.file) for each in found})
        raise UnclearError(
            f"found only images to train on, in {folders_of(outer)}; give their folder itself to test on them, as in "
            f"--folder DIR/{outer[0]}" + "".join(f"\n  {each.text}" for each in result.left_out[:_SHOWN])
        )
    if {"", "test"} & set(shares.values()):
        return [replace(each, split="train") if shares[each.file] == "validation" else each for each in found]
    return list(found)


def _train_folder(file: str) -> str:
    """Return the outermost folder of a file whose name says that it is for training."""
    parts = posixpath.dirname(file).split("/")
    return next(("/".join(parts[: n + 1]) for n, part in enumerate(parts) if plain(part).startswith("train")), parts[0])


# ---- one name, several files


def _report_twins(result: Arrangement, images: Sequence[str]) -> None:
    """Report images of one name in one folder, as a photo in JPEG and its mask in PNG may be.

    Raises:
        UnclearError: Most images of a folder have such twins.
    """
    folders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file in images:
        folders[posixpath.dirname(file)][stem(file).casefold()].append(file)
    for folder, by_stem in folders.items():
        twins = [each for each in by_stem.values() if len({extension(file) for file in each}) > 1]
        if len(twins) > max(1, len(by_stem) // 2):
            ends = sorted({extension(file) for each in twins for file in each})
            end = next((each for each in reversed(ends) if each not in DECODED["JPEG"]), ends[-1])
            raise UnclearError(
                f"most images in {folder or '.'}/ are there twice, such as {' and '.join(twins[0][:2])}; if those in "
                f"{end} are masks, say --mask-suffix {end}; if they are copies, move them away"
            )
        for each in twins:
            message = (
                f"{listed(each[1:], 3)} has the same name but for its end; if it is a mask or a copy, move it away"
            )
            result.report(each[0], "same-name", message, fatal=False)


def _report_companions(result: Arrangement, images: Sequence[str]) -> None:
    """Report images that stand beside most others of their folder under the same name with one thing after it."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file, (_, more) in companions(images).items():
        groups[posixpath.dirname(file), more].append(file)
    counts = Counter(map(posixpath.dirname, images))
    for (folder, more), those in groups.items():
        if len(those) > 1 and 3 * len(those) >= counts[folder]:
            message = (
                f"{len(those)} files that end in {more} lie beside images of the same name, and are taken for images; "
                f"if they are masks, say --mask-suffix {shlex.quote(more)}; if not, move them away"
            )
            result.report(min(those), "doubtful-kind", message, fatal=False)


# ---- in words


def _taken(found: Sequence[Found], near: Mapping[str, str]) -> str:
    """Return what was taken for what, in a sentence."""

    def of(images: Iterable[Found]) -> str:
        counts = Counter(f"{each.side or '.'}/" for each in images)
        return listed([f"{side} ({n})" for side, n in sorted(counts.items())], _SHOWN)

    test = [each for each in found if each.split == "test"]
    masks = [each.mask for each in found if each.mask]
    folders = Counter(posixpath.dirname(mask) + "/" for mask in masks if mask not in near)
    told = [f"{folder} ({n})" for folder, n in sorted(folders.items())]
    beside_images = sum(mask in near for mask in masks)
    parts = {
        "normal": of(each for each in test if each.label == 0),
        "anomalous": of(each for each in test if each.label == 1),
        "anomalous if its mask is not black": of(each for each in test if each.label is None),
        "not tested": of(each for each in found if each.split == "train"),
        "masks": listed([*told, *([f"beside their images ({beside_images})"] if beside_images else [])], _SHOWN),
    }
    return "; ".join(f"{what}: {text}" for what, text in parts.items() if text)
