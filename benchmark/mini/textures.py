"""Families of surfaces: all of the picture is foreground."""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import ndimage

from benchmark.mini.draw import (
    RGB,
    Bools,
    Floats,
    Generator,
    Picture,
    axes,
    cells,
    disc,
    finish,
    jitter,
    lattice,
    noise,
    per_index,
    relief,
    tint,
)

Crossing = Callable[[Floats, Floats], Bools]
"""Which thread is on top where column i crosses row j; true for the upright one."""


def _woven(
    rng: Generator, side: int, *, threads: float, upright: RGB, across: RGB, over: Crossing, fuzz: float
) -> Picture:
    u, v = lattice(rng, side, threads, wobble=0.08)
    i, j = np.floor(u), np.floor(v)
    fu, fv = u - i, v - j
    on_top = over(i, j)
    # A thread is round across, and arches where it passes over another.
    warp = np.sin(np.pi * fu) ** 0.6 * (0.8 + 0.2 * np.sin(np.pi * fv)) * (1 + per_index(rng, i, 0.1))
    weft = np.sin(np.pi * fv) ** 0.6 * (0.8 + 0.2 * np.sin(np.pi * fu)) * (1 + per_index(rng, j, 0.1))
    height = np.where(on_top, warp, weft) * (1 + fuzz * noise(rng, side, 40, octaves=2))
    colours = np.where(on_top[..., None], jitter(rng, upright), jitter(rng, across))
    return finish(rng, colours * (0.35 + 0.65 * height)[..., None])


def _plain(i: Floats, j: Floats) -> Bools:
    return np.asarray((i + j) % 2 < 1)


def _twill(i: Floats, j: Floats) -> Bools:
    return np.asarray((i + j) % 4 < 2)


def _basket(i: Floats, j: Floats) -> Bools:
    return np.asarray((i // 2 + j // 2) % 2 < 1)


def _satin(i: Floats, j: Floats) -> Bools:
    return np.asarray((i + 2 * j) % 5 >= 1)


def _herringbone(i: Floats, j: Floats) -> Bools:
    return np.asarray(np.where((i // 8) % 2 < 1, i + j, j - i) % 4 < 2)


def _grid(rng: Generator, side: int, *, wires: float, turn: float, thick: float, dark: RGB, light: RGB) -> Picture:
    """Crossing wires over a dark ground."""
    u, v = lattice(rng, side, wires, turn=0.05, wobble=0.02)
    u, v = np.cos(turn) * u + np.sin(turn) * v, np.cos(turn) * v - np.sin(turn) * u
    wire = [np.clip(1 - (np.abs(w % 1 - 0.5) / thick) ** 2, 0, 1) for w in (u, v)]
    woven = np.where((np.floor(u) + np.floor(v)) % 2 < 1, 0.15, -0.15)
    height = np.maximum(wire[0] * (0.85 + woven), wire[1] * (0.85 - woven))
    height = height * (1 + 0.05 * noise(rng, side, 20, octaves=2)) + 0.04 * noise(rng, side, 4)
    return finish(rng, tint(height, jitter(rng, dark, 0.02), jitter(rng, light)))


def _perforated(
    rng: Generator, side: int, *, holes: float, radius: float, hexagonal: bool, sheet: RGB, ground: RGB
) -> Picture:
    u, v = lattice(rng, side, holes, turn=0.08, wobble=0.015)
    if hexagonal:
        v = v * 1.1547
        u = u + 0.5 * (np.floor(v) % 2)
    r = np.hypot(u % 1 - 0.5, v % 1 - 0.5) / radius
    solid = np.clip((r - 1) * side / holes * radius + 0.5, 0, 1)
    metal = tint(0.5 + 0.09 * noise(rng, side, 3, octaves=5, stretch=0.3), np.asarray(sheet) * 0.75, jitter(rng, sheet))
    rim = relief(ndimage.gaussian_filter(solid, 1.2) * 3, -2.2 + rng.uniform(-0.4, 0.4), 0.3)
    return finish(rng, metal * (solid * rim)[..., None] + (1 - solid)[..., None] * jitter(rng, ground, 0.03))


def _streaks(
    rng: Generator, side: int, *, count: float, stretch: float, turn: float, contrast: float, dark: RGB, light: RGB
) -> Picture:
    """Long fibres in one direction: fibrous, brushed, streaked."""
    wide = int(side * 1.6)
    field = noise(rng, wide, count * 1.6, octaves=3, stretch=stretch) + 0.4 * noise(rng, wide, 5, octaves=2)
    field = ndimage.rotate(field, np.degrees(turn + rng.uniform(-0.12, 0.12)), reshape=False, order=1, mode="reflect")
    start = (wide - side) // 2
    field = field[start : start + side, start : start + side]
    return finish(rng, tint(0.5 + contrast * field, jitter(rng, dark), jitter(rng, light)))


def _clouds(
    rng: Generator, side: int, *, count: float, octaves: int, contrast: float, dark: RGB, light: RGB, bumpy: float = 0.0
) -> Picture:
    """Fractal noise: granular, blotchy, concrete, skin-like."""
    field = noise(rng, side, count * rng.uniform(0.85, 1.15), octaves=octaves)
    shade = relief(field * bumpy, -2.2 + rng.uniform(-0.6, 0.6), 0.35) if bumpy else np.ones_like(field)
    return finish(rng, tint(0.5 + contrast * field, jitter(rng, dark), jitter(rng, light)) * shade[..., None])


def _blotchy(rng: Generator, side: int) -> Picture:
    field = np.tanh(3 * (noise(rng, side, 9, octaves=2) - 0.2)) + 0.12 * noise(rng, side, 30, octaves=2)
    return finish(rng, tint(0.5 + 0.4 * field, jitter(rng, (0.30, 0.24, 0.16)), jitter(rng, (0.85, 0.76, 0.55))))


def _leather(rng: Generator, side: int) -> Picture:
    first, second, value = cells(rng, side, rng.uniform(17, 21))
    height = np.clip((second - first) * 3, 0, 1) ** 0.5
    shade = relief(ndimage.gaussian_filter(height, 0.8) * 1.6, -2.2 + rng.uniform(-0.5, 0.5), 0.3)
    field = 0.35 + 0.3 * height + 0.1 * value + 0.1 * noise(rng, side, 3, octaves=2)
    return finish(rng, tint(field, (0.20, 0.11, 0.06), jitter(rng, (0.62, 0.38, 0.24))) * shade[..., None])


def _scales(rng: Generator, side: int) -> Picture:
    u, v = lattice(rng, side, 11, turn=0.1, wobble=0.05)
    row = np.floor(v)
    fu, fv = (u + 0.5 * (row % 2)) % 1 - 0.5, v - row
    height = np.clip(1.15 - np.hypot(fu * 1.6, fv), 0, 1)
    field = 0.15 + 0.8 * height + per_index(rng, np.floor(u + 0.5 * (row % 2)) * 17 + row, 0.08)
    return finish(rng, tint(field, jitter(rng, (0.12, 0.18, 0.10)), jitter(rng, (0.70, 0.74, 0.40))))


def _tile(rng: Generator, side: int) -> Picture:
    coarse, fine = noise(rng, side, 26, octaves=2), noise(rng, side, 42)
    colours = tint(0.7 + 0.04 * noise(rng, side, 3), (0.45, 0.44, 0.42), jitter(rng, (0.80, 0.79, 0.75)))
    for field, limit, colour in ((coarse, 0.75, (0.42, 0.39, 0.36)), (fine, 1.15, (0.2, 0.19, 0.19))):
        cover = np.clip((field - limit) * 3, 0, 1)[..., None]
        colours = colours * (1 - cover) + np.asarray(colour) * cover
    return finish(rng, colours)


def _terrazzo(rng: Generator, side: int) -> Picture:
    first, second, value = cells(rng, side, rng.uniform(9, 11), jitter=1.0)
    chip = np.clip((second - first - 0.28 - 0.15 * value) * 9, 0, 1)[..., None]
    stones = np.array([(0.80, 0.55, 0.42), (0.35, 0.42, 0.45), (0.62, 0.60, 0.38), (0.88, 0.86, 0.84)])
    ground = tint(0.5 + 0.1 * noise(rng, side, 30, octaves=2), (0.55, 0.54, 0.52), jitter(rng, (0.80, 0.78, 0.75)))
    return finish(rng, ground * (1 - chip) + stones[(value * 4).astype(int) % 4] * chip)


def _crazed(
    rng: Generator, side: int, *, count: float, gap: float, stone: RGB, joint: RGB, bulge: float = 1.0
) -> Picture:
    """Cells with joints between them: cork, pebbles, cell plates."""
    first, second, value = cells(rng, side, count * rng.uniform(0.9, 1.1))
    cover = np.clip((second - first - gap) * 8, 0, 1)[..., None]
    height = np.clip(second - first, 0, 0.6) * bulge * 6
    shade = relief(ndimage.gaussian_filter(height, 1), -2.2 + rng.uniform(-0.5, 0.5), 0.25) * (0.8 + 0.3 * value)
    stones = jitter(rng, stone) * (shade * (1 + 0.06 * noise(rng, side, 30, octaves=2)))[..., None]
    return finish(rng, stones * cover + (1 - cover) * jitter(rng, joint, 0.02))


def _bricks(
    rng: Generator, side: int, *, rows: float, length: float, stone: RGB, joint: RGB, gap: float = 0.08
) -> Picture:
    u, v = lattice(rng, side, rows, turn=0.03, wobble=0.015)
    row = np.floor(v)
    u = u / length + 0.5 * (row % 2) if length > 1 else u
    column = np.floor(u)
    edge = np.minimum(0.5 - np.abs(v - row - 0.5), (0.5 - np.abs(u - column - 0.5)) * max(length, 1))
    cover = np.clip((edge - gap) * side / rows / 2, 0, 1)[..., None]
    mottle = 1 + 0.08 * noise(rng, side, 24, octaves=2) + per_index(rng, column * 13 + row * 7, 0.16)
    stones = jitter(rng, stone) * mottle[..., None]
    return finish(rng, stones * cover + (1 - cover) * jitter(rng, joint, 0.03))


def _wood(rng: Generator, side: int) -> Picture:
    x, y = axes(side)
    warp = noise(rng, side, 2, stretch=1.6) * 0.10
    rings = np.sin(2 * np.pi * (x + warp + 0.12 * rng.uniform(-1, 1) * y**2) * rng.uniform(4, 5.5))
    fibre = noise(rng, side, 3, octaves=4, stretch=16)
    field = 0.55 + 0.18 * rings + 0.10 * fibre
    return finish(rng, tint(field, jitter(rng, (0.36, 0.22, 0.12)), jitter(rng, (0.78, 0.56, 0.34))))


def _planks(rng: Generator, side: int) -> Picture:
    u, _ = lattice(rng, side, 3.2, turn=0.02)
    seam = np.clip(np.abs(u % 1 - 0.5) * 40 - 19, 0, 1)
    field = 0.5 + 0.12 * noise(rng, side, 4, octaves=4, stretch=9) + per_index(rng, np.floor(u), 0.15)
    return finish(rng, tint(field - 0.5 * seam, jitter(rng, (0.28, 0.24, 0.20)), jitter(rng, (0.66, 0.58, 0.48))))


def _marbled(rng: Generator, side: int) -> Picture:
    warp = noise(rng, side, 3, octaves=3)
    veins = 1 - np.abs(np.sin(2.4 * warp + 1.2 * noise(rng, side, 5, octaves=2)))
    field = 0.85 - 0.75 * veins**2.2 + 0.06 * noise(rng, side, 20, octaves=2)
    return finish(rng, tint(field, jitter(rng, (0.35, 0.38, 0.42)), jitter(rng, (0.92, 0.90, 0.86))))


def _stratified(rng: Generator, side: int) -> Picture:
    _, y = axes(side)
    depth = y * rng.uniform(5, 6) + 0.55 * noise(rng, side, 2, octaves=2, stretch=0.7)
    field = 0.5 + 0.28 * np.sin(depth * 3) + 0.12 * np.sin(depth * 9.7 + 1) + 0.1 * noise(rng, side, 30, stretch=0.15)
    return finish(rng, tint(field, jitter(rng, (0.42, 0.22, 0.14)), jitter(rng, (0.88, 0.70, 0.50))))


def _corrugated(rng: Generator, side: int, *, waves: float, sharp: float, dark: RGB, light: RGB) -> Picture:
    u, _ = lattice(rng, side, waves, turn=0.08, wobble=0.05)
    wave = (0.5 + 0.5 * np.sin(2 * np.pi * u)) ** sharp
    field = 0.1 + 0.75 * wave + 0.07 * noise(rng, side, 40, octaves=2)
    return finish(rng, tint(field, jitter(rng, dark, 0.02), jitter(rng, light)))


def _ripples(rng: Generator, side: int) -> Picture:
    x, y = axes(side)
    bend = 0.25 * noise(rng, side, 2)
    angle = rng.uniform(0.6, 0.9)
    wave = np.sin(2 * np.pi * 7 * (np.cos(angle) * x + np.sin(angle) * y + bend * 0.35))
    return finish(rng, 0.48 + 0.16 * wave + 0.05 * noise(rng, side, 36, octaves=2))


def _hexagonal(rng: Generator, side: int) -> Picture:
    u, v = lattice(rng, side, 9, turn=0.1)
    best = [np.full_like(u, 9.0)] * 2
    # The two nearest centres of a hexagonal lattice are among those of two interleaved rectangular ones.
    for shift in (0.0, 0.5):
        du = (u + shift) % 1 - 0.5
        dv = (v / 1.732 + shift) % 1 - 0.5
        for ku in (-1, 0, 1):
            d = np.hypot(du + ku, dv * 1.732)
            best = [np.minimum(best[0], d), np.minimum(best[1], np.maximum(best[0], d))]
    edge = np.clip((best[1] - best[0]) * 5, 0, 1)
    return finish(rng, 0.25 + 0.42 * edge + 0.05 * noise(rng, side, 30, octaves=2))


def _dimpled(rng: Generator, side: int) -> Picture:
    u, v = lattice(rng, side, 10, turn=0.1, wobble=0.03)
    bump = np.exp(-8 * ((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2))
    shade = relief(bump * 5, rng.uniform(-2.6, -1.8), 0.45)
    return finish(rng, 0.5 * shade * (1 + 0.05 * noise(rng, side, 30, octaves=2)))


def _speckled(rng: Generator, side: int) -> Picture:
    fine = ndimage.gaussian_filter(rng.normal(0, 1, (side, side)), 0.9)
    return finish(rng, 0.5 + 0.30 * fine + 0.03 * noise(rng, side, 4))


def _disc_plate(rng: Generator, side: int) -> Picture:
    """The end face of a turned part: concentric tool marks."""
    x, y = axes(side)
    x, y = x - rng.uniform(-0.05, 0.05), y - rng.uniform(-0.05, 0.05)
    r = np.hypot(x, y)
    marks = 0.08 * np.sin(r * 70 + rng.uniform(0, 6)) + 0.06 * np.sin(r * 31)
    gleam = 0.10 * np.cos(2 * (np.arctan2(y, x) - rng.uniform(0, np.pi)))
    field = 0.55 + marks + gleam + 0.04 * noise(rng, side, 30, octaves=2)
    for radius in (0.3, 0.62):
        field = field - 0.25 * np.exp(-(((r - radius) * 28) ** 2))
    return finish(rng, tint(field, jitter(rng, (0.20, 0.21, 0.24)), jitter(rng, (0.82, 0.84, 0.88))))


def _casting(rng: Generator, side: int) -> Picture:
    """A cast surface with ribs and a boss."""
    x, y = axes(side)
    x = x + rng.uniform(-0.06, 0.06)
    height = 1.2 * noise(rng, side, 26, octaves=3) * 0.35
    for at in (-0.55, 0.55):
        height = height + 5 / (1 + np.exp((np.abs(x - at) - 0.09) * 60))
    height = height + 6 / (1 + np.exp(disc(x, y, 0.28, (0, rng.uniform(-0.1, 0.1))) * 50))
    field = 0.5 * relief(ndimage.gaussian_filter(height, 0.8), -2.2, 0.5) + 0.03 * noise(rng, side, 4)
    return finish(rng, tint(field, (0.10, 0.11, 0.12), jitter(rng, (0.72, 0.72, 0.70))))


def _commutator(rng: Generator, side: int) -> Picture:
    """Grey plastic of a commutator, as KolektorSDD shows it: dark, mottled, faint upright bands."""
    x, _ = axes(side)
    bands = 0.03 * np.sin(x * 30 + rng.uniform(0, 6))
    field = 0.42 + bands + 0.035 * noise(rng, side, 60, octaves=2) + 0.03 * noise(rng, side, 6)
    return finish(rng, field)


_DARK, _LIGHT = (0.25, 0.25, 0.25), (0.75, 0.75, 0.75)

TEXTURES: dict[str, Callable[[Generator, int], Picture]] = {
    "carpet": partial(
        _woven, threads=26, upright=(0.55, 0.55, 0.58), across=(0.42, 0.42, 0.46), over=_plain, fuzz=0.10
    ),
    "woven_basket": partial(
        _woven, threads=18, upright=(0.80, 0.68, 0.45), across=(0.70, 0.56, 0.34), over=_basket, fuzz=0.05
    ),
    "woven_twill": partial(
        _woven, threads=22, upright=(0.25, 0.34, 0.55), across=(0.70, 0.74, 0.80), over=_twill, fuzz=0.06
    ),
    "woven_plain": partial(
        _woven, threads=13, upright=(0.78, 0.74, 0.66), across=(0.74, 0.68, 0.58), over=_plain, fuzz=0.07
    ),
    "woven_herringbone": partial(
        _woven, threads=30, upright=(0.32, 0.28, 0.26), across=(0.82, 0.78, 0.70), over=_herringbone, fuzz=0.05
    ),
    "woven_satin": partial(
        _woven, threads=20, upright=(0.62, 0.20, 0.22), across=(0.85, 0.70, 0.40), over=_satin, fuzz=0.04
    ),
    "grid": partial(_grid, wires=9, turn=0.785, thick=0.2, dark=(0.12,) * 3, light=(0.68,) * 3),
    "mesh": partial(_grid, wires=12, turn=0.0, thick=0.24, dark=(0.10, 0.14, 0.12), light=(0.68, 0.76, 0.60)),
    "perforated": partial(
        _perforated, holes=9, radius=0.28, hexagonal=True, sheet=(0.72, 0.73, 0.75), ground=(0.08, 0.08, 0.10)
    ),
    "perforated_brass": partial(
        _perforated, holes=7, radius=0.33, hexagonal=False, sheet=(0.80, 0.64, 0.30), ground=(0.14, 0.10, 0.06)
    ),
    "fibrous": partial(
        _streaks, count=30, stretch=0.12, turn=0.5, contrast=0.2, dark=(0.40, 0.30, 0.18), light=(0.92, 0.84, 0.64)
    ),
    "matted": partial(
        _streaks, count=24, stretch=0.45, turn=1.2, contrast=0.2, dark=(0.22, 0.20, 0.18), light=(0.72, 0.68, 0.62)
    ),
    "brushed": partial(_streaks, count=50, stretch=0.05, turn=0.0, contrast=0.12, dark=_DARK, light=_LIGHT),
    "streaked": partial(_streaks, count=16, stretch=0.15, turn=-0.8, contrast=0.2, dark=_DARK, light=_LIGHT),
    "granular": partial(_clouds, count=34, octaves=2, contrast=0.2, bumpy=0.7, dark=_DARK, light=_LIGHT),
    "cloudy": partial(_clouds, count=4, octaves=5, contrast=0.16, dark=_DARK, light=_LIGHT),
    "concrete": partial(
        _clouds, count=6, octaves=5, contrast=0.13, bumpy=0.5, dark=(0.40, 0.39, 0.37), light=(0.74, 0.73, 0.70)
    ),
    "paper": partial(
        _clouds, count=40, octaves=2, contrast=0.08, bumpy=0.25, dark=(0.74, 0.70, 0.60), light=(0.95, 0.93, 0.86)
    ),
    "rubber": partial(
        _clouds, count=22, octaves=3, contrast=0.14, bumpy=0.8, dark=(0.06, 0.06, 0.07), light=(0.34, 0.34, 0.36)
    ),
    "blotchy": _blotchy,
    "leather": _leather,
    "scales": _scales,
    "tile": _tile,
    "terrazzo": _terrazzo,
    "cork": partial(_crazed, count=16, gap=0.06, stone=(0.74, 0.54, 0.34), joint=(0.34, 0.20, 0.10), bulge=0.3),
    "crackled": partial(_crazed, count=13, gap=0.03, stone=(0.62,) * 3, joint=(0.30,) * 3, bulge=0.4),
    "pebbles": partial(_crazed, count=9, gap=0.1, stone=(0.66, 0.64, 0.60), joint=(0.20, 0.19, 0.18)),
    "brick": partial(_bricks, rows=7, length=2.2, stone=(0.62, 0.30, 0.22), joint=(0.76, 0.73, 0.68)),
    "mosaic": partial(_bricks, rows=9, length=1.0, stone=(0.30, 0.52, 0.58), joint=(0.86, 0.86, 0.84)),
    "wood": _wood,
    "planks": _planks,
    "marbled": _marbled,
    "stratified": _stratified,
    "corrugated": partial(_corrugated, waves=12, sharp=1.0, dark=_DARK, light=_LIGHT),
    "ribbed": partial(_corrugated, waves=20, sharp=0.5, dark=(0.16, 0.18, 0.26), light=(0.46, 0.52, 0.68)),
    "ripples": _ripples,
    "hexagonal": _hexagonal,
    "dimpled": _dimpled,
    "speckled": _speckled,
    "disc_plate": _disc_plate,
    "casting": _casting,
    "commutator": _commutator,
}
"""Every family of surfaces, by name."""
