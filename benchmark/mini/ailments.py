"""Defects of medical images (lesion, polyp, tumour, …). Each function paints one, as in `benchmark.mini.painters`."""

import numpy as np
from scipy import ndimage

from benchmark.mini.brush import axes, blob, local_colour, over, size_of, texture
from benchmark.mini.draw import Floats, Generator, Picture
from benchmark.mini.painters import Painter


def _lesion(rng: Generator, picture: Picture) -> Floats:
    """A pigmented lesion of the skin: darker, mottled, its border ragged and soft."""
    radius = size_of(rng, picture, 0.03, 0.20)
    d, _ = blob(rng, picture, radius, rough=0.35)
    d = d + radius * 0.05 * texture(rng, picture, 14)
    local = local_colour(picture, d)
    pigment = local * np.asarray((0.58, 0.42, 0.36)) * rng.uniform(0.75, 1.1)
    mottle = np.clip(1 + 0.16 * texture(rng, picture, 9) + 0.25 * np.clip(d / radius, -1, 0), 0.4, 1.3)[..., None]
    return over(picture, 0.5 - d / (0.16 * radius), pigment * mottle)


def _polyp(rng: Generator, picture: Picture) -> Floats:
    """A raised bump of the colon's wall: redder, lit on one side, shadowed at its foot, wet."""
    radius = size_of(rng, picture, 0.025, 0.18)
    d, (cx, cy) = blob(rng, picture, radius, rough=0.12, room=0.9, oblong=1.4)
    local = local_colour(picture, d)
    inside = np.clip(-d / radius, 0, 1)
    height = np.sqrt(np.clip(1 - (1 - inside) ** 2, 0, 1))
    dy, dx = np.gradient(ndimage.gaussian_filter(height, 1.0) * radius)
    angle = rng.uniform(0, 2 * np.pi)
    lit = np.clip(1.1 + 0.28 * (np.cos(angle) * dx + np.sin(angle) * dy), 0.55, 1.5)
    flesh = np.clip(local * rng.uniform(1.25, 1.5) + np.asarray((0.16, 0.02, 0.03)), 0, 1)
    vessels = 1 + 0.06 * texture(rng, picture, 20)
    x, y = axes(picture)
    gx, gy = cx + np.cos(angle) * radius * 0.35, cy + np.sin(angle) * radius * 0.35
    wet = np.exp(-(((x - gx) ** 2 + (y - gy) ** 2) / (2 * (0.10 * radius + 0.6) ** 2))) * 0.5
    body = over(picture, 0.5 - d / 1.6, flesh * (lit * vessels)[..., None] + wet[..., None])
    return body * (1 - 0.35 * np.exp(-(((d - 1.5) / 1.8) ** 2)))[..., None]


def _nodule(rng: Generator, picture: Picture) -> Floats:
    """A nodule of the thyroid in ultrasound: a dark ellipse, its rim and the tissue behind it brighter."""
    radius = size_of(rng, picture, 0.02, 0.14)
    d, _ = blob(rng, picture, radius, rough=0.12, room=0.8)
    dark = rng.uniform(0.18, 0.42)
    inner = np.clip(0.5 - d / 3, 0, 1) * np.clip(1 + 0.15 * texture(rng, picture, 8), 0.6, 1.2)
    rim = np.exp(-(((d - 0.5) / 1.5) ** 2)) * 0.45
    return picture.pixels * (1 - (1 - dark) * inner + rim * (d > -1))[..., None]


def _hemorrhage(rng: Generator, picture: Picture) -> Floats:
    """Fresh blood in a CT slice: brighter than the brain, of even density."""
    d, _ = blob(rng, picture, size_of(rng, picture, 0.012, 0.09), rough=0.35, room=0.6, oblong=2.2)
    return over(
        picture,
        np.clip(0.5 - d / 3, 0, 0.95),
        np.asarray(rng.uniform(0.66, 0.78)) * np.clip(1 + 0.03 * texture(rng, picture, 20), 0, 2)[..., None],
    )


def _tumour(rng: Generator, picture: Picture) -> Floats:
    """A tumour in MRI: a bright uneven mass, some with a dark core, some with a soft oedema around."""
    radius = size_of(rng, picture, 0.02, 0.10)
    d, _ = blob(rng, picture, radius, rough=0.3, room=0.7)
    mass = rng.uniform(0.74, 0.88) * np.clip(1 + 0.07 * texture(rng, picture, 12), 0, 1.3)
    if rng.random() < 0.5:
        mass = mass - 0.5 / (1 + np.exp((d + radius * 0.6) / 1.2))
    pixels = over(picture, np.clip(0.5 - d / 2.5, 0, 1), mass[..., None])
    return pixels + (0.12 * np.exp(-np.clip(d, 0, None) / (0.3 * radius)) * (d > 0))[..., None]


def _opacity(rng: Generator, picture: Picture) -> Floats:
    """Patchy opacities of the lungs."""
    pixels = picture.pixels.astype(np.float64)
    for _ in range(rng.integers(2, 5)):
        radius = size_of(rng, picture, 0.015, 0.06)
        d, _ = blob(rng, picture, radius, rough=0.6, room=0.5)
        haze = 1 / (1 + np.exp(d / (0.22 * radius))) * rng.uniform(0.20, 0.30)
        pixels = pixels + (haze * np.clip(1 + 0.3 * texture(rng, picture, 14), 0.3, 1.7))[..., None]
    return np.minimum(pixels, np.maximum(picture.pixels, 0.78))


AILMENTS: dict[str, Painter] = {
    "lesion": _lesion,
    "polyp": _polyp,
    "nodule": _nodule,
    "hemorrhage": _hemorrhage,
    "tumour": _tumour,
    "opacity": _opacity,
}
"""Medical kinds, by name."""
