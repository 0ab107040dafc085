"""Helpers of the functions that paint defects: position, size, outline and colour of a defect."""

from itertools import pairwise

import numpy as np
from scipy import ndimage

from benchmark.mini.draw import Floats, Generator, Picture, noise

# ---- where and how large


def axes(picture: Picture) -> tuple[Floats, Floats]:
    """Return x and y of the pixels, in pixels."""
    rows, columns = picture.foreground.shape
    x, y = np.meshgrid(np.arange(columns, dtype=np.float64), np.arange(rows, dtype=np.float64))
    return x, y


def size_of(rng: Generator, picture: Picture, low: float, high: float) -> float:
    """Return the radius in pixels of a disc that covers a share of the picture, but not most of its foreground."""
    area = np.exp(rng.uniform(np.log(low), np.log(high))) * picture.foreground.size
    return float(np.sqrt(min(area, 0.3 * picture.foreground.sum()) / np.pi))


def spot(rng: Generator, picture: Picture, room: float) -> tuple[float, float]:
    """Return x and y of a foreground pixel with about this much foreground around it, or the most that there is."""
    inside = np.pad(picture.foreground, 1)
    depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
    fits = np.flatnonzero(depth >= min(room, 0.6 * float(depth.max())))
    y, x = divmod(int(fits[rng.integers(len(fits))]), picture.foreground.shape[1])
    return float(x), float(y)


def blob(
    rng: Generator, picture: Picture, radius: float, *, rough: float = 0.25, room: float = 0.7, oblong: float = 1.6
) -> tuple[Floats, tuple[float, float]]:
    """Return the signed distance (in pixels) to an irregular round shape in the foreground, and its centre."""
    cx, cy = spot(rng, picture, radius * room)
    x, y = axes(picture)
    angle, ratio = rng.uniform(0, np.pi), np.sqrt(rng.uniform(1, oblong))
    dx, dy = x - cx, y - cy
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / ratio
    v = (np.cos(angle) * dy - np.sin(angle) * dx) * ratio
    direction = np.arctan2(v, u)
    edge = np.ones_like(u)
    for k in range(2, 8):
        edge += rough * rng.uniform(0, 1) / k * 1.6 * np.cos(k * direction + rng.uniform(0, 2 * np.pi))
    return (np.hypot(u, v) / (radius * np.maximum(edge, 0.3)) - 1) * radius, (cx, cy)


def curve(rng: Generator, picture: Picture, length: float, bend: float, *, steps: int = 14) -> Floats:
    """Return the distance (in pixels) to a curve through the foreground; `bend` 0 is straight."""
    cx, cy = spot(rng, picture, length * 0.4)
    heading, turn = rng.uniform(0, 2 * np.pi), rng.normal(0, bend / 3)
    points = [(0.0, 0.0)]
    for _ in range(steps):
        heading += turn + rng.normal(0, bend)
        px, py = points[-1]
        points.append((px + np.cos(heading) * length / steps, py + np.sin(heading) * length / steps))
    middle = points[steps // 2]
    at = [(cx + px - middle[0], cy + py - middle[1]) for px, py in points]
    return to_line(picture, at)


def to_line(picture: Picture, points: list[tuple[float, float]]) -> Floats:
    """Return the distance (in pixels) to a line through points (x, y)."""
    x, y = axes(picture)
    best = np.full(x.shape, np.inf)
    for (ax, ay), (bx, by) in pairwise(points):
        square = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-9)
        t = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square, 0, 1)
        best = np.minimum(best, np.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)))
    return best


def span(picture: Picture) -> float:
    """Return about how wide the foreground is, in pixels."""
    return float(min(np.sqrt(picture.foreground.sum()), 1.2 * min(picture.foreground.shape)))


# ---- with what


def local_colour(picture: Picture, where: Floats) -> Floats:
    """Return the mean colour of the foreground under a shape."""
    under = (where < 0) & picture.foreground
    return np.asarray(picture.pixels[under if under.any() else picture.foreground].mean(0), dtype=np.float64)


def other_colour(rng: Generator, colour: Floats, least: float = 0.3) -> Floats:
    """Return a colour that is plainly not the given one; a grey one if that is grey."""
    grey = float(np.ptp(colour)) < 1e-3
    for _ in range(200):
        candidate = np.full(3, rng.random())
        if not grey:  # paints and dirt are seldom glaring
            candidate = 0.5 * candidate + 0.5 * rng.random(3)
        if np.abs(candidate - colour).max() > least and np.abs(candidate.mean() - colour.mean()) > 0.4 * least:
            return candidate
    return np.full(3, 1.0 if colour.mean() < 0.5 else 0.0)


def shift(rng: Generator, colour: Floats, low: float, high: float) -> float:
    """Return how much brighter (or darker, if there is more room that way) a mark is to be."""
    amount = rng.uniform(low, high)
    room = rng.uniform(-0.15, 0.15) + 0.5
    return float(amount if colour.mean() < room else -amount)


def over(picture: Picture, cover: Floats, colour: Floats) -> Floats:
    """Return the picture with a colour (or one per pixel) laid over it."""
    strength = np.clip(cover, 0, 1)[..., None]
    return np.asarray(picture.pixels * (1 - strength) + colour * strength)


def texture(rng: Generator, picture: Picture, cells: float, octaves: int = 2) -> Floats:
    """Return noise of the picture's shape, which need not be square; `cells` for a side of 128 pixels."""
    rows, columns = picture.foreground.shape
    return noise(rng, max(rows, columns), cells * max(rows, columns) / 128, octaves=octaves)[:rows, :columns]


def sample(picture: Picture, at: list[Floats]) -> Floats:
    """Return the picture as seen at these rows and columns."""
    planes = [
        ndimage.map_coordinates(picture.pixels[..., c].astype(np.float64), at, order=1, mode="reflect")
        for c in range(3)
    ]
    return np.stack(planes, -1)
