"""Drawing the mini suite: the datasets in miniature, in the layouts of the real ones.

Every image has its own generator of random numbers, seeded from what it is; so no image depends on another, on the
order in which they are drawn, or on the machine.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.common import file_sha256, helpers
from benchmark.data import MINI_MARKER
from benchmark.errors import BenchError
from benchmark.mini.defects import damage
from benchmark.mini.draw import Bools, Picture
from benchmark.mini.families import FAMILIES
from benchmark.mini.plan import shots
from benchmark.mini.shot import SUITE_SEED, Shot, digest
from benchmark.mini.tables import texts

__all__ = ["SUITE_SEED", "SUITE_VERSION", "SuiteError", "image_count", "is_suite", "make_suite", "render"]

SUITE_VERSION = 2
"""Raised whenever a pixel or a name changes, or images are added."""
_NAME = "zsad-bench mini suite"
_ABOUT = (
    "Pictures drawn by a program in the layouts of real datasets, whose images it does not contain. "
    "Results on it cannot be compared with published ones."
)
_LUMA = (0.299, 0.587, 0.114)

CHUNK = 8
"""Images that a process draws at a time; they take about a tenth of a second."""

Bytes = npt.NDArray[np.uint8]
Progress = Callable[[int], None]
"""Called with the number of images that were just made; the sum is `image_count()`."""


class SuiteError(BenchError):
    """The suite cannot be written there; names the directory and the way out."""


def image_count() -> int:
    """Return how many images (masks aside) the suite has."""
    return len(shots())


def render(shot: Shot) -> tuple[Bytes, Bools]:
    """Draw one image.

    Returns:
        Its pixels (H, W, 3) and the exact mask (H, W) of what is wrong, all False for a normal image.
    """
    rng = np.random.default_rng(digest(shot.dataset, shot.class_name, shot.split, shot.defect, shot.index))
    width, height = shot.size
    side = max(width, height)
    picture = FAMILIES[shot.family](rng, side)
    top, left = (side - height) // 2, (side - width) // 2
    part = slice(top, top + height), slice(left, left + width)
    pixels, foreground = picture.pixels[part], picture.foreground[part]
    if shot.mode == "L":  # made grey first, so that the mask says what changed in the grey picture
        pixels = np.repeat((pixels * np.asarray(_LUMA, np.float32)).sum(2, keepdims=True), 3, 2)
    mask = np.zeros(foreground.shape, bool)
    for kind in shot.kinds:
        pixels, wrong = damage(rng, Picture(pixels, foreground), kind)
        mask |= wrong
    if shot.light != 1:
        pixels = (pixels * np.float32(shot.light)).clip(0, 1)
    return np.rint(pixels.astype(np.float64) * 255).astype(np.uint8), mask


def make_suite(
    directory: Path, *, which: Sequence[Shot] | None = None, processes: int = 1, progress: Progress | None = None
) -> None:
    """Write the suite; a kill leaves nothing at `directory`, or the suite that was there before.

    Args:
        directory: becomes the data root. It may be missing, empty, or hold a suite, which is replaced.
        which: the images to draw; label files then list these alone. None draws the whole suite.
        processes: how many processes draw; they change no byte.
        progress: told after each image.

    Raises:
        SuiteError: there is something else, or a process that draws died.
        OSError: the disk is full or the folder cannot be written.
    """
    directory = directory.absolute()
    old = (directory / MINI_MARKER).is_file()
    if directory.exists() and not old and (not directory.is_dir() or any(directory.iterdir())):
        raise SuiteError(f"{directory} holds other things and is left alone; give a new or empty directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    # One level deeper than mkdtemp's own folder, whose permissions are for this user only.
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".zsad-mini-") as temporary:
        new = Path(temporary) / "suite"
        new.mkdir()
        chosen = shots() if which is None else which
        write_shots(new, chosen, processes=processes, progress=progress)
        for name, text in texts(chosen).items():
            _write_text(new / name, text)
        files = {
            path.relative_to(new).as_posix(): file_sha256(path) for path in sorted(new.rglob("*")) if path.is_file()
        }
        marker = {
            "name": _NAME,
            "version": SUITE_VERSION,
            "seed": SUITE_SEED,
            "synthetic": True,
            "about": _ABOUT,
            "files": files,
        }
        _write_text(new / MINI_MARKER, json.dumps(marker, indent=2) + "\n")
        if old:
            directory.rename(Path(temporary) / "old")
        elif directory.exists():
            directory.rmdir()
        new.rename(directory)


def is_suite(directory: Path) -> bool:
    """Say whether a directory holds a whole suite of this version."""
    try:
        marker: Any = json.loads((directory / MINI_MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(marker, dict) or "files" not in marker:  # earlier versions did not say how they drew them
        return False
    return (marker.get("name"), marker.get("version"), marker.get("seed")) == (_NAME, SUITE_VERSION, SUITE_SEED)


def write_shots(root: Path, which: Sequence[Shot], *, processes: int = 1, progress: Progress | None = None) -> None:
    """Draw images and store them, with their masks, below a directory."""
    if processes == 1:
        _tell(map(partial(_store, root), which), progress)
        return
    try:
        with helpers(processes) as pool:
            _tell(pool.map(partial(_store, root), which, chunksize=CHUNK), progress)
    except BrokenProcessPool:
        raise SuiteError(
            f"{root}: a process that draws died; draw again, with more memory if it was too little"
        ) from None


def _tell(done: Iterable[None], progress: Progress | None) -> None:
    for _ in done:
        if progress:
            progress(1)


def _store(root: Path, shot: Shot) -> None:
    pixels, mask = render(shot)
    image = Image.fromarray(pixels)
    if shot.mode == "P":
        image = image.convert("L").convert("P")
    elif shot.mode != "RGB":
        image = Image.fromarray(pixels[..., 0]) if shot.mode == "L" else image.convert(shot.mode)
    _save(image, root / shot.file, shot.encoding)
    if shot.mask:
        grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(shot.mask_value))
        _save(grey.convert("RGB") if shot.mask_rgb else grey, root / shot.mask, None)


def _save(image: Image.Image, path: Path, encoding: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lossy = encoding == "JPEG" or (encoding is None and path.suffix.lower() in {".jpg", ".jpeg"})
    options: dict[str, Any] = {"quality": 93, "subsampling": 0} if lossy else {}
    image.save(path, format=encoding, **options)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
