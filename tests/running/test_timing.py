"""Times and memory of a run on an accelerator, with a stub whose work ends only when somebody waits for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support.running import run_jobs

from benchmark.clip.backbone import Backbone
from benchmark.clip.weights import parse_backbone
from benchmark.common.machine import float32_precision, processor
from benchmark.common.settings import Settings
from benchmark.contract import BackboneVariant, Features, Method, Prediction, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.provenance import environment
from benchmark.records.records import Run
from benchmark.running import worker
from benchmark.running.planning import Setting, plan
from methods.clip import Clip, ClipOptions

VISION, EVERY_BATCH = 5.0, 4  # seconds of a batch in the vision tower, images of a batch


class Accelerator:
    """A device with a clock of its own; what is launched takes time only when it is waited for."""

    def __init__(self) -> None:
        self.clock, self.pending, self.peak = 0.0, 0.0, 0

    def launch(self, seconds: float, memory: int) -> None:
        self.pending += seconds
        self.peak = max(self.peak, memory)

    def synchronize(self, device: str) -> None:
        self.clock, self.pending = self.clock + self.pending, 0.0

    def reset_peak_memory_stats(self, device: str) -> None:
        self.peak = 0

    def max_memory_allocated(self, device: str) -> int:
        return self.peak

    def get_device_name(self, device: str) -> str:
        return "Stub"


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch, tiny: Backbone) -> Accelerator:
    """The device of the backbone that runs load, and the clock of this process."""
    stub = Accelerator()

    class OnStub:
        device = "cuda:0"

        def __getattr__(self, name: str) -> Any:
            return getattr(tiny, name)

        def variant(self, variant: BackboneVariant) -> "OnStub":
            return self

        def encode_images(self, images: torch.Tensor, spec: VisionSpec) -> Features:
            stub.launch(VISION, memory=spec.image_size)
            return tiny.encode_images(images, spec)

    for name in ("synchronize", "reset_peak_memory_stats", "max_memory_allocated", "get_device_name"):
        monkeypatch.setattr(torch.cuda, name, getattr(stub, name))
    monkeypatch.setattr("time.perf_counter", lambda: stub.clock)
    monkeypatch.setattr(worker, "loaded", lambda loading, cache, device: OnStub())
    STUB[:] = [stub]
    return stub


STUB: list[Accelerator] = []


def lasting(key: str, seconds: float, image_size: int = 112) -> type[Method]:
    """Return CLIP as a method whose prediction for a batch takes so long."""

    class Lasting(Clip):
        name, title = key, key

        def vision(self) -> VisionSpec:
            return VisionSpec(image_size, layers=super().vision().layers)

        def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
            STUB[0].launch(seconds, memory=0)
            return super().predict(features, class_names)

    return Lasting


def runs(methods: Sequence[type[Method]], parts: Path, results: Path) -> dict[str, Run]:
    setting = Setting(backbone_id(parse_backbone("tiny:random"), dtype="float32"), Protocol())
    data = read_folder(PlainFolder(directory=parts, class_name="metal nut"))
    jobs = plan([(method, ClipOptions()) for method in methods], [data], setting, seeds=[0]).jobs
    records = run_jobs(jobs, Settings(results, batch_size=EVERY_BATCH, workers=0))
    assert [record.status for record in records] == ["done"] * len(methods)
    return {record.cell.method: record.run for record in records}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.usefixtures("accelerator")
def test_each_part_of_a_pass_has_the_time_of_its_own_work(parts: Path, tmp_path: Path, order: tuple[int, int]) -> None:
    """Whatever the order of the methods: none is billed for the vision tower, nor for the other."""
    methods = [lasting("quick", 2.0), lasting("slow", 3.0)]
    found = runs([methods[place] for place in order], parts, tmp_path)
    batches = -(-13 // EVERY_BATCH)
    for name, seconds in (("quick", 2.0), ("slow", 3.0)):
        times = found[name].seconds
        assert (times["vision"], times["method"]) == (VISION * batches, seconds * batches)
        assert times["images"] == 0
        assert times.keys() == {"images", "vision", "method", "metrics", "total"}  # metrics: another clock
        assert times["total"] == (VISION + 2.0 + 3.0) * batches


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.usefixtures("accelerator")
def test_the_peak_of_the_memory_is_that_of_the_pass(parts: Path, tmp_path: Path, order: tuple[int, int]) -> None:
    methods = [lasting("large", 0.0, 112), lasting("small", 0.0, 56)]
    found = runs([methods[place] for place in order], parts, tmp_path)
    assert (found["large"].peak_memory, found["small"].peak_memory) == (112, 56)
    assert found["large"].device == "Stub"


def test_float32_has_full_precision_and_the_record_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.clip.backbone import load_backbone

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        assert environment()["float32_precision"] == "matrix products high, convolutions TF32"
        load_backbone(parse_backbone("tiny:random"))
        assert not torch.backends.cudnn.allow_tf32
        assert float32_precision() == "matrix products highest, convolutions highest"
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
    assert environment()["processor"] == processor()
