"""Black and white of images of more than 8 bits: found over a whole dataset, so that its pictures compare.

Files say how many bits a value takes, not which values stand for black and white: cameras put 10 or 12 bits into 16,
floats run from 0 to 1, from -1 to 1, or to 255. A scale of each file's own would make dark pictures bright.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from benchmark.common import listed

Values = npt.NDArray[Any]
"""Pixels (H, W) or (H, W, 3) of integers or floats, all finite."""

_BITS = (255.0, 1023.0, 4095.0, 16383.0, 65535.0, 4294967295.0)
"""Whites of integers: those of 8, 10, 12, 14, 16 and 32 bits."""
_OVER = 1.1
"""Values may exceed the white of 8 bits, or 1 in floats, by so much, as resizing leaves them; they are clipped."""
_OWN = 32.0
"""Floats above 1 whose peak is below this have no usual white; the peak is white."""
_TINY = 0.25
"""Floats whose peak is below this are hardly on a scale of 0 to 1; the peak is white."""
DARK = 20
"""An image whose pixels are all below this, of 0 to 255, is black to the eye and to a method."""
_DEAD = 10_000
"""At most one pixel of so many is dead, or hot; in a smaller image, one."""
_SMALL = 1000
"""In an image of fewer pixels each counts."""


@dataclass(frozen=True, slots=True)
class Range:
    """The values of black and white."""

    low: float
    high: float

    @classmethod
    def holding(cls, low: float, high: float, *, floats: bool) -> Self:
        """Return the usual range that holds values from `low` to `high`."""
        peak = max(high, 0.0)
        if floats and max(peak, -low) >= _TINY and peak <= _OVER and low >= -_OVER:
            return cls(-1.0 if low < 1 - _OVER else 0.0, 1.0)
        if floats and (0 < peak < _TINY or _OVER < peak < _OWN):
            white = peak
        elif floats and peak <= _OVER:
            white = 1.0
        else:
            white = next((each for each in _BITS if peak <= each * (_OVER if each == _BITS[0] else 1.0)), peak)
        # A slightly negative value is left by resizing, as one slightly above white is.
        return cls(low if low < (1 - _OVER) * white else 0.0, white)


@dataclass(frozen=True, slots=True)
class Extremes:
    """The smallest and the largest value of images of more than 8 bits, without those of dead pixels."""

    low: float
    high: float
    floats: bool

    @classmethod
    def of(cls, values: Values) -> Self:
        """Return the extremes of one image."""
        numbers = values.astype(np.float64).ravel()
        return cls(-_peak(-numbers), _peak(numbers), values.dtype.kind == "f")


@dataclass(frozen=True, slots=True)
class Ranges:
    """The ranges of a dataset's deep images, of integers and of floats; None where it has none of these."""

    integers: Range | None = None
    floats: Range | None = None

    @classmethod
    def holding(cls, extremes: Iterable[Extremes]) -> Self:
        """Return the ranges that hold all these images."""
        each = list(extremes)
        return cls(*(_holding([e for e in each if e.floats == floats], floats=floats) for floats in (False, True)))

    def __bool__(self) -> bool:
        return self.integers is not None or self.floats is not None

    def to_8_bits(self, values: Values) -> npt.NDArray[np.uint8]:
        """Return values (H, W) or (H, W, 3) on a scale of 0 to 255; what lies outside the range is clipped.

        An image of a kind that the ranges do not know, as one that was added since, has a range of its own.
        """
        own = Extremes.of(values)
        span = (self.floats if own.floats else self.integers) or Range.holding(own.low, own.high, floats=own.floats)
        scaled = (values.astype(np.float64) - span.low) * (255 / (span.high - span.low))
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)

    def turned_black(self, extremes: Mapping[str, Extremes]) -> str:
        """Return in a sentence which of these images, by name, are black by their range; empty where none is."""
        spans = {name: self.floats if each.floats else self.integers for name, each in extremes.items()}
        shares = {
            name: (extremes[name].high - span.low) / (span.high - span.low) for name, span in spans.items() if span
        }
        dark = [name for name, share in shares.items() if share * 255 < DARK]
        if not dark:
            return ""
        bright = max(shares, key=lambda name: shares[name])
        return (
            f"{len(dark)} of {len(extremes)} images of more than 8 bits are nearly black by the range of all: in "
            f"{listed(dark, 3)} no value is above {max(extremes[name].high for name in dark):.6g}, in {bright} they "
            f"reach {extremes[bright].high:.6g}; if they should not be black, save all images with the same depth"
        )

    @property
    def told(self) -> str:
        """How images of more than 8 bits are read, in a sentence; empty where there are none."""
        return f"images of more than 8 bits are read by one range for all: {self}" if self else ""

    def __str__(self) -> str:
        said = [(what, span) for what, span in (("integers", self.integers), ("floats", self.floats)) if span]
        return ", ".join(f"{what} from {span.low:.15g} (black) to {span.high:.15g} (white)" for what, span in said)


def _peak(numbers: npt.NDArray[np.float64]) -> float:
    """Return the largest value, at least 0; of a few values that are more than twice all others, the next smaller one.

    A dead pixel of a camera says nothing about white, and would make all images of its dataset black.
    """
    peak, few = float(numbers.max(initial=0)), max(1, len(numbers) // _DEAD)
    if np.count_nonzero(numbers > peak / 2) > few or len(numbers) < _SMALL:
        return peak
    return max(0.0, float(np.partition(numbers, -few - 1)[-few - 1]))


def _holding(extremes: list[Extremes], *, floats: bool) -> Range | None:
    if not extremes:
        return None
    return Range.holding(min(e.low for e in extremes), max(e.high for e in extremes), floats=floats)
