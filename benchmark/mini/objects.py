"""Families of objects in front of a background. Defects lie on the objects only."""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmark.mini.draw import (
    RGB,
    Canvas,
    Generator,
    Picture,
    bar,
    box,
    disc,
    jitter,
    noise,
    oval,
    ring,
    ripple,
    tint,
)

_BLACK, _DARK, _MID, _WHITE = (0.04, 0.04, 0.05), (0.13, 0.13, 0.15), (0.45, 0.46, 0.48), (0.90, 0.90, 0.89)
_STEEL, _BRASS, _COPPER = (0.66, 0.67, 0.70), (0.80, 0.64, 0.30), (0.80, 0.46, 0.26)


def _bottle(rng: Generator, side: int) -> Picture:
    """The mouth of a bottle from above."""
    canvas = Canvas(rng, side, _WHITE, drift=0.03)
    r = disc(canvas.x, canvas.y, 0.0)
    glass = jitter(rng, (0.24, 0.12, 0.06))
    canvas.shadow(r - 0.86)
    canvas.put(r - 0.86, glass, bulge=0.35, mottle=0.06, grain=4)
    canvas.put(ring(r - 0.62, 0.10), glass * 1.7, bulge=0.10)
    canvas.put(r - 0.50, glass * 0.45, bulge=0.12)
    canvas.put(r - 0.34, np.asarray((0.05, 0.03, 0.02)))
    sweep = 0.5 + 0.5 * np.cos(np.arctan2(canvas.y, canvas.x) * 2 - rng.uniform(0, 6))
    canvas.pixels = canvas.pixels + (0.30 * sweep**6 * np.exp(-(((r - 0.64) * 22) ** 2)))[..., None]
    return canvas.finish()


def _cable(rng: Generator, side: int) -> Picture:
    """A cut through a cable of three insulated wires."""
    canvas = Canvas(rng, side, _MID, turn=0.3, drift=0.03)
    canvas.put(disc(canvas.x, canvas.y, 0.88), jitter(rng, (0.75, 0.75, 0.74)), bulge=0.1, mottle=0.04)
    for k, colour in enumerate(((0.25, 0.55, 0.25), (0.25, 0.36, 0.68), (0.52, 0.34, 0.20))):
        angle = -np.pi / 2 + k * 2 * np.pi / 3
        at = 0.44 * np.cos(angle), 0.44 * np.sin(angle)
        canvas.put(disc(canvas.x, canvas.y, 0.37, at), jitter(rng, colour), bulge=0.08, mottle=0.05)
        turn = rng.uniform(0, 1)
        for ring_, count in ((0.0, 1), (0.105, 6), (0.205, 11)):
            for i in range(count):
                a = turn + 2 * np.pi * i / count
                strand = disc(canvas.x, canvas.y, 0.054, (at[0] + ring_ * np.cos(a), at[1] + ring_ * np.sin(a)))
                canvas.put(strand, jitter(rng, _COPPER, 0.06), bulge=0.054)
    return canvas.finish()


def _capsule(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, _WHITE, turn=0.12)
    whole = bar(canvas.x, canvas.y, (-0.56, 0), (0.56, 0), 0.30)
    half = np.maximum(whole, canvas.x - 0.02)
    canvas.shadow(whole)
    canvas.put(whole, jitter(rng, (0.83, 0.42, 0.14)), bulge=0.3)
    canvas.put(half, jitter(rng, (0.20, 0.17, 0.17), 0.02), bulge=0.3)
    canvas.put(np.maximum(ring(canvas.x - 0.02, 0.012), whole), np.asarray((0.10, 0.08, 0.08)))
    for i in range(3):
        letter = box(canvas.x, canvas.y, 0.035, 0.08, (0.22 + 0.13 * i, 0))
        canvas.put(ring(letter, 0.012), np.asarray((0.95, 0.90, 0.82)))
    canvas.shine((-0.2, -0.14), 0.12, 0.18)
    return canvas.finish()


def _hazelnut(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, _DARK, size=(0.85, 1.0))
    x, y = canvas.x, canvas.y
    nut = oval(x, y, 0.74, 0.82) + ripple(rng, x, y, 0.03) + 0.08 * np.clip(y - 0.4, 0, 1)
    angle = np.arctan2(x, y + 1.0)
    stripes = np.sin(angle * rng.uniform(26, 32) + 0.5 * noise(rng, side, 5))
    colours = tint(0.55 + 0.16 * stripes + 0.1 * noise(rng, side, 6, octaves=3), (0.36, 0.20, 0.10), (0.76, 0.50, 0.28))
    canvas.put(nut, colours, bulge=0.7)
    cap = np.maximum(nut, -(y + 0.42 + 0.1 * np.cos(3 * x)) * -1)
    canvas.put(cap, jitter(rng, (0.70, 0.56, 0.38)), bulge=0.2, mottle=0.12, grain=24)
    return canvas.finish()


def _metal_nut(rng: Generator, side: int) -> Picture:
    """A nut with four lobes."""
    canvas = Canvas(rng, side, _BLACK, drift=0.03)
    x, y = canvas.x, canvas.y
    angle = np.arctan2(y, x)
    body = np.hypot(x, y) - 0.74 - 0.09 * np.cos(4 * angle)
    canvas.put(body, jitter(rng, _STEEL), bulge=0.10, mottle=0.10, grain=20)
    canvas.put(ring(np.hypot(x, y) - 0.48, 0.05), jitter(rng, (0.46, 0.47, 0.50)), bulge=0.05)
    for i in range(4):
        a = i * np.pi / 2
        canvas.put(
            bar(x, y, (0.52 * np.cos(a), 0.52 * np.sin(a)), (0.74 * np.cos(a), 0.74 * np.sin(a)), 0.03), (0.4,) * 3
        )
    canvas.put(disc(x, y, 0.34), (0.05, 0.05, 0.06), object_=False)
    return canvas.finish()


def _pill(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, _DARK, turn=0.1)
    x, y = canvas.x, canvas.y
    body = oval(x, y, 0.82, 0.54)
    specks = np.clip((noise(rng, side, 36) - 1.5) * 2, 0, 1)[..., None]
    colours = jitter(rng, (0.90, 0.88, 0.84), 0.02) * (1 - specks) + specks * np.asarray((0.70, 0.30, 0.26))
    canvas.put(body, colours, bulge=0.3)
    canvas.put(np.maximum(ring(x, 0.012), body + 0.06), (0.66, 0.64, 0.60))
    for at in (-0.3, 0.3):
        canvas.put(ring(disc(x, y, 0.12, (at, 0)), 0.02), (0.68, 0.66, 0.62))
    return canvas.finish()


def _screw(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.80, 0.80, 0.80), size=(0.9, 1.05))
    x, y = canvas.x, canvas.y
    shaft = np.maximum(box(x, y, 0.62, 0.10, (0.18, 0)), (x - 0.80) + np.abs(y) * 1.2)
    teeth = 0.03 * (np.abs(((x * 9 + 0.6 * y) % 1) - 0.5) * 4 - 1) * (x > -0.12)
    head = np.minimum(
        box(x, y, 0.08, 0.28, (-0.72, 0), corner=0.06),
        np.maximum(np.abs(y) - 0.28 + (x + 0.64) * 0.9, np.abs(x + 0.56) - 0.18),
    )
    steel = jitter(rng, (0.52, 0.52, 0.52))
    canvas.shadow(np.minimum(shaft, head))
    threads = 0.72 + 0.4 * (0.5 + 0.5 * np.cos(2 * np.pi * (x * 9 + 0.6 * y))) * (x > -0.12) + 0.25 * (x <= -0.12)
    canvas.put(shaft - teeth, steel * threads[..., None], bulge=0.10)
    canvas.put(head, steel, bulge=0.12, mottle=0.05)
    return canvas.finish()


def _toothbrush(rng: Generator, side: int) -> Picture:
    """The head of a brush from above: a handle and rows of tufts."""
    canvas = Canvas(rng, side, _BLACK, turn=0.1, drift=0.04)
    x, y = canvas.x, canvas.y
    canvas.put(bar(x, y, (0, -0.45), (0, 0.50), 0.40), jitter(rng, (0.88, 0.88, 0.90)), bulge=0.12)
    canvas.put(bar(x, y, (0, 0.6), (0, 1.3), 0.16), jitter(rng, (0.88, 0.88, 0.90)), bulge=0.12)
    outer, inner = jitter(rng, (0.30, 0.50, 0.86)), jitter(rng, (0.92, 0.86, 0.45))
    for row in range(8):
        for column in range(4):
            edge = column in (0, 3) or row in (0, 7)
            at = ((column - 1.5) * 0.18 + rng.uniform(-0.012, 0.012), (row - 3.5) * 0.155 + rng.uniform(-0.012, 0.012))
            canvas.put(disc(x, y, 0.072, at), outer if edge else inner, bulge=0.07)
    return canvas.finish()


def _transistor(rng: Generator, side: int) -> Picture:
    """A transistor with three leads above a pierced board."""
    canvas = Canvas(rng, side, (0.66, 0.48, 0.36), turn=0.05, drift=0.03)
    x, y = canvas.x, canvas.y
    pierced = np.hypot((x / 0.27 + 0.5) % 1 - 0.5, (y / 0.27 + 0.5) % 1 - 0.5) * 0.27 - 0.045
    canvas.put(pierced, (0.16, 0.11, 0.09), object_=False)
    for at in (-0.27, 0.0, 0.27):
        canvas.put(box(x, y, 0.045, 0.42, (at, 0.44)), jitter(rng, _STEEL), bulge=0.045)
    case = box(x, y, 0.46, 0.42, (0, -0.30), corner=0.10)
    canvas.shadow(case, 0.4, 0.06)
    canvas.put(case, jitter(rng, (0.12, 0.12, 0.13), 0.015), bulge=0.10, mottle=0.10, grain=30)
    for row in range(2):
        canvas.put(box(x, y, 0.26 - 0.06 * row, 0.025, (0, -0.36 + 0.13 * row)), (0.42, 0.42, 0.42))
    return canvas.finish()


def _zipper(rng: Generator, side: int) -> Picture:
    """Two rows of teeth between two tapes."""
    canvas = Canvas(rng, side, (0.85,) * 3, turn=0.03, drift=0.03, size=(1.0, 1.08))
    x, y = canvas.x, canvas.y
    cloth = 0.24 + 0.045 * np.sin(x * 95) * np.sin(y * 95)
    canvas.put(np.abs(x) - 0.72, np.repeat(cloth[..., None], 3, 2), mottle=0.08, grain=30)
    for way in (-1, 1):
        canvas.put(ring(np.abs(x * way - 0.42), 0.014), (0.14,) * 3)
    phase = rng.uniform(0, 1)
    for i in range(-10, 11):
        for way in (-1, 1):
            at = (way * 0.10, (i + phase + (0.5 if way > 0 else 0)) * 0.105)
            canvas.put(
                box(x, y, 0.15, 0.034, at, corner=0.02), jitter(rng, (0.60,) * 3, 0.02).mean() * np.ones(3), bulge=0.034
            )
    return canvas.finish()


def _pcb(rng: Generator, side: int, *, board: RGB, layout: int, parts: int) -> Picture:
    """A circuit board: tracks, pads, chips, at places that are the same on every board of the type."""
    plan = np.random.default_rng(layout)
    canvas = Canvas(rng, side, _BLACK, turn=0.04, drift=0.03)
    x, y = canvas.x, canvas.y
    base = jitter(rng, board, 0.03)
    outline = box(x, y, 0.92, 0.80, corner=0.04)
    canvas.put(outline, base, mottle=0.04)
    for _ in range(9):
        ax, ay = plan.uniform(-0.75, 0.75, 2)
        bx, by = plan.uniform(-0.65, 0.65, 2)
        track = np.minimum(bar(x, y, (ax, ay), (bx, ay), 0.014), bar(x, y, (bx, ay), (bx, by), 0.014))
        canvas.put(np.maximum(track, outline + 0.06), np.clip(base * 1.45 + 0.06, 0, 1))
    for _ in range(24):
        at = plan.uniform(-0.8, 0.8), plan.uniform(-0.68, 0.68)
        canvas.put(ring(disc(x, y, 0.035, at), 0.016), jitter(rng, _BRASS, 0.02))
    for k in range(parts):
        at = (-0.6 + 1.2 * (k % 3) / 2 + plan.uniform(-0.08, 0.08), (-0.42, 0.36)[k // 3 % 2] + plan.uniform(-0.1, 0.1))
        at = (at[0] + rng.uniform(-0.012, 0.012), at[1] + rng.uniform(-0.012, 0.012))
        wide, high = plan.uniform(0.10, 0.20), plan.uniform(0.09, 0.18)
        kind = k % 4
        for i in range(5):
            pin = at[0] - wide + wide * 2 * (i + 0.5) / 5
            canvas.put(box(x, y, 0.018, high + 0.05, (pin, at[1])), jitter(rng, _STEEL, 0.02))
        if kind == 1:
            canvas.put(disc(x, y, max(wide, high) * 0.85, at), jitter(rng, (0.76, 0.77, 0.80)), bulge=0.05)
        else:
            colour = ((0.10, 0.10, 0.11), _BRASS, (0.16, 0.16, 0.18), (0.85, 0.84, 0.80))[kind]
            canvas.put(box(x, y, wide, high, at, corner=0.02), jitter(rng, colour, 0.015), bulge=0.03)
    for at in ((-0.82, -0.70), (0.82, -0.70), (-0.82, 0.70), (0.82, 0.70)):
        canvas.put(disc(x, y, 0.06, at), jitter(rng, _BRASS, 0.02))
        canvas.put(disc(x, y, 0.03, at), _BLACK, object_=False)
    return canvas.finish()


def _bracket(rng: Generator, side: int, *, paint: RGB, ground: RGB) -> Picture:
    """A bent sheet with slots."""
    canvas = Canvas(rng, side, ground, turn=0.5)
    x, y = canvas.x, canvas.y
    body = np.minimum(box(x, y, 0.80, 0.22, (0, 0.28), corner=0.08), box(x, y, 0.24, 0.56, (-0.50, -0.10), corner=0.08))
    body = np.minimum(body, box(x, y, 0.16, 0.40, (0.58, 0.0), corner=0.08))
    canvas.shadow(body)
    canvas.put(body, jitter(rng, paint, 0.03), bulge=0.09, mottle=0.04)
    for at in ((-0.50, -0.42), (0.05, 0.28), (0.58, -0.2), (-0.50, 0.26)):
        canvas.put(disc(x, y, 0.075, at), np.asarray(ground) * 0.45, object_=False)
    return canvas.finish()


def _connector(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.72, 0.70, 0.66), turn=0.4)
    x, y = canvas.x, canvas.y
    body = box(x, y, 0.78, 0.46, corner=0.10)
    canvas.shadow(body)
    canvas.put(body, jitter(rng, (0.86, 0.86, 0.82)), bulge=0.10)
    canvas.put(box(x, y, 0.66, 0.32, corner=0.04), jitter(rng, (0.62, 0.62, 0.58)), bulge=0.05)
    for i in range(5):
        for row in (-0.14, 0.14):
            at = ((i - 2) * 0.25, row)
            canvas.put(box(x, y, 0.075, 0.085, at, corner=0.02), (0.14, 0.14, 0.15))
            canvas.put(disc(x, y, 0.04, at), jitter(rng, _BRASS), bulge=0.04)
    return canvas.finish()


def _metal_plate(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, _DARK, turn=0.3)
    x, y = canvas.x, canvas.y
    plate = box(x, y, 0.84, 0.66, corner=0.05)
    steel = tint(
        0.5 + 0.10 * noise(rng, side, 4, octaves=4, stretch=8), (0.50, 0.51, 0.53), jitter(rng, (0.76, 0.77, 0.79))
    )
    canvas.put(plate, steel, bulge=0.04)
    for at in ((-0.66, -0.48), (0.66, -0.48), (-0.66, 0.48), (0.66, 0.48)):
        canvas.put(disc(x, y, 0.09, at), _DARK, object_=False)
    return canvas.finish()


def _tubes(rng: Generator, side: int) -> Picture:
    canvas = Canvas(rng, side, (0.20, 0.24, 0.30), turn=0.7, size=(0.95, 1.1))
    for i in range(4):
        y = (i - 1.5) * 0.44 + rng.uniform(-0.03, 0.03)
        tube = bar(canvas.x, canvas.y, (-0.72 + rng.uniform(-0.1, 0.1), y), (0.72 + rng.uniform(-0.1, 0.1), y), 0.17)
        canvas.shadow(tube, 0.4, 0.05)
        canvas.put(tube, jitter(rng, (0.78, 0.78, 0.76)), bulge=0.17, mottle=0.03)
        canvas.put(np.maximum(ring(canvas.x + 0.5, 0.05), tube), jitter(rng, (0.46, 0.47, 0.50)), bulge=0.17)
    return canvas.finish()


OBJECTS: dict[str, Callable[[Generator, int], Picture]] = {
    "bottle": _bottle,
    "cable": _cable,
    "capsule": _capsule,
    "hazelnut": _hazelnut,
    "metal_nut": _metal_nut,
    "pill": _pill,
    "screw": _screw,
    "toothbrush": _toothbrush,
    "transistor": _transistor,
    "zipper": _zipper,
    "pcb_green": partial(_pcb, board=(0.10, 0.36, 0.18), layout=1, parts=5),
    "pcb_blue": partial(_pcb, board=(0.10, 0.20, 0.46), layout=2, parts=4),
    "pcb_red": partial(_pcb, board=(0.48, 0.10, 0.10), layout=3, parts=6),
    "pcb_black": partial(_pcb, board=(0.15, 0.15, 0.17), layout=5, parts=3),
    "bracket_black": partial(_bracket, paint=(0.15, 0.15, 0.16), ground=(0.70, 0.70, 0.68)),
    "bracket_brown": partial(_bracket, paint=(0.44, 0.28, 0.18), ground=(0.60, 0.62, 0.64)),
    "bracket_white": partial(_bracket, paint=(0.88, 0.88, 0.86), ground=(0.30, 0.32, 0.36)),
    "connector": _connector,
    "metal_plate": _metal_plate,
    "tubes": _tubes,
}
"""Families of industrial parts and products, by name."""
