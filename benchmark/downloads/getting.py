"""Getting datasets: fetched, checked, unpacked beside their place, and put there when their numbers are right."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from benchmark.common import byte_progress, listed, size_in_words
from benchmark.data import (
    Archive,
    Card,
    DatasetError,
    SampleSet,
    find_directories,
    locate,
    read_samples,
    subfolders,
)
from benchmark.downloads.advice import after_failure, by_hand, unpacked_by_hand
from benchmark.downloads.checksums import RecordError, checksum_of
from benchmark.downloads.disk import disk_errors, require_room
from benchmark.downloads.fetching import PART, FetchError, fetch
from benchmark.downloads.given_files import Given
from benchmark.downloads.licences import is_accepted
from benchmark.downloads.member_names import ArchiveError
from benchmark.downloads.unpacking import bytes_of, unpack
from benchmark.errors import BenchError

WORK = ".downloads"
"""Below the folder of the datasets: parts of archives, locks, what is being unpacked. It is hidden from the search."""
_DEEP = 3
"""Folders below the top of an archive in which the dataset may lie."""
_MOST_FOLDERS = 200

_UNPACKED = "unpacked"
_LITTER = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
"""What systems put into a folder that was looked at, in lower case."""
_TERMS = re.compile(r"(licen[cs]e|readme|copying|notice|citation)\b.*", re.IGNORECASE)
"""Names of files that say what a dataset is and what may be done with it."""

State = Literal["there", "fetched", "unpacked", "by hand", "failed"]


@dataclass(frozen=True)
class Got:
    """What became of a dataset that was asked for."""

    card: Card
    state: State
    message: str
    samples: SampleSet | None = None
    """Of a dataset that is there."""
    occupied: bool = False
    """Whether something else is in its place, which stays as it is."""

    @property
    def new(self) -> bool:
        """Whether it was not there before."""
        return self.state in ("fetched", "unpacked")


class OccupiedError(DatasetError):
    """In the place of a dataset is something else. The message says what, and what to do; nothing is removed."""


@dataclass(frozen=True)
class Getting:
    """Gets datasets into a folder."""

    data: Path
    agree: Callable[[Sequence[Card]], None]
    """Called once with the datasets whose licences are not accepted yet; returns if the user accepts them."""
    say: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep

    def get(self, cards: Sequence[Card], given: "Mapping[str, Sequence[Given]] | None" = None) -> Iterator[Got]:
        """Get datasets, one after the other; those that are there stay as they are.

        Args:
            cards: Of the datasets.
            given: Archives that the user has, by the name of the card.

        Yields:
            What became of each, in the same order. One that cannot be had stops no other.

        Raises:
            DiskFullError: The folder cannot be made; later errors are in the result.
            BenchError: What `agree` raises.
        """
        given = given or {}
        with disk_errors(self.data):
            self.data.mkdir(parents=True, exist_ok=True)
        results = {card.name: self._before(card, given.get(card.name, [])) for card in cards}
        fetched = [card for card in cards if results[card.name] is None and lacking(card, given.get(card.name, []))]
        if unknown := [card for card in fetched if not is_accepted(card)]:
            self.agree(unknown)
        for card in cards:
            yield results[card.name] or self._get(card, given.get(card.name, []))

    def _before(self, card: Card, given: Sequence[Given]) -> Got | None:
        """Return what is known of a dataset before anything is fetched; None if it is to be had."""
        try:
            samples = present(card, self.data)
        except DatasetError as error:
            return Got(card, "failed", str(error), occupied=isinstance(error, OccupiedError))
        if samples is not None:
            self._clear(card)
            return Got(card, "there", f"in {samples.directory}", samples)
        if not given and not (card.download and card.download.unattended):
            return Got(card, "by hand", by_hand(card, self.data))
        return None

    def _get(self, card: Card, given: Sequence[Given]) -> Got:
        try:
            with disk_errors(self.data):
                (self.data / WORK).mkdir(exist_ok=True)
            with self._locked(card):
                if (samples := present(card, self.data)) is not None:  # by the process that was waited for
                    return Got(card, "there", f"in {samples.directory}", samples)
                return self._get_locked(card, given)
        except (FetchError, RecordError) as error:
            return Got(card, "failed", f"{error}\n{after_failure(card, self.data)}")
        except ArchiveError as error:
            return Got(card, "failed", f"{error}\nIf it is the right file, {unpacked_by_hand(card, self.data)}")
        except BenchError as error:
            return Got(card, "failed", str(error))
        except OSError as error:  # the folder cannot be listed, or is gone
            return Got(
                card, "failed", f"{self.data}: {error}; make it readable and writable, or name another by --data"
            )

    def _clear(self, card: Card) -> None:
        """Remove what a process that was killed at its very end left of the archives of a dataset that is there."""
        if (self.data / WORK / card.name).is_dir():
            with suppress(Timeout, OSError), FileLock(self.data / WORK / f"{card.name}.lock", timeout=0):
                shutil.rmtree(self.data / WORK / card.name)

    @contextmanager
    def _locked(self, card: Card) -> Iterator[None]:
        lock = FileLock(self.data / WORK / f"{card.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.say(f"{card.title}: another process is getting it; waiting for that one")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _get_locked(self, card: Card, given: Sequence[Given]) -> Got:
        work = self.data / WORK / card.name
        with disk_errors(self.data):
            work.mkdir(exist_ok=True)
            shutil.rmtree(work / _UNPACKED, ignore_errors=True)  # of a process that was killed
        missing = lacking(card, given)
        if missing and not (card.download and card.download.unattended):
            names = listed([each.file for each in missing], 5)
            raise BenchError(f"{card.title} has {len(missing) + len(given)} archives; name {names} by --archive, too")
        self._tell_of_disk(card, missing, work)
        paths = [(each.path, each.archive.into if each.archive else "") for each in given]
        for archive in missing:
            checksum = checksum_of(archive)
            if checksum is None:
                raise RecordError(f"{archive.file}: has no checksum")
            paths.append((fetch(archive, work, checksum, say=self.say, pause=self.pause), archive.into))
        self._unpack(card, paths, work)
        samples = read_samples(card, self.data / card.name)
        with disk_errors(self.data):
            shutil.rmtree(work)  # holds what was fetched, which is unpacked now
        return Got(card, "fetched" if missing else "unpacked", f"in {samples.directory}", samples)

    def _tell_of_disk(self, card: Card, missing: Sequence[Archive], work: Path) -> None:
        if not missing:
            return
        known = sum(each.size or 0 for each in missing)
        files = (work / f"{each.file}{end}" for each in missing for end in ("", PART))
        there = min(known, sum(path.stat().st_size for path in files if path.is_file()))
        parts = [size_in_words(known - there)] if known > there else []
        parts += ["archives of unknown size"] if any(each.size is None for each in missing) else []
        free = size_in_words(shutil.disk_usage(self.data).free)
        if what := " and ".join(parts):
            self.say(f"{card.title}: {what} to fetch, and about as much again unpacked; the disk has {free} left")
        require_room(self.data, 2 * known - there, f"{card.title}, packed and unpacked,")

    def _unpack(self, card: Card, paths: Sequence[tuple[Path, str]], work: Path) -> None:
        """Unpack archives and put the dataset into its place, unless its numbers are wrong."""
        folder = work / _UNPACKED
        target = self.data / card.name
        try:
            with disk_errors(self.data):
                folder.mkdir()
            for path, into in paths:
                place = folder / into
                with disk_errors(self.data):
                    place.mkdir(parents=True, exist_ok=True)
                size = bytes_of(path)
                require_room(self.data, size or path.stat().st_size, f"{path.name}, unpacked,")
                with byte_progress(f"unpacking {path.name}", size) as progress:
                    unpack(path, place, progress=progress)
            home = home_of(card, folder)
            with disk_errors(self.data):
                _keep_terms(folder, home)
                if target.is_dir():  # nothing is in it, else it was refused
                    shutil.rmtree(target)
                home.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def lacking(card: Card, given: Sequence[Given]) -> list[Archive]:
    """Return the archives of a dataset that are not given."""
    there = [each.archive for each in given]
    return [each for each in (card.download.archives if card.download else ()) if each not in there]


def present(card: Card, data: Path) -> SampleSet | None:
    """Return a dataset that lies in a folder with the right numbers of images; None if there is nothing of it.

    Raises:
        OccupiedError: There is something, but not the dataset with its numbers.
    """
    target = data / card.name
    if not target.is_dir() and (target.exists() or target.is_symlink()):
        raise OccupiedError(f"{target} is in the place of {card.title} and is no folder: move it away first")
    try:
        samples = locate(card, data, None)
    except DatasetError as error:
        folders = find_directories(card, data, None)
        if all(map(_is_bare, folders)):
            if target.is_symlink():
                raise OccupiedError(
                    f"{target} is a link to an empty folder, which is not filled: remove it; a dataset that is to lie "
                    f"elsewhere is got there, and named by --data-path {card.name}=DIR"
                ) from error
            return None
        names = listed([str(folder) for folder in folders], 3)
        raise OccupiedError(
            f"{error}\nNothing was fetched, and {names} is left as it is: move it away first"
        ) from error
    if samples is None:
        return None
    if samples.synthetic:
        raise OccupiedError(
            f"{samples.directory} holds generated images in the place of {card.title}; name another folder by --data"
        )
    if _off(samples):
        raise OccupiedError(
            f"{samples.directory} is there, but {_off(samples)}. Nothing was fetched, and it is left as it is: "
            f"`bench data check {card.name}` says more; to have it anew, move it away first"
        )
    return samples


def home_of(card: Card, folder: Path) -> Path:
    """Return the folder, at or below the top of what was unpacked, that holds a dataset with its numbers of images.

    Raises:
        ArchiveError: There is none.
    """
    level, seen, first = [folder], 0, ""
    for _ in range(_DEEP + 1):
        for each in level:
            try:
                samples = read_samples(card, each)
            except DatasetError as error:
                first = first or str(error)
            else:
                if not (off := _off(samples)):
                    return _below(card, each, samples)
                first = first or off
        seen += len(level)
        level = [child for each in level for child in sorted(each.iterdir()) if child.is_dir()]
        if seen + len(level) > _MOST_FOLDERS:
            break
    raise ArchiveError(f"what was unpacked is not {card.title}, and was removed again; the archive is kept. {first}")


def _below(card: Card, folder: Path, samples: SampleSet) -> Path:
    """Return the subfolder in which a dataset lies whole, where its card names it as one; else the folder itself."""
    for root in filter(None, samples.layout.roots):
        for child in (each for each in subfolders(folder) if each.name.casefold() == root.casefold()):
            with suppress(DatasetError):
                inner = read_samples(card, child)
                if inner.layout == samples.layout and len(inner.samples) == len(samples.samples):
                    return child
    return folder


def _keep_terms(top: Path, home: Path) -> None:
    """Move the licence and the like that lie beside a dataset into its folder."""
    for folder in home.relative_to(top).parents:
        for each in sorted((top / folder).iterdir()):
            if each.is_file() and _TERMS.fullmatch(each.name) and not (home / each.name).exists():
                each.rename(home / each.name)


def _is_bare(folder: Path) -> bool:
    """Return whether a folder holds nothing of a user: no more than empty folders and what systems leave behind."""
    below = (each for each in folder.rglob("*") if each.relative_to(folder).parts[0] != WORK)
    return all((each.is_dir() and not each.is_symlink()) or each.name.lower() in _LITTER for each in below)


def _off(samples: SampleSet) -> str:
    """Return which numbers of test images are wrong; of a card without numbers, which classes have none."""
    lines = [
        f"{name} has {found[0]} normal and {found[1]} anomalous test images, not {expected[0]} and {expected[1]}"
        for name, (found, expected) in samples.differences.items()
    ]
    lines += [f"{name} has no test images" for name in samples.lacking]
    return listed(lines, 3)
