"""Images of more than 8 bits reach the methods of a run by the range of their dataset, and the record says so."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import tifffile
import torch
from PIL import Image
from support.running import run_jobs

from benchmark.clip.weights import parse_backbone
from benchmark.common.settings import Settings
from benchmark.contract import Features, Method, NoOptions, Prediction, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import Record
from benchmark.running.planning import Setting, plan


class Seeing(Method):
    """Keeps what it is shown."""

    name = "seeing"
    title = "Seeing"
    paper = "none"
    Options = NoOptions
    seen: ClassVar[list[torch.Tensor]] = []

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=56)

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        self.seen.append(features.image.clone())
        return Prediction(features.image[:, 0], torch.zeros(len(class_names), 4, 4))


def seen(root: Path, results: Path) -> tuple[torch.Tensor, Record]:
    Seeing.seen.clear()
    data = read_folder(PlainFolder(directory=root, class_name="part"))
    setting = Setting(backbone_id(parse_backbone("tiny:random"), dtype="float32"), Protocol())
    limited = replace(data, samples=data.samples[1:])
    (record,) = run_jobs(
        plan([(Seeing, NoOptions())], [limited], setting, seeds=[0]).jobs, Settings(results, workers=0)
    )
    return torch.cat(Seeing.seen), record


def test_a_run_shows_deep_images_by_the_range_of_the_whole_dataset(parts: Path, tmp_path: Path) -> None:
    images = [*parts.glob("normal/*"), *parts.glob("abnormal/*")]
    brightest = min(images)  # the only one that says how bright the others can be, and it is not tested
    for path in images:
        if path != brightest:
            Image.fromarray(np.asarray(Image.open(path)) // 8).save(path)
    expected, shallow = seen(parts, tmp_path / "8")
    for path in images:
        values = np.asarray(Image.open(path)).astype(np.uint16) * 257
        tifffile.imwrite(path.with_suffix(".tif"), values, photometric="rgb")
        path.unlink()
    found, deep = seen(parts, tmp_path / "16")
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
    assert not shallow.warnings
    assert deep.warnings == (
        "images of more than 8 bits are read by one range for all: integers from 0 (black) to 65535 (white)",
    )
