"""The golden numbers of the method that a file tests, by the name of the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.golden import Golden
from torch import Tensor


@pytest.fixture(scope="module")
def family(request: pytest.FixtureRequest) -> str:
    return Path(request.path).stem.removeprefix("test_")


@pytest.fixture(scope="module")
def arrays(golden: Golden, family: str) -> dict[str, Tensor]:
    return golden(family)


@pytest.fixture(scope="module")
def inputs(golden: Golden) -> dict[str, Tensor]:
    """The images, masks and labels that most methods were run on."""
    return golden("anomalyclip_inputs")


@pytest.fixture(scope="module")
def numbers(family: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parents[1] / f"golden/{family}.json").read_text())
    return found
