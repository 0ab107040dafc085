"""Giving the images of a plain folder their masks, and saying which have none and which masks have no image."""

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from benchmark.common import listed
from benchmark.data.formats import is_image
from benchmark.data.plain.arranged import Arrangement, Found, Names, UnclearError
from benchmark.data.plain.asking import folders_of
from benchmark.data.plain.pairing import Pairs, Picture, bares, is_extension, pair
from benchmark.data.plain.places import Place
from benchmark.data.tree import plain, stem


def without_strays(result: Arrangement, pictures: Sequence[str], names: Names) -> list[str]:
    """Return the images without those that are named like masks beside images, where their own image is missing.

    An image alone may be called anything; but where some files are masks by their names, the others of such names are.
    """
    strays = {}
    if names.near and not is_extension(names.suffix):
        imaged = set(names.near.values())
        said = {file: bares(posixpath.basename(file), names.suffix) for file in pictures if file not in imaged}
        strays = {file: each[0] for file, each in said.items() if each}
    for file, name in strays.items():
        message = (
            f"is named like the mask of {name}, but there is no such image beside it; add it, or move the mask away"
        )
        result.report(file, "orphan-mask", message)
    return [file for file in pictures if file not in strays]


def each_has_a_mask(pictures: Sequence[str], names: Names) -> bool:
    """Return whether masks can say of every image whether it is anomalous."""
    pairs = pair([_picture(file, None, names) for file in pictures], names.masks, names.near, names.suffix)
    return bool(pictures) and set(pictures) <= set(pairs.masks)


def add_masks(result: Arrangement, found: Sequence[Found], names: Names) -> list[Found]:
    """Return the images with their masks.

    Raises:
        UnclearError: There are masks, but none has the name of an image.
    """
    taken = {each.file for each in found}
    unused = [file for each in result.left_out for file in each.files if not names.places[file].mask]
    pictures = [_picture(each.file, each.label, names) for each in found]
    pictures += [_picture(file, None, names) for file in unused]
    pictures += [_unread(file, place) for file, place in names.places.items() if not is_image(file)]
    pairs = pair(pictures, names.masks, names.near, names.suffix)
    anomalous = [each.file for each in found if each.label != 0]
    if anomalous and not taken & set(pairs.masks):
        _refuse_unlike(anomalous, names)
    unsuffixed = [mask for mask in pairs.orphans if names.suffix and not bares(posixpath.basename(mask), names.suffix)]
    result.leave_out(unsuffixed, f"its name does not end in {names.suffix}, as --mask-suffix says")
    result.leave_out(
        (mask for image, mask in pairs.masks.items() if image not in taken), "a mask of an image that is left out"
    )
    _report(result, found, pairs, set(unsuffixed))
    kept = [replace(each, mask=pairs.masks.get(each.file)) for each in found]
    unknown = [each.file for each in kept if each.label is None and each.mask is None]
    result.leave_out(unknown, "no folder says what it is, and it has no mask that does")
    return [each for each in kept if each.label is not None or each.mask is not None]


def _picture(file: str, label: int | None, names: Names) -> Picture:
    place: Place = names.places[file]
    return Picture(file, place, label, tuple(map(plain, place.names)))


def _unread(file: str, place: Place) -> Picture:
    """Return an image that is not read. It keeps its mask, which could fit a normal image of the same name."""
    label = 1 if place.label is None else place.label
    return Picture(file, place, label, tuple(map(plain, place.names)))


def _refuse_unlike(images: Sequence[str], names: Names) -> None:
    """Refuse masks of which none has the name of an image, and a suffix that no file has."""
    if names.masks:
        folders = sorted({place.mask for place in names.masks.values()})
        raise UnclearError(
            f"none of the {len(names.masks)} masks in {folders_of(folders)} has the name of an image: images are named "
            f"like {images[0]}, masks like {min(names.masks)}; rename them, say with --mask-suffix what follows an "
            "image's name in that of its mask, or say --masks none to test without masks"
        )
    if names.suffix and not names.near:
        example = f"{stem(posixpath.basename(images[0]))}{names.suffix}" + (
            "" if is_extension(names.suffix) else ".png"
        )
        raise UnclearError(f"--mask-suffix {names.suffix}: no file is named so after an image, as {example} would be")


def _report(result: Arrangement, found: Sequence[Found], pairs: Pairs, left_out: set[str]) -> None:
    anomalous = {each.file for each in found if each.label == 1}
    if lacking := anomalous - set(pairs.masks) if anomalous & set(pairs.masks) else set():
        for file in sorted(lacking):
            message = "an anomalous image without mask; add it, or say --masks none to test without masks"
            result.report(file, "missing-mask", message)
    for image, masks in pairs.several.items():
        one = len({stem(mask) for mask in masks}) == 1
        advice = "the first was taken, move the others away"
        if not one:
            advice = "keep one, join them into one picture, or say --masks none to test without masks"
        result.report(image, "ambiguous-mask", f"{listed(masks, 3)} could all be its mask; {advice}", fatal=not one)
    for mask, (first, second) in pairs.shared.items():
        message = f"{mask} could be its mask as well as that of {first}; put the masks into folders as the images are"
        result.report(second, "shared-mask", message)
    for mask in pairs.orphans:
        if mask not in left_out:
            result.report(mask, "orphan-mask", "a mask that belongs to no image; add the image, or move it away")
