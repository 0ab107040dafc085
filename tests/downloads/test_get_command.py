"""`bench data get` and `bench run --get`: what they say, what they leave behind, and their exit codes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.archive_server import ArchiveServer, card_as_drawn, files_below, served_archive, served_card, zipped
from support.demo_dataset import demo_card, demo_files

from benchmark.api.requests import Learning
from benchmark.api.wanted import wanted_by_run
from benchmark.contract import Method
from benchmark.data.cards import Card, load_cards
from benchmark.data.search import locate
from benchmark.training.chosen import SHIPPED
from methods.anomalyclip import AnomalyClip
from methods.clip import Clip

Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, server: ArchiveServer) -> Callable[..., Card]:
    """Offer a dataset on the server, in place of the one of a card that ships or as a new one."""

    def add(card: Card, content: bytes, *, unattended: bool = True) -> Card:
        url = server.put(f"{card.name}.zip", content)
        archive = served_archive(f"{card.name}.zip", content, *([url] if unattended else []))
        steps = "" if unattended else "Fill in a form."
        monkeypatch.setitem(load_cards(), card.name, served_card(card, archive, unattended=unattended, steps=steps))
        return load_cards()[card.name]

    return add


@pytest.fixture
def screws(small_suite: Path, known: Callable[..., Card]) -> Card:
    """MVTec AD with the two classes, and the numbers, that the small mini suite has."""
    drawn = locate(load_cards()["mvtec"], small_suite, None)
    assert drawn is not None
    return known(card_as_drawn(load_cards()["mvtec"], drawn), zipped(files_below(drawn.directory)))


def test_a_dataset_is_got_and_checked(bench: Bench, screws: Card, small_suite: Path, tmp_path: Path) -> None:
    arguments = ("data", "get", "mvtec", "--data", tmp_path / "data")
    code, out, err = bench(*arguments)
    assert (code, out) == (2, "") and "licence CC BY-NC-SA 4.0" in err and "say --accept" in err
    assert not (tmp_path / "data/mvtec").exists()
    code, out, err = bench(*arguments, "--accept")
    assert code == 0, err
    drawn = locate(screws, small_suite, None)
    assert drawn is not None
    assert files_below(tmp_path / "data/mvtec") == files_below(drawn.directory)
    assert out.splitlines()[-1].startswith("OK, ")
    checked = bench("data", "check", "mvtec", "--data", tmp_path / "data")
    assert checked[:2] == (0, out)
    code, out, err = bench(*arguments)  # accepted, and there
    assert (code, out) == (0, "") and "was there already" in err


def test_several_datasets_end_with_a_summary(bench: Bench, known: Callable[..., Card], tmp_path: Path) -> None:
    known(demo_card("easy"), zipped(demo_files("easy")))
    known(demo_card("form"), zipped(demo_files("form")), unattended=False)
    arguments = ("data", "get", "easy", "form", "--data", tmp_path / "data", "--accept")
    code, _, err = bench(*arguments)
    assert code == 1 and "Fill in a form." in err
    assert err.splitlines()[-1] == "fetched: easy; by hand: form"
    (mine := tmp_path / "x.zip").write_bytes(zipped(demo_files("form")))
    code, _, err = bench(*arguments, "--archive", mine)
    assert code == 0 and err.splitlines()[-1] == "there: easy; unpacked: form"
    assert mine.exists()
    code, _, err = bench("data", "get", "form", "--data", tmp_path / "other", "--archive", __file__)
    assert code == 2 and "is not the published archive" in err
    code, _, err = bench("data", "get", "mvtek", "--data", tmp_path / "data")
    assert code == 2 and "did you mean mvtec" in err


def test_a_terminal_is_asked(
    bench: Bench, known: Callable[..., Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(demo_card("easy"), zipped(demo_files("easy")))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    questions: list[str] = []

    def answer(question: str, *, yes: bool, **_: object) -> bool:
        questions.append(question)
        return yes

    for yes, expected in ((False, 2), (True, 0)):
        monkeypatch.setattr("typer.confirm", lambda question, yes=yes, **_: answer(question, yes=yes))
        assert bench("data", "get", "easy", "--data", tmp_path / "data")[0] == expected
    assert questions == ["Do you accept this licence?"] * 2


TINY = ("--backbone", "tiny:random", "--workers", "0", "--device", "cpu")


@pytest.mark.slow
def test_a_run_fetches_what_is_missing(bench: Bench, known: Callable[..., Card], tmp_path: Path) -> None:
    known(demo_card("easy"), zipped(demo_files("easy")))
    known(demo_card("form"), zipped(demo_files("form")), unattended=False)
    known(demo_card("gone"), b"no archive")
    run = ("run", "--methods", "clip", "--datasets", "easy,form,gone", "--results", tmp_path / "results", *TINY)
    data = ("--data", tmp_path / "data")
    assert "add --get" in bench(*run, *data, "--accept")[2]
    assert "say --data" in bench(*run, "--get")[2]
    assert "leave --dry-run out" in bench(*run, *data, "--get", "--dry-run")[2]
    (tmp_path / "data").mkdir()
    code, _, err = bench(*run, *data, "--get")
    assert code == 2 and "say --accept" in err
    code, out, err = bench(*run, *data, "--get", "--accept")
    assert code == 1 and "Easy" in out
    assert f"`bench data get form --data {tmp_path / 'data'}` says how" in err
    assert "FAILED Gone (gone): gone.zip cannot be fetched" in err
    assert len(list((tmp_path / "results/records").glob("clip--easy--*.json"))) == 1


def test_what_is_there_with_other_numbers_is_not_missing(
    bench: Bench, known: Callable[..., Card], server: ArchiveServer, tmp_path: Path
) -> None:
    known(card := demo_card("easy"), zipped(demo_files("easy")))
    for name, content in demo_files("easy", normal=2).items():
        (tmp_path / "data/easy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data/easy" / name).write_bytes(content)
    run = ("run", "--methods", "clip", "--datasets", "easy", "--data", tmp_path / "data", "--get", "--accept")
    code, _, err = bench(*run, "--results", tmp_path / "results", *TINY)
    assert code == 0 and f"warning: {card.title} (easy): " in err and "2 normal and 2 anomalous" in err
    assert server.asked == []


def wanted(*tested: str, method: type[Method] = AnomalyClip, every: bool = False, **learning: Any) -> list[str]:
    cards = wanted_by_run(tested, [(method, method.Options())], Learning(**learning), every=every)
    return [card.name for card in cards]


def test_a_run_needs_what_its_methods_learn_from() -> None:
    assert wanted("mvtec", "btad") == ["btad", "mvtec", "visa"]
    assert wanted("mvtec", method=Clip) == ["mvtec"]
    assert wanted("mvtec", auxiliary=["sdd"]) == ["mvtec", "sdd"]
    assert wanted("mvtec", protocol="adaclip") == ["cvc_clinicdb", "mvtec", "visa"]
    assert wanted(every=True, method=Clip) == [name for name, card in load_cards().items() if not card.beyond]


def test_a_run_with_a_checkpoint_needs_no_data_to_train_on() -> None:
    path = SHIPPED / "anomalyclip.json"  # trained on MVTec AD
    assert wanted("btad", checkpoints=[path]) == ["btad"]
    assert wanted("btad", checkpoints=[path], auxiliary=["visa"]) == ["btad", "visa"]
    assert wanted("btad", "mvtec", checkpoints=[path]) == ["btad", "mvtec"]


def test_what_needs_no_data_is_refused_before_anything_is_fetched(
    bench: Bench, known: Callable[..., Card], server: ArchiveServer, tmp_path: Path
) -> None:
    known(demo_card("easy"), zipped(demo_files("easy")))
    (torn := tmp_path / "torn.json").write_text("{")
    run = ("run", "--datasets", "easy", "--data", tmp_path / "data", "--get", "--accept", "--results", tmp_path)
    for more, said in (
        (("--methods", "anomalyclip", "--checkpoint", torn), "torn.json"),
        (("--methods", "clip", "--auxiliary", "mvtec"), "learns nothing"),
        (("--methods", "anomalyclip", "--auxiliary", "nowhere"), "nowhere"),
        (("--methods", "clip", "--backbone", "nothing"), "say NAME:TAG"),
    ):
        code, _, err = bench(*run, *more)
        assert code == 2 and said in err
    assert server.asked == []
