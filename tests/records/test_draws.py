"""The compact form of draws: what it keeps, how small it is, and what is refused."""

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.reference import REFERENCE_RECORDS

from benchmark.metrics.bootstrap import REPLICATES, percentiles
from benchmark.records.draws import LONGEST, RESOLUTION, STEPS, packed, unpacked
from benchmark.records.records import RecordError, read_record

ALL_MOVES = arrays.arrays(np.float64, REPLICATES, elements=st.floats(-1, 1), fill=st.floats(-1, 1))


@settings(max_examples=50, deadline=None)
@given(moves=ALL_MOVES)
def test_moves_come_back_to_half_a_step(moves: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    text = packed(moves)
    assert len(text) <= LONGEST
    assert text.isascii()
    found = unpacked(text)
    assert found.shape == (REPLICATES,)
    assert abs(found - moves).max() <= RESOLUTION / 2 + 1e-15
    assert (unpacked(packed(found)) == found).all()
    # No end of an interval moves by more, which is far less than the 0.01 points that tables print.
    assert abs(percentiles(found) - percentiles(moves)).max() <= RESOLUTION / 2 + 1e-15
    assert 100 * RESOLUTION < 0.005


def test_moves_that_cannot_be_compressed_fit_and_usual_ones_are_small() -> None:
    rng = np.random.default_rng(0)
    assert len(packed(rng.uniform(-1, 1, REPLICATES))) < 0.7 * LONGEST
    assert len(packed(rng.normal(0, 0.02, REPLICATES))) < 2400
    assert len(packed(np.zeros(REPLICATES))) < 40


def as_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def zipped(content: bytes) -> str:
    return as_text(zlib.compress(content))


WHOLE = np.zeros(REPLICATES, "<i2").tobytes()
HOSTILE = {
    "no text": 5,
    "empty": "",
    "no base64": "!" + packed(np.zeros(REPLICATES)),
    "more than ASCII": "é" * 40,
    "not compressed": as_text(WHOLE),
    "cut": as_text(zlib.compress(WHOLE)[:-5]),
    "too few": zipped(WHOLE[:-2]),
    "too many": zipped(WHOLE + b"00"),
    "more behind": as_text(zlib.compress(WHOLE) + b"more"),
    "unpacks to a thousand times as much": zipped(bytes(2 * 10**6)),
    "huge": "A" * 10**7,
    "greater than 1": zipped(np.full(REPLICATES, STEPS + 1, "<i2").tobytes()),
    "less than -1": zipped(np.full(REPLICATES, -32768, "<i2").tobytes()),
}


def committed() -> dict[str, Any]:
    path = min(path for path in REFERENCE_RECORDS if path.name.startswith("clip--mvtec--"))
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def written(content: dict[str, Any], folder: Path) -> Path:
    path = folder / f"{content['id']}.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("harm", HOSTILE)
def test_a_record_with_other_draws_is_refused_by_name(harm: str, tmp_path: Path) -> None:
    content = committed()
    content["draws"] = {"version": 2, "moves": {"image_auroc": packed(np.zeros(REPLICATES))}}
    assert read_record(written(content, tmp_path)).draws is not None
    content["draws"]["moves"]["image_auroc"] = HOSTILE[harm]
    path = written(content, tmp_path)
    with pytest.raises(RecordError, match=r"draws\.moves\.image_auroc") as caught:
        read_record(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("interval", [[0.1], [0.1, 1.5], [-0.1, 0.5], [float("nan"), 0.5], [0.1, float("inf")], None])
def test_a_record_with_intervals_that_are_none_is_refused_by_name(interval: Any, tmp_path: Path) -> None:
    content = committed()
    name = next(iter(content["classes"]))
    content["classes"][name]["intervals"] = {"image_auroc": [0.25, 1.0]}
    assert read_record(written(content, tmp_path)).classes[name].intervals == {"image_auroc": (0.25, 1.0)}
    content["classes"][name]["intervals"] = {"image_auroc": interval}
    path = written(content, tmp_path)
    with pytest.raises(RecordError, match=rf"classes\.{name}\.intervals\.image_auroc") as caught:
        read_record(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("change", [lambda draws: draws.pop("version"), lambda draws: draws.update(more=1)])
def test_draws_have_a_version_and_nothing_else(change: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    content = committed()
    content["draws"] = {"version": 2, "moves": {}}
    change(content["draws"])
    with pytest.raises(RecordError, match=r"draws\."):
        read_record(written(content, tmp_path))


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    content = committed()
    content.pop("draws", None)
    for each in content["classes"].values():
        each.pop("intervals", None)
    record = read_record(written(content, tmp_path))
    assert record.draws is None
    assert all(each.intervals == {} for each in record.classes.values())
