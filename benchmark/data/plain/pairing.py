"""Which mask belongs to which image of a plain folder: by name, never by position."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from benchmark.data import words
from benchmark.data.formats import is_image
from benchmark.data.plain.places import Place
from benchmark.data.plain.roles import words_of
from benchmark.data.tree import plain, stem

_SIGN = re.compile(r"[ _.\-(]")
_BETWEEN = r"[ _.\-]*"


def _spellings(names: Collection[str]) -> str:
    """Return a regular expression of words, in which `groundtruth` may be two."""
    return "|".join(sorted(names, key=len, reverse=True)).replace("groundtruth", f"ground{_BETWEEN}truth")


def _beside(names: Collection[str]) -> tuple[re.Pattern[str], ...]:
    """Return the patterns of a name with one of these words after it, before it, numbered after it, and within it."""
    word = f"(?:{_spellings(names)})"
    start = r"(?P<name>.*?(?:[^ _.\-](?=[ _.\-])|\d))" + _BETWEEN
    forms = (
        start + word,
        word + rf"(?:[ _.\-]{_BETWEEN}|(?=\d))(?P<name>.+)",
        start + word + _BETWEEN + r"\d+",
        rf"(?P<name>.*[ _.\-]){word}[ _.\-](?P<more>.+)",
    )
    return tuple(re.compile(form, re.IGNORECASE) for form in forms)


_MASK = _beside(words.MASKS | {"anno"})
_AFTER, _BEFORE, _, _WITHIN = _beside(words.IMAGES)
_IMAGE = (_AFTER, _BEFORE, _WITHIN)  # the images cam_image_1 and cam_image_2 are not both `cam`


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file, and what the folders above it say."""

    file: str
    place: Place
    label: int | None
    """0 normal, 1 anomalous, None where it is not known or not used."""
    names: tuple[str, ...]
    """The names that a mask's folders may repeat, in the form of `plain`."""


_ByKey = dict[str, dict[tuple[str, ...], list[Picture]]]
"""Images by the names under which they may have a mask, and by the names of their folders."""


@dataclass
class Pairs:
    """The masks of images, and what could not be paired."""

    masks: dict[str, str] = field(default_factory=dict)
    """The mask of each image that has one."""
    shared: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Masks with two images that could both be theirs."""
    several: dict[str, list[str]] = field(default_factory=dict)
    """Images with several masks that could all be theirs."""
    orphans: list[str] = field(default_factory=list)
    """Masks that belong to no image."""


def bares(name: str, suffix: str) -> list[str]:
    """Return the names of images of which a file's name may say that it is their mask; the likeliest first.

    They are `a` for a_mask, mask_a and a_mask_2, and `a_2` for a_mask_2.

    Args:
        name: of the file, with its extension.
        suffix: what the user says follows an image's name; it may hold the extension. "" for the usual words.
    """
    if suffix:
        text = name if is_extension(suffix) else stem(name)
        found = [text[: -len(suffix)]] if text.casefold().endswith(suffix.casefold()) else []
    else:
        found = _strip(stem(name), _MASK)
    return [each for each in map(_without_extension, found) if each]  # of a.jpg_mask.png it is a


def _without_extension(name: str) -> str:
    """Return `a` of `a.jpg`, for masks that are called after the whole name of their image, as a.jpg.png."""
    return stem(name) if is_image(name) else name


def is_extension(suffix: str) -> bool:
    """Return whether a suffix of masks holds the extension, as `.png` and `_mask.png` do."""
    return is_image(f"a{suffix}")


def _strip(text: str, patterns: Iterable[re.Pattern[str]]) -> list[str]:
    matches = [match for pattern in patterns if (match := pattern.fullmatch(text))]
    return [match["name"] + (match.groupdict().get("more") or "") for match in matches]


@cache
def _keys(file: str) -> frozenset[str]:
    """Return the names under which an image may have a mask: `7` and `image_7` for image_7.png."""
    name = stem(posixpath.basename(file))
    return frozenset(each.casefold() for each in (name, *_strip(name, _IMAGE)) if each)


def companions(files: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the files whose name is that of another file in their folder with something after it, and these two.

    What follows begins with a blank or a sign and holds a letter: of 7_spot it is `_spot`, beside 7.
    """
    found: dict[str, tuple[str, str]] = {}
    for there in _by_folder(files).values():
        stems = {stem(posixpath.basename(file)): file for file in reversed(there)}
        for name, file in stems.items():
            for start in (match.start() for match in _SIGN.finditer(name)):
                if name[:start] in stems and any(map(str.isalpha, name[start:])):
                    found[file] = (stems[name[:start]], name[start:])
                    break
    return found


def drawings(files: Iterable[str], suffix: str) -> list[str]:
    """Return the files beside an image whose names say that they are drawn from it, as 7_overlay beside 7.

    Args:
        files: images.
        suffix: as in `bares`; what the user calls masks is none.
    """
    found = companions(files)
    drawn = (file for file, (_, more) in found.items() if not words.NO_KIND.isdisjoint(words_of(more)))
    return [file for file in drawn if not suffix or not bares(posixpath.basename(file), suffix)]


def _is_mask(tokens: Iterable[str]) -> bool:
    return not words.MASKS.isdisjoint(tokens)


def _by_folder(files: Iterable[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = defaultdict(list)
    for file in files:
        folders[posixpath.dirname(file)].append(file)
    return folders


def beside(files: Iterable[str], suffix: str) -> dict[str, str]:
    """Return the masks that lie beside their images, with their images.

    A file is one if its name is that of another file in its folder with a word for masks after it or before it, or if
    it is no more than such a word and there is one other file in its folder.

    Args:
        files: images, also such as are not read; these have masks, but are none.
        suffix: as in `bares`.
    """
    found: dict[str, str] = {}
    every = sorted(files, key=lambda file: (not is_image(file), file))
    if not suffix:
        said = companions(every)
        found = {file: image for file, (image, more) in said.items() if _is_mask(words_of(more)) and is_image(file)}
    for there in _by_folder(every).values():
        images: dict[str, list[str]] = defaultdict(list)
        if len(there) == 2 and not suffix:
            masks = [file for file in there if is_image(file) and _is_mask((plain(stem(posixpath.basename(file))),))]
            if len(masks) == 1:
                found[masks[0]] = next(file for file in there if file != masks[0])
        for file in there:
            for key in _keys(file):
                images[key].append(file)
        for file in filter(is_image, there):
            names = bares(posixpath.basename(file), suffix)
            twins = [each for name in names for each in images.get(name.casefold(), ()) if each != file]
            if twins:
                found[file] = twins[0]
    # An image that is taken for a mask has no mask: a_mask_mask.png belongs to nothing.
    return {mask: image for mask, image in found.items() if image not in found}


def elsewhere(loose: Iterable[str], files: Iterable[str]) -> list[str]:
    """Return the files of folders in which each is named like the mask of an image in another folder.

    Args:
        loose: images of whose folders the names say nothing.
        files: all images.
    """
    images: dict[str, set[str]] = defaultdict(set)
    for file in files:
        images[stem(posixpath.basename(file)).casefold()].add(posixpath.dirname(file))
    found: list[str] = []
    for folder, there in _by_folder(loose).items():
        said = [bares(posixpath.basename(file), "") for file in there]
        if all(any(images.get(name.casefold(), set()) - {folder} for name in names) for names in said):
            found += there
    return found


def pair(pictures: Sequence[Picture], masks: Mapping[str, Place], near: Mapping[str, str], suffix: str) -> Pairs:
    """Return which mask is whose.

    A mask fits an image if its name is that of the image, or says so (`7_mask`, `gt 7`), and if its folders repeat
    names of the image's folders and no others. Of several, that which repeats most is taken. Where a folder is named
    like an image (`7/1.png`), the masks in it are that image's.

    Args:
        pictures: the images.
        masks: the masks in folders of masks.
        near: the masks beside their images, with their images.
        suffix: as in `bares`.
    """
    result = Pairs()
    for mask, image in near.items():
        if result.masks.setdefault(image, mask) != mask:
            result.several.setdefault(image, [result.masks[image]]).append(mask)
    fits = _fitting(pictures, masks, suffix)
    owners: dict[str, str] = {}
    # Anomalous test images first: a normal image of the same name, or one to train on, needs no mask.
    for picture in sorted(pictures, key=lambda p: (not _needs(p), p.label is None)):
        ranks = {} if picture.file in result.masks else fits.get(picture.file, {})
        best = sorted(mask for mask, rank in ranks.items() if rank == max(ranks.values()))
        if not _needs(picture):
            best = [mask for mask in best if mask not in owners]
        if best:
            result.masks[picture.file] = best[0]
        if len(best) > 1:
            result.several[picture.file] = best
        for mask in best:
            if (first := owners.setdefault(mask, picture.file)) != picture.file:
                result.shared[mask] = (first, picture.file)
    result.orphans = sorted(set(masks) - {*result.masks.values(), *owners})
    return result


def _fitting(
    pictures: Sequence[Picture], masks: Mapping[str, Place], suffix: str
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return for each image the masks that fit it, with how well they do."""
    by_key: _ByKey = defaultdict(lambda: defaultdict(list))
    known: set[str] = set()
    for each in pictures:
        known.update(each.names)
        for key in _keys(each.file):
            by_key[key][each.names].append(each)
    fits: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for mask, place in masks.items():
        for picture, rank in _candidates(mask, place, by_key, known, suffix):
            fits[picture.file][mask] = max(rank, fits[picture.file].get(mask, ()))
    return fits


def _needs(picture: Picture) -> bool:
    return picture.label == 1 and picture.place.split != "train"


def _candidates(
    mask: str, place: Place, by_key: _ByKey, known: Collection[str], suffix: str
) -> Iterable[tuple[Picture, tuple[int, ...]]]:
    names = tuple(plain(name) for name in place.names)
    if names and names[-1] not in known:
        folder = posixpath.basename(posixpath.dirname(mask))
        if inside := _of_key(folder, place, names[:-1], by_key):
            yield from ((picture, (len(names), 0, 0)) for picture in inside)
            return
    names = tuple(name for name in names if name in known)
    said = bares(posixpath.basename(mask), suffix)
    own = "" if suffix else _without_extension(stem(posixpath.basename(mask)))
    for key, exact in ((own, 1), *((each, -n) for n, each in enumerate(said))):
        for picture in _of_key(key, place, names, by_key):
            same = key == stem(posixpath.basename(picture.file))
            yield picture, (len(names) + (place.label is not None), exact, int(same))


def _of_key(key: str, place: Place, names: tuple[str, ...], by_key: _ByKey) -> list[Picture]:
    """Return the images of a name that a mask fits; where there are some in folders of the very names, those."""
    groups = by_key.get(key.casefold(), {})
    same = [picture for picture in groups.get(names, ()) if names and _fits(place, names, picture)]
    return same or [picture for each in groups.values() for picture in each if _fits(place, names, picture)]


def _fits(place: Place, names: Sequence[str], picture: Picture) -> bool:
    rest = iter(picture.names)
    split = picture.place.split
    return (
        (place.label is None or picture.label is None or place.label == picture.label)
        and (not place.split or not split or place.split == split)
        and all(name in rest for name in names)  # in the same order
    )
