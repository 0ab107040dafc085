"""Primitives that all families of pictures are made of: noise, lattices, shapes by signed distance, shading.

Everything is computed in float64 and rounded once at the end, so that the last bits in which sine or exponential differ
between machines do not reach a pixel. Colours are RGB in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Generator = np.random.Generator
RGB = Sequence[float] | Floats


@dataclass(frozen=True)
class Picture:
    """One specimen as a camera sees it."""

    pixels: Pixels
    """(H, W, 3), RGB in [0, 1]; three equal channels if the picture is grey."""
    foreground: Bools
    """(H, W): where a defect may lie; the object, or all of a texture."""


# ---- fields over the whole picture


def noise(rng: Generator, side: int, cells: float, *, octaves: int = 1, stretch: float = 1.0) -> Floats:
    """Return smooth noise (side, side) of mean 0 and standard deviation 1.

    Args:
        rng: where the numbers come from.
        side: of the picture, in pixels.
        cells: bumps from top to bottom; `cells * stretch` of them from left to right.
        octaves: each adds bumps of half the size and half the height.
        stretch: below 1 the bumps are wide, above 1 tall.
    """
    total = np.zeros((side, side))
    for octave in range(octaves):
        scale = 2**octave
        rows, columns = (_spline(side, max(1.0, n * scale), rng.random()) for n in (cells, cells * stretch))
        bumps = rng.uniform(-1, 1, (rows[0][-1] + 4, columns[0][-1] + 4))
        for at, weights in (rows, columns):  # no matrix product: BLAS libraries add in different orders
            blended = weights[0][:, None] * bumps[at]
            for k in (1, 2, 3):
                blended += weights[k][:, None] * bumps[at + k]
            bumps = blended.T
        total += bumps / scale
    total -= total.mean()
    return total / max(float(total.std()), 1e-9)


def _spline(side: int, cells: float, phase: float) -> tuple[npt.NDArray[np.int_], list[Floats]]:
    """Return for each pixel the first of its four knots, and the weights of the four in a cubic B-spline."""
    at = np.arange(side) / side * cells + phase
    first = np.floor(at).astype(int)
    f = at - first
    return first, [(1 - f) ** 3 / 6, (3 * f**3 - 6 * f**2 + 4) / 6, (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6, f**3 / 6]


def axes(side: int) -> tuple[Floats, Floats]:
    """Return x and y (side, side) of the pixels' centres, from -1 to 1."""
    u = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(u, u)
    return x, y


def lattice(
    rng: Generator, side: int, periods: float, *, turn: float = 0.06, wobble: float = 0.0
) -> tuple[Floats, Floats]:
    """Return coordinates u, v in periods of a pattern, slightly turned, scaled, shifted and (if asked) warped."""
    x, y = axes(side)
    angle = rng.uniform(-turn, turn)
    half = periods / 2 * rng.uniform(0.9, 1.1)
    u = (np.cos(angle) * x + np.sin(angle) * y) * half + rng.uniform(40, 60)
    v = (np.cos(angle) * y - np.sin(angle) * x) * half + rng.uniform(40, 60)
    if wobble:
        u, v = u + wobble * noise(rng, side, 4), v + wobble * noise(rng, side, 4)
    return u, v


def per_index(rng: Generator, index: Floats, spread: float) -> Floats:
    """Return a random value around 0 for each whole number in `index` (threads, planks, …)."""
    values: Floats = rng.uniform(-spread, spread, 211)[index.astype(int) % 211]
    return values


def cells(rng: Generator, side: int, count: float, *, jitter: float = 0.9) -> tuple[Floats, Floats, Floats]:
    """Return for each pixel the distances to the two nearest cell centres, and a random value of its cell.

    `count` cells lie along a side; distances are in cells; `jitter` 0 gives squares, 1 wild shapes.
    """
    n = int(count) + 4
    j, i = np.meshgrid(np.arange(n), np.arange(n))
    points = np.stack([i, j], -1).reshape(-1, 2) + rng.uniform(-jitter / 2, jitter / 2, (n * n, 2))
    x, y = axes(side)
    at = np.stack([(y + 1) / 2 * count, (x + 1) / 2 * count], -1) + 1 + rng.uniform(0, 1, 2)
    found = cKDTree(points).query(at.reshape(-1, 2), k=2)
    distances, nearest = np.asarray(found[0]), np.asarray(found[1])
    values: Floats = rng.uniform(0, 1, n * n)[nearest[:, 0]]
    first, second = (distances[:, k].reshape(side, side) for k in (0, 1))
    return first, second, values.reshape(side, side)


def relief(height: Floats, angle: float, strength: float) -> Floats:
    """Return the brightness (around 1) of a surface of this height (in pixels) in a light from `angle`."""
    dy, dx = np.gradient(height)
    slope = np.cos(angle) * dx + np.sin(angle) * dy
    return np.asarray(1 - strength * slope / np.sqrt(1 + slope**2))


def tint(field: Floats, dark: RGB, light: RGB) -> Floats:
    """Return colours (H, W, 3) between two, by a field of which 0 to 1 is the usual range."""
    low, high = np.asarray(dark), np.asarray(light)
    return np.asarray(low + np.clip(field, -0.3, 1.3)[..., None] * (high - low))


def jitter(rng: Generator, colour: RGB, spread: float = 0.04) -> Floats:
    """Return a colour near the given one."""
    brighter = np.asarray(colour) * rng.uniform(1 - 2.5 * spread, 1 + 2.5 * spread) + rng.uniform(-spread, spread) / 2
    return np.asarray(np.clip(brighter + rng.uniform(-spread, spread, 3) * 0.45, 0, 1))


def finish(rng: Generator, pixels: Floats, foreground: Bools | None = None, *, grain: float = 0.008) -> Picture:
    """Photograph a scene: a light from one side, exposure, white balance, optics, sensor noise."""
    side = len(pixels)
    x, y = axes(side)
    angle, fall = rng.uniform(-np.pi, np.pi), rng.uniform(0, 0.09)
    light = rng.uniform(0.92, 1.07) * (1 + fall * (np.cos(angle) * x + np.sin(angle) * y))
    balance = rng.uniform(0.975, 1.025, 3) if pixels.ndim == 3 else rng.uniform(0.99, 1.01, 1)
    colours = pixels if pixels.ndim == 3 else pixels[..., None]
    seen = ndimage.gaussian_filter(colours * light[..., None] * balance, (*[rng.uniform(0.25, 0.55)] * 2, 0))
    seen = seen + rng.normal(0, grain, (side, side, 1)) + rng.normal(0, grain / 3, seen.shape)
    seen = np.broadcast_to(seen, (side, side, 3))
    everywhere = np.ones((side, side), bool) if foreground is None else foreground
    return Picture(np.clip(seen, 0, 1).astype(np.float32), everywhere)


# ---- shapes: signed distances, negative inside


def disc(x: Floats, y: Floats, radius: float, at: tuple[float, float] = (0, 0)) -> Floats:
    """Return the distance to a disc."""
    return np.asarray(np.hypot(x - at[0], y - at[1]) - radius)


def oval(x: Floats, y: Floats, a: float, b: float, at: tuple[float, float] = (0, 0)) -> Floats:
    """Return about the distance to an ellipse of half axes a and b."""
    r = np.hypot((x - at[0]) / a, (y - at[1]) / b)
    return np.asarray((r - 1) * min(a, b))


def box(
    x: Floats, y: Floats, half_width: float, half_height: float, at: tuple[float, float] = (0, 0), *, corner: float = 0
) -> Floats:
    """Return the distance to a rectangle, its corners rounded."""
    dx, dy = np.abs(x - at[0]) - half_width + corner, np.abs(y - at[1]) - half_height + corner
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return np.asarray(outside + np.minimum(np.maximum(dx, dy), 0) - corner)


def bar(x: Floats, y: Floats, start: tuple[float, float], end: tuple[float, float], radius: float) -> Floats:
    """Return the distance to a line segment with round ends."""
    (ax, ay), (bx, by) = start, end
    length = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-12)
    t = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1)
    return np.asarray(np.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)) - radius)


def polygon(x: Floats, y: Floats, radius: float, corners: int, turn: float = 0.0) -> Floats:
    """Return about the distance to a regular polygon of this inner radius."""
    step = 2 * np.pi / corners
    angle = np.arctan2(y, x) - turn
    return np.asarray(np.hypot(x, y) * np.cos((angle + step / 2) % step - step / 2) - radius)


def ring(distance: Floats, half_width: float) -> Floats:
    """Return the distance to the outline of a shape, drawn this thick."""
    return np.asarray(np.abs(distance) - half_width)


def ripple(rng: Generator, x: Floats, y: Floats, amount: float, waves: int = 5) -> Floats:
    """Return an irregularity that depends on the direction only, to be added to the distance of a round shape."""
    angle = np.arctan2(y, x)
    total = np.zeros_like(x)
    for k in range(2, 2 + waves):
        total += np.cos(k * angle + rng.uniform(0, 2 * np.pi)) * rng.uniform(0, 1) / k
    return amount * total


class Canvas:
    """A scene in the making: a background with things put on it, seen at some angle, size and place."""

    def __init__(
        self,
        rng: Generator,
        side: int,
        background: RGB,
        *,
        turn: float = np.pi,
        size: tuple[float, float] = (0.9, 1.08),
        drift: float = 0.06,
        mottle: float = 0.03,
    ) -> None:
        """Lay the background; x and y are coordinates of the things, -1 to 1 for one that fills the picture."""
        self.rng, self.side = rng, side
        x, y = axes(side)
        angle, scale = rng.uniform(-turn, turn), rng.uniform(*size)
        x, y = x - rng.uniform(-drift, drift), y - rng.uniform(-drift, drift)
        self.x = (np.cos(angle) * x + np.sin(angle) * y) / scale
        self.y = (np.cos(angle) * y - np.sin(angle) * x) / scale
        self.pixel = 2 / side / scale
        self.light = -2.2 + rng.uniform(-0.5, 0.5)
        field = noise(rng, side, 3, octaves=3) * mottle
        self.pixels = np.clip(jitter(rng, background) * (1 + field[..., None]), 0, 1)
        self.foreground: Bools = np.zeros((side, side), bool)

    def put(
        self,
        distance: Floats,
        colour: RGB,
        *,
        bulge: float = 0.0,
        mottle: float = 0.0,
        grain: float = 12,
        object_: bool = True,
    ) -> None:
        """Paint a shape.

        Args:
            distance: signed distance in the canvas's coordinates.
            colour: one for all, or one per pixel.
            bulge: how far from its edge the shape is rounded; 0 is flat.
            mottle: strength of irregular brightness.
            grain: number of bumps of the mottle along a side.
            object_: whether defects may lie here.
        """
        near = distance < 2 * self.pixel
        if not near.any():
            return
        # Only the part of the picture where the shape lies is worked on.
        part = tuple(slice(int(w[0]), int(w[-1]) + 1) for w in (np.flatnonzero(near.any(axis)) for axis in (1, 0)))
        d = distance[part]
        cover = np.clip(0.5 - d / self.pixel, 0, 1)[..., None]
        brightness = np.ones(d.shape)
        if mottle:
            brightness += mottle * noise(self.rng, self.side, grain, octaves=2)[part]
        if bulge and min(d.shape) > 1:
            height = np.sqrt(np.clip(1 - np.clip(1 + d / bulge, 0, 1) ** 2, 0, 1)) * bulge / self.pixel
            brightness *= relief(ndimage.gaussian_filter(height, 1.0), self.light, 0.38)
        colours = np.asarray(colour)
        colours = colours[part] if colours.ndim == 3 else colours
        self.pixels[part] = self.pixels[part] * (1 - cover) + colours * brightness[..., None] * cover
        inside = d < -self.pixel / 2
        self.foreground[part] = self.foreground[part] | inside if object_ else self.foreground[part] & ~inside

    def shadow(self, distance: Floats, depth: float = 0.3, reach: float = 0.12) -> None:
        """Darken the background near a shape that is to be put there."""
        self.pixels = self.pixels * (1 - depth * np.exp(-np.clip(distance, 0, None) / reach))[..., None]

    def shine(self, at: tuple[float, float], radius: float, strength: float = 0.35) -> None:
        """Add a soft highlight."""
        glow = np.exp(-(disc(self.x, self.y, 0, at) ** 2) / (2 * radius**2))
        self.pixels = self.pixels + strength * glow[..., None] * self.foreground[..., None]

    def finish(self) -> Picture:
        """Photograph the scene."""
        return finish(self.rng, np.clip(self.pixels, 0, 1), self.foreground)
