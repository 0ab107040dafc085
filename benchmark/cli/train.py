"""The commands that make checkpoints: `bench train` and `bench import-checkpoint`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.api import number_type
from benchmark.cli.computing_options import ExecutorOptions, computation
from benchmark.cli.data_options import DataOptions, FolderOptions
from benchmark.cli.ending import BEGAN
from benchmark.cli.messages import fail
from benchmark.cli.options import (
    ComputeOptions,
    DtypeOption,
    MethodName,
    MethodOptions,
    Methods,
    Results,
    TrainingOptions,
    split,
    with_options,
)
from benchmark.cli.settings import parse_settings
from benchmark.clip import DEFAULT_BACKBONE
from benchmark.common import RESULTS, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.api import Places
    from benchmark.data import SampleSet


@with_options
def train_command(
    *,
    methods: Methods = "",
    method: MethodOptions,
    places: DataOptions,
    folders: FolderOptions,
    training: TrainingOptions,
    held_out: Annotated[
        str,
        typer.Option(help="Dataset on which results are printed after each epoch; trains anew."),
    ] = "",
    compute: ComputeOptions,
    executor: ExecutorOptions,
) -> None:
    """Train methods on the protocol's auxiliary dataset (mvtec unless said otherwise), and print their checkpoints.

    `bench run` trains by itself, and uses what was trained here with the same method, options, auxiliary dataset, seed,
    backbone and protocol. An interrupted training continues after its last epoch. The parameters after the last epoch
    count, whatever --held-out shows. The stages of a training run one after the other, each with epochs of its own.
    Features that a training reads once in all, as for a memory, are not stored.

    Examples:

    bench train --methods anomalyclip --auxiliary visa --data /datasets --device cuda

    bench train --methods anomalyclip --held-out btad --data /datasets

    bench train --methods coop --folder nuts=./nuts --auxiliary nuts
    """
    where = places.places(folders)
    where.tell_of_mini()
    from benchmark.api import (
        Tally,
        by_backbone,
        check_paths_used,
        find_targets,
        identify,
        interruption,
        select_methods,
        tell_of_reference,
    )
    from benchmark.contract import Learner
    from benchmark.protocol import AUXILIARIES
    from benchmark.registry import choose
    from benchmark.running import Auxiliaries, Setting, plan_trainings, run
    from benchmark.training import Training, untrained

    chosen, protocol = select_methods(split(methods), parse_settings(method.settings))
    learners = [(each, options) for each, options in chosen if issubclass(each, Learner)]
    if not learners:
        fail(f"nothing to train: {', '.join(each.name for each, _ in chosen)} train on nothing")
    [rule] = choose("protocol", [training.protocol], AUXILIARIES)
    names = training.auxiliaries() or AUXILIARIES[rule][0]
    how = computation(compute, executor, force=bool(held_out))
    targets = find_targets(names, where, aside=[held_out])
    if idle := [each.title for each in targets.folders if each.title not in (*names, held_out)]:
        fail(f"--folder {idle[0]}: nothing is trained on it; add --auxiliary {shlex.quote(idle[0])}")
    check_paths_used(where.paths, [*names, held_out])
    watched = _held_out(held_out, names, targets.places)
    found = {samples.card.name: samples for samples in targets.found}
    names_of = {samples.title: samples.card.name for samples in targets.folders}
    names = [names_of.get(name, name) for name in names]
    trainings: list[Training] = []
    loading = {}
    for source, group in by_backbone(learners, targets, how).items():
        setting = Setting(identify(source, dtype=how.number_type), protocol, Auxiliaries(found))
        loading[setting.backbone] = how.loading(source, protocol)
        for learner, options in group:
            planned = plan_trainings(learner, options, names, setting, seeds=training.seed_numbers())
            trainings += [each for each in planned if each]
    settings = how.settings
    todo = {each.id.id for each in untrained(trainings, settings.results, force=settings.force)}
    tell_of_reference(compute.results)
    try:
        with how.opened(loading, [], trainings) as (opened, fitting):
            outcome = run([], fitting, opened, loading=loading, trainings=trainings, say=tell, held_out=watched)
    except KeyboardInterrupt:
        left = untrained(trainings, settings.results)
        there = len(trainings) - len(left)
        raise interruption(there, len(trainings), "training", settings.results / "checkpoints") from None
    for each in trainings:
        if each.id.id not in outcome.failed:
            print(each.checkpoint(compute.results), flush=True)
    tally = Tally.of(todo, outcome, there=len(trainings) - len(todo))
    tell(tally.told("training", since=BEGAN))
    if outcome.failed:
        sys.exit(1)


def _held_out(name: str, auxiliaries: "Sequence[str]", places: "Places") -> "SampleSet | None":
    """Return the dataset on which trainings are watched."""
    if not name:
        return None
    if name in auxiliaries:
        fail(f"--held-out {name}: it is what is trained on; name another dataset")
    from benchmark.api import find_targets

    targets = find_targets([name], places)
    if len(targets.found) != 1:
        fail(f"--held-out {name}: name one dataset")
    return targets.found[0]


@with_options
def import_command(
    files: Annotated[
        list[Path],
        typer.Argument(help="A checkpoint of the method's published code (.pth), or all of its files.", metavar="FILE"),
    ],
    *,
    method: MethodName = "anomalyclip",
    options: MethodOptions,
    auxiliary: Annotated[str, typer.Option(help="The dataset it was trained on, or several with commas.")],
    backbone: Annotated[str, typer.Option(help="The backbone it was trained with.")] = DEFAULT_BACKBONE,
    dtype: DtypeOption = "auto",
    results: Results = RESULTS,
) -> None:
    """Import a checkpoint of a method's published code, and print the path of the imported file.

    Only tensors are read from the files. `bench run --checkpoint` then uses them in place of a training. The benchmark
    refuses to test them on the dataset that --auxiliary names. Whether they were trained on that one it can check of
    files alone whose sha256 it knows. A checkpoint that lies in several files needs all of them at once, in any order.

    The tensors tell some options, and --set tells others that you know; those left can be chosen in each run.

    Examples:

    bench import-checkpoint epoch_15.pth --auxiliary mvtec

    bench import-checkpoint epoch_15.pth --auxiliary mvtec --set anomalyclip.feature_layers=four

    bench import-checkpoint test_on_visa.pth cache_model_mvtec.pt cache_patch_model_mvtec.pt --method mrad_clip
    --auxiliary mvtec

    bench run --methods anomalyclip --datasets visa --data /datasets --checkpoint results/local/checkpoints/….json
    """
    from benchmark.api import identify, select_cards, select_methods
    from benchmark.clip import parse_backbone
    from benchmark.records import as_settings
    from benchmark.training import import_checkpoint

    given = parse_settings(options.settings)
    [(chosen, values)], protocol = select_methods([method], given)
    stated = {name: getattr(values, name) for name in given.get(method, {})}
    cards = select_cards(split(auxiliary))
    identity = identify(parse_backbone(backbone), dtype=number_type(dtype))
    path, told = import_checkpoint(
        files, chosen, auxiliaries=cards, backbone=identity, protocol=protocol, results=results, stated=stated
    )
    if told:
        tell(f"made with {as_settings(method, told)}")
    print(path)
