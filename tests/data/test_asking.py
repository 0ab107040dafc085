"""What is asked about the folders of a user's own images, and that each name the user gives counts."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.cli.data_options import FolderOptions
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import DatasetError, SampleSet
from benchmark.errors import BenchError


def make(root: Path, folders: str, images: int = 2) -> Path:
    """Write images into each of several folders; `~` is a blank."""
    for n, name in enumerate(folders.split()):
        folder = root / name.replace("~", " ")
        folder.mkdir(parents=True, exist_ok=True)
        for image in range(images):
            pixels = np.full((8, 8), 10 * n + image + 20, np.uint8)
            if "mask" in name or "spots" in name:
                pixels = np.zeros((8, 8), np.uint8)
                pixels[:2, :2] = 255
            Image.fromarray(pixels).save(folder / f"{image}.png")
    return root


def sides(data: SampleSet) -> dict[str, int]:
    """Return the label of each folder that is tested."""
    return {str(Path(each.key).parent): each.label for each in data.test}


# ---- each name counts


def test_each_name_must_be_that_of_a_folder(tmp_path: Path) -> None:
    top = make(tmp_path, "healthy fine tumor cyst")
    with pytest.raises(DatasetError, match="--normal fien: no folder"):
        read_folder(PlainFolder(directory=top, normal=("healthy", "fien"), abnormal=("tumor",)))
    with pytest.raises(DatasetError, match="--abnormal csyt: no folder"):
        read_folder(PlainFolder(directory=top, normal=("healthy",), abnormal=("tumor", "csyt")))


def test_several_folders_of_masks(tmp_path: Path) -> None:
    make(tmp_path, "good crack dent")
    make(tmp_path / "spots_a", "crack")
    make(tmp_path / "spots_b", "dent")
    folder = PlainFolder(directory=tmp_path, masks=("spots_a", "spots_b"))
    data = read_folder(folder)
    assert Counter(each.mask is not None for each in data.test if each.label) == {True: 4}
    assert data.argument.endswith("--masks spots_a --masks spots_b")
    (read,) = FolderOptions(folder=[str(tmp_path)], masks=["spots_a", "spots_b"]).folders()
    assert read == folder
    with pytest.raises(DatasetError, match="--masks spots_c: no folder"):
        read_folder(PlainFolder(directory=tmp_path, masks=("spots_a", "spots_c")))
    with pytest.raises(DatasetError, match=r"--masks none .* leave one out"):
        read_folder(PlainFolder(directory=tmp_path, masks=("spots_a", "none")))


@pytest.mark.parametrize("text", ["", " ", "nuts=", "nuts= "])
def test_an_empty_folder_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="is empty"):
        FolderOptions(folder=[text])
