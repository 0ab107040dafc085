"""A folder with everything odd at once that people's folders have: the check names each."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data.check import check_dataset, render
from benchmark.data.folders import PlainFolder, read_folder

Make = Callable[[Path], None]


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (16, 16)) -> None:
    """Write an image by its content as PNG or what its extension means."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([seed, *str(path).encode()]).integers(0, 255, (*size[::-1], 3))
    form = {".jfif": "JPEG", ".jpg": "JPEG", ".jp2": "JPEG2000", ".pgm": "PPM"}.get(path.suffix.lower(), "PNG")
    Image.fromarray(noise.astype(np.uint8)).convert("L" if form == "PPM" else "RGB").save(path, form)


def mask(path: Path, corner: int = 4, size: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size, size), np.uint8)
    pixels[:corner, :corner] = 255
    Image.fromarray(pixels).save(path, "PNG")


def both(folder: Path, name: str, **given: int) -> None:
    """Write an anomalous image with its mask."""
    picture(folder / f"crack/{name}.png")
    mask(folder / f"gt/crack/{name}.png", **given)


def text(path: Path, content: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def copy(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


def linked(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.parent / target)


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def broken(folder: Path) -> None:
    picture(folder / "good/broken.png")
    edit(folder / "good/broken.png", lambda content: content[:90])


def twice(folder: Path) -> None:
    both(folder, "twice")
    mask(folder / "gt/crack/twice_mask.png")
    (folder / "gt/crack/twice.png").rename(folder / "gt/crack/twice_gt.png")


def drawn(folder: Path) -> None:
    picture(folder / "out/clip/heatmaps/1.png")
    text(folder / "out/clip/predictions.json", "{}")


ODDITIES: list[tuple[str, Make, str]] = [
    ("a photo of a telephone", lambda f: text(f / "crack/a.HEIC"), r"crack/ \(.*1 \.heic.*convert to PNG"),
    ("slices of a scanner", lambda f: text(f / "crack/a.dcm"), r"crack/ \(.*1 \.dcm.*convert to PNG"),
    ("a volume", lambda f: text(f / "crack/a.nii.gz"), r"crack/ \(.*1 \.nii\.gz.*convert to PNG"),
    ("a drawing", lambda f: text(f / "a.psd"), r"a\.psd .*convert to PNG"),
    ("an array", lambda f: text(f / "gt/a.npy"), r"gt/a\.npy .*convert to PNG"),
    ("a video", lambda f: text(f / "a.mp4"), r"a\.mp4 .*save their frames"),
    ("an archive", lambda f: text(f / "more.zip"), r"more\.zip .*unpack"),
    ("a table", lambda f: text(f / "labels.csv"), r"labels\.csv .*not used"),
    ("outlines of a tool", lambda f: text(f / "crack/1.json"), r"crack/1\.json .*not used"),
    ("boxes of a tool", lambda f: text(f / "labels/1.txt"), r"labels/1\.txt .*not used"),
    ("a hidden image", lambda f: picture(f / "crack/.a.png"), r"crack/\.a\.png .*hidden"),
    (
        "an image without an extension",
        lambda f: picture(f / "crack/a"),
        r"crack/ \(.*1 without extension\): the content is an image",
    ),
    (
        "an image of another extension",
        lambda f: picture(f / "crack/a.img"),
        r"crack/ \(1 \.img.*\): the content is an image",
    ),
    ("an image at the top", lambda f: picture(f / "7.png"), r" 7\.png .*in no folder that says"),
    (
        "images for training without a label",
        lambda f: picture(f / "train/8.png"),
        r"train/8\.png .*in no folder that says",
    ),
    ("heatmaps", lambda f: picture(f / "heatmaps/1.png"), r"heatmaps/1\.png .*no images to test"),
    ("what predict wrote", drawn, r"out/clip/heatmaps/1\.png .*drawings of bench predict"),
    (
        "a kind or masks",
        lambda f: picture(f / "mask_shift/1.png"),
        r"mask_shift/: .*--masks mask_shift",
    ),
    ("a folder beside a known one", lambda f: picture(f / "NG/1.png"), r"crack/: .*--abnormal NG"),
    ("a link to elsewhere", lambda f: linked(f / "good/l.png", "../../x.png"), r"good/l\.png: .*link.*--follow-links"),
    ("a link to nothing", lambda f: linked(f / "NG/l.png", "../../y.png"), r"y\.png, which is not there"),
    (
        "a mask without image",
        lambda f: mask(f / "gt/crack/77.png"),
        r"gt/crack/77\.png: .*belongs to no image",
    ),
    ("an image without mask", lambda f: picture(f / "crack/88.png"), r"crack/88\.png: an anomalous image without mask"),
    ("two masks", twice, r"crack/twice\.png: .*twice_gt\.png, .*twice_mask\.png could all be its mask"),
    ("a mask of another size", lambda f: both(f, "size", size=8), r"gt/crack/size\.png: .*8x8 px, its image 16x16"),
    ("a black mask", lambda f: both(f, "black", corner=0), r"ty-mask.*\n.*gt/crack/black\.png|gt/crack/black\.png: "),
    ("a mask of all", lambda f: both(f, "all", corner=16), r"gt/crack/all\.png: "),
    ("a mask of a normal image", lambda f: mask(f / "gt/good/1.png"), r"gt/good/1\.png: "),
    ("half an image", broken, r"good/broken\.png: broken or truncated"),
    ("an empty file", lambda f: text(f / "good/empty.png", ""), r"good/empty\.png: .*empty"),
    ("a web page", lambda f: text(f / "good/page.png", "<!DOCTYPE html><html>"), r"good/page\.png: "),
    ("two files of a name", lambda f: picture(f / "good/1.jpg"), r"good/1\.jpg: good/1\.png has the same name"),
    ("a copy", lambda f: copy(f / "good/1.png", f / "good/copy.png"), r"good/1\.png = good/copy\.png"),
]
FINE: list[tuple[str, Make]] = [
    ("thumbnails of a storage device", lambda f: picture(f / "good/@eaDir/1.png")),
    ("shadows of files", lambda f: text(f / "good/._1.png")),
    ("an unpacked archive's shadow", lambda f: picture(f / "__MACOSX/good/1.png")),
    ("a preview of a system", lambda f: text(f / "Thumbs.db")),
    ("another end", lambda f: picture(f / "good/2.jfif")),
    ("capitals", lambda f: picture(f / "good/3.JPG")),
    ("grey images", lambda f: picture(f / "good/4.pgm")),
    ("JPEG 2000", lambda f: picture(f / "good/5.jp2")),
    ("a black mask of a normal image", lambda f: mask(f / "gt/good/2.png", corner=0)),
    ("a mask beside its image", lambda f: (picture(f / "crack/6.png"), mask(f / "crack/6_mask.png"))),  # type: ignore[func-returns-value]
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    top = tmp_path_factory.mktemp("odd")
    folder = top / "parts"
    picture(folder / "good/1.png")
    picture(top / "x.png")
    for n in range(1, 5):
        both(folder, f"{n}")
    for _, make, *_ in (*ODDITIES, *FINE):
        make(folder)
    data = read_folder(PlainFolder(directory=folder))
    report = check_dataset(data)
    assert report.broken
    text_of_all = render(report)
    # Every file is an image that was read, a mask, or named in the text; but for what systems leave behind.
    masks = [*(sample.mask for sample in data.samples if sample.mask), *(path for _, path in data.normal_masks)]
    used = {sample.path for sample in data.samples} | {*masks}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        litter = re.search(r"@eaDir|__MACOSX|/\._|Thumbs\.db", name)
        named = name in text_of_all or f"  {name.rpartition('/')[0] or '.'}/ (" in text_of_all
        assert path.is_dir() or path in used or litter or named, name
    return text_of_all


@pytest.mark.parametrize(("what", "pattern"), [(what, pattern) for what, _, pattern in ODDITIES])
def test_each_oddity_is_named(what: str, pattern: str, said: str) -> None:
    assert re.search(pattern, said), f"{what} is passed over:\n{said}"


def test_what_is_fine_is_no_oddity(said: str) -> None:
    assert len(ODDITIES) >= 30
    for name in ("2.jfif", "3.JPG", "4.pgm", "5.jp2", "@eaDir", "__MACOSX", "._1", "Thumbs", "6_mask", "gt/good/2.png"):
        problems = [line for line in said.splitlines() if name in line and "example" not in line.lower()]
        assert not [line for line in problems if line.startswith("  ") and ": " in line], problems
