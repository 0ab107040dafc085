"""Families that resemble medical images. Defects lie inside the organ only."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from benchmark.mini.draw import (
    Canvas,
    Floats,
    Generator,
    Picture,
    axes,
    disc,
    finish,
    jitter,
    noise,
    oval,
    ripple,
    tint,
)


def _head_ct(rng: Generator, side: int) -> Picture:
    """A slice of a head: bright skull, grey brain, dark ventricles."""
    canvas = Canvas(rng, side, (0.02, 0.02, 0.02), turn=0.15, size=(0.84, 0.97), mottle=0)
    x, y = canvas.x, canvas.y
    a, b = rng.uniform(0.68, 0.76), rng.uniform(0.84, 0.92)
    skull = oval(x, y, a, b) + ripple(rng, x, y, 0.02)
    canvas.put(skull - 0.05, (0.24,) * 3)
    canvas.put(skull, (0.95,) * 3, mottle=0.02)
    canvas.foreground[:] = False
    brain = skull + rng.uniform(0.07, 0.1)
    canvas.put(brain, (0.44,) * 3, mottle=0.045, grain=14)
    canvas.put(np.maximum(np.abs(x) - 0.008, brain + 0.02), (0.48,) * 3)
    canvas.foreground &= brain < -0.03
    for way in (-1, 1):
        wing = _wing(x, y, way, rng.uniform(0.8, 1.2))
        canvas.put(wing, (0.22,) * 3, object_=False)
    return finish(rng, np.clip(canvas.pixels, 0, 1)[..., :1].mean(2), canvas.foreground, grain=0.012)


def _wing(x: Floats, y: Floats, way: int, size: float) -> Floats:
    """Return the distance to one lateral ventricle."""
    bow = 0.10 + 0.35 * (y + 0.05) ** 2
    return np.asarray(np.hypot((x * way - bow) * 3.2, y + 0.03) - 0.24 * size) / 3.2


def _brain_mri(rng: Generator, side: int) -> Picture:
    """A slice of a brain: thin scalp, dark gap, folded cortex."""
    x, y = axes(side)
    scale = rng.uniform(0.82, 0.95)
    x, y = (x - rng.uniform(-0.04, 0.04)) / scale, (y - rng.uniform(-0.04, 0.04)) / scale
    brain = oval(x, y, rng.uniform(0.70, 0.76), rng.uniform(0.82, 0.90)) + ripple(rng, x, y, 0.015)
    scalp = np.exp(-(((brain - 0.14) / 0.03) ** 2)) * 0.6
    folds = np.abs(noise(rng, side, 11, octaves=1))
    rim = np.exp(brain / 0.2)
    tissue = 0.45 + 0.07 * noise(rng, side, 5, octaves=2) - 0.36 * rim * np.clip(1 - folds * 1.8, 0, 1) + 0.08 * rim
    inside = np.clip(0.5 - brain * side / 3, 0, 1)
    field = tissue * inside + scalp + 0.02
    field = field - 0.18 * np.clip(1 - np.abs(x) * 45, 0, 1) * inside * (np.abs(y) > 0.3)
    wings = np.minimum(_wing(x, y, 1, rng.uniform(0.8, 1.1)), _wing(x, y, -1, rng.uniform(0.8, 1.1)))
    field = field - 0.27 * np.clip(0.5 - wings * side / 4, 0, 1)
    return finish(rng, np.clip(field, 0, 1), (brain < -0.06) & (wings > 0.03), grain=0.012)


def _chest_xray(rng: Generator, side: int) -> Picture:
    """A frontal radiograph: dark lungs between ribs, bright heart and spine."""
    x, y = axes(side)
    x, y = (x - rng.uniform(-0.04, 0.04)) / rng.uniform(0.92, 1.06), y / rng.uniform(0.94, 1.06) - rng.uniform(-0.05, 0)
    field = 0.72 + 0.03 * noise(rng, side, 4, octaves=2) - 0.25 * np.clip(np.abs(x) - 0.82, 0, 1)
    field = field - 0.5 / (1 + np.exp(((1.05 - np.abs(x)) * 0.9 + (y + 0.8) * 0.8) * 14))
    lungs = np.full((side, side), 9.0)
    for way in (-1, 1):
        half = rng.uniform(0.27, 0.31)
        centre = 0.44 - 0.12 * np.clip(-y, 0, 1)
        lung = (np.hypot((x * way - centre) / (half - 0.10 * np.clip(-y, 0, 1)), (y + 0.04) / 0.70) - 1) * half
        lungs = np.minimum(lungs, np.maximum(lung, (y - 0.56 - 0.25 * (x * way - 0.2))))
    field = field - 0.44 / (1 + np.exp(lungs * 28)) * (1 + 0.05 * noise(rng, side, 10, octaves=3))
    ribs = np.sin((y + 0.42 * (np.abs(x) - 0.35) ** 2 - 0.22 * np.abs(x)) * rng.uniform(20, 22) + rng.uniform(0, 6))
    field = field + 0.055 * np.clip(ribs, 0, 1) * (lungs < 0.08)
    field = field + 0.10 / (1 + np.exp((np.abs(x) - 0.09) * 50))
    heart = oval(x, y, 0.30, 0.42, (0.10, 0.32)) + ripple(rng, x - 0.1, y - 0.3, 0.02)
    field = np.maximum(field, 0.66 / (1 + np.exp(heart * 22)))
    return finish(rng, np.clip(field, 0, 0.97), (lungs < -0.02) & (heart > 0.04), grain=0.012)


def _skin(rng: Generator, side: int) -> Picture:
    """Skin through a dermatoscope."""
    x, y = axes(side)
    base = jitter(rng, (0.84, 0.64, 0.55), 0.06)
    field = 1 + 0.035 * noise(rng, side, 4, octaves=3) + 0.025 * noise(rng, side, 36, octaves=2)
    dark = np.clip(np.hypot(x, y) - 0.75, 0, 1)[..., None] * rng.uniform(0.2, 0.6)
    return finish(rng, np.clip(base * field[..., None] * (1 - dark), 0, 1))


def _colon(rng: Generator, side: int) -> Picture:
    """The inside of a colon: folds around a dark lumen, wet highlights, black corners."""
    x, y = axes(side)
    cx, cy = rng.uniform(-0.5, 0.5, 2)
    r = np.hypot(x - cx, y - cy) * (1 + 0.15 * noise(rng, side, 2)) + 0.04 * noise(rng, side, 4)
    folds = np.sin(np.log(r.clip(0.05) + 0.3) * rng.uniform(13, 17) + rng.uniform(0, 6))
    light = np.clip(0.35 + 0.65 * r, 0, 1) * (0.85 + 0.1 * folds) * (1 - 0.7 * np.exp(-((r / 0.22) ** 2)))
    flesh = tint(
        0.5 + 0.14 * noise(rng, side, 6, octaves=3), jitter(rng, (0.66, 0.26, 0.20)), jitter(rng, (0.93, 0.58, 0.46))
    )
    pixels = flesh * light[..., None]
    wet = np.clip((noise(rng, side, 16) - 2.2) * 4, 0, 1) * (folds > 0.2)
    pixels = pixels + ndimage.gaussian_filter(wet, 0.8)[..., None] * 0.7
    rim = np.maximum(np.hypot(x, y) - rng.uniform(1.08, 1.18), np.maximum(np.abs(x), np.abs(y)) - 0.96)
    seen = np.clip(0.5 - rim * side / 5, 0, 1)[..., None]
    return finish(rng, np.clip(pixels, 0, 1) * seen, (rim < -0.06) & (r > 0.25))


def _thyroid(rng: Generator, side: int) -> Picture:
    """An ultrasound image: layers of muscle above a gland of even speckle, shadow below."""
    x, y = axes(side)
    speckle = np.hypot(*(ndimage.gaussian_filter(rng.normal(0, 1, (side, side)), (0.7, 1.3)) for _ in range(2)))
    speckle = speckle / speckle.mean()
    depth = y + 0.06 * noise(rng, side, 2) + 0.08 * x**2
    level = 0.20 + 0.10 * np.sin(depth * rng.uniform(13, 16) + 1) * (depth < -0.35)
    gland = np.maximum(-0.38 - depth, depth - rng.uniform(0.42, 0.55))
    level = level + 0.26 / (1 + np.exp(gland * 30)) + 0.16 * np.exp(-((gland / 0.03) ** 2))
    level = level * (1 - 0.25 * np.clip(y, 0, 1)) * (1 + 0.07 * noise(rng, side, 4, octaves=2))
    field = level * (0.5 + 0.5 * speckle)
    return finish(rng, np.clip(field, 0, 1), (gland < -0.04) & (disc(x, y, 1.2) < 0) & (np.abs(x) < 0.93), grain=0.012)


def _liver_ct(rng: Generator, side: int) -> Picture:
    """A slice of an abdomen: a large grey liver on the left, a dark stomach on the right, a bright spine below."""
    x, y = axes(side)
    scale = rng.uniform(0.9, 1.0)
    x, y = (x - rng.uniform(-0.03, 0.03)) / scale, (y - rng.uniform(-0.03, 0.03)) / scale
    body = oval(x, y, 0.92, rng.uniform(0.68, 0.76)) + ripple(rng, x, y, 0.01)
    liver = oval(x, y, rng.uniform(0.48, 0.54), rng.uniform(0.42, 0.48), (-0.28, -0.08)) + ripple(rng, x, y, 0.04)
    stomach = oval(x, y, 0.24, 0.2, (0.46, -0.2)) + ripple(rng, x - 0.46, y + 0.2, 0.03)
    spine = disc(x, y, 0.13, (0.02, 0.42))
    field = 0.02 + 0.28 * _inside(body, side) - 0.06 * _inside(body + 0.1, side)
    field = field + (0.34 + 0.02 * noise(rng, side, 14, octaves=2)) * _inside(liver, side)
    field = field - 0.12 * _inside(stomach, side) + 0.5 * _inside(spine, side)
    return finish(rng, np.clip(field, 0, 1), (liver < -0.05) & (body < -0.05), grain=0.014)


def _retina_oct(rng: Generator, side: int) -> Picture:
    """Optical coherence tomography of a retina: bent layers of unlike brightness with a dip, speckle all over."""
    x, y = axes(side)
    at = rng.uniform(-0.2, 0.2)
    bend = rng.uniform(-0.12, 0.12) * x + rng.uniform(0.05, 0.15) * x**2 + 0.02 * noise(rng, side, 2)
    depth = y - bend - rng.uniform(-0.15, 0.1)
    top = -0.42 + 0.2 * np.exp(-(((x - at) / 0.22) ** 2))
    share = (depth - top) / (0.3 - top)  # 0 at the upper surface, 1 at the pigment layer
    layers = 0.42 + 0.16 * np.cos(share * rng.uniform(17, 19)) * (share < 0.85)
    layers = layers + 0.4 * np.exp(-(((share - 1) / 0.07) ** 2))
    below = 0.3 * np.exp(-np.clip(share - 1, 0, None) / 0.35)
    field = np.where(share < 1.08, layers * np.clip(share * 20, 0, 1), below)
    field = 0.04 + field * (1 + 0.12 * noise(rng, side, 60, octaves=2))
    return finish(rng, np.clip(field, 0, 1), (share > 0.12) & (share < 0.9) & (np.abs(x) < 0.93), grain=0.02)


def _inside(distance: Floats, side: int) -> Floats:
    """Return 1 inside a shape, 0 outside, and what is between at its edge."""
    return np.asarray(np.clip(0.5 - distance * side / 3, 0, 1))


MEDICAL: dict[str, Callable[[Generator, int], Picture]] = {
    "head_ct": _head_ct,
    "brain_mri": _brain_mri,
    "chest_xray": _chest_xray,
    "skin": _skin,
    "colon": _colon,
    "thyroid": _thyroid,
    "liver_ct": _liver_ct,
    "retina_oct": _retina_oct,
}
"""Every family of medical look-alikes, by name."""
