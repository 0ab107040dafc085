"""Images that two datasets share: copies in another format, size or compression are, neighbours are not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data import overlap
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.overlap import shared_image
from benchmark.data.samples import SampleSet

REAL = Path(__file__).parents[2].parent / "shared" / "data"
Saving = Callable[[Image.Image, Path], object]


def picture(seed: int, *, cells: int = 6, low: int = 0, high: int = 256) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(low, high, size=(cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((240, 200), Image.Resampling.BICUBIC)


def dataset(folder: Path, *images: tuple[str, Image.Image]) -> SampleSet:
    for name, image in (("bad.png", picture(99)), *images):
        path = folder / ("abnormal" if name == "bad.png" else "normal") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (picture(sum(folder.name.encode())) if name == "bad.png" else image).save(path)
    return read_folder(PlainFolder(directory=folder, class_name="nut"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("copy.png", lambda image: image),
        ("other.jpg", lambda image: image),
        ("small.png", lambda image: image.resize((120, 100))),
        ("large.jpg", lambda image: image.resize((480, 400))),
        ("grey.bmp", lambda image: image.convert("L")),
    ],
)
def test_the_same_picture_is_found(tmp_path: Path, name: str, change: Callable[[Image.Image], Image.Image]) -> None:
    one = dataset(tmp_path / "one", *((f"{index}.png", picture(index)) for index in range(4)))
    other = dataset(tmp_path / "other", ("0.png", picture(50)), (name, change(picture(2))))
    found = shared_image(one, other)
    assert found is not None
    assert (found[0].name, found[1].name) == ("2.png", name)
    assert shared_image(one, other) == found  # from what is remembered


def test_other_pictures_are_not(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", *((f"{index}.png", picture(index)) for index in range(4)))
    other = dataset(tmp_path / "other", *((f"{index}.png", picture(index + 10)) for index in range(4)))
    assert shared_image(one, other) is None


def test_flat_pictures_are_alike_without_being_the_same(tmp_path: Path) -> None:
    flats = [picture(seed, low=126, high=131) for seed in (1, 2)]
    one, other = dataset(tmp_path / "one", ("a.png", flats[0])), dataset(tmp_path / "other", ("a.png", flats[1]))
    assert shared_image(one, other) is None
    again = dataset(tmp_path / "third", ("b.png", flats[0]))  # but identical files are the same
    assert shared_image(one, again) is not None


def test_a_file_that_cannot_be_read_is_like_nothing(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", ("a.png", picture(1)))
    other = dataset(tmp_path / "other", ("a.png", picture(2)))
    next(iter((tmp_path / "other/normal").iterdir())).write_bytes(b"no image")
    assert shared_image(one, read_folder(PlainFolder(directory=tmp_path / "other", class_name="nut"))) is None
    gone = replace(other, samples=tuple(replace(s, path=s.path.with_name("gone.png")) for s in other.samples))
    assert shared_image(one, gone) is None


def test_what_is_remembered_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = dataset(tmp_path / "one", ("a.png", picture(1)))
    other = dataset(tmp_path / "other", ("a.png", picture(2)))
    shared_image(one, other)
    monkeypatch.setattr(overlap, "read_image", pytest.fail)
    assert shared_image(one, other) is None


@pytest.mark.skipif(not REAL.is_dir(), reason="no real files beside the checkout")
def test_real_scans_are_found_in_other_compression_and_not_taken_for_others(tmp_path: Path) -> None:
    heads = sorted((REAL / "HeadCT/head_ct").rglob("*.png"))[:40]
    brains = sorted(path for path in (REAL / "BrainMRI").rglob("*") if path.suffix.lower() in {".jpg", ".png"})[:40]
    images = {path: Image.open(path).convert("RGB") for path in (*heads, *brains)}
    one = dataset(tmp_path / "heads", *((f"{i}.png", images[path]) for i, path in enumerate(heads)))
    other = dataset(tmp_path / "brains", *((f"{i}.png", images[path]) for i, path in enumerate(brains)))
    assert shared_image(one, other) is None
    images[heads[7]].save(tmp_path / "brains/normal/copy.jpg", quality=60)
    found = shared_image(one, read_folder(PlainFolder(directory=tmp_path / "brains", class_name="brain")))
    assert found is not None
    assert (found[0].name, found[1].name) == ("7.png", "copy.jpg")


def slow_pair(ours: list[np.ndarray], theirs: list[np.ndarray]) -> tuple[int, int] | None:
    """Return the first pair that is alike by its definition, in float64, every image beside every other."""

    one, other = (np.stack(each).astype(np.float64) for each in (ours, theirs))

    def apart(some: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.array([[np.sqrt(((a - b) ** 2).mean()) for b in others] for a in some])

    def nearest(some: np.ndarray) -> np.ndarray:
        distances = apart(some, some)
        return np.where(distances > overlap.COPY, distances, np.inf).min(axis=1)

    limits = np.minimum(overlap.ALIKE, np.minimum(nearest(one)[:, None], nearest(other)) / 2)
    varied = np.minimum(one.std(axis=1)[:, None], other.std(axis=1)) >= overlap.FLAT
    pairs = np.argwhere((apart(one, other) <= limits) & varied).tolist()
    return tuple(pairs[0]) if pairs else None


@pytest.mark.parametrize("seed", range(6))
def test_many_at_once_give_the_pair_that_one_by_one_do(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_PART", 5)  # so that there are several parts
    rng = np.random.default_rng(seed)
    cameras = rng.integers(0, 256, size=(4, overlap.THUMBNAIL**2))

    def shots(count: int) -> list[np.ndarray]:
        noise = rng.normal(0, rng.choice([2.0, 12.0]), size=(count, overlap.THUMBNAIL**2))
        return list((cameras[rng.integers(0, 4, size=count)] + noise).clip(0, 255).astype(np.uint8))

    ours, theirs = shots(23), shots(17)
    if seed % 3:
        theirs[int(rng.integers(17))] = (
            (ours[int(rng.integers(23))] + rng.normal(0, 0.8, 1024)).clip(0, 255).astype("u1")
        )
    one, other = (
        overlap._Thumbnails.of({Path(f"{index}"): each.tobytes() for index, each in enumerate(thumbs)})
        for thumbs in (ours, theirs)
    )
    found = overlap._alike(one, other)
    assert (found and tuple(int(path.name) for path in found)) == slow_pair(ours, theirs)


def test_images_that_are_not_near_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    one, other = (
        overlap._Thumbnails.of({Path(f"{index}"): rng.bytes(overlap.THUMBNAIL**2) for index in range(800)})
        for _ in "ab"
    )
    monkeypatch.setattr(overlap._Thumbnails, "distances", pytest.fail)
    assert overlap._alike(one, other) is None


def test_parts_under_one_camera_are_no_copies_but_a_copy_among_them_is(tmp_path: Path) -> None:
    scene = np.asarray(picture(7), dtype=np.float64)

    def shot(seed: int) -> Image.Image:
        noise = np.random.default_rng(seed).normal(0, 2, size=(8, 8, 3))
        drift = np.kron(noise, np.ones((25, 30, 1)))
        return Image.fromarray((scene + drift).clip(0, 255).astype(np.uint8))

    first = dataset(tmp_path / "first", *((f"{n}.png", shot(n)) for n in range(5)))
    second = dataset(tmp_path / "second", *((f"{n}.png", shot(n + 50)) for n in range(5)))
    assert shared_image(first, second) is None
    shot(3).save(tmp_path / "second/normal/copy.jpg", quality=90)
    again = read_folder(PlainFolder(directory=tmp_path / "second"))
    found = shared_image(first, again)
    assert found is not None
    assert [path.name for path in found] == ["3.png", "copy.jpg"]
