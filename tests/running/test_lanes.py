"""Lanes of work: order within a lane, lanes beside each other, and a bound on what waits."""

import threading
from collections.abc import Iterator

import pytest
import torch

from benchmark.running.lanes import WAITING, Lanes

PATIENCE = 30.0


@pytest.fixture(params=[0, 1, 3])
def lanes(request: pytest.FixtureRequest) -> Iterator[Lanes]:
    lanes = Lanes(request.param)
    yield lanes
    lanes.close()


def test_jobs_of_a_lane_are_done_in_order(lanes: Lanes) -> None:
    done: list[list[int]] = [[], [], []]
    each = [lanes.lane() for _ in done]
    futures = [each[n % 3].do(lambda n=n: done[n % 3].append(n) or n) for n in range(300)]  # type: ignore[misc]
    assert [future.result(PATIENCE) for future in futures] == list(range(300))
    assert done == [list(range(start, 300, 3)) for start in range(3)]


def test_lanes_go_on_beside_each_other_and_beside_the_caller() -> None:
    lanes, meeting = Lanes(2), threading.Barrier(3, timeout=PATIENCE)
    futures = [lanes.lane().do(meeting.wait) for _ in range(2)]
    meeting.wait()
    assert sorted(future.result(PATIENCE) for future in futures) != []
    lanes.close()


def test_a_lane_computes_on_one_core_and_the_caller_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    lanes = Lanes(2)
    try:
        assert [lanes.lane().do(torch.get_num_threads).result(PATIENCE) for _ in range(3)] == [1, 1, 1]
        assert torch.get_num_threads() == 3
    finally:
        lanes.close()
        torch.set_num_threads(before)


def test_who_gives_jobs_faster_than_they_are_done_waits() -> None:
    lanes, gate, given = Lanes(1), threading.Event(), threading.Semaphore(0)
    lane = lanes.lane()

    def give() -> None:
        for _ in range(WAITING + 1):
            lane.do(lambda: gate.wait(PATIENCE))
            given.release()

    giver = threading.Thread(target=give)
    giver.start()
    assert all(given.acquire(timeout=PATIENCE) for _ in range(WAITING))
    assert not given.acquire(timeout=0.1)
    gate.set()
    giver.join(PATIENCE)
    assert given.acquire(timeout=PATIENCE)
    lanes.close()


def test_what_has_not_begun_is_dropped_at_the_end() -> None:
    lanes, begun, gate, done = Lanes(1), threading.Event(), threading.Event(), []
    lane = lanes.lane()
    first = lane.do(lambda: begun.set() or gate.wait(PATIENCE))
    second = lane.do(lambda: done.append(1))
    assert begun.wait(PATIENCE)
    closing = threading.Thread(target=lanes.close)
    closing.start()
    while not second.cancelled():
        pass
    gate.set()
    closing.join(PATIENCE)
    assert first.result(0)
    assert done == []
