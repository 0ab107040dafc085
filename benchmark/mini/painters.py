"""Industrial defects: each painter returns the repainted pixels (H, W, 3) of a picture."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from benchmark.mini.brush import (
    axes,
    blob,
    curve,
    local_colour,
    other_colour,
    over,
    sample,
    shift,
    size_of,
    span,
    spot,
    texture,
    to_line,
)
from benchmark.mini.draw import Floats, Generator, Picture

Painter = Callable[[Generator, Picture], Floats]


def _scratch(rng: Generator, picture: Picture) -> Floats:
    d = curve(rng, picture, span(picture) * rng.uniform(0.35, 0.85), 0.05)
    mark = shift(rng, local_colour(picture, d - 6), 0.28, 0.5)
    core = np.clip(rng.uniform(0.9, 1.8) + 0.5 - d, 0, 1)
    return picture.pixels + (core * mark)[..., None] - (np.exp(-(((d - 2.6) / 0.8) ** 2)) * mark * 0.25)[..., None]


def _crack(rng: Generator, picture: Picture) -> Floats:
    length = span(picture) * rng.uniform(0.4, 0.8)
    d = curve(rng, picture, length, 0.45)
    for _ in range(rng.integers(1, 4)):  # branches
        on = np.flatnonzero((d < 0.8) & picture.foreground)
        if not len(on):
            break
        row, column = divmod(int(on[rng.integers(len(on))]), d.shape[1])
        a = rng.uniform(0, 2 * np.pi)
        reach = length * rng.uniform(0.15, 0.4)
        knee = column + np.cos(a) * reach / 2, row + np.sin(a) * reach / 2
        a += rng.normal(0, 0.5)
        tip = knee[0] + np.cos(a) * reach / 2, knee[1] + np.sin(a) * reach / 2
        d = np.minimum(d, to_line(picture, [(float(column), float(row)), knee, tip]) + 0.3)
    local = local_colour(picture, d - 5)
    deep = np.where(local.mean() > 0.22, local * 0.15, local + 0.45)
    return over(picture, rng.uniform(0.9, 1.6) + 0.5 - d, deep)


def _hole(rng: Generator, picture: Picture) -> Floats:
    d, _ = blob(rng, picture, size_of(rng, picture, 0.005, 0.03), rough=0.12, room=1.0, oblong=1.3)
    local = local_colour(picture, d)
    dark = local * 0.12 if local.mean() > 0.25 else local + 0.5
    rim = np.exp(-(((d - 0.8) / 1.1) ** 2)) * 0.25 * np.sign(shift(rng, local, 1, 2))
    return np.asarray(over(picture, 0.5 - d / 1.5, dark) + rim[..., None])


def _stain(rng: Generator, picture: Picture) -> Floats:
    d, _ = blob(rng, picture, size_of(rng, picture, 0.015, 0.07), rough=0.4)
    tone = other_colour(rng, local_colour(picture, d), 0.35)
    ring = 0.2 * np.exp(-((d / 2.5) ** 2))
    return over(picture, np.clip(0.5 - d / 4, 0, 1) * rng.uniform(0.55, 0.75) + ring * (d < 0), tone)


def _rust(rng: Generator, picture: Picture) -> Floats:
    d, _ = blob(rng, picture, size_of(rng, picture, 0.02, 0.08), rough=0.5)
    local = local_colour(picture, d)
    rusty = np.asarray((0.50, 0.22, 0.06)) * np.clip(1 + 0.35 * texture(rng, picture, 24), 0.3, 1.7)[..., None]
    if np.abs(rusty.mean((0, 1)) - local).max() < 0.2:
        rusty = rusty * 0.4
    return over(picture, np.clip(0.5 - d / 3 + 0.25 * texture(rng, picture, 16), 0, 0.9), rusty)


def _contamination(rng: Generator, picture: Picture) -> Floats:
    """A few foreign bodies, opaque, lit from the upper left."""
    pixels, whole = picture, size_of(rng, picture, 0.006, 0.04)
    count = int(rng.integers(1, 4))
    for _ in range(count):
        d, _ = blob(rng, pixels, whole / np.sqrt(count), rough=0.5)
        tone = (
            other_colour(rng, local_colour(pixels, d), 0.35)
            * np.clip(1 + 0.12 * texture(rng, pixels, 30), 0.6, 1.4)[..., None]
        )
        dy, dx = np.gradient(np.clip(-d, 0, 3))
        tone = tone * np.clip(1 + 0.3 * (dx + dy), 0.4, 1.5)[..., None]
        pixels = Picture(np.clip(over(pixels, 0.5 - d, tone), 0, 1).astype(np.float32), picture.foreground)
    return pixels.pixels.astype(np.float64)


def _deformation(rng: Generator, picture: Picture) -> Floats:
    """A dent: the surface is drawn together and catches the light differently."""
    radius = size_of(rng, picture, 0.02, 0.075)
    d, (cx, cy) = blob(rng, picture, radius, rough=0.2, room=0.8)
    x, y = axes(picture)
    depth = np.clip(-d / radius, 0, 1)
    bulge = depth * depth * (3 - 2 * depth)
    pull = bulge * rng.uniform(0.35, 0.55) * rng.choice([-1, 1])
    twist = bulge * rng.uniform(-0.9, 0.9)
    dx, dy = (x - cx) * (1 - pull), (y - cy) * (1 - pull)
    at = [cy + np.cos(twist) * dy + np.sin(twist) * dx, cx + np.cos(twist) * dx - np.sin(twist) * dy]
    warped = sample(picture, at)
    sy, sx = np.gradient(bulge * radius)
    angle = rng.uniform(0, 2 * np.pi)
    shade = (np.cos(angle) * sx + np.sin(angle) * sy) * rng.uniform(0.22, 0.34) - 0.16 * bulge**0.5
    return np.asarray(warped * (1 + shade)[..., None] + 0.35 * (shade * (bulge > 0))[..., None])


def _missing_part(rng: Generator, picture: Picture) -> Floats:
    """A piece is broken off at the edge, so that the background shows; of a surface, a piece of its top layer."""
    radius = size_of(rng, picture, 0.015, 0.06)
    foreground = picture.foreground
    x, y = axes(picture)
    if foreground.all():
        d, _ = blob(rng, picture, radius, rough=0.7)
        below = local_colour(picture, d)
        below = below * 0.35 if below.mean() > 0.25 else below + 0.4
        return over(picture, 0.5 - d, below * np.clip(1 + 0.1 * texture(rng, picture, 30), 0.5, 1.5)[..., None])
    edge = np.flatnonzero(foreground & ~ndimage.binary_erosion(foreground, iterations=2, border_value=1))
    row, column = divmod(int(edge[rng.integers(len(edge))]), x.shape[1])
    angle = np.arctan2(y - row, x - column)
    jag = sum(np.cos(k * angle + rng.uniform(0, 6)) * rng.uniform(0, 0.3) / np.sqrt(k) for k in (3, 5, 8))
    d = np.hypot(x - column, y - row) - radius * 1.25 * (1 + jag)
    behind = ~ndimage.binary_dilation(foreground, iterations=2)
    if not behind.any():
        behind = ~foreground
    nearest = ndimage.distance_transform_edt(~behind, return_distances=False, return_indices=True)
    ground = ndimage.gaussian_filter(picture.pixels[tuple(nearest)].astype(np.float64), (3, 3, 0))
    return over(picture, 0.5 - d, ground + rng.normal(0, 0.008, (*x.shape, 1)))


def _cut(rng: Generator, picture: Picture) -> Floats:
    """A slit: straight, dark, wider in its middle, with one bright lip."""
    length = span(picture) * rng.uniform(0.25, 0.5)
    cx, cy = spot(rng, picture, length * 0.4)
    x, y = axes(picture)
    angle = rng.uniform(0, np.pi)
    u, v = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy), np.cos(angle) * (y - cy) - np.sin(angle) * (x - cx)
    width = rng.uniform(1.6, 3.2) * np.clip(1 - (2 * u / length) ** 2, 0, 1)
    local = local_colour(picture, np.hypot(u, v) - length / 3)
    dark = local * 0.15 if local.mean() > 0.22 else local + 0.5
    lip = np.exp(-((v - width - 0.8) ** 2)) * (np.abs(u) < length / 2) * 0.25
    return np.asarray(over(picture, np.clip(width + 0.5 - np.abs(v), 0, 1) * (width > 0), dark) + lip[..., None])


def _print(rng: Generator, picture: Picture) -> Floats:
    """A misplaced or wrong imprint: a few strokes like letters."""
    size = size_of(rng, picture, 0.01, 0.05)
    cx, cy = spot(rng, picture, size)
    x, y = axes(picture)
    angle = rng.uniform(-0.6, 0.6)
    u = (np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)) / size
    v = (np.cos(angle) * (y - cy) - np.sin(angle) * (x - cx)) / size
    d = np.full(x.shape, 9.0)
    for k in range(3):
        at = (k - 1) * 0.75
        for _ in range(3):
            ends = rng.choice([-0.55, 0.0, 0.55], 4)
            (ax, ay), (bx, by) = (at + ends[0] * 0.5, ends[1]), (at + ends[2] * 0.5, ends[3])
            t = np.clip(
                ((u - ax) * (bx - ax) + (v - ay) * (by - ay)) / max((bx - ax) ** 2 + (by - ay) ** 2, 1e-9), 0, 1
            )
            d = np.minimum(d, np.hypot(u - ax - t * (bx - ax), v - ay - t * (by - ay)))
    thick = max(0.14, 1.0 / size)
    return over(picture, 0.5 - (d - thick) * size, other_colour(rng, local_colour(picture, d - 1), 0.45))


def _colour(rng: Generator, picture: Picture) -> Floats:
    """A part of another colour; the structure stays."""
    d, _ = blob(rng, picture, size_of(rng, picture, 0.015, 0.075), rough=0.2)
    local = local_colour(picture, d)
    other = other_colour(rng, local, 0.35)
    structure = picture.pixels - local
    return over(picture, 0.5 - d / 2, other + 0.7 * structure)


def _bend(rng: Generator, picture: Picture) -> Floats:
    """A part is pushed sideways: lines and edges kink."""
    radius = size_of(rng, picture, 0.035, 0.08)
    d, _ = blob(rng, picture, radius, rough=0.15, room=0.5)
    x, y = axes(picture)
    push = np.clip(-d / radius * 2.2, 0, 1)
    push = push * push * (3 - 2 * push) * radius * rng.uniform(0.45, 0.8)
    angle = rng.uniform(0, 2 * np.pi)
    moved = sample(picture, [y + np.sin(angle) * push, x + np.cos(angle) * push])
    sy, sx = np.gradient(push)
    return np.asarray(moved * (1 - 0.35 * np.clip(np.cos(angle) * sx + np.sin(angle) * sy, -1, 1))[..., None])


def _thread(rng: Generator, picture: Picture) -> Floats:
    """A thread or hair lies on the surface."""
    d = curve(rng, picture, span(picture) * rng.uniform(0.6, 1.1), 0.16, steps=24)
    half = rng.uniform(0.9, 1.7)
    tone = other_colour(rng, local_colour(picture, d - 6), 0.4)
    sheen = np.clip(1.15 - 0.3 * (d / half) ** 2, 0.6, 1.2)[..., None]
    return over(picture, half + 0.5 - d, np.clip(tone * sheen, 0, 1))


def _displaced(rng: Generator, picture: Picture) -> Floats:
    """A piece of the specimen from elsewhere, turned by a right angle: a part swapped, flipped or mislaid."""
    radius = size_of(rng, picture, 0.03, 0.08)
    (cx, cy), (ox, oy) = spot(rng, picture, radius * 0.8), spot(rng, picture, radius * 0.8)
    x, y = axes(picture)
    d = np.maximum(np.abs(x - cx), np.abs(y - cy)) - radius * 0.85
    moved = sample(picture, [oy + (x - cx), ox - (y - cy)])
    seam = np.exp(-((d / 1.1) ** 2)) * (d < 0.5)
    return over(
        picture,
        0.5 - d,
        moved * (1 + 0.3 * shift(rng, local_colour(picture, d), 0.5, 0.8)) * (1 - 0.6 * seam)[..., None],
    )


def _rough(rng: Generator, picture: Picture) -> Floats:
    """The surface is torn up."""
    d, _ = blob(rng, picture, size_of(rng, picture, 0.015, 0.07), rough=0.5)
    torn = np.sign(texture(rng, picture, 26)) * rng.uniform(0.22, 0.34) + 0.06 * texture(rng, picture, 40)
    return picture.pixels + (np.clip(0.5 - d / 3, 0, 1) * torn)[..., None]


PAINTERS: dict[str, Painter] = {
    "scratch": _scratch,
    "crack": _crack,
    "hole": _hole,
    "stain": _stain,
    "rust": _rust,
    "contamination": _contamination,
    "deformation": _deformation,
    "missing_part": _missing_part,
    "cut": _cut,
    "print": _print,
    "colour": _colour,
    "bend": _bend,
    "thread": _thread,
    "displaced": _displaced,
    "rough": _rough,
}
"""Industrial kinds, by name."""
