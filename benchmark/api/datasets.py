"""Finding the datasets that a run is about: by name, in the user's folders, or in the mini suite."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from benchmark.api.requests import Places
from benchmark.clip import ClassNameError, check_class_name
from benchmark.common import cores, image_progress, listed, printable, tell, user_cache
from benchmark.data import (
    Card,
    DatasetError,
    SampleSet,
    find_directories,
    hint,
    load_cards,
    locate,
    read_folder,
    recognise,
    subsets,
)
from benchmark.downloads import command_that_gets
from benchmark.errors import BenchError, NothingToRunError
from benchmark.mini import SUITE_VERSION, image_count, is_suite, make_suite
from benchmark.registry import choose

DRAWING = 0.016
"""Seconds that a core takes to draw an image of the mini suite."""


@dataclass(frozen=True)
class Targets:
    """The datasets that a run is about."""

    places: Places
    found: list[SampleSet]
    problems: list[str]
    """What was asked for and is not there; the run goes on without it, and the command ends with exit code 1."""
    folders: list[SampleSet] = field(default_factory=list)
    """The plain folders, also those that methods are only trained on."""
    asked: Sequence[str] = ()
    """The names of the datasets that were looked for."""

    @property
    def synthetic(self) -> bool:
        """Whether all data is generated."""
        return all(samples.synthetic for samples in self.found)


def find_targets(
    datasets: Sequence[str],
    places: Places,
    *,
    classes: Sequence[str] = (),
    limit: int | None = None,
    every: bool = False,
    aside: Sequence[str] = (),
) -> Targets:
    """Find the named datasets, or all of the papers; they are those of the mini suite where no place is given.

    Those beyond the papers take part where they are named, or their own directory is given. What is left out is told.

    Args:
        datasets: Names of datasets and of plain folders.
        places: Where the datasets and the plain folders are. The folders are targets where none of them is named.
        classes: Only these classes are tested; without names, all.
        limit: Most test images of a class.
        every: All datasets of the papers that are found, though folders are given.
        aside: Names of plain folders that are no targets.

    Raises:
        BenchError: A name is wrong, or nothing is found.
    """
    known = _read_folders(places)
    names = [name for name in datasets if name not in known]
    own = [known[name] for name in datasets if name in known]
    own = own or [each for name, each in known.items() if name not in aside]
    select_cards(names)  # a wrong name is reported before the mini suite is made
    if not places.is_given:
        places = replace(places, data=mini_suite())
    found: list[SampleSet] = []
    problems: list[str] = []
    asked: list[str] = []
    unasked = ""
    if every or names or not own:
        asked = names or [card.name for card in select_cards([]) if not card.beyond or card.name in places.paths]
        found, problems = select_datasets(
            names, data=places.data, paths=places.paths, follow_links=places.follow_links, beyond=False
        )
        unasked = "" if names else _beyond_the_papers(places)
    for problem in problems:
        tell(f"FAILED {problem}")
    whole = found + own
    if not whole:
        raise _nothing_found(problems, known, unasked or no_data(places.data))
    if unasked:
        tell(f"left out: {unasked}")
    check_class_names([*found, *known.values()])
    targets = subsets(whole, classes=classes, limit=limit)
    for samples in whole:
        if all(samples.card.name != each.card.name for each in targets):
            tell(f"left out: {samples.title}, which has none of the classes {', '.join(classes)}")
    return Targets(places, targets, problems, list(known.values()), asked)


def _read_folders(places: Places) -> dict[str, SampleSet]:
    """Return the plain folders by their titles.

    Raises:
        BenchError: One is not understood, or has the name of a dataset.
    """
    known = {each.title: read_folder(each) for each in places.folders}
    for card in select_cards([]):
        for name in known.keys() & {card.name, card.title}:
            raise BenchError(
                f"--folder: {name} is the name of a dataset; give the folder another, as in --folder "
                f"my-{card.name}={known[name].directory}"
            )
    return known


def _nothing_found(problems: Sequence[str], folders: Iterable[str], otherwise: str) -> BenchError:
    """Return the error that there is nothing to run on: what was asked for has problems, or is only trained on."""
    if problems:
        return NothingToRunError("nothing to run on", problems)
    if names := ", ".join(folders):
        return BenchError(f"{names}: trained on and not tested; name another folder to test, as in --folder NAME=DIR")
    return BenchError(otherwise)


def select_cards(names: Sequence[str]) -> list[Card]:
    """Return the cards of the named datasets; without names, of all.

    Raises:
        BenchError: a name or a card is wrong.
    """
    cards = load_cards()
    return [cards[name] for name in choose("dataset", names or cards, cards)]


def _beyond_the_papers(places: Places) -> str:
    """Return a message about the datasets beyond the papers that lie there and that nobody named; empty without any."""
    cards = [card for card in select_cards([]) if card.beyond and card.name not in places.paths]
    found = [card for card in cards if find_directories(card, places.data, None)]
    if not found:
        return ""
    titles, names = ", ".join(card.title for card in found), ",".join(card.name for card in found)
    return f"{titles}: beyond the papers, so run only where named, as in --datasets {names}"


def select_datasets(
    names: Sequence[str],
    *,
    data: Path | None,
    paths: Mapping[str, Path] | None = None,
    follow_links: bool = False,
    beyond: bool = True,
) -> tuple[list[SampleSet], list[str]]:
    """Read the named datasets, or all that are found.

    Args:
        names: Names of datasets.
        data: The folder that holds them.
        paths: The directories of some of them by name.
        follow_links: Whether links that lead out of a dataset's directory are followed.
        beyond: Whether, without names, the datasets beyond the papers are read too that are not in `paths`.

    Returns:
        The datasets, and a line for each that is named but not there, or there but not readable.

    Raises:
        BenchError: A name or the data root is wrong.
    """
    given = paths or {}
    if data is not None and not data.is_dir():
        raise BenchError(f"the data root {data} is not a directory; correct --data or BENCH_DATA")
    found, problems, absent = [], [], []
    for card in select_cards(names):
        if card.beyond and not (beyond or card.name in (*names, *given)):
            continue
        try:
            samples = locate(card, data, given.get(card.name), follow_links=follow_links)
        except DatasetError as error:
            problems.append(str(error))
            continue
        if samples is not None:
            found.append(samples)
        else:
            absent.append(card)
    unnamed = data is not None and not found + problems
    if data and unnamed and (samples := recognise(absent, data, follow_links=follow_links)):
        found.append(samples)
        absent.remove(samples.card)
    if names:
        problems += [f"{card.name}: {not_found(card, data)}" for card in absent]
    return found, problems


def check_paths_used(paths: Iterable[str], names: Iterable[str]) -> None:
    """Check that each dataset whose directory is given takes part.

    Args:
        paths: Names of the datasets whose directories are given.
        names: Those that take part.

    Raises:
        BenchError: One does not.
    """
    known = list(dict.fromkeys(names))
    there = listed(known, 3) if known else "the folders of --folder"
    for name in paths:
        if name not in known:
            choose("dataset", [name], load_cards())
            raise BenchError(f"--data-path {name}: {name} takes no part here, only {there}; leave the option out")


def mini_suite() -> Path:
    """Return the folder of the mini suite in the user's cache; the suite is made where it is missing.

    Raises:
        BenchError: The cache cannot be written.
    """
    directory = user_cache() / f"mini-suite-{SUITE_VERSION}"
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.with_suffix(".lock")):  # another process may be making it
            if not is_suite(directory):
                seconds = image_count() * DRAWING / cores()
                tell(f"drawing the mini suite into {directory}, {image_count()} images: about {seconds:.0f} s")
                write_mini_suite(directory)
    except OSError as error:
        why = error.strerror or error
        raise BenchError(f"{directory}: cannot be written ({why}); name another folder by BENCH_CACHE") from error
    return directory


def write_mini_suite(directory: Path) -> None:
    """Make the mini suite, and show the progress.

    Raises:
        SuiteError: The directory holds other files.
        OSError: The directory cannot be written.
    """
    with image_progress("mini suite", image_count()) as progress:
        make_suite(directory, processes=cores(), progress=progress)


def class_name_problems(data: Iterable[SampleSet]) -> list[str]:
    """Return a line for each class of some datasets whose name cannot be used in prompts."""
    problems = []
    for samples in data:
        for name, prompt in {s.class_name: s.prompt_name for s in samples.samples}.items():
            try:
                check_class_name(prompt, where=f"{samples.title}, class {printable(name[:40])!r}")
            except ClassNameError as error:
                problems.append(str(error))
    return problems


def check_class_names(data: Iterable[SampleSet]) -> None:
    """Check that the class names of some datasets can be used in prompts.

    Raises:
        ClassNameError: A name is blank or too long.
    """
    if problems := class_name_problems(data):
        raise ClassNameError("\n".join(problems))


def not_found(card: Card, data: Path | None) -> str:
    """Return a message about a dataset that was not found: where it was searched for, and how it is had."""
    if data is None:
        return f"say where it lies: --data DIR, BENCH_DATA, or --data-path {card.name}=DIR"
    folders = ", ".join(dict.fromkeys([card.name, *card.folders]))
    near = hint(data, [card])
    get = f"`{command_that_gets(card, data)}` fetches it, or says how it is had"
    way = f"; {near}" if near else f"; if it has another name, say --data-path {card.name}=DIR; {get}"
    return f"no folder in {data} is named {folders} (case, blanks, - and _ do not count){way}"


def no_data(data: Path | None) -> str:
    """Return a message that no dataset was found, and how to give one."""
    where = (
        f"no dataset was found in {data}"
        if data
        else "no data: say where the datasets lie with --data DIR or BENCH_DATA"
    )
    if data and (near := hint(data, select_cards([]))):
        where += f": {near}"
    return (
        f"{where}.\n`bench data list` shows the datasets, the folder names searched for and their home pages; "
        "images of your own go by --folder DIR"
    )
