"""Reading the command line: names of methods, options and datasets become what they name."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from benchmark.cli.messages import say
from benchmark.clip import ClassNameError, check_class_name
from benchmark.common import cores, image_progress, listed, printable, user_cache, validation_problems
from benchmark.contract import Learner
from benchmark.data import Card, DatasetError, SampleSet, hint, load_cards, locate, recognise
from benchmark.errors import BenchError, ContractError
from benchmark.mini import SUITE_VERSION, image_count, is_suite, make_suite
from benchmark.protocol import AUXILIARIES, DEFAULT, PROTOCOL, Protocol
from benchmark.records import Checkpoint, CheckpointError
from benchmark.registry import all_methods, choose, literal, make_options
from benchmark.running import Auxiliaries, Chosen, Setting
from benchmark.training import choose_checkpoint, seen_images

DRAWING = 0.016
"""Seconds that a core takes to draw an image of the mini suite."""


def select_methods(names: Sequence[str], settings: Iterable[str]) -> tuple[Chosen, Protocol]:
    """Return the named methods (all if none is named) with their options, and the protocol.

    Args:
        names: methods.
        settings: `NAME.OPTION=VALUE`, NAME being a method or `protocol`.

    Raises:
        BenchError: a name, option or value is wrong.
    """
    known = all_methods()
    chosen = choose("method", names or known, known)
    values: dict[str, dict[str, str]] = defaultdict(dict)
    for setting in settings:
        target, equals, value = setting.partition("=")
        name, dot, option = target.partition(".")
        if not (equals and dot):
            raise BenchError(f"--set {setting!r}: say NAME.OPTION=VALUE, as in clip.temperature=0.01")
        if choose("method", [name], [*known, PROTOCOL])[0] not in (*chosen, PROTOCOL):
            raise BenchError(f"--set {setting!r}: this command runs {', '.join(chosen)}, not {name}")
        if (earlier := values[name].setdefault(option, value)) != value:
            raise BenchError(f"--set {target}: said twice, as {earlier} and as {value}; leave one out")
    options = [(known[name], make_options(known[name], values[name])) for name in chosen]
    try:
        protocol = Protocol.model_validate({key: literal(value) for key, value in values[PROTOCOL].items()})
    except ValidationError as error:
        raise BenchError(f"--set {validation_problems(error, of=PROTOCOL)[0]}") from None
    return options, protocol


def options_set(method: str, settings: Iterable[str]) -> list[str]:
    """Return the names of the options of a method that `NAME.OPTION=VALUE` settings give a value."""
    named = (setting.partition("=")[0].partition(".") for setting in settings)
    return list(dict.fromkeys(option for name, _, option in named if name == method))


def select_cards(names: Sequence[str]) -> list[Card]:
    """Return the cards of the named datasets; without names, of all.

    Raises:
        BenchError: a name or a card is wrong.
    """
    cards = load_cards()
    return [cards[name] for name in choose("dataset", names or cards, cards)]


def mini_suite(*, say: Callable[[str], None]) -> Path:
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
                say(f"drawing the mini suite into {directory}, {image_count()} images: about {seconds:.0f} s")
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


def parse_paths(texts: Iterable[str], names: Iterable[str]) -> dict[str, Path]:
    """Return the directories given as `NAME=DIR`.

    Raises:
        BenchError: not of that form, or an unknown dataset.
    """
    paths: dict[str, Path] = {}
    for text in texts:
        name, equals, directory = text.partition("=")
        if not (equals and directory):
            raise BenchError(f"--data-path {text!r}: say NAME=DIR, as in mvtec=/datasets/mvtec_anomaly_detection")
        choose("dataset", [name], names)
        if (earlier := paths.setdefault(name, Path(directory).expanduser())) != Path(directory).expanduser():
            raise BenchError(f"--data-path {name}: said twice, as {earlier} and as {directory}; leave one out")
    return paths


def check_paths_used(paths: Iterable[str], names: Iterable[str]) -> None:
    """Check that each directory given as `NAME=DIR` is that of one of the datasets that take part.

    Raises:
        BenchError: one is not.
    """
    known = list(dict.fromkeys(names))
    there = listed(known, 3) if known else "the folders of --folder"
    for text in paths:
        name, equals, _ = text.partition("=")
        if known and not equals:
            raise BenchError(f"--data-path {text}: say NAME=DIR, as in --data-path {known[0]}={text}")
        if name not in known:
            choose("dataset", [name], load_cards())
            raise BenchError(f"--data-path {text}: {name} takes no part here, only {there}; leave the option out")


def check_training_used(methods: Chosen, rule: str, override: Sequence[str]) -> None:
    """Check that there is a method that learns where it is said on what methods learn.

    Raises:
        BenchError: there is none.
    """
    said = f"--auxiliary {','.join(override)}" if override else f"--protocol {rule}"
    if (override or rule != DEFAULT) and not any(issubclass(method, Learner) for method, _ in methods):
        names = listed(list(dict.fromkeys(method.title for method, _ in methods)), 3)
        raise BenchError(f"{said}: says what methods learn from, and {names} learns nothing; leave it out")


def select_datasets(
    names: Sequence[str], *, data: Path | None, paths: Iterable[str] = (), follow_links: bool = False
) -> tuple[list[SampleSet], list[str]]:
    """Read the named datasets, or all that are found.

    Returns:
        The datasets, and a line for each that is named but not there, or there but not readable.

    Raises:
        BenchError: a name, a path option or the data root is wrong.
    """
    every = [card.name for card in select_cards([])]
    given = parse_paths(paths, every)
    if data is not None and not data.is_dir():
        raise BenchError(f"the data root {data} is not a directory; correct --data or BENCH_DATA")
    found, problems, absent = [], [], []
    for card in select_cards(names):
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


def select_auxiliaries(
    methods: Chosen,
    targets: Sequence[SampleSet],
    *,
    data: Path | None,
    paths: Iterable[str] = (),
    rule: str = DEFAULT,
    override: Sequence[str] = (),
    checkpoints: Sequence[Path] = (),
    allow_overlap: bool = False,
    folders: Sequence[SampleSet] = (),
    asked: Sequence[str] = (),
    follow_links: bool = False,
) -> Auxiliaries:
    """Return the auxiliary datasets of the methods for these targets; what is not found is left out.

    Raises:
        BenchError: a name or a path option is wrong, or an option has no effect.
    """
    own = {samples.title: samples for samples in folders}
    check_auxiliary_names([name for name in override if name not in own], own)
    choose("protocol", [rule], AUXILIARIES)
    names_of = [own[name].card.name if name in own else name for name in override]
    wanted = Auxiliaries(rule=rule, override=tuple(names_of), given=tuple(checkpoints), allow_overlap=allow_overlap)
    check_training_used(methods, rule, override)
    learners = [method for method, _ in methods if issubclass(method, Learner)]
    found = {samples.card.name: samples for samples in (*targets, *folders) if not samples.part}
    names = dict.fromkeys(
        name for target in targets for learner in learners for name in wanted.names_for(target, learner)
    )
    check_paths_used(paths, [*asked, *names])
    if lacking := [name for name in names if name not in found and name in load_cards()]:
        elsewhere, _ = select_datasets(lacking, data=data, paths=paths, follow_links=follow_links)
        check_class_names(elsewhere)
        found |= {samples.card.name: samples for samples in elsewhere}
    return replace(wanted, found={name: found[name] for name in names if name in found})


def with_kept_checkpoints(setting: Setting, methods: Chosen, targets: Sequence[SampleSet], results: Path) -> Setting:
    """Return the setting with the checkpoints that `bench predict` would take, where nothing can be trained.

    That is so of plain folders, where the protocol's auxiliary dataset is not at hand.
    """

    def unseen(checkpoint: Checkpoint) -> bool:
        names = checkpoint.training.auxiliary.name.split("+")
        shown = (sample.path for samples in targets for sample in samples.test)
        return all(each.card.name not in names for each in targets) and not seen_images(checkpoint, shown, "targets")

    auxiliaries = setting.auxiliaries
    told = auxiliaries.override or auxiliaries.rule != DEFAULT
    if told or any(samples.card.domain != "custom" for samples in targets):
        return setting
    given = list(auxiliaries.given)
    known = {each.training.method for each in auxiliaries.checkpoints.values()}
    for method, options in methods:
        names = {name for samples in targets for name in auxiliaries.names_for(samples, method)}
        if not issubclass(method, Learner) or method.name in known or names <= auxiliaries.found.keys():
            continue
        try:
            backbone = setting.backbone_of(method, options)
            path, checkpoint = choose_checkpoint(
                method, options, backbone, given=None, results=results, usable_for=unseen
            )
        except ContractError:  # the plan says it
            continue
        except CheckpointError as error:
            say(f"note: {error}")
            continue
        learned = checkpoint.training
        say(f"{method.title}: {path}, trained on {checkpoint.source} with seed {learned.seed}")
        given.append(path)
    kept = frozenset(path for path in given if path.parent == results / "checkpoints") - set(auxiliaries.given)
    return replace(setting, auxiliaries=replace(auxiliaries, given=tuple(given), kept=kept))


def check_auxiliary_names(names: Sequence[str], folders: Iterable[str]) -> None:
    """Check that each name of --auxiliary, but for those of the plain folders, is that of a dataset.

    Raises:
        BenchError: A name is neither that of a dataset nor that of a folder of this command.
    """
    for name in names:
        if name not in load_cards() and not get_close_matches(name, load_cards()):
            there = f"; the folders here are {', '.join(folders)}" if folders else ""
            raise BenchError(
                f"--auxiliary {name}: no dataset has that name{there}; for a folder add --folder {name}=DIR"
            )
    choose("dataset", names, load_cards())


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
    """Return a message about a dataset that was not found: where it was searched for, and its home page."""
    if data is None:
        return f"say where it lies: --data DIR, BENCH_DATA, or --data-path {card.name}=DIR"
    folders = ", ".join(dict.fromkeys([card.name, *card.folders]))
    home = f"; its home page is {card.home}" if card.home else ""
    near = hint(data, [card])
    way = f"; {near}" if near else f"; if it has another name, say --data-path {card.name}=DIR{home}"
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
        f"{where}.\n`bench data list` shows the 17 datasets, the folder names searched for and their home pages; "
        "images of your own go by --folder DIR"
    )
