"""What comes after the vision tower beside the usual way, in one run, with a stub of a tower that costs nothing.

Five methods, two of which smooth their maps, score images of 518 px with masks: all metrics, those of kinds of defect,
and results per image. The usual way interpolates and filters each map, labels each mask for each method, and sorts the
pixels of each map for its histogram, all in the thread of the tower.

Run with `pytest tests/benchmarks/test_scoring_speed.py`. Nothing here asserts a time: figures are printed and kept in
the `extra_info` of pytest-benchmark.
"""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.ndimage import gaussian_filter
from support.pictures import GRID, SIZE, scene

from benchmark.common.regions import find_regions
from benchmark.common.settings import Settings
from benchmark.contract import Features, LayerLogits, Method, NoOptions, Prediction, VisionSpec
from benchmark.data.layouts import Sample
from benchmark.data.loading import Loaded
from benchmark.metrics.histogram import order_keys
from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.per_image import FINE_BINS
from benchmark.metrics.pixel import DEFECT_BINS, PixelMetrics, image_pixels, pixel_histogram
from benchmark.protocol import Protocol
from benchmark.running import evaluate
from benchmark.running.accumulator import DefectAccumulator
from benchmark.running.class_run import Participant
from benchmark.running.maps import at_evaluation_size

BATCH, CLASSES, KINDS = 8, 2, 8
IMAGES = 64  # of each class; half of them anomalous
SMOOTHING = (0.0, 0.0, 0.0, 4.0, 4.0)
TOWER = 0.025  # seconds of an image in a tower that is not free
CORES = tuple(range(1, min(2, len(os.sched_getaffinity(0))) + 1)) if hasattr(os, "sched_getaffinity") else (1,)


class Given(Method):
    """Gives the map that the stub of a tower says, which costs next to nothing."""

    name, title, paper = "given", "Given", "none"

    def __init__(self, place):
        super().__init__(None, NoOptions())
        self.place, self.smoothing = place, SMOOTHING[place]

    def vision(self):
        return VisionSpec(SIZE)

    def predict(self, features, class_names):
        maps = torch.sigmoid(features.image.unflatten(1, (GRID, GRID)) * (1 + 0.1 * self.place))
        return Prediction(maps.amax((1, 2)), maps)


class Stub:
    """A tower on a device of its own: the first pixel of an image says which map it has."""

    device = "stub"
    sha256 = architecture = dtype = mean = std = "stub"

    def __init__(self, logits, seconds):
        self.logits, self.seconds, self.times = logits, seconds, []

    @property
    def waiting(self):
        """The share of the time between its first and its last batch in which it had nothing to do."""
        busy = sum(end - start for start, end in self.times)
        return 1 - busy / (self.times[-1][1] - self.times[0][0])

    def variant(self, variant):
        return self

    def in_effect(self, image_size):
        return None

    def encode_images(self, images, spec):
        start = time.perf_counter()
        time.sleep(self.seconds * len(images))
        self.times.append((start, time.perf_counter()))
        chosen = self.logits[images[:, 0, 0, 0].int()].flatten(1)
        return Features(image=chosen, image_raw=chosen, patches={}, cls={}, grid=GRID)


@pytest.fixture(scope="module")
def images():
    """The logits of the images, and the images in batches as they come from those who read them."""
    masks, logits = zip(*map(scene, range(IMAGES)), strict=True)
    batches = []
    for name in "ab"[:CLASSES]:
        items = []
        for place, mask in enumerate(masks):
            kind = f"kind {place // 2 % KINDS}" if place % 2 else ""
            sample = Sample(f"{name}/{place}", Path(f"{name}/{place}"), name, name, place % 2, kind, "test", None, None)
            items.append((Loaded(sample, np.full((3, SIZE, SIZE), place, np.uint8), find_regions(mask)),))
        batches += [items[start : start + BATCH] for start in range(0, IMAGES, BATCH)]
    return torch.from_numpy(np.stack(logits)).float(), batches


@pytest.fixture(params=CORES, ids=lambda cores: f"{cores} cores" if cores > 1 else "1 core")
def cores(request):
    allowed, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, set(sorted(allowed)[: request.param]))
    torch.set_num_threads(request.param)
    yield request.param
    os.sched_setaffinity(0, allowed)
    torch.set_num_threads(threads)


def ours(batches, tower, monkeypatch):
    monkeypatch.setattr(evaluate, "load_at_sizes", lambda *args, **how: iter(batches))
    card = SimpleNamespace(name="scenes", domain="custom")
    data = SimpleNamespace(card=card, has_masks=True, test=(), ranges=None, layout=SimpleNamespace(mask_threshold=0))
    classes = frozenset("ab"[:CLASSES])
    taking_part = [Participant(Given(place), classes) for place in range(len(SMOOTHING))]
    settings = Settings(Path(), batch_size=BATCH)
    return list(evaluate.evaluate(taking_part, tower, data, protocol=Protocol(), settings=settings))


def smoothed(maps, sigma):
    resized = F.interpolate(maps[:, None], size=(SIZE, SIZE), mode="bilinear")[:, 0].numpy()
    return np.stack([gaussian_filter(each, sigma) for each in resized]) if sigma else resized


def softmax_of_layers(differences):
    logits = torch.stack([torch.zeros_like(differences), differences], dim=2).flatten(0, 1)
    resized = F.interpolate(logits, size=(SIZE, SIZE), mode="bilinear", align_corners=True)
    return resized.softmax(1)[:, 1].reshape(len(differences), -1, SIZE, SIZE).sum(1).numpy()


def sorted_histogram(anomaly_map, mask):
    """Sums by key of the pixels of an image, by sorting its keys."""
    keys, weights = order_keys(anomaly_map).ravel(), np.zeros(mask.size)
    weights[mask.ravel()] = find_regions(mask).weights
    bins, place, counts = np.unique(keys >> np.uint32(14), return_inverse=True, return_counts=True)
    return bins, counts, np.bincount(place, mask.ravel()), np.bincount(place, weights)


def usual(batches, tower):
    methods = [Given(place) for place in range(len(SMOOTHING))]
    for first in range(0, len(batches), len(batches) // CLASSES):
        states = [(ImageMetrics(), PixelMetrics(), {}, []) for _ in methods]
        for batch in batches[first : first + len(batches) // CLASSES]:
            items = [item for (item,) in batch]
            features = tower.encode_images(torch.from_numpy(np.stack([item.image for item in items])), None)
            for method, (image, pixel, kinds, histograms) in zip(methods, states, strict=True):
                prediction = method.predict(features, [])
                maps = smoothed(prediction.maps, method.smoothing)
                for item, score, anomaly_map in zip(items, prediction.scores.tolist(), maps, strict=True):
                    mask, kind = item.mask, item.sample.defect
                    image.update(score, item.sample.label)
                    pixel.update(anomaly_map, mask)
                    if kind:
                        kinds.setdefault(kind, PixelMetrics(max_bins=DEFECT_BINS)).update(anomaly_map, mask)
                    histograms.append(sorted_histogram(anomaly_map, mask))
        for _, pixel, kinds, _ in states:
            for each in (pixel, *kinds.values()):
                each.compute()
                each.compute_ranges()


def timed(work):
    """Return the wall time and the processor time of work, in seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def test_images_per_second_of_all_after_a_tower_that_costs_nothing(benchmark, capsys, images, cores, monkeypatch):
    logits, batches = images
    theirs, theirs_processor = timed(lambda: usual(batches, Stub(logits, 0.0)))
    found = []
    benchmark.pedantic(lambda: found.append(timed(lambda: ours(batches, Stub(logits, 0.0), monkeypatch))), rounds=2)
    wall, processor = min(found)
    count = IMAGES * CLASSES
    benchmark.extra_info |= {
        "against": "interpolation, filter, labels and sorting per method",
        "ours_s": wall,
        "theirs_s": theirs,
        "ratio": theirs / wall,
        "images_per_s": count / wall,
        "processor_ms": 1000 * processor / count / len(SMOOTHING),
    }
    with capsys.disabled():
        for who, (seconds, spent) in {"usual": (theirs, theirs_processor), "ours": (wall, processor)}.items():
            print(
                f"\n{cores} core(s), {who}: {count / seconds:.1f} images/s of five methods, "
                f"{1000 * spent / count / len(SMOOTHING):.2f} ms of a core per image and method",
                end="",
            )


def test_waiting_share_of_a_tower_of_25_ms_an_image(benchmark, capsys, images, cores, monkeypatch):
    logits, batches = images
    theirs, shares = Stub(logits, TOWER), []
    usual(batches[::4], theirs)

    def run():
        tower = Stub(logits, TOWER)
        ours(batches, tower, monkeypatch)
        shares.append(tower.waiting)

    benchmark.pedantic(run, rounds=2)
    benchmark.extra_info |= {"waiting_share": min(shares), "usual_waiting_share": theirs.waiting}
    with capsys.disabled():
        print(
            f"\n{cores} core(s): between its batches the tower waits for {100 * min(shares):.1f} % of the time, "
            f"in the usual way for {100 * theirs.waiting:.1f} %"
        )


def test_parts(benchmark, capsys, images):
    """Processor time of each part for a map that is smoothed, least of several rounds."""
    logits, batches = images
    maps = torch.sigmoid(logits[:BATCH])
    items = [item for (item,) in batches[0]]
    (_, evaluated) = at_evaluation_size(Prediction(maps, maps), image_size=SIZE, smoothing=4.0)
    pixels = [image_pixels(*each) for each in zip(evaluated, (item.regions for item in items), strict=True)]
    masks = [item.mask for item in items]
    layers = LayerLogits(
        torch.randn(BATCH, 4, GRID, GRID, generator=torch.Generator().manual_seed(0)),
        corners_aligned=True,
        softmax_last=True,
    )

    def least(work, per):
        return 1000 * min(timed(work)[1] for _ in range(5)) / per

    def fill(state):
        for each in pixels * 6:
            state.add(each)
        state.histogram()

    def by_masks(state):
        for _ in range(6):
            for anomaly_map, mask in zip(evaluated, masks, strict=True):
                state.update(anomaly_map, mask)
        state.histogram()

    parts = {
        "resize and smooth": (
            lambda: at_evaluation_size(Prediction(maps, maps), image_size=SIZE, smoothing=4.0),
            lambda: smoothed(maps, 4.0),
            BATCH,
        ),
        "four layers": (
            lambda: at_evaluation_size(Prediction(maps, layers), image_size=SIZE, smoothing=0.0),
            lambda: softmax_of_layers(layers.differences),
            BATCH,
        ),
        "four layers, smoothed": (
            lambda: at_evaluation_size(Prediction(maps, layers), image_size=SIZE, smoothing=4.0),
            lambda: [gaussian_filter(each, 4.0) for each in softmax_of_layers(layers.differences)],
            BATCH,
        ),
        "keys": (
            lambda: [image_pixels(*each) for each in zip(evaluated, (item.regions for item in items), strict=True)],
            lambda: [image_pixels(*each) for each in zip(evaluated, map(find_regions, masks), strict=True)],
            BATCH,
        ),
        "class": (lambda: fill(PixelMetrics()), lambda: by_masks(PixelMetrics()), 6 * BATCH),
        "kind of defect": (
            lambda: fill(DefectAccumulator().pixel),
            lambda: by_masks(PixelMetrics(max_bins=DEFECT_BINS)),
            6 * BATCH,
        ),
        "results per image": (
            lambda: [pixel_histogram(each, max_bins=FINE_BINS) for each in pixels],
            lambda: [sorted_histogram(*each) for each in zip(evaluated, masks, strict=True)],
            BATCH,
        ),
    }
    spent = {name: (least(mine, per), least(theirs, per)) for name, (mine, theirs, per) in parts.items()}
    benchmark.pedantic(parts["resize and smooth"][0], rounds=3)
    with capsys.disabled():
        print("\nms of one core per map, ours and the usual way:")
        for name, (mine, theirs) in spent.items():
            print(f"{name:22} {mine:6.2f} {theirs:6.2f}")
            benchmark.extra_info[name] = {
                "against": "the usual way",
                "ours_s": mine / 1000,
                "theirs_s": theirs / 1000,
                "ratio": theirs / mine,
            }
