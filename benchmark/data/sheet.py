"""What was taken for what: a few examples of every class and kind, in words and as a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from benchmark.common import printable
from benchmark.data.formats import is_image
from benchmark.data.images import ImageError, read_image
from benchmark.data.layouts import Sample
from benchmark.data.masks import MaskRule, read_mask
from benchmark.data.samples import SampleSet
from benchmark.data.tree import relative

EXAMPLES = 5
"""Most examples of a class and kind."""
_TILE: Final = 180
"""Side of an example in pixels."""
_LINE: Final = 15
"""Height of a line of text in pixels."""
_GAP: Final = 10
_PAPER, _GREY, _INK = (255, 255, 255), (211, 211, 211), (0, 0, 0)
_OUTLINE, _ALARM = (255, 0, 180), (200, 0, 0)


@dataclass(frozen=True, slots=True)
class Kind:
    """The samples of one class, label and kind of defect in one split."""

    title: str
    samples: tuple[Sample, ...]

    @property
    def examples(self) -> tuple[Sample, ...]:
        """A few of the samples, spread evenly over the sorted names."""
        places = np.linspace(0, len(self.samples) - 1, min(EXAMPLES, len(self.samples)))
        return tuple(self.samples[round(place)] for place in places)


def kinds(data: SampleSet) -> list[Kind]:
    """Return the kinds of a dataset, sorted by class in the card's order: training images, normal, then anomalous."""
    groups: dict[tuple[str, str, int, str], list[Sample]] = {}
    for s in data.samples:
        groups.setdefault((s.class_name, s.split, s.label, s.defect), []).append(s)
    order = {owner.name: place for place, owner in enumerate(data.card.classes)}
    found = []
    for (name, split, label, defect), samples in sorted(
        groups.items(), key=lambda each: (order[each[0][0]], each[0][1] == "test", *each[0][2:])
    ):
        what = "anomalous" + (f": {defect}" if defect else "") if label else "normal"
        images = f"{len(samples)} image{'s' if len(samples) > 1 else ''}"
        title = f"{name}, {what}{', for training' if split == 'train' else ''} ({images})"
        found.append(Kind(printable(title), tuple(samples)))
    return found


def in_words(data: SampleSet) -> Iterator[str]:
    """Yield lines of text that say what was taken for what."""
    for kind in kinds(data):
        yield kind.title
        for s in kind.examples:
            yield f"  {printable(s.key)}" + (f"  ← mask {_mask(s, data)}" if s.mask else "")


def contact_sheet(data: Sequence[SampleSet]) -> Image.Image:
    """Return a picture of a few examples of each kind, with the outlines of their masks and their names below.

    A last row of each dataset shows images that are not used.
    """
    rows = [(each, *row) for each in data for row in _rows(each)]
    height = 4 * _LINE + _TILE + _GAP
    sheet = Image.new("RGB", (EXAMPLES * (_TILE + _GAP) + _GAP, max(1, len(rows)) * height + _GAP), _PAPER)
    pen, font, bold = ImageDraw.Draw(sheet), _font("DejaVuSans.ttf"), _font("DejaVuSans-Bold.ttf")
    for number, (each, title, examples) in enumerate(rows):
        top = _GAP + number * height
        pen.text((_GAP, top), title if len(data) == 1 else f"{printable(each.title)}: {title}", _INK, bold)
        for column, example in enumerate(examples):
            left, corner = _GAP + column * (_TILE + _GAP), top + _LINE + 4
            below, colour = example.below, _INK
            try:
                sheet.paste(_tile(example, each), (left, corner))
            except (ImageError, OSError) as error:
                below, colour = ("", printable(str(error))), _ALARM
                pen.rectangle((left, corner, left + _TILE - 1, corner + _TILE - 1), outline=_ALARM)
            pen.text((left, corner + _TILE + 2), _fitting("", printable(example.name), font), _INK, font)
            pen.text((left, corner + _TILE + 2 + _LINE), _fitting(*below, font), colour, font)
    return sheet


@dataclass(frozen=True, slots=True)
class _Example:
    """An image with what is written below it: its name, and a word before a text of which the beginning may be cut."""

    name: str
    below: tuple[str, str]
    path: Path
    piece: tuple[int, int] | None = None
    mask: Path | None = None


def _rows(data: SampleSet) -> Iterator[tuple[str, list[_Example]]]:
    """Yield the title and the examples of each row of a contact sheet."""
    for kind in kinds(data):
        words = [("mask ", _mask(s, data)) if s.mask else ("no mask", "") for s in kind.examples]
        yield (
            kind.title,
            [_Example(s.key, below, s.path, s.piece, s.mask) for s, below in zip(kind.examples, words, strict=True)],
        )
    unused = [[(file, each.why) for file in each.files if is_image(file)] for each in data.left_out]
    if count := sum(map(len, unused)):
        # One of each group first, since a group has one reason.
        mixed = [pair for nth in zip_longest(*unused) for pair in nth if pair is not None][:EXAMPLES]
        title = f"not used ({count} image{'s' if count > 1 else ''})"
        yield title, [_Example(file, (printable(why), ""), data.directory / file) for file, why in mixed]


def _mask(sample: Sample, data: SampleSet) -> str:
    return printable(relative(sample.mask, data.directory)) if sample.mask else ""


def _tile(example: _Example, data: SampleSet) -> Image.Image:
    """Return an example as it is stored, with the outline of its mask, on a square.

    Raises:
        ImageError: The image or its mask cannot be read.
    """
    photo = read_image(example.path, example.piece, data.ranges)
    scale = _TILE / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    small = photo.resize(size, Image.Resampling.LANCZOS)
    if example.mask:
        rule = MaskRule(data.layout.mask_threshold)
        mask = read_mask(example.mask, rule, piece=example.piece, size=photo.size, photo=example.path)
        # A pixel that any anomalous pixel falls into is anomalous, so that small defects do not vanish.
        grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(size, Image.Resampling.BOX)
        shape = ImageChops.add(grey, grey, 1 / 255)
        small.paste(_OUTLINE, mask=ImageChops.subtract(shape.filter(ImageFilter.MaxFilter(3)), shape))
    square = Image.new("RGB", (_TILE, _TILE), _GREY)
    square.paste(small, ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return square


def _font(file: str) -> ImageFont.FreeTypeFont:
    """Return a font that matplotlib brings along, which knows more alphabets than Pillow's own."""
    import matplotlib as mpl

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / file), _LINE - 4)


def _fitting(before: str, text: str, font: ImageFont.FreeTypeFont) -> str:
    """Return the text after a word; where both are wider than an example, what lies between their ends is left out."""
    cut = ""
    while font.getlength(before + cut + text) > _TILE:
        cut, text, before = "…", text[1:], before if text else before[:-1]
    return before + cut + text
