"""Archives that a user fetched by hand: which archive of which card each is, told by its checksum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmark.common import printable, what_is_it
from benchmark.data import Archive, Card
from benchmark.downloads.checksums import Checksum, RecordError, checksum_of
from benchmark.errors import BenchError


@dataclass(frozen=True)
class Given:
    """A file that a user names, and the archive of a card that it is; None where the card lists none."""

    path: Path
    archive: Archive | None


@dataclass(frozen=True)
class _Wanted:
    card: Card
    archive: Archive | None
    checksum: Checksum | None
    """By which a file is known; None where there is none, or where it cannot be asked for."""


def match_files(paths: Sequence[Path], cards: Sequence[Card], *, say: Callable[[str], None]) -> dict[str, list[Given]]:
    """Return which file is which archive, by the name of the card.

    A file is known by its checksum. One that has none of those of the cards is taken for an archive without a published
    checksum, by its name where there are several.

    Args:
        paths: The files.
        cards: Of the datasets that are asked for.
        say: Called with what could not be asked for.

    Raises:
        BenchError: A file is missing, or is none of the archives; the message says its checksum and the expected ones.
    """
    if not paths:
        return {}
    wanted = [_Wanted(card, archive, _checksum(archive, say)) for card in cards for archive in _archives(card)]
    matched: dict[str, list[Given]] = {card.name: [] for card in cards}
    for path in {path.resolve(): path for path in paths}.values():
        if path.is_dir():
            raise BenchError(f"--archive {path}: it is a folder; name the file, or the folder by --data-path NAME=DIR")
        if not path.is_file():
            raise BenchError(f"--archive {path}: there is no such file")
        try:
            found = _match(path, wanted)
        except OSError as error:
            raise BenchError(f"--archive {path}: cannot be read ({error.strerror or error})") from error
        for each in found:
            if each.archive not in [given.archive for given in matched[each.card.name]]:
                matched[each.card.name].append(Given(path, each.archive))
    return matched


def _archives(card: Card) -> Sequence[Archive | None]:
    return (card.download.archives if card.download else ()) or (None,)


def _checksum(archive: Archive | None, say: Callable[[str], None]) -> Checksum | None:
    try:
        return checksum_of(archive) if archive else None
    except RecordError as error:
        say(f"{error}; the numbers of images decide")
        return None


def _match(path: Path, wanted: Sequence[_Wanted]) -> Sequence[_Wanted]:
    @cache
    def digest(algorithm: str) -> str:
        return Checksum(algorithm, "").of(path)

    known = [(each, each.checksum) for each in wanted if each.checksum is not None]
    # Several, where one archive holds several datasets.
    if exact := [each for each, checksum in known if digest(checksum.algorithm) == checksum.digest]:
        return exact
    open_ = [each for each in wanted if each.checksum is None]
    named = [each for each in open_ if each.archive is not None and each.archive.file == path.name]
    if len(named) == 1 or len(open_) == 1:
        return (named or open_)[:1]
    if open_:
        names = ", ".join(dict.fromkeys(each.card.name for each in open_))
        raise BenchError(f"--archive {path}: it may be of {names}; name one dataset, and get the others after it")
    lines = [
        f"its {checksum.algorithm} is {digest(checksum.algorithm)}, and {each.archive and each.archive.file} of "
        f"{each.card.name} has {checksum.digest}"
        for each, checksum in known
    ]
    what = (what_is_it(path) or "").partition(";")[0]
    is_what = f"\n  it is {what}" if what and "archive" not in what else ""
    told = "\n  ".join(lines)
    raise BenchError(
        f"--archive {printable(path)}: it is not the published archive:\n  {told}{is_what}\n"
        "Fetch it again; or, if it is another copy that you trust, unpack it yourself and see what `bench data check` "
        "says of it"
    )
