"""Reading in other processes: what they send, and what happens if one of them dies."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from benchmark.data import loading
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.images import read_image
from benchmark.data.layouts import Sample
from benchmark.data.loading import Loaded, Reading, load, stack
from benchmark.data.masks import MaskRule

READING = Reading(48, masks=MaskRule(0), batch_size=3, workers=1)


@pytest.fixture
def samples(parts: Path) -> tuple[Sample, ...]:
    """Thirteen samples, five batches."""
    return tuple(read_folder(PlainFolder(directory=parts, class_name="metal nut")).test)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch looks every fifth of a second, not every five, whether its processes live."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))


def same(found: list[list[Loaded]], expected: list[list[Loaded]]) -> bool:
    flat = [[item for batch in batches for item in batch] for batches in (found, expected)]
    assert [len(batch) for batch in found] == [len(batch) for batch in expected]
    return all(
        a.sample == b.sample and np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask)  # type: ignore[arg-type]
        for a, b in zip(*flat, strict=True)
    )


def here(samples: tuple[Sample, ...]) -> list[list[Loaded]]:
    return list(load(samples, Reading(48, masks=MaskRule(0), batch_size=3, workers=0)))


def test_nothing_goes_through_shared_memory(samples: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker gives 64 MB of it."""

    def full(*args: object) -> None:
        os._exit(1)  # an error in the thread that sends would be waited for without end

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", full)
    monkeypatch.setattr(torch.UntypedStorage, "_share_filename_cpu_", full)
    said: list[str] = []
    batches = list(load(samples, READING, say=said.append))
    assert same(batches, here(samples))
    assert said == []
    pixels = stack(batches[0])
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (3, 3, 48, 48))


def fatal(action: Callable[[], None]) -> Callable[..., Image.Image]:
    """Return a reader that does something on the eighth image in a process that reads, and works in this one."""

    def read(path: Path, *how: object) -> Image.Image:
        if get_worker_info() is not None and path.name == "007.png":
            action()
        return read_image(path, *how)

    return read


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
def test_a_process_that_dies_is_replaced_by_this_one(
    samples: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(loading, "read_image", fatal(lambda: os.kill(os.getpid(), number)))
    monkeypatch.setattr("torch.utils.data._utils.signal_handling._SIGCHLD_handler_set", False)
    said: list[str] = []
    before = signal.getsignal(signal.SIGCHLD)
    batches = []
    for batch in load(samples, READING, say=said.append):
        # torch's handler would raise its error in the midst of what is done here.
        assert signal.getsignal(signal.SIGCHLD) == before
        batches.append(batch)
    assert same(batches, here(samples))
    assert len(said) == 1
    assert "a process that reads images died" in said[0]
    assert "this process reads the rest" in said[0]


def test_where_no_process_can_be_started_this_one_reads(
    samples: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "__init__", full)
    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "__del__", lambda self: None)
    said: list[str] = []
    assert same(list(load(samples, READING, say=said.append)), here(samples))
    assert "Cannot allocate memory" in said[0]


def test_an_error_of_the_code_that_reads_is_not_taken_for_a_death(
    samples: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(loading, "read_image", fatal(fail))
    with pytest.raises(RuntimeError, match="out of luck"):
        list(load(samples, READING))


@pytest.mark.parametrize(("orientation", "error"), [(6, ""), (3, "a.png")])
def test_a_mask_of_a_turned_photo_is_loaded_in_the_frame_of_its_pixels(
    tmp_path: Path, orientation: int, error: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for folder in ("good", "bad"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (96, 48), "green").save(tmp_path / folder / "a.jpg", exif=exif)
    (tmp_path / "masks").mkdir()
    stored = Image.new("L", (96, 48))
    stored.paste(255, (0, 0, 48, 24))
    turn = {6: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}[orientation]
    stored.transpose(turn).save(tmp_path / "masks/a.png")  # drawn on the displayed photo
    data = read_folder(PlainFolder(directory=tmp_path))
    (anomalous,) = [s for s in data.test if s.label]
    ((item,),) = load([anomalous], Reading(48, masks=MaskRule(data.layout.mask_threshold), batch_size=1, workers=0))
    assert error in item.error
    if not error:
        assert item.mask is not None
        assert item.mask.sum() == item.mask[:24, :24].sum() == 24 * 24
