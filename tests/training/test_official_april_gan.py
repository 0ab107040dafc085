"""What APRIL-GAN's own code learned on a miniature gives, once imported, the results of its own test code."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.official import GOLDEN, Bench, Official

OFFICIAL = Official("april_gan", GOLDEN / "april_gan/mvtec_epoch_3.pth")


@pytest.fixture(scope="module")
def data(made_once: Callable[..., Path]) -> Path:
    """The test images of BTAD and KolektorSDD."""
    return made_once("official_april_gan", OFFICIAL.draw)


def test_the_official_checkpoint_gives_the_official_results(bench: Bench, data: Path, tmp_path: Path) -> None:
    checkpoint = OFFICIAL.imported(bench, tmp_path)
    records = OFFICIAL.run(bench, data, tmp_path, checkpoint, "--datasets", ",".join(OFFICIAL.datasets()))
    for where, expected, found, outside in OFFICIAL.compared(records):
        metric = where[-1]
        if metric == "pixel_aupro_200":  # a step function: with 200 thresholds, the last digits of scores decide
            assert outside <= 1e-9, where
        else:  # most abnormal pixels are tied near 4, where the rounding of a sum moves the average precision
            tolerance = {"pixel_auroc": 1e-6, "pixel_ap": 1e-4, "pixel_f1max": 1e-4}.get(metric, 1e-12)
            assert found == pytest.approx(expected, abs=tolerance), where


def test_what_the_tensors_do_not_tell_may_be_stated(bench: Bench, tmp_path: Path) -> None:
    checkpoint = OFFICIAL.imported(bench, tmp_path, "--set", "april_gan.one_text_per_batch=true")
    assert "one_text_per_batch" in Path(checkpoint).read_text()
