"""The options that say where images are, how plain folders are read, and which part of a dataset is tested."""

import dataclasses
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmark.api import Places
from benchmark.cli.options import in_panel
from benchmark.common import ANY_CLASS
from benchmark.errors import BenchError

if TYPE_CHECKING:
    from benchmark.data import PlainFolder

_data = in_panel("Data")


def parse_paths(texts: Sequence[str]) -> dict[str, Path]:
    """Return the directories given as `NAME=DIR`.

    Raises:
        BenchError: One is not of that form, or names an unknown dataset.
    """
    if not texts:
        return {}
    from benchmark.api import select_cards
    from benchmark.registry import choose

    known = [card.name for card in select_cards([])]
    paths: dict[str, Path] = {}
    for text in texts:
        name, equals, directory = text.partition("=")
        if not (equals and directory):
            place = name or directory or "/datasets/mvtec_anomaly_detection"
            raise BenchError(f"--data-path {text}: say NAME=DIR, as in --data-path mvtec={place}")
        choose("dataset", [name], known)
        if (earlier := paths.setdefault(name, Path(directory).expanduser())) != Path(directory).expanduser():
            raise BenchError(f"--data-path {name}: said twice, as {earlier} and as {directory}; leave one out")
    return paths


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where the datasets are."""

    data: Annotated[
        Path | None,
        _data("--data", envvar="BENCH_DATA", help="Folder that holds the datasets, each in a folder of its own."),
    ] = None
    data_path: Annotated[
        list[str], _data("--data-path", metavar="NAME=DIR", help="Folder of one dataset; may be repeated.")
    ] = field(default_factory=list)

    def places(self, folders: "FolderOptions | None" = None) -> Places:
        """Return where images are.

        Raises:
            BenchError: An option is wrong.
        """
        return Places(
            data=self.data,
            paths=parse_paths(self.data_path),
            folders=folders.folders() if folders else (),
            follow_links=bool(folders and folders.follow_links),
        )


@dataclass(frozen=True, kw_only=True)
class GettingOptions:
    """Whether datasets that are missing are fetched."""

    get: Annotated[
        bool,
        _data("--get", help="First fetch into --data what is missing there and needs no person, as `bench data get`."),
    ] = False
    accept: Annotated[bool, _data("--accept", help="Accept the licences of what --get fetches.")] = False

    def __post_init__(self) -> None:
        if self.accept and not self.get:
            raise BenchError("--accept accepts the licences of what --get fetches; add --get, or leave it out")

    def check(self, places: Places, *, dry_run: bool) -> None:
        """Check that there is a folder into which datasets can be fetched, and that something is to be run.

        Raises:
            BenchError: There is none, or nothing is.
        """
        if self.get and (places.data is None or dry_run):
            raise BenchError("--get fetches into --data: " + ("leave --dry-run out" if dry_run else "say --data DIR"))


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Folders of a user's own images, and what their names mean."""

    folder: Annotated[
        list[str],
        _data(
            "--folder",
            metavar="[NAME=]DIR",
            help="Images of your own: a folder with subfolders normal, abnormal and, if you have them, masks. NAME is "
            "its name in tables; may be repeated.",
        ),
    ] = field(default_factory=list)
    folder_class: Annotated[
        list[str],
        _data(
            "--folder-class",
            metavar="[NAME=]CLASS",
            help="What the images of --folder show, in plain English: of all folders, or of the one called NAME; may "
            "be repeated.",
            show_default=ANY_CLASS,
        ),
    ] = field(default_factory=list)
    normal: Annotated[
        list[str],
        _data("--normal", metavar="NAME", help="Folder of normal images below --folder; may be repeated."),
    ] = field(default_factory=list)
    abnormal: Annotated[
        list[str],
        _data("--abnormal", metavar="NAME", help="Folder of anomalous images below --folder; may be repeated."),
    ] = field(default_factory=list)
    masks: Annotated[
        list[str],
        _data("--masks", metavar="NAME", help="Folder of masks below --folder; may be repeated. none reads no masks."),
    ] = field(default_factory=list)
    mask_suffix: Annotated[
        str, _data("--mask-suffix", help="What follows an image's name in that of its mask, as in _mask.")
    ] = ""
    follow_links: Annotated[
        bool, _data("--follow-links", help="Follow links that lead out of a dataset's folder, to data kept elsewhere.")
    ] = False

    def __post_init__(self) -> None:
        if not self.folder:
            for each in dataclasses.fields(self):
                if getattr(self, each.name) and each.name != "follow_links":  # which is for all datasets
                    option = each.name.replace("_", "-")
                    raise BenchError(f"--{option} says how --folder is read, and there is none; add --folder DIR")
        self.folders()

    def folders(self) -> "list[PlainFolder]":
        """Return the folders that are given.

        Raises:
            BenchError: two of them have the same name.
        """
        from benchmark.data import PlainFolder

        found: dict[str, PlainFolder] = {}
        for text in self.folder:
            name, equals, directory = text.partition("=")
            if not text.strip() or (equals and not directory.strip() and not Path(text).is_dir()):
                raise BenchError(f"--folder {shlex.quote(text)}: the directory is empty; say --folder DIR or NAME=DIR")
            if not (equals and name.strip() and directory) or Path(text).is_dir():
                name, directory = "", text
            each = PlainFolder(
                directory=Path(directory),
                name=name.strip(),
                normal=tuple(self.normal),
                abnormal=tuple(self.abnormal),
                masks=tuple(self.masks),
                mask_suffix=self.mask_suffix,
                follow_links=self.follow_links,
                one_of_several=len(self.folder) > 1,
            )
            if each.title in found:
                free = f"{each.directory.resolve().parent.name}-{each.title}".strip("-")
                raise BenchError(
                    f"--folder: two folders are named {each.title!r}; give one another name, as in --folder "
                    f"{shlex.quote(f'{free}={directory}')}"
                )
            found[each.title] = each
        classes = self._classes(found)
        return [
            dataclasses.replace(each, class_name=classes.get(title, classes.get("", each.class_name)))
            for title, each in found.items()
        ]

    def _classes(self, titles: Collection[str]) -> dict[str, str]:
        """Return what the images show by the name of their folder; under "" what those of all other folders show."""
        classes: dict[str, str] = {}
        for text in self.folder_class:
            name, equals, shown = text.partition("=")
            if not (equals and name.strip() in titles):
                name, shown = "", text
            if name.strip() in classes:
                raise BenchError(
                    f"--folder-class {text!r}: what {name.strip() or 'the images'} show is said twice; say it once, "
                    "or NAME=CLASS for each folder"
                )
            classes[name.strip()] = shown
        return classes


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """Which part of the datasets is tested."""

    classes: Annotated[
        str, _data("--classes", help="Only these classes, separated by commas. Tables call it a subset.")
    ] = ""
    limit: Annotated[
        int | None,
        _data(
            "--limit",
            min=1,
            help="At most so many images of each class, normal and anomalous in turn. Tables call it a subset.",
            show_default="all",
        ),
    ] = None
