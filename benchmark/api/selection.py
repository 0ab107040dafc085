"""Choosing methods with their options, and what they train on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from benchmark.api.datasets import Targets, check_class_names, check_paths_used, select_datasets
from benchmark.api.requests import Learning
from benchmark.common import RULE, listed, tell, validation_problems
from benchmark.contract import Learner
from benchmark.data import SampleSet, load_cards
from benchmark.errors import BenchError, ContractError
from benchmark.protocol import AUXILIARIES, PROTOCOL, Protocol
from benchmark.records import Checkpoint, CheckpointError
from benchmark.registry import all_methods, checked_options, choose
from benchmark.running import Auxiliaries, Chosen, Setting
from benchmark.training import choose_checkpoint, seen_images


def select_methods(
    names: Sequence[str], options: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> tuple[Chosen, Protocol]:
    """Return the named methods (all if none is named) with their options, and the protocol.

    Args:
        names: Methods.
        options: Values of options by their names, of methods by name and of `protocol`.

    Raises:
        BenchError: A name, option or value is wrong.
    """
    known = all_methods()
    chosen = choose("method", names or known, known)
    for name in choose("method", options, [*known, PROTOCOL]):
        if not isinstance(options[name], Mapping):
            raise BenchError(f"options of {name}: say a mapping, as in {{{name!r}: {{'option': 1}}}}")
        if name not in (*chosen, PROTOCOL):
            told = [f"{name}.{option}" for option in options[name]] or [name]
            raise BenchError(f"--set {told[0]}: this command runs {', '.join(chosen)}, not {name}")
    made = [(known[name], checked_options(known[name], options.get(name, {}))) for name in chosen]
    try:
        protocol = Protocol.model_validate(dict(options.get(PROTOCOL, {})))
    except ValidationError as error:
        raise BenchError(f"--set {validation_problems(error, of=PROTOCOL)[0]}") from None
    return made, protocol


def check_training_used(methods: Chosen, rule: str, override: Sequence[str]) -> None:
    """Check that there is a method that learns where it is said on what methods learn.

    Raises:
        BenchError: there is none.
    """
    said = f"--auxiliary {','.join(override)}" if override else f"--protocol {rule}"
    if (override or rule != RULE) and not any(issubclass(method, Learner) for method, _ in methods):
        names = listed(list(dict.fromkeys(method.title for method, _ in methods)), 3)
        raise BenchError(f"{said}: says what methods learn from, and {names} learns nothing; leave it out")


def select_auxiliaries(methods: Chosen, targets: Targets, learning: Learning) -> Auxiliaries:
    """Return the auxiliary datasets of the methods for these targets; what is not found is left out.

    Raises:
        BenchError: A name is wrong, or something that was asked for has no effect.
    """
    folders = targets.folders
    own = {samples.title: samples for samples in folders}
    check_auxiliary_names([name for name in learning.auxiliary if name not in own], own)
    choose("protocol", [learning.protocol], AUXILIARIES)
    names_of = [own[name].card.name if name in own else name for name in learning.auxiliary]
    wanted = Auxiliaries(
        rule=learning.protocol,
        override=tuple(names_of),
        given=tuple(learning.checkpoints),
        allow_overlap=learning.allow_overlap,
    )
    if learning.way_out is not None:
        wanted = replace(wanted, way_out=learning.way_out)
    check_training_used(methods, learning.protocol, learning.auxiliary)
    learners = [method for method, _ in methods if issubclass(method, Learner)]
    found = {samples.card.name: samples for samples in (*targets.found, *folders) if not samples.part}
    names = dict.fromkeys(
        name for target in targets.found for learner in learners for name in wanted.names_for(target.card.name, learner)
    )
    places = targets.places
    check_paths_used(places.paths, [*targets.asked, *names])
    if lacking := [name for name in names if name not in found and name in load_cards()]:
        elsewhere, _ = select_datasets(lacking, data=places.data, paths=places.paths, follow_links=places.follow_links)
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
    told = auxiliaries.override or auxiliaries.rule != RULE
    if told or any(samples.card.domain != "custom" for samples in targets):
        return setting
    given = list(auxiliaries.given)
    known = {each.training.method for each in auxiliaries.checkpoints.values()}
    for method, options in methods:
        names = {name for samples in targets for name in auxiliaries.names_for(samples.card.name, method)}
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
            tell(f"note: {error}")
            continue
        learned = checkpoint.training
        tell(f"{method.title}: {path}, trained on {checkpoint.source} with seed {learned.seed}")
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
