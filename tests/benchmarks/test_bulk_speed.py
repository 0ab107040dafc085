"""What the harness costs for an image of a large dataset, beside a bare loop that reads the same images and masks.

The images have 28 px and the method has no tower, so all that is left is the harness. Run with
`pytest tests/benchmarks/test_bulk_speed.py`; `BULK_IMAGES=100000` takes the size of Real-IAD. Nothing here asserts a
time: processor times are printed and kept in the `extra_info` of pytest-benchmark.
"""

import os
import resource
import time

import numpy as np
import pytest
from PIL import Image
from support.bulk import bulk_jobs, make_bulk, read_bulk
from support.running import run_jobs

from benchmark.common.settings import Settings

IMAGES = int(os.environ.get("BULK_IMAGES", "6000"))


def bare(data):
    """Read each image and mask, as 8-bit RGB and grey."""
    total = 0
    for sample in data.test:
        with Image.open(sample.path) as image:
            total += np.asarray(image.convert("RGB")).shape[0]
        if sample.mask is not None:
            with Image.open(sample.mask) as mask:
                total += np.asarray(mask.convert("L")).shape[0]
    return total


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def test_overhead_per_image(benchmark, capsys, tmp_path, own_cache):
    make_bulk(tmp_path / "warm", 60, classes=2)
    run_jobs(bulk_jobs(read_bulk(tmp_path / "warm", classes=2)), Settings(tmp_path / "unused", workers=0))
    count = make_bulk(tmp_path / "data", IMAGES)
    settings, spent, before = Settings(tmp_path / "results", workers=0), {}, peak_mb()

    def timed(name, work):
        start = time.process_time()
        result = work()
        spent[name] = time.process_time() - start
        return result

    def plan():
        return bulk_jobs(read_bulk(tmp_path / "data"))

    jobs = timed("plan", plan)
    timed("bare", lambda: bare(jobs[0].samples))
    (record,) = benchmark.pedantic(timed, args=("run", lambda: run_jobs(jobs, settings)), rounds=1)
    peak = peak_mb() - before
    timed("again", lambda: run_jobs(plan(), settings))
    each = {name: 1000 * seconds / count for name, seconds in spent.items()}
    ours = spent["plan"] + spent["run"]
    benchmark.extra_info |= {
        "against": "a bare loop that reads the images and masks",
        "ours_s": ours,
        "theirs_s": spent["bare"],
        "ratio": spent["bare"] / ours,
        "overhead_ms": each["plan"] + each["run"] - each["bare"],
        "metrics_ms": 1000 * record.run.seconds["metrics"] / count,
        "plan_ms": each["plan"],
        "again_ms": each["again"],
        "more_memory_mb": peak,
    }
    told = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in each.items())
    with capsys.disabled():
        print(f"\n{count} images, ms of each: {told}; {peak:.0f} MB more at the peak")
