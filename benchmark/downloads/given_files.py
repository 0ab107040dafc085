"""Archives that a user fetched by hand: which archive of which card each is, told by its checksum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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


@dataclass
class _File:
    path: Path
    _digests: dict[str, str] = field(default_factory=dict)

    def digest(self, checksum: Checksum) -> str:
        if checksum.algorithm not in self._digests:
            self._digests[checksum.algorithm] = checksum.of(self.path)
        return self._digests[checksum.algorithm]


@dataclass(frozen=True)
class _Wanted:
    card: Card
    archive: Archive | None
    say: Callable[[str], None]

    @cached_property
    def checksum(self) -> Checksum | None:
        """The checksum by which a file is known; None where there is none, or where it cannot be asked for."""
        if self.archive is None:
            return None
        try:
            return checksum_of(self.archive)
        except RecordError as error:
            self.say(f"{error}; the numbers of images decide")
            return None

    def is_(self, file: _File) -> bool:
        return self.checksum is not None and file.digest(self.checksum) == self.checksum.digest


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
    wanted = [_Wanted(card, archive, say) for card in cards for archive in _archives(card)]
    matched: dict[str, list[Given]] = {card.name: [] for card in cards}
    for path in paths:
        if not path.is_file():
            raise BenchError(f"--archive {path}: there is no such file")
        try:
            found = _match(_File(path), wanted)
        except OSError as error:
            raise BenchError(f"--archive {path}: cannot be read ({error.strerror or error})") from error
        for each in found:
            matched[each.card.name].append(Given(path, each.archive))
    return matched


def _archives(card: Card) -> Sequence[Archive | None]:
    return (card.download.archives if card.download else ()) or (None,)


def _match(file: _File, wanted: Sequence[_Wanted]) -> Sequence[_Wanted]:
    if exact := [each for each in wanted if each.is_(file)]:  # several, where one archive holds several datasets
        return exact
    open_ = [each for each in wanted if each.checksum is None]
    named = [each for each in open_ if each.archive is not None and each.archive.file == file.path.name]
    if len(named) == 1 or len(open_) == 1:
        return (named or open_)[:1]
    if open_:
        names = ", ".join(dict.fromkeys(each.card.name for each in open_))
        raise BenchError(f"--archive {file.path}: it may be of {names}; name one dataset, and get the others after it")
    known = [(each, each.checksum) for each in wanted if each.checksum is not None]
    lines = [
        f"its {checksum.algorithm} is {file.digest(checksum)}, and {each.archive and each.archive.file} of "
        f"{each.card.name} has {checksum.digest}"
        for each, checksum in known
    ]
    what = (what_is_it(file.path) or "").partition(";")[0]
    is_what = f"\n  it is {what}" if what and "archive" not in what else ""
    told = "\n  ".join(lines)
    raise BenchError(
        f"--archive {printable(file.path)}: it is not the published archive:\n  {told}{is_what}\n"
        "Fetch it again; or, if it is another copy that you trust, unpack it yourself and see what `bench data check` "
        "says of it"
    )
