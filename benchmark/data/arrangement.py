"""How the files of a plain folder are understood: which are normal, which anomalous, which masks, and which are nothing.

A pure function of the list of files and of what the user says. Each file ends as an image, as a mask, or in the list of
what is left out; what could mean two things is refused with what to type.
"""

import posixpath
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmark.common import listed
from benchmark.data import words
from benchmark.data.cards import Split
from benchmark.data.formats import is_image
from benchmark.data.leftovers import grouped
from benchmark.data.pairing import Pairs, Picture, bare, beside, pair
from benchmark.data.places import Meaning, Place
from benchmark.data.roles import sounds_like_masks
from benchmark.data.tree import Leftover, Problem, plain, stem

_SHOWN = 8
Owner = tuple[str, ...]
"""The folders that name a class; () where the directory holds one class."""


class UnclearError(ValueError):
    """The names of a folder can mean several things, or none. The message says what to type."""


@dataclass(frozen=True, slots=True)
class Found:
    """An image of the dataset."""

    file: str
    owner: Owner
    label: int | None
    """0 normal, 1 anomalous; None where the pixels of the mask decide."""
    kind: str
    """The kind of defect; "" where no folder says it."""
    split: Split
    mask: str | None
    """Its mask, also where the image is normal."""
    side: str
    """The folder that says what it is."""


@dataclass
class Arrangement:
    """How the files were understood."""

    images: list[Found] = field(default_factory=list)
    left_out: list[Leftover] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    taken: str = ""
    """What was taken for what, in a sentence."""


def arrange(files: Sequence[str], meaning: Meaning, *, mask_suffix: str = "") -> Arrangement:
    """Return how the files of a plain folder are understood.

    Args:
        files: paths relative to the directory, of all files.
        meaning: what the names of folders mean.
        mask_suffix: what follows an image's name in that of its mask; "" for the usual words.

    Raises:
        UnclearError: The names can mean several things, or there is nothing to test.
    """
    images = [file for file in files if is_image(file)]
    places = {file: meaning.place(posixpath.dirname(file)) for file in images}
    masks = {file: place for file, place in places.items() if place.mask and not place.no_use}
    pictures = [file for file in images if not places[file].mask and not places[file].no_use]
    near = beside(pictures, mask_suffix)
    pictures = [file for file in pictures if file not in near]
    result = Arrangement()
    no_use = {file: place.no_use for file, place in places.items() if place.no_use}
    _leave_out(result, no_use, no_use)
    pictures = _without_stray_masks(result, pictures, near, mask_suffix)
    _refuse_clashes(places[file] for file in pictures)
    roots = _class_roots(places[file] for file in pictures)
    if not roots and pictures and (masks or near) and len({places[file].before for file in pictures}) == 1:
        found = [Found(file, (), None, "", _split(places[file]), None, _folder(file)) for file in pictures]
    else:
        if not roots:
            raise UnclearError(_nothing_said(pictures, places))
        found = _by_names(result, pictures, places, roots, meaning)
        _refuse_one_side_unsaid(result, found, roots, places, meaning)
    found = _choose_splits(found, places)
    if not meaning.no_masks:
        found = _add_masks(result, found, places, masks, near, mask_suffix)
    else:
        _leave_out(result, [*masks, *near], "masks are not read, as --masks none says")
    _warn_of_twins(result, [each.file for each in found])
    result.images = _name_kinds(found)
    result.taken = _taken(result.images, near)
    return result


# ---- labels


def _class_roots(places: Iterable[Place]) -> dict[Owner, set[int]]:
    """Return the labels that folders give to images, by the names above these folders."""
    roots: dict[Owner, set[int]] = defaultdict(set)
    for place in places:
        if place.label is not None:
            roots[_folded(place.before)].add(place.label)
    for owner in roots:
        if inner := next((each for each in roots if len(each) > len(owner) and each[: len(owner)] == owner), None):
            outer = "/".join(owner) or "the directory itself"
            raise UnclearError(
                f"both {outer} and {'/'.join(inner)} below it have folders of normal or anomalous images; give the one "
                "you mean as --folder, or move the other away"
            )
    return dict(roots)


def _by_names(
    result: Arrangement,
    pictures: Sequence[str],
    places: Mapping[str, Place],
    roots: Mapping[Owner, set[int]],
    meaning: Meaning,
) -> list[Found]:
    found = []
    names: dict[Owner, Owner] = {}  # the first spelling of each class
    loose: dict[str, str] = {}
    for file in pictures:
        place = places[file]
        folded = _folded(place.before)
        root = next((folded[:end] for end in range(len(folded), -1, -1) if folded[:end] in roots), None)
        if root is not None:
            owner = names.setdefault(root, place.before[: len(root)])
        if place.label is not None and root is not None:
            found.append(Found(file, owner, place.label, "/".join(place.after), _split(place), None, place.side))
        elif root is None:
            loose[file] = "neither its folder nor one beside it says normal or anomalous"
        elif len(folded) == len(root):
            loose[file] = "it lies in no folder that says normal or anomalous"
        elif meaning.abnormal or 0 not in roots[root]:
            loose[file] = "its folder says neither normal nor anomalous"
        else:
            kind = "/".join(place.before[len(root) :])
            found.append(Found(file, owner, 1, kind, _split(place), None, place.paths[len(root)]))
    _leave_out(result, loose, loose)
    for side in sorted({each.side for each in found if each.kind and each.label == 1}):
        if sounds_like_masks(posixpath.basename(side)) and side not in meaning.abnormal:
            message = f"taken for a kind of defect; if it holds masks, say --masks {shlex.quote(side)}"
            result.problems.append(Problem(f"{side}/", "name-of-masks", message, fatal=False))
    return found


def _refuse_clashes(places: Iterable[Place]) -> None:
    for place in places:
        if place.clash:
            raise UnclearError(
                f"{place.clash}: one says normal, the other anomalous, and the same images lie in both; move them into one"
            )


def _refuse_one_side_unsaid(
    result: Arrangement,
    found: Sequence[Found],
    roots: Mapping[Owner, set[int]],
    places: Mapping[str, Place],
    meaning: Meaning,
) -> None:
    """Refuse a class whose anomalous images are known, and beside them folders that may be its normal ones."""
    if meaning.normal or meaning.abnormal:
        return
    unsaid = sorted(
        {
            places[file].paths[len(root)]
            for each in result.left_out
            for file in each.files
            if file in places and not places[file].no_use and not places[file].mask
            for root in roots
            if roots[root] == {1} and _folded(places[file].before)[: len(root)] == root
            if len(places[file].before) > len(root)
        }
    )
    if unsaid:
        known = sorted({each.side for each in found if each.label == 1})
        raise UnclearError(
            f"found {_folders(known)} for anomalous images, but which are normal? Say {_option('normal', unsaid[:1])} "
            f"if {unsaid[0]}/ holds them, or {_option('abnormal', known)} if there are none"
        )


def _nothing_said(pictures: Sequence[str], places: Mapping[str, Place]) -> str:
    """Return what to say where no folder is known to hold normal or anomalous images."""
    if not pictures:
        return "there are no images to test"
    counts = _telling([places[file].before or _parts(file)[-1:] for file in pictures])
    if not counts:
        return (
            f"{len(pictures)} images lie in no folder that says which of them are normal; put the normal ones into a "
            "folder normal, and the anomalous ones into a folder abnormal"
        )
    names = sorted(counts)
    there = f"found {listed([f'{name}/ ({counts[name]} images)' for name in names], _SHOWN)}"
    if len(names) == 1:
        return (
            f"{there}, whose name says neither normal nor anomalous; say {_option('normal', names)} or "
            f"{_option('abnormal', names)}"
        )
    normal = next((name for name in names if words.label_of(name) == 0), None) or _without(names) or names[0]
    others = [name for name in names if name != normal]
    say = f"{there}; say which are normal, as in {_option('normal', [normal])}"
    return f"{say} {_option('abnormal', others)}" if len(others) <= _SHOWN else f"{say}; the others are then anomalous"


def _without(names: Sequence[str]) -> str | None:
    """Return the name that negates another one, as no_lesion does where there is a folder lesion."""
    known = {plain(name) for name in names}
    return next(
        (n for n in names for no in words.NEGATIONS if plain(n).startswith(no) and plain(n)[len(no) :] in known), None
    )


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
    if len(below) > 1 and len(inner) == 1 and len(next(iter(inner))) > 1 and "" not in next(iter(inner)):
        depth += 1
    return Counter(chain[depth] for chain in named)


# ---- train and test


def _split(place: Place) -> Split:
    return "train" if place.split == "train" else "test"


def _choose_splits(found: Sequence[Found], places: Mapping[str, Place]) -> list[Found]:
    """Keep images for choosing settings out of the test where there are others; refuse images to train on alone."""
    shares = {each.file: places[each.file].split for each in found}
    if set(shares.values()) == {"train"}:
        outer = sorted({_split_folder(each.file) for each in found})
        raise UnclearError(
            f"found images to train on alone ({_folders(outer)}) and none to test; give the folder of those to test, "
            f"as in --folder DIR/{outer[0]}"
        )
    if {"validation"} < set(shares.values()) and {"", "test"} & set(shares.values()):
        return [replace(each, split="train") if shares[each.file] == "validation" else each for each in found]
    return list(found)


def _split_folder(file: str) -> str:
    """Return the outermost folder of a file whose name says a split."""
    parts = posixpath.dirname(file).split("/")
    return next(
        ("/".join(parts[: n + 1]) for n, part in enumerate(parts) if plain(part).startswith("train")), parts[0]
    )


# ---- masks


def _without_stray_masks(
    result: Arrangement, pictures: Sequence[str], near: Mapping[str, str], suffix: str
) -> list[str]:
    """Return the images without those that are named like the masks beside other images, whose own image is missing."""
    if not near:
        return list(pictures)
    kept = []
    for file in pictures:
        name = bare(posixpath.basename(file), suffix)
        if name and file not in near.values():
            message = f"is named like the mask of {name}, but there is no such image beside it; is the image missing?"
            result.problems.append(Problem(file, "orphan-mask", message, fatal=True))
        else:
            kept.append(file)
    return kept


def _add_masks(
    result: Arrangement,
    found: Sequence[Found],
    places: Mapping[str, Place],
    masks: Mapping[str, Place],
    near: Mapping[str, str],
    suffix: str,
) -> list[Found]:
    taken = {each.file for each in found}
    unused = [file for each in result.left_out for file in each.files if file in places and not places[file].mask]
    pictures = [Picture(each.file, places[each.file], each.label, _names(places[each.file])) for each in found]
    pictures += [Picture(file, places[file], None, _names(places[file])) for file in unused]
    pairs = pair(pictures, masks, near, suffix)
    anomalous = [each.file for each in found if each.label != 0]
    if (masks or suffix) and not any(file in pairs.masks for file in anomalous):
        if masks and anomalous and not any(file in pairs.masks for file in taken):
            raise UnclearError(_no_mask_fits(anomalous, sorted(masks), places))
        if suffix and not masks and anomalous:
            raise UnclearError(
                f"--mask-suffix {suffix}: no file is named like an image with it, such as "
                f"{stem(posixpath.basename(anomalous[0]))}{suffix if is_image(suffix) else suffix + '.png'}"
            )
    extra = [mask for mask in pairs.orphans if suffix and bare(posixpath.basename(mask), suffix) is None]
    _leave_out(result, extra, f"its name does not end in {suffix}, as --mask-suffix says")
    unowned = [mask for image, mask in pairs.masks.items() if image not in taken]
    _leave_out(result, unowned, "masks of images that are left out")
    _report_masks(result, found, pairs, set(extra))
    kept = []
    for each in found:
        mask = pairs.masks.get(each.file)
        if each.label is None and mask is None:
            _leave_out(result, [each.file], "no folder says what it is, and it has no mask")
        else:
            kept.append(replace(each, mask=mask))
    return kept


def _names(place: Place) -> tuple[str, ...]:
    return tuple(map(plain, place.names))


def _no_mask_fits(images: Sequence[str], masks: Sequence[str], places: Mapping[str, Place]) -> str:
    folders = sorted({places[mask].mask for mask in masks})
    return (
        f"none of the {len(masks)} masks in {_folders(folders)} has the name of an image: images are named like "
        f"{images[0]}, masks like {masks[0]}; rename them, say with --mask-suffix what follows an image's name in that "
        "of its mask, or say --masks none to test without masks"
    )


def _report_masks(result: Arrangement, found: Sequence[Found], pairs: Pairs, extra: set[str]) -> None:
    def report(path: str, kind: str, message: str, *, fatal: bool = True) -> None:
        result.problems.append(Problem(path, kind, message, fatal))

    anomalous = {each.file for each in found if each.label == 1}
    with_masks = any(file in pairs.masks for file in anomalous)
    for file in sorted(anomalous):
        if with_masks and file not in pairs.masks:
            report(file, "missing-mask", "an anomalous image without mask; add it, or test without by --masks none")
    for image, masks in pairs.several.items():
        one = len({stem(mask) for mask in masks}) == 1
        message = f"{listed(masks, 3)} could all be its mask; " + (
            "the first was taken, move the others away" if one else "keep one, or join them into one picture"
        )
        report(image, "ambiguous-mask", message, fatal=not one)
    for mask, (first, second) in pairs.shared.items():
        report(second, "shared-mask", f"{mask} could be its mask as well as that of {first}; put masks into folders")
    for mask in pairs.orphans:
        if mask not in extra:
            report(mask, "orphan-mask", "a mask that belongs to no image; is the image missing?")


def _warn_of_twins(result: Arrangement, images: Sequence[str]) -> None:
    """Report images of one name in one folder, as a photo in JPEG and its mask in PNG may be."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for file in images:
        by_stem[stem(file).casefold()].append(file)
    by_folder: dict[str, list[bool]] = defaultdict(list)
    for each in by_stem.values():
        by_folder[posixpath.dirname(each[0])].append(len(each) > 1)
    for each in by_stem.values():
        folder = posixpath.dirname(each[0])
        if len(each) > 1 and len({posixpath.splitext(file)[1].lower() for file in each}) > 1:
            ends = sorted({posixpath.splitext(file)[1] for file in each})
            if sum(by_folder[folder]) > max(1, len(by_folder[folder]) // 2):
                raise UnclearError(
                    f"most images in {folder}/ are there twice, such as {' and '.join(each[:2])}; if those in "
                    f"{ends[-1]} are masks, say --mask-suffix {ends[-1]}, if they are copies, move them away"
                )
            message = f"{listed(each[1:], 3)} has the same name but for its end; if it is a mask or a copy, move it away"
            result.problems.append(Problem(each[0], "same-name", message, fatal=False))


# ---- words


def _leave_out(result: Arrangement, files: Iterable[str], why: str | Mapping[str, str]) -> None:
    reasons = dict.fromkeys(files, why) if isinstance(why, str) else {file: why[file] for file in files}
    result.left_out += grouped(reasons, loud=True)


def _name_kinds(found: Sequence[Found]) -> list[Found]:
    """Name the kind of images whose folder says no more than anomalous, where others have kinds."""
    with_kinds = {each.owner for each in found if each.kind}
    return [
        replace(each, kind=posixpath.basename(each.side))
        if each.label == 1 and not each.kind and each.owner in with_kinds
        else each
        for each in found
    ]


def _taken(found: Sequence[Found], near: Mapping[str, str]) -> str:
    def of(images: Iterable[Found]) -> str:
        counts = Counter(f"{each.side}/" if each.side else "the directory itself" for each in images)
        return listed([f"{side} ({n})" for side, n in sorted(counts.items())], _SHOWN)

    test = [each for each in found if each.split == "test"]
    masks = [each.mask for each in found if each.mask]
    beside = sum(mask in near for mask in masks)
    folders = Counter(posixpath.dirname(mask) + "/" for mask in masks if mask not in near)
    told = [f"{folder} ({n})" for folder, n in sorted(folders.items())]
    told += [f"beside their images ({beside})"] if beside else []
    parts = {
        "normal": of(each for each in test if each.label == 0),
        "anomalous": of(each for each in test if each.label == 1),
        "anomalous where the mask is not black": of(each for each in test if each.label is None),
        "not tested": of(each for each in found if each.split == "train"),
        "masks": listed(told, _SHOWN),
    }
    return "; ".join(f"{what}: {text}" for what, text in parts.items() if text)


def _folded(names: Iterable[str]) -> Owner:
    return tuple(name.casefold() for name in names)


def _folder(file: str) -> str:
    return posixpath.dirname(file)


def _parts(file: str) -> tuple[str, ...]:
    return tuple(filter(None, posixpath.dirname(file).split("/")))


def _folders(names: Sequence[str]) -> str:
    return listed([f"{name}/" for name in names], _SHOWN)


def _option(side: str, names: Iterable[str]) -> str:
    return " ".join(f"--{side} {shlex.quote(name)}" for name in names)
