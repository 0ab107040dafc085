"""How processes, threads and readers divide the cores of a machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.clip.architectures import vision_width
from benchmark.common.defaults import READERS
from benchmark.running.sharing import MEMORY, SMALL, Share, share

MINI, LARGE = 192, 1024
GB = 10**9


@pytest.fixture(autouse=True)
def no_threads_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize(
    ("cores", "known", "expected"),
    [
        (2, {"tasks": 20, "width": MINI}, Share(2, 1, 0)),
        (16, {"tasks": 20, "width": MINI}, Share(16, 1, 0)),
        (16, {"tasks": 6, "width": MINI}, Share(6, 1, 1)),
        (16, {"tasks": 1, "width": MINI}, Share(1, 1, READERS)),
        (64, {"tasks": 20, "width": MINI, "memory": 16 * GB}, Share(8, 1, 7)),
        (2, {"tasks": 20, "width": MINI, "processes": 1}, Share(1, 1, 1)),
        (2, {"tasks": 20, "width": MINI, "workers": 3}, Share(2, 1, 3)),
        (1, {"tasks": 20, "width": MINI}, Share(1, 1, 0)),
        (2, {"tasks": 20, "width": LARGE}, Share(1, 2, 2)),
        (16, {"tasks": 20, "width": LARGE}, Share(1, 16, READERS)),
        (16, {"tasks": 20, "width": LARGE, "processes": 4}, Share(4, 4, 4)),
        (16, {"tasks": 20, "width": MINI, "gpus": 4, "on_cpu": False}, Share(4, 4, 4)),
        (16, {"tasks": 20, "width": MINI, "on_cpu": False}, Share(1, 16, READERS)),  # --device cuda:1
    ],
)
def test_cores_are_shared_by_the_work_at_hand(cores: int, known: dict[str, int], expected: Share) -> None:
    assert share(cores, **known) == expected


@given(
    st.integers(1, 256),
    st.integers(1, 1000),
    st.sampled_from([MINI, LARGE]),
    st.integers(0, 8),
    st.none() | st.integers(1, 300),
    st.none() | st.integers(GB, 1000 * GB),
)
def test_no_core_is_promised_twice(
    cores: int, tasks: int, width: int, gpus: int, processes: int | None, memory: int | None
) -> None:
    found = share(cores, tasks=tasks, width=width, gpus=gpus, on_cpu=not gpus, processes=processes, memory=memory)
    assert found.processes >= 1 and found.threads >= 1 and 0 <= found.workers <= READERS
    if processes is not None:
        assert found.processes == processes
    elif not gpus:
        assert found.processes <= min(cores, tasks)
        assert memory is None or found.processes in (1, min(found.processes, memory // MEMORY))
    if found.processes <= cores:
        assert found.processes * found.threads <= cores
        if width < SMALL and not gpus:
            assert found.processes * (found.threads + found.workers) <= cores


def test_threads_that_the_user_asked_for_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, threads in (("3", 3), ("4,2", 4), (" 5 ", 5), ("", 1), ("0", 1), ("0,2", 1), ("-1", 1), ("²", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert share(8, tasks=5, width=MINI).threads == threads


def test_small_is_what_is_narrower_than_vit_b() -> None:
    assert vision_width("mini") < SMALL
    assert vision_width("ViT-B-32-quickgelu") == SMALL
    assert vision_width("ViT-L-14-336-quickgelu") > SMALL
