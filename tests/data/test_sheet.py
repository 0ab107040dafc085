"""What was taken for what, in words and as a picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmark.data.check import check_dataset, render
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import SampleSet
from benchmark.data.sheet import EXAMPLES, contact_sheet, in_words, kinds
from benchmark.data.tree import Leftover

OUTLINE = np.array((255, 0, 180))


@pytest.fixture
def data(tmp_path: Path) -> SampleSet:
    for folder, images in (("normal", 12), ("abnormal/crack", 3), ("abnormal/ä hole", 1)):
        for number in range(images):
            path = tmp_path / folder / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60, 30), (number * 5, 120, 60)).save(path)
            if "abnormal" in folder:
                mask = tmp_path / folder.replace("abnormal", "masks") / path.name
                mask.parent.mkdir(parents=True, exist_ok=True)
                ImageOps.expand(Image.new("L", (20, 10), 255), (20, 10)).save(mask)
    return read_folder(PlainFolder(directory=tmp_path))


def test_every_kind_has_examples_spread_over_its_images(data: SampleSet) -> None:
    assert [(kind.title, [s.path.name for s in kind.examples]) for kind in kinds(data)] == [
        ("object, normal (12 images)", ["00.png", "03.png", "06.png", "08.png", "11.png"]),
        ("object, anomalous: crack (3 images)", ["00.png", "01.png", "02.png"]),
        ("object, anomalous: ä hole (1 image)", ["00.png"]),
    ]


def test_the_check_of_a_plain_folder_says_what_was_taken_for_what(data: SampleSet) -> None:
    lines = list(in_words(data))
    assert "  abnormal/crack/01.png  ← mask masks/crack/01.png" in lines
    assert "  normal/03.png" in lines
    text = render(check_dataset(data))
    assert all(line in text for line in lines)


def test_the_sheet_shows_each_example_with_the_outline_of_its_mask(data: SampleSet) -> None:
    (data.directory / "normal/03.png").write_text("broken")
    sheet = np.asarray(contact_sheet([data]))
    rows = np.array_split(sheet[10:], 3)
    columns = [np.array_split(row[:, 10:], EXAMPLES, axis=1) for row in rows]
    outlined = [[bool((tile == OUTLINE).all(-1).any()) for tile in row] for row in columns]
    assert outlined == [[False] * 5, [True, True, True, False, False], [True] + [False] * 4]
    # The outline goes around the mask of 20x10 pixels, which is drawn three times as large.
    ys, xs = np.nonzero((columns[1][0] == OUTLINE).all(-1))
    assert (np.ptp(xs) + 1, np.ptp(ys) + 1) == (62, 32)
    # The colour of an image is in its tile; the broken one says so in red.
    assert (columns[0][4] == (55, 120, 60)).all(-1).sum() > 10_000
    assert (columns[0][1] == (200, 0, 0)).all(-1).any()


def test_images_that_are_not_used_are_a_row_of_their_own(data: SampleSet) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (60, 30), (200, 30, 10)).save(data.directory / name)
    images = (Leftover("./", ("a.png", "b.png", "c.txt"), "lies beside the folders", loud=True),)
    before = contact_sheet([data])
    after = contact_sheet([replace(data, left_out=images)])
    assert np.array_equal(np.asarray(after)[: before.height - 10], np.asarray(before)[: before.height - 10])
    row = np.asarray(after)[before.height :]
    tiles = np.array_split(row[:, 10:], EXAMPLES, axis=1)
    assert [(tile == (200, 30, 10)).all(-1).sum() > 10_000 for tile in tiles] == [True, True, False, False, False]
