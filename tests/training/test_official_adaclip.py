"""What AdaCLIP's own code learned on a miniature gives, once imported, the results of its own test code."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.official import GOLDEN, Bench, Official

from benchmark.common.files import file_sha256
from methods.adaclip import AdaClip

OFFICIAL = Official("adaclip", GOLDEN / "adaclip/epoch_2.pth")


@pytest.fixture(scope="module")
def data(made_once: Callable[..., Path]) -> Path:
    """The test images of BTAD and KolektorSDD."""
    return made_once("official_adaclip", OFFICIAL.draw)


def test_the_official_checkpoint_gives_the_official_results(bench: Bench, data: Path, tmp_path: Path) -> None:
    checkpoint = OFFICIAL.imported(bench, tmp_path)
    records = OFFICIAL.run(bench, data, tmp_path, checkpoint, "--datasets", ",".join(OFFICIAL.datasets()))
    for where, expected, found, _ in OFFICIAL.compared(records):
        # Its maps are ½ (a + 1 − n), which rounds probabilities below 1e-7 to equal ones.
        tolerance = 2e-5 if where[-1].startswith("pixel") else 1e-12
        assert found == pytest.approx(expected, abs=tolerance), where


def test_a_published_checkpoint_is_refused_as_of_other_data(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AdaClip, "published", {file_sha256(OFFICIAL.checkpoint): ("visa", "cvc_clinicdb")})
    arguments = ["import-checkpoint", OFFICIAL.checkpoint, "--method", "adaclip", "--backbone", "mini:v2"]
    arguments += ["--results", tmp_path, "--auxiliary"]
    code, _, err = bench(*arguments, "mvtec")
    assert code in (1, 2)
    assert "say --auxiliary visa,cvc_clinicdb" in err
    code, _, err = bench(*arguments, "cvc_clinicdb,visa")
    assert code == 0, err
