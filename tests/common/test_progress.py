"""Progress where standard error is no terminal."""

import pytest

from benchmark.common import progress


@pytest.mark.parametrize(
    ("total", "said"),
    [(4_000_000, r"a.zip: 3.0 MB of 4.0 MB, "), (None, "a.zip: 3.0 MB, ")],
)
def test_bytes_that_were_there_before_count_and_speed_is_that_of_the_new_ones(
    total: int | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.byte_progress("a.zip", total, done=1_000_000) as advance:
        advance(2_000_000)
    assert capsys.readouterr().err == f"{said}100.0 kB/s" + (", 10 s left\n" if total else "\n")


def test_images_are_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 1.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.image_progress("mvtec", 100) as advance:
        advance(20)
        advance(20)
    assert capsys.readouterr().err == "mvtec: 40/100 images, 2.0 images/s, 30 s left\n"
