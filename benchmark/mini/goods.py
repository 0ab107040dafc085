"""Families of food and small articles (gears, keys, …) in front of a background. Defects lie on the objects only."""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmark.mini.draw import (
    RGB,
    Canvas,
    Floats,
    Generator,
    Picture,
    bar,
    box,
    disc,
    jitter,
    oval,
    polygon,
    ring,
    ripple,
)

_DARK = (0.13, 0.13, 0.15)
_WHITE, _STEEL, _BRASS = (0.90, 0.90, 0.89), (0.66, 0.67, 0.70), (0.80, 0.64, 0.30)

Thing = Callable[[Canvas, float, float], None]


def _many(
    rng: Generator, side: int, *, thing: Thing, background: RGB, columns: int, rows: int, ordered: bool
) -> Picture:
    """Things in rows, or strewn without touching."""
    canvas = Canvas(rng, side, background, turn=0.1, drift=0.03)
    loose = 0.03 if ordered else 0.09
    for row in range(rows):
        for column in range(columns):
            x = (column - (columns - 1) / 2) * 2 / columns * 0.92 + rng.uniform(-loose, loose)
            y = (row - (rows - 1) / 2) * 2 / rows * 0.92 + rng.uniform(-loose, loose)
            thing(canvas, x, y)
    return canvas.finish()


def _turned(canvas: Canvas, x: float, y: float, angle: float) -> tuple[Floats, Floats]:
    u, v = canvas.x - x, canvas.y - y
    return np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u


def _one_candle(canvas: Canvas, x: float, y: float) -> None:
    r = disc(canvas.x, canvas.y, 0.38, (x, y))
    wax = jitter(canvas.rng, (0.90, 0.86, 0.74), 0.02)
    canvas.shadow(r)
    canvas.put(r, wax, bulge=0.06)
    canvas.put(r + 0.06, wax * 0.93, bulge=0.2, mottle=0.02)
    canvas.put(disc(canvas.x, canvas.y, 0.035, (x, y)), (0.20, 0.17, 0.14))


def _one_capsule(canvas: Canvas, x: float, y: float) -> None:
    u, v = _turned(canvas, x, y, canvas.rng.uniform(-np.pi, np.pi))
    whole = bar(u, v, (-0.17, 0), (0.17, 0), 0.10)
    canvas.shadow(whole, 0.3, 0.05)
    canvas.put(whole, jitter(canvas.rng, (0.55, 0.62, 0.24)), bulge=0.10)
    canvas.put(np.maximum(whole, u), jitter(canvas.rng, (0.36, 0.46, 0.16)), bulge=0.10)


def _one_macaroni(canvas: Canvas, x: float, y: float, *, colour: RGB, turn: float) -> None:
    u, v = _turned(canvas, x, y, canvas.rng.uniform(-turn, turn))
    bow = np.maximum(ring(np.hypot(u, v + 0.10) - 0.20, 0.078), -v - 0.05)
    canvas.shadow(bow, 0.3, 0.05)
    canvas.put(bow, jitter(canvas.rng, colour), bulge=0.078, mottle=0.03)


def _cashew(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.10, 0.22, 0.16), size=(0.85, 1.0))
    x, y = canvas.x, canvas.y - 0.25
    body = oval(x, y + 0.85 * x**2 * (1 - 0.35 * x**2), 0.84, 0.36 + 0.05 * rng.uniform(-1, 1)) / (1 + 0.9 * np.abs(x))
    body = body + ripple(rng, x, y, 0.02)
    canvas.shadow(body)
    canvas.put(body, jitter(rng, (0.87, 0.74, 0.53)), bulge=0.28, mottle=0.05, grain=10)
    return canvas.finish()


def _chewinggum(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.12, 0.22, 0.20), turn=0.6)
    body = box(canvas.x, canvas.y, 0.72, 0.48, corner=0.22) + ripple(rng, canvas.x, canvas.y, 0.015)
    canvas.shadow(body)
    canvas.put(body, jitter(rng, (0.91, 0.90, 0.86), 0.02), bulge=0.24, mottle=0.02, grain=8)
    return canvas.finish()


def _fryum(rng: Generator, side: int, *, spokes: int, colour: RGB, tube: bool) -> Picture:
    """A fried snack: a wheel with spokes, or a tube seen from its end."""
    canvas = Canvas(rng, side, (0.12, 0.13, 0.15))
    x, y = canvas.x, canvas.y
    r = np.hypot(x, y)
    shape = ring(r - 0.64 + ripple(rng, x, y, 0.03), 0.22 if tube else 0.14)
    for k in range(spokes):
        a = 2 * np.pi * k / spokes
        shape = np.minimum(shape, bar(x, y, (0, 0), (0.6 * np.cos(a), 0.6 * np.sin(a)), 0.075))
    canvas.shadow(shape, 0.3, 0.05)
    canvas.put(shape, jitter(rng, colour), bulge=0.16, mottle=0.09, grain=20)
    return canvas.finish()


def _pipe_fryum(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.14, 0.20, 0.30), size=(0.9, 1.05))
    tube = bar(canvas.x, canvas.y, (-0.52, 0), (0.52, 0), 0.30) + ripple(rng, canvas.x, canvas.y, 0.02)
    canvas.shadow(tube)
    ridges = (1 + 0.10 * np.sin(canvas.x * 26 + canvas.y * 6))[..., None]
    canvas.put(
        np.maximum(tube, np.abs(canvas.x) - 0.66), jitter(rng, (0.84, 0.50, 0.28)) * ridges, bulge=0.28, mottle=0.06
    )
    canvas.put(oval(canvas.x, canvas.y, 0.10, 0.21, (0.62, 0)), (0.24, 0.12, 0.08))
    return canvas.finish()


# ---- small hardware


def _gear(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.74, 0.75, 0.78))
    x, y = canvas.x, canvas.y
    wave = np.clip(np.cos(np.arctan2(y, x) * 14) * 2.5, -1, 1)
    body = np.hypot(x, y) - 0.74 - 0.075 * wave
    canvas.shadow(disc(x, y, 0.76))
    canvas.put(body, jitter(rng, (0.42, 0.40, 0.36)), bulge=0.06, mottle=0.05)
    canvas.put(ring(np.hypot(x, y) - 0.40, 0.03), (0.26, 0.25, 0.23))
    canvas.put(disc(x, y, 0.20), (0.70, 0.71, 0.74), object_=False)
    return canvas.finish()


def _washer(rng: Generator, side: int, *, hole: float, metal: RGB, ground: RGB) -> Picture:
    canvas = Canvas(rng, side, ground)
    body = disc(canvas.x, canvas.y, 0.80)
    canvas.shadow(body)
    canvas.put(body, jitter(rng, metal), bulge=0.07, mottle=0.05)
    canvas.put(disc(canvas.x, canvas.y, hole), np.asarray(ground) * 0.7, object_=False)
    return canvas.finish()


def _spring(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.80, 0.78, 0.72), turn=0.8)
    metal = jitter(rng, (0.50, 0.52, 0.56))
    for i in range(9):
        x = (i - 4) * 0.19
        turn = bar(canvas.x, canvas.y, (x - 0.05, -0.36), (x + 0.05, 0.36), 0.052)
        canvas.shadow(turn, 0.25, 0.04)
        canvas.put(turn, metal, bulge=0.052)
    return canvas.finish()


def _key(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.30, 0.36, 0.44), turn=0.6)
    x, y = canvas.x, canvas.y
    blade = box(x, y, 0.58, 0.11, (0.28, 0), corner=0.03)
    cuts = 0.05 * np.abs(((x * 5.2) % 1) - 0.5) * 2
    shape = np.minimum(np.maximum(blade, y - 0.11 + cuts), disc(x, y, 0.34, (-0.48, 0)))
    canvas.shadow(shape)
    canvas.put(shape, jitter(rng, _BRASS), bulge=0.06, mottle=0.04)
    canvas.put(disc(x, y, 0.09, (-0.62, 0)), (0.18, 0.21, 0.26), object_=False)
    return canvas.finish()


def _coin(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.20, 0.30, 0.26))
    x, y = canvas.x, canvas.y
    metal = jitter(rng, (0.74, 0.55, 0.34))
    canvas.shadow(disc(x, y, 0.84))
    canvas.put(disc(x, y, 0.84), metal, bulge=0.05)
    canvas.put(disc(x, y, 0.74), metal * 0.86, bulge=0.03, mottle=0.04)
    canvas.put(polygon(x, y, 0.32, 5), metal, bulge=0.08)
    for i in range(18):
        a = 2 * np.pi * i / 18
        canvas.put(disc(x, y, 0.035, (0.60 * np.cos(a), 0.60 * np.sin(a))), metal * 1.08, bulge=0.03)
    return canvas.finish()


def _bolt(rng: Generator, side: int) -> Picture:
    """A bolt's hexagonal head from above."""
    canvas = Canvas(rng, side, (0.34, 0.30, 0.28))
    x, y = canvas.x, canvas.y
    canvas.shadow(disc(x, y, 0.82))
    canvas.put(disc(x, y, 0.82), jitter(rng, (0.46, 0.48, 0.52)), bulge=0.06, mottle=0.04)
    canvas.put(polygon(x, y, 0.58, 6), jitter(rng, (0.70, 0.72, 0.76)), bulge=0.09, mottle=0.05)
    canvas.put(ring(disc(x, y, 0.36), 0.02), (0.50, 0.52, 0.55))
    return canvas.finish()


def _button(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.86, 0.82, 0.76))
    x, y = canvas.x, canvas.y
    colour = jitter(rng, (0.22, 0.34, 0.66), 0.08)
    canvas.shadow(disc(x, y, 0.78))
    canvas.put(disc(x, y, 0.78), colour, bulge=0.16)
    canvas.put(disc(x, y, 0.52), colour * 0.85, bulge=0.05)
    for at in ((-0.15, -0.15), (0.15, -0.15), (-0.15, 0.15), (0.15, 0.15)):
        canvas.put(disc(x, y, 0.08, at), (0.10, 0.10, 0.14), object_=False)
    return canvas.finish()


def _chip(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.70, 0.74, 0.66), turn=0.2)
    x, y = canvas.x, canvas.y
    for i in range(8):
        for way in (-1, 1):
            canvas.put(box(x, y, 0.035, 0.14, ((i - 3.5) * 0.19, way * 0.58)), jitter(rng, _STEEL), bulge=0.03)
    canvas.put(box(x, y, 0.86, 0.50, corner=0.03), jitter(rng, (0.15, 0.15, 0.17), 0.02), bulge=0.05, mottle=0.05)
    canvas.put(disc(x, y, 0.06, (-0.70, 0.32)), (0.08, 0.08, 0.09))
    for row, wide in ((-0.1, 0.42), (0.08, 0.30)):
        canvas.put(box(x, y, wide, 0.03, (0, row)), (0.50, 0.50, 0.52))
    return canvas.finish()


def _leaf(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, _WHITE, turn=0.8)
    x, y = canvas.x, canvas.y
    body = np.abs(y) - 0.46 * np.cos(np.clip(x * 1.75, -np.pi / 2, np.pi / 2)) + ripple(rng, x, y, 0.02)
    body = np.maximum(body * 0.8, np.abs(x) - 0.88)
    veins = np.minimum(np.abs(y), np.abs(((x * 6 - np.abs(y) * 5) % 1) - 0.5) * 0.16)
    green = jitter(rng, (0.30, 0.52, 0.20)) * (1 + 0.35 * np.exp(-veins / 0.014))[..., None]
    canvas.shadow(body)
    canvas.put(body, green, bulge=0.1, mottle=0.06)
    return canvas.finish()


GOODS: dict[str, Callable[[Generator, int], Picture]] = {
    "candle": partial(_many, thing=_one_candle, background=(0.16, 0.20, 0.26), columns=2, rows=2, ordered=True),
    "capsules": partial(_many, thing=_one_capsule, background=(0.86, 0.85, 0.80), columns=3, rows=3, ordered=False),
    "cashew": _cashew,
    "chewinggum": _chewinggum,
    "fryum": partial(_fryum, spokes=4, colour=(0.85, 0.62, 0.30), tube=False),
    "macaroni1": partial(
        _many,
        thing=partial(_one_macaroni, colour=(0.90, 0.70, 0.30), turn=0.15),
        background=(0.14, 0.16, 0.22),
        columns=3,
        rows=3,
        ordered=True,
    ),
    "macaroni2": partial(
        _many,
        thing=partial(_one_macaroni, colour=(0.86, 0.58, 0.26), turn=np.pi),
        background=(0.20, 0.26, 0.22),
        columns=3,
        rows=3,
        ordered=False,
    ),
    "pipe_fryum": _pipe_fryum,
    "gear": _gear,
    "washer": partial(_washer, hole=0.36, metal=(0.62, 0.63, 0.66), ground=(0.24, 0.20, 0.18)),
    "gasket": partial(_washer, hole=0.58, metal=(0.70, 0.24, 0.18), ground=(0.84, 0.84, 0.82)),
    "spring": _spring,
    "key": _key,
    "coin": _coin,
    "bolt": _bolt,
    "button": _button,
    "chip": _chip,
    "snack_ring": partial(_fryum, spokes=0, colour=(0.80, 0.42, 0.20), tube=True),
    "leaf": _leaf,
}
"""Families of food and small wares, by name."""
