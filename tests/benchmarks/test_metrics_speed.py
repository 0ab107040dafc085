"""Pixel metrics beside the usual way, in one run: scikit-learn on all pixels and an exact AUPRO by sorting them.

Run with `pytest tests/benchmarks/test_metrics_speed.py`. Nothing here asserts a time, since that depends on the
machine; the ratio of the two, and the peak memory, are printed and kept in the `extra_info` of pytest-benchmark.
"""

import time
import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score
from support.pictures import GRID, SIZE, scene

from benchmark.metrics.pixel import PixelMetrics

IMAGES = 40
CENTRES = (np.arange(GRID) + 0.5) * SIZE / GRID
# Rows of normalised Gaussians: a patch grid, upsampled and smoothed in one product.
UPSAMPLE = np.exp(-(((np.arange(SIZE)[:, None] - CENTRES) / 12) ** 2) / 2)
UPSAMPLE = (UPSAMPLE / UPSAMPLE.sum(axis=1, keepdims=True)).astype(np.float32)


def picture(seed):
    """A smooth map of probabilities (518, 518) and its mask; every second image is normal."""
    mask, logits = scene(seed)
    return 1 / (1 + np.exp(-(UPSAMPLE @ logits.astype(np.float32) @ UPSAMPLE.T))), mask


def with_states(pictures):
    metrics = PixelMetrics()
    for anomaly_map, mask in pictures:
        metrics.update(anomaly_map, mask)
    return metrics.compute()


def by_sorting(pictures):
    """AUROC and AP by scikit-learn, AUPRO from one descending sort of all pixels."""
    scores = np.concatenate([anomaly_map.ravel() for anomaly_map, _ in pictures])
    labels = np.concatenate([mask.ravel() for _, mask in pictures])
    weights, regions = np.zeros(len(scores)), 0
    for index, (_, mask) in enumerate(pictures):
        numbered, count = ndimage.label(mask, structure=np.ones((3, 3)))
        if count:
            inside = numbered.ravel() > 0
            numbers = numbered.ravel()[inside]
            weights[index * SIZE * SIZE :][: SIZE * SIZE][inside] = 1 / np.bincount(numbers)[1:][numbers - 1]
            regions += count
    order = np.argsort(-scores)
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    fpr = np.append(0, np.cumsum(~labels[order])[last] / np.count_nonzero(~labels))
    pro = np.append(0, np.cumsum(weights[order])[last] / regions)
    kept = fpr <= 0.3
    pro, fpr = np.append(pro[kept], np.interp(0.3, fpr, pro)), np.append(fpr[kept], 0.3)
    return {
        "pixel_auroc": roc_auc_score(labels, scores),
        "pixel_ap": average_precision_score(labels, scores),
        "pixel_aupro": np.trapezoid(pro, fpr) / 0.3,
    }


def test_time_beside_sorting(benchmark, capsys):
    pictures = [picture(seed) for seed in range(IMAGES)]
    times = []
    for _ in range(2):
        start = time.perf_counter()
        expected = by_sorting(pictures)
        times.append(time.perf_counter() - start)
    values = benchmark.pedantic(with_states, args=(pictures,), rounds=5, warmup_rounds=1)
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, abs=1e-5), name
    if benchmark.stats is None:  # --benchmark-disable
        return
    states, sorting = benchmark.stats.stats.min, min(times)  # what else the machine does makes both longer
    benchmark.extra_info |= {
        "against": "scikit-learn's AUROC and AP, and an exact AUPRO by one sort",
        "ours_s": states,
        "theirs_s": sorting,
        "ratio": sorting / states,
    }
    with capsys.disabled():
        print(
            f"\n{IMAGES} maps of {SIZE}x{SIZE}: five values from states {states:.3f} s, "
            f"three by sorting {sorting:.2f} s, ratio {sorting / states:.0f}"
        )
        print("largest difference", max(abs(values[name] - expected[name]) for name in expected))


@pytest.mark.parametrize("images", [IMAGES, 10 * IMAGES])
def test_peak_memory(benchmark, capsys, images):
    def peak():
        tracemalloc.start()
        values = with_states(picture(seed) for seed in range(images))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return values, peak / 1e6

    values, megabytes = benchmark.pedantic(peak, rounds=1)
    assert all(value is not None for value in values.values())
    benchmark.extra_info["peak_MB"] = megabytes
    with capsys.disabled():
        print(f"\n{images} images, one at a time: peak {megabytes:.0f} MB")
