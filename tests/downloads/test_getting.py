"""Datasets come into their folder whole, or not at all; what lies there is left as it is."""

import hashlib
import json
import re
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest
from support.archive_server import (
    ArchiveServer,
    files_below,
    served_archive,
    served_card,
    tarred,
    zipped,
)
from support.demo_dataset import demo_card, demo_files

from benchmark.data.cards import Card, load_cards
from benchmark.data.samples import MINI_MARKER
from benchmark.downloads import getting, licences
from benchmark.downloads.getting import WORK, Getting, Got
from benchmark.downloads.given_files import match_files
from benchmark.errors import BenchError

CONTENT = zipped(demo_files())


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[[Card], Card]:
    """Make a card one of those that ship."""

    def add(card: Card) -> Card:
        monkeypatch.setitem(load_cards(), card.name, card)
        return card

    return add


@pytest.fixture
def demo(server: ArchiveServer, known: Callable[[Card], Card]) -> Card:
    return known(served_card(demo_card(), served_archive("demo.zip", CONTENT, server.put("demo.zip", CONTENT))))


class Told:
    """What a command would have said and asked."""

    def __init__(self, data: Path) -> None:
        self.data, self.said, self.asked = data, list[str](), list[str]()

    def agree(self, cards: object) -> None:
        for card in cards:  # type: ignore[attr-defined]
            self.asked.append(card.name)
            licences.accept(card)

    def get(self, *cards: Card, archives: tuple[Path, ...] = ()) -> list[Got]:
        given = match_files(archives, cards, say=self.said.append)
        return [*Getting(self.data, self.agree, self.said.append, lambda _: None).get(cards, given)]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "data")


def shown(folder: Path) -> list[str]:
    """Return what lies in a folder of datasets, as a user sees it."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_dataset_is_fetched_unpacked_and_read(told: Told, demo: Card, server: ArchiveServer) -> None:
    [got] = told.get(demo)
    assert (got.state, got.new) == ("fetched", True)
    assert got.samples is not None and got.samples.differences == {} and len(got.samples.test) == 5
    assert files_below(told.data / "demo") == demo_files()
    assert shown(told.data) == ["demo"]
    assert not (told.data / WORK / "demo").exists()  # the archive takes no room any more
    assert "the disk has" in told.said[0] and "to fetch" in told.said[0]
    [again] = told.get(demo)
    assert (again.state, again.new) == ("there", False)
    assert len(server.asked) == 1


def test_a_licence_is_accepted_once_and_anew_when_it_changes(
    told: Told, demo: Card, tmp_path: Path, known: Callable[[Card], Card]
) -> None:
    told.get(demo)
    other = Told(tmp_path / "elsewhere")
    assert other.get(demo)[0].state == "fetched"
    assert (told.asked, other.asked) == (["demo"], [])
    changed = known(demo.model_copy(update={"licence": "CC BY-NC 4.0"}))
    third = Told(tmp_path / "third")
    third.get(changed)
    assert third.asked == ["demo"]


def test_without_a_licence_nothing_is_fetched(
    tmp_path: Path, demo: Card, server: ArchiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise BenchError("not accepted")

    with pytest.raises(BenchError, match="not accepted"):
        list(Getting(tmp_path / "data", refuse, lambda _: None).get([demo]))
    assert server.asked == [] and shown(tmp_path / "data") == []


def test_several_archives_fill_one_folder(told: Told, server: ArchiveServer, known: Callable[[Card], Card]) -> None:
    files = demo_files()
    masks = {name.partition("/")[2]: content for name, content in files.items() if "masks" in name}
    images = {f"images/{name}": content for name, content in files.items() if "masks" not in name}
    first, second = zipped(images), tarred(masks, mode="w:gz")
    record = {"files": [{"key": "masks.tgz", "checksum": f"md5:{hashlib.md5(second).hexdigest()}"}]}
    card = known(
        served_card(
            demo_card(),
            served_archive("images.zip", first, server.put("images.zip", first)),
            served_archive(
                "masks.tgz",
                second,
                server.put("masks.tgz", second),
                into="images/demo_nut",
                record=server.put("record", json.dumps(record).encode()),
            ),
        )
    )
    [got] = told.get(card)
    assert got.samples is not None and all(s.mask for s in got.samples.test if s.label)


def test_a_clash_of_two_archives_is_told(told: Told, server: ArchiveServer, known: Callable[[Card], Card]) -> None:
    archives = [served_archive(f"{name}.zip", CONTENT, server.put(f"{name}.zip", CONTENT)) for name in "ab"]
    [got] = told.get(known(served_card(demo_card(), *archives)))
    assert got.state == "failed" and "which another archive holds too" in got.message
    assert shown(told.data) == []


def test_what_was_killed_while_it_unpacked_leaves_nothing(told: Told, demo: Card) -> None:
    half = told.data / WORK / "demo" / "unpacked" / "demo_nut"
    half.mkdir(parents=True)
    (half / "stray").touch()
    assert told.get(demo)[0].state == "fetched"
    assert files_below(told.data / "demo") == demo_files()


def test_an_archive_with_other_numbers_is_refused_and_kept(
    told: Told, server: ArchiveServer, known: Callable[[Card], Card]
) -> None:
    content = zipped(demo_files(normal=2))
    card = known(served_card(demo_card(), served_archive("demo.zip", content, server.put("demo.zip", content))))
    [got] = told.get(card)
    assert got.state == "failed"
    assert "demo_nut has 2 normal and 2 anomalous test images, not 3 and 2" in got.message
    assert shown(told.data) == [] and (told.data / WORK / "demo" / "demo.zip").is_file()
    assert not (told.data / WORK / "demo" / "unpacked").exists()


def test_a_users_data_is_left_as_it_is(told: Told, demo: Card, server: ArchiveServer) -> None:
    for files, said in (
        ({"demo_nut/good/000.png": demo_files()["demo_nut/good/000.png"]}, "1 normal and 0 anomalous"),
        ({"notes.txt": b"mine"}, "left as it is: move it away first"),
    ):
        for name, content in files.items():
            (told.data / "demo" / name).parent.mkdir(parents=True, exist_ok=True)
            (told.data / "demo" / name).write_bytes(content)
        [got] = told.get(demo)
        assert got.state == "failed" and said in got.message
        assert files_below(told.data / "demo") == files
        for path in [*(told.data / "demo").rglob("*.*")]:
            path.unlink()
    (told.data / "demo" / ".hidden").touch()
    assert "move it away first" in told.get(demo)[0].message and (told.data / "demo" / ".hidden").exists()
    assert server.asked == []


def test_an_empty_folder_is_filled(told: Told, demo: Card) -> None:
    (told.data / "demo").mkdir(parents=True)
    assert told.get(demo)[0].state == "fetched"


def test_a_folder_with_what_systems_leave_behind_is_filled(told: Told, demo: Card) -> None:
    (told.data / "demo" / "demo_nut" / "empty").mkdir(parents=True)
    (told.data / "demo" / ".DS_Store").touch()
    assert told.get(demo)[0].state == "fetched"
    assert files_below(told.data / "demo") == demo_files()


@pytest.mark.parametrize("kind", ["file", "dangling", "link"])
def test_what_is_no_folder_in_the_place_of_a_dataset_is_told_before_anything_is_fetched(
    told: Told, demo: Card, server: ArchiveServer, kind: str
) -> None:
    place, elsewhere = told.data / "demo", told.data.parent / "elsewhere"
    told.data.mkdir()
    if kind == "link":
        elsewhere.mkdir()
    place.touch() if kind == "file" else place.symlink_to(elsewhere)
    [got] = told.get(demo)
    assert got.state == "failed" and str(place) in got.message and ("link to" in got.message) == (kind == "link")
    assert server.asked == [] and told.asked == []


@pytest.mark.parametrize("place", ["data", f"data/{WORK}", f"data/{WORK}/demo"])
def test_a_file_in_the_place_of_a_folder_is_told(told: Told, demo: Card, place: str) -> None:
    path = told.data.parent / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    message = ""
    try:
        message = told.get(demo)[0].message
    except BenchError as error:
        message = str(error)
    assert message == f"{path}: a file is where a folder should be; move it away"


@pytest.mark.parametrize("lost", ["", "[]", "{}", '{"licence": "another"}'])
def test_a_licence_note_that_says_nothing_is_no_consent(told: Told, demo: Card, lost: str) -> None:
    licences.accept(demo)
    assert licences.is_accepted(demo)
    [note] = (told.data.parent / "cache/licences").iterdir()
    note.write_text(lost)
    assert not licences.is_accepted(demo)


def test_a_cache_that_cannot_be_written_is_told(told: Told, demo: Card) -> None:
    (told.data.parent / "cache").mkdir()
    (told.data.parent / "cache/licences").touch()
    with pytest.raises(BenchError, match=r"cache/licences: .*BENCH_CACHE"):
        told.get(demo)


def test_what_was_killed_at_the_end_leaves_no_archive(told: Told, demo: Card) -> None:
    told.get(demo)
    (work := told.data / WORK / "demo").mkdir()
    (work / "demo.zip").write_bytes(CONTENT)
    assert told.get(demo)[0].state == "there"
    assert not work.exists()


def test_room_is_counted_without_what_a_killed_process_unpacked(
    told: Told, demo: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = told.data / WORK / "demo" / "unpacked" / "large"
    half.mkdir(parents=True)

    def usage(_: object) -> object:
        return type("Usage", (), {"free": 0 if half.exists() else 10**9})

    monkeypatch.setattr(getting.shutil, "disk_usage", usage)
    assert told.get(demo)[0].state == "fetched"


def test_generated_images_are_not_taken_for_the_dataset(told: Told, demo: Card) -> None:
    told.data.mkdir()
    (told.data / MINI_MARKER).write_text("{}")
    for name, content in demo_files().items():
        (told.data / "demo" / name).parent.mkdir(parents=True, exist_ok=True)
        (told.data / "demo" / name).write_bytes(content)
    [got] = told.get(demo)
    assert got.state == "failed" and "generated images" in got.message


def test_of_several_datasets_one_that_fails_stops_no_other(
    told: Told, demo: Card, server: ArchiveServer, known: Callable[[Card], Card]
) -> None:
    gone = known(
        served_card(demo_card("gone"), served_archive("gone.zip", CONTENT, f"{server.address}/gone.zip", note="Odd."))
    )
    by_hand = known(
        served_card(demo_card("form"), served_archive("form.zip", CONTENT), unattended=False, steps="Fill in\na form.")
    )
    results = told.get(gone, by_hand, demo)
    assert [got.state for got in results] == ["failed", "by hand", "fetched"]
    assert told.asked == ["gone", "demo"]
    assert "404" in results[0].message and "Odd." in results[0].message
    assert f"bench data get gone --data {told.data} --archive FILE" in results[0].message
    for part in (
        "Fill in a form.",
        "https://example.org/demo",
        "CC BY 4.0",
        hashlib.sha256(CONTENT).hexdigest(),
        f"bench data get form --data {told.data} --archive form.zip",
        "its classes",
    ):
        assert part in results[1].message


def test_a_card_that_does_not_say_how_it_is_had(told: Told, known: Callable[[Card], Card]) -> None:
    [got] = told.get(known(demo_card()))
    assert got.state == "by hand" and "does not say how" in got.message


def test_an_archive_fetched_by_hand_is_known_by_its_checksum(
    told: Told, tmp_path: Path, known: Callable[[Card], Card]
) -> None:
    first, second = (
        known(
            served_card(
                demo_card(name),
                served_archive(f"{name}.zip", zipped(demo_files(name))),
                unattended=False,
                steps="Ask.",
            )
        )
        for name in ("first", "second")
    )
    (mine := tmp_path / "download(1).bin").write_bytes(zipped(demo_files("second")))
    results = told.get(first, second, archives=(mine,))
    assert [got.state for got in results] == ["by hand", "unpacked"]
    assert mine.is_file() and files_below(told.data / "second") == demo_files("second")
    assert told.asked == []


def test_a_wrong_archive_is_told_by_its_checksum(told: Told, tmp_path: Path, known: Callable[[Card], Card]) -> None:
    card = known(served_card(demo_card(), served_archive("demo.zip", CONTENT), unattended=False, steps="Ask."))
    (mine := tmp_path / "demo.zip").write_bytes(page := b"<html>Please log in</html>")
    with pytest.raises(BenchError) as error:
        told.get(card, archives=(mine,))
    for part in (str(mine), hashlib.sha256(page).hexdigest(), hashlib.sha256(CONTENT).hexdigest(), "a web page"):
        assert part in str(error.value)
    with pytest.raises(BenchError, match="no such file"):
        told.get(card, archives=(tmp_path / "nowhere.zip",))


@pytest.mark.parametrize("within", ["", "Demo/", "Some Collection/TestDataset/demo/"])
def test_without_a_checksum_the_numbers_of_images_decide(
    told: Told, tmp_path: Path, known: Callable[[Card], Card], within: str
) -> None:
    archive = served_archive("demo.zip", CONTENT, sha256=None, size=None)
    card = known(served_card(demo_card(), archive, unattended=False, steps="Ask."))
    (mine := tmp_path / "any name").write_bytes(zipped({**demo_files(within=within), "other/x.png": b""}))
    [got] = told.get(card, archives=(mine,))
    assert got.state == "unpacked", got.message
    assert (told.data / "demo/demo_nut/good/000.png").is_file()
    (told.data / "demo").rename(tmp_path / "away")
    mine.write_bytes(zipped(demo_files(normal=4)))
    [got] = told.get(card, archives=(mine,))
    assert got.state == "failed" and "4 normal and 2 anomalous" in got.message and shown(told.data) == []


def test_one_archive_may_hold_several_datasets(told: Told, tmp_path: Path, known: Callable[[Card], Card]) -> None:
    both = zipped({**demo_files("first", within="First/"), **demo_files("second", within="Second/")})
    archive = served_archive("both.zip", both)
    cards = [
        known(served_card(demo_card(name), archive, unattended=False, steps="Ask.")) for name in ("first", "second")
    ]
    (mine := tmp_path / "mine.zip").write_bytes(both)
    assert [got.state for got in told.get(*cards, archives=(mine,))] == ["unpacked", "unpacked"]
    assert files_below(told.data / "first") == demo_files("first")
    assert files_below(told.data / "second") == demo_files("second")


def test_of_an_archive_of_several_datasets_each_keeps_its_own(
    told: Told, tmp_path: Path, known: Callable[[Card], Card]
) -> None:
    names = ("first", "second")
    files = {"README.md": b"Both.", "terms/x.txt": b""}
    for name in names:
        files |= demo_files(name, within=f"All/{name.title()}/")
    archive = served_archive("all.zip", content := zipped(files))
    cards = []
    for name in names:
        card = demo_card(name)
        layouts = tuple(each.model_copy(update={"roots": ("", name)}) for each in card.layouts)
        card = card.model_copy(update={"layouts": layouts})
        cards.append(known(served_card(card, archive, unattended=False, steps="Ask.")))
    (mine := tmp_path / "mine.zip").write_bytes(content)
    assert [got.state for got in told.get(*cards, archives=(mine,))] == ["unpacked", "unpacked"]
    for name in names:
        assert files_below(told.data / name) == {**demo_files(name), "README.md": b"Both."}


def test_of_a_card_without_numbers_every_class_is_needed(
    told: Told, tmp_path: Path, known: Callable[[Card], Card]
) -> None:
    classes = [{"name": "demo_nut"}, {"name": "demo_bolt"}]
    card = known(served_card(demo_card(classes=classes), served_archive("demo.zip", CONTENT), unattended=False))
    (mine := tmp_path / "demo.zip").write_bytes(CONTENT)
    [got] = told.get(card, archives=(mine,))
    assert got.state == "failed" and "demo_bolt has no test images" in got.message
    for name, content in demo_files().items():
        (told.data / "demo" / name).parent.mkdir(parents=True, exist_ok=True)
        (told.data / "demo" / name).write_bytes(content)
    [got] = told.get(card)
    assert got.occupied and "demo_bolt has no test images" in got.message


def _list(name: str) -> bytes:
    entry = {"anomaly_class": "OK", "image_path": "OK/S0001/x_0001_OK_C1_1.png", "mask_path": None}
    return json.dumps({"meta": {"prefix": f"{name}/"}, "train": [], "test": [entry]}).encode()


def test_the_command_for_real_iad_works(told: Told, tmp_path: Path) -> None:
    """The archives as they are published: one of the lists, and one for each class, which begins with its folder."""
    card = load_cards()["real_iad"]
    [got] = told.get(card)
    said = got.message.partition("then:")[2].splitlines()[0]
    archives = re.findall(r"--archive (\S+)", said)
    assert len(archives) == 31 and archives[0] == "realiad_jsons.zip"
    for each in archives:
        image = f"{each.removesuffix('.zip')}/OK/S0001/x_0001_OK_C1_1.png"
        content = {image: demo_files()["demo_nut/good/000.png"]}
        if each == "realiad_jsons.zip":
            content = {f"realiad_jsons/{one.name}.json": _list(one.name) for one in card.classes}
        (tmp_path / each).write_bytes(zipped(content))
    [got] = told.get(card, archives=tuple(tmp_path / each for each in archives))
    assert got.state == "unpacked", got.message
    assert got.samples is not None and len(got.samples.test) == 30
    assert (told.data / "real_iad/realiad_1024/zipper/OK").is_dir()


def test_an_archive_named_twice_is_taken_once(told: Told, tmp_path: Path, demo: Card) -> None:
    (mine := tmp_path / "mine.zip").write_bytes(CONTENT)
    (copy := tmp_path / "copy.zip").write_bytes(CONTENT)
    assert told.get(demo, archives=(mine, mine, copy))[0].state == "unpacked"


def test_a_folder_is_no_archive(told: Told, tmp_path: Path, demo: Card) -> None:
    with pytest.raises(BenchError, match="it is a folder"):
        told.get(demo, archives=(tmp_path,))


def test_a_file_that_may_be_of_several_datasets_is_told(
    told: Told, tmp_path: Path, known: Callable[[Card], Card]
) -> None:
    cards = [known(demo_card(name)) for name in ("first", "second")]
    (mine := tmp_path / "x.zip").write_bytes(CONTENT)
    with pytest.raises(BenchError, match="may be of first, second; name one dataset"):
        told.get(*cards, archives=(mine,))


def test_all_archives_of_a_dataset_are_asked_for(told: Told, tmp_path: Path, known: Callable[[Card], Card]) -> None:
    archives = [served_archive(f"{name}.zip", zipped({name: b""})) for name in "ab"]
    card = known(served_card(demo_card(), *archives, unattended=False, steps="Ask."))
    (mine := tmp_path / "a.zip").write_bytes(zipped({"a": b""}))
    [got] = told.get(card, archives=(mine,))
    assert got.state == "failed" and "name b.zip by --archive, too" in got.message


def test_a_record_that_cannot_be_asked_leaves_it_to_the_numbers(
    told: Told, tmp_path: Path, known: Callable[[Card], Card], server: ArchiveServer
) -> None:
    archive = served_archive("demo.zip", CONTENT, record=f"{server.address}/gone")
    card = known(served_card(demo_card(), archive, unattended=False, steps="Ask."))
    (mine := tmp_path / "demo.zip").write_bytes(CONTENT)
    assert told.get(card, archives=(mine,))[0].state == "unpacked"
    assert "404" in told.said[0] and "numbers of images decide" in told.said[0]


def test_too_little_room_is_told_before_anything_is_fetched(
    told: Told, demo: Card, server: ArchiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = len(CONTENT) + 10  # enough for the archive alone
    monkeypatch.setattr(getting.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    [got] = told.get(demo)
    assert got.state == "failed" and "packed and unpacked" in got.message
    assert server.asked == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, demo: Card) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="cannot be written"):
        Told(tmp_path / "file" / "data").get(demo)


def test_a_folder_that_cannot_be_listed_is_told(told: Told, demo: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(getting, "home_of", refuse)
    [got] = told.get(demo)
    assert got.state == "failed" and "Permission denied" in got.message and str(told.data) in got.message
    assert not (told.data / WORK / "demo" / "unpacked").exists()


def test_two_processes_at_once_fetch_it_once(told: Told, demo: Card, server: ArchiveServer) -> None:
    fork = get_context("fork")
    states = fork.SimpleQueue()
    both = [fork.Process(target=lambda: states.put(told.get(demo)[0].state)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert sorted([states.get(), states.get()]) == ["fetched", "there"]
    assert len(server.asked) == 1
    assert files_below(told.data / "demo") == demo_files()


def test_of_several_archives_those_that_are_not_given_are_fetched(
    told: Told, tmp_path: Path, server: ArchiveServer, known: Callable[[Card], Card]
) -> None:
    files = demo_files()
    parts = [zipped({name: files[name] for name in files if ("masks" in name) == masks}) for masks in (False, True)]
    first = served_archive("images.zip", parts[0], f"{server.address}/images.zip")
    second = served_archive("masks.zip", parts[1], server.put("masks.zip", parts[1]))
    (mine := tmp_path / "mine.zip").write_bytes(parts[0])
    [got] = told.get(known(served_card(demo_card(), first, second)), archives=(mine,))
    assert got.state == "fetched" and files_below(told.data / "demo") == files
    assert [path for path, _ in server.asked] == ["/masks.zip"]
    assert told.asked == ["demo"]


def test_an_archive_given_by_hand_needs_no_network(told: Told, tmp_path: Path, known: Callable[[Card], Card]) -> None:
    """As where the certificate of a server cannot be verified."""
    archive = served_archive("demo.zip", CONTENT, "https://example.invalid/demo.zip")
    (mine := tmp_path / "mine.zip").write_bytes(CONTENT)
    assert told.get(known(served_card(demo_card(), archive)), archives=(mine,))[0].state == "unpacked"
    assert told.asked == []
