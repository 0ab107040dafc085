"""What a recipe is, needs and costs, in words."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from tabulate import tabulate

from benchmark.common import counted, size_in_words
from benchmark.data import load_cards
from benchmark.protocol import Protocol
from benchmark.reproduction.costs import CPU_SECONDS, GPU, GPU_PASSES, TRAINING_SECONDS, Cost, cost_of, images_of
from benchmark.reproduction.needs import LearnedNeed, Needs
from benchmark.reproduction.recipe import Recipe, Run
from benchmark.tables import Number

SCORING_GB, STORED_GB, TOWER_GB = 5, 6, 11
"""GPU memory that torch took, in float32: to score with batches of 8 images, to train on stored features with the batch
sizes of the methods, and to train backward through a tower. Measured."""
COPIES = {
    ("sdd", "anomalyclip"): "expected in AnomalyCLIP's folder https://drive.google.com/drive/folders/"
    "1oqaxUZYi44jlLT4WtT6D5T6onPTNZXsu, for a person to fetch"
}
"""Where a copy in a layout is to be had, by the names of the card and the layout, if its publisher does not have it."""


def render_recipes(recipes: Iterable[tuple[Recipe, Cost]]) -> str:
    """Return a table of recipes with what each costs on all of its datasets without published checkpoints."""
    body = [
        (
            recipe.name,
            recipe.title,
            len(recipe.cards),
            len({run.method for run in recipe.runs()}),
            cost.trainings,
            _hours(cost.gpu_hours),
        )
        for recipe, cost in recipes
    ]
    header = ("Name", "Reproduces", "Datasets", "Methods", "Trainings", "Time on a GPU")
    return (
        f"{_grid(body, header)}\n\n"
        f"Time: reckoned from {GPU_PASSES:g} passes of ViT-L/14 a second, as measured on an {GPU} in float32."
        "\nbench reproduce NAME --dry-run says what one of them needs.\n"
    )


def render_needs(recipe: Recipe, runs: Sequence[Run], needs: Needs, *, data: Path | None) -> str:
    """Return what a recipe is, what it needs, what of it is missing with the way out, and what it costs.

    Args:
        recipe: The recipe.
        runs: Its methods with their options.
        needs: What is there and what is missing.
        data: The folder of the datasets; None if the user named none.
    """
    parts = [
        "\n".join([recipe.title, f"{recipe.paper}.", *_experiment(recipe, runs), *recipe.notes]),
        "\n".join(["Datasets", _datasets(needs), *_layouts(recipe, needs)]),
    ]
    if needs.missing:
        names = " ".join(each.card.name for each in needs.missing)
        where = "DIR" if data is None else shlex.quote(str(data))
        parts.append(
            f"To get what is missing: bench data get {names} --data {where}\n"
            "It fetches what may be fetched, and says of the rest what a person must do."
        )
    parts.append(f"Weights\n{_weights(needs)}")
    if needs.learned:
        parts.append(f"What methods learn\n{_learned(needs.learned)}")
        parts += [*_lost(recipe, needs), *_files(needs), *_checkpoints(needs.learned)]
    parts.append(f"Cost\n{_cost(cost_of(recipe, runs, needs))}")
    return "\n\n".join(parts) + "\n"


def _experiment(recipe: Recipe, runs: Sequence[Run]) -> list[str]:
    methods = dict.fromkeys(run.method.title for run in runs)
    rows = f"{counted(len(recipe.numbers), 'published number')} on {counted(len(recipe.cards), 'dataset')}"
    several = f", in {len(runs)} variants" if len(runs) > len(methods) else ""
    quirks = [
        f"protocol.{key}={value}" for key, value in recipe.protocol if value != Protocol.model_fields[key].default
    ]
    seeds = f"seed{'s' if len(recipe.seeds) > 1 else ''} {', '.join(map(str, recipe.seeds))}"
    return [f"{rows}: {', '.join(methods)}{several}.", f"Protocol: {', '.join([recipe.rule, seeds, *quirks])}."]


def _datasets(needs: Needs) -> str:
    """Return the datasets with the published number of test images and, where any is there, that of the images here."""
    here = any(need.samples for need in needs.datasets)
    trained_on = {name for each in needs.learned if not each.imported for name in each.auxiliary}
    body = []
    for need in needs.datasets:
        uses = [*(["test"] if need.tested else []), *(["training"] if need.card.name in trained_on else [])]
        there = need.samples
        where = need.problem or "not found"
        if there:
            where = f"{there.directory} ({there.layout.name}{', generated data' if there.synthetic else ''})"
        found = [f"{len(there.test):,}" if there else ""] if here else []
        body.append((need.card.title, f"{images_of(need.card):,}", *found, ", ".join(uses), where))
    return _grid(body, ("Dataset", "Test images", *(["Here"] if here else []), "For", "Where"))


def _layouts(recipe: Recipe, needs: Needs) -> list[str]:
    """Return which datasets are compared in some layouts alone, since others hold other test images."""
    lines = []
    for need in needs.datasets:
        wanted = recipe.layouts(need.card) if need.tested else ()
        if need.tested and len(wanted) < len(need.card.layouts):
            here = need.samples.layout.name if need.samples else wanted[0]
            but = "" if here in wanted else f"; {here} has others, and is not compared"
            copies = [COPIES[need.card.name, name] for name in wanted if (need.card.name, name) in COPIES]
            if copies and (need.samples is None or here not in wanted):
                but += f"; they are {copies[0]}"
            lines.append(
                f"{need.card.title}: the published test images are those of the layout {' or '.join(wanted)}{but}"
            )
    return lines


def _weights(needs: Needs) -> str:
    body = [
        (each.name, "there" if each.there else f"{size_in_words(each.size or 0)}, downloaded by the run")
        for each in needs.weights
    ]
    return _grid(body)


def _learned(learned: Sequence[LearnedNeed]) -> str:
    body = []
    for each in learned:
        if each.imported:
            state = "published checkpoint"
        else:
            state = counted(each.trainings, "training") if each.trainings > 1 else "training"
        body.append((each.method.title, " + ".join(_title(name) for name in each.auxiliary), state))
    return _grid(body, ("Method", "Trained on", "By"))


def _by_method(recipe: Recipe) -> dict[str, list[Number]]:
    """Return the numbers of methods that are here by what is printed."""
    parts: dict[str, list[Number]] = {}
    for number in recipe.numbers:
        if number.method is not None:
            parts.setdefault(number.row.method, []).append(number)
    return parts


def _lost(recipe: Recipe, needs: Needs) -> list[str]:
    """Return how many numbers of each method cannot be computed, where some datasets are there and others are not."""
    if not needs.found:
        return []
    missing, untrained = {each.card.name for each in needs.missing}, needs.untrained
    lines = []
    for name, numbers in _by_method(recipe).items():
        lost = [
            number
            for number in numbers
            if any(card.name in missing or (number.method, card.name) in untrained for card in number.cards)
        ]
        if lost:
            why = dict.fromkeys(text for (method, _), text in untrained.items() if method == numbers[0].method)
            lines.append(f"  {name}: {len(lost)} of {len(numbers)}" + "".join(f"; {text}" for text in why))
    return ["\n".join(["Numbers that cannot be computed, since data is missing", *lines])] if lines else []


def _title(name: str) -> str:
    return load_cards()[name].title


def _files(needs: Needs) -> list[str]:
    """Return how many published files are in the user's folder of checkpoints, and which are known by name alone."""
    if needs.checkpoints is None:
        return []
    of_recipe = [each.found for each in needs.learned if each.found is not None]
    paths = {file: path for found in of_recipe for file, path in found.paths.items()}
    wanted = {file for found in of_recipe for file in found.checkpoint.files}
    lines = [f"{len(paths)} of {counted(len(wanted), 'published file')} found in {needs.checkpoints}"]
    for file, path in paths.items():
        if file.sha256 is None:
            lines.append(f"  {path}: known by its name alone, since no sha256 of {file.name} is known")
    return ["\n".join(lines)]


def _checkpoints(learned: Sequence[LearnedNeed]) -> list[str]:
    """Return which published checkpoints could take the place of trainings."""
    lines = []
    for each in learned:
        if each.found is None or each.imported:
            continue
        for file in each.found.missing:
            known = f", sha256 {file.sha256}" if file.sha256 else ""
            lines.append(f"  {file.path}{known}\n    of {each.method.title}: {file.url or each.found.checkpoint.where}")
        lines += [f"  {path}: is not the published file, by its sha256" for path in each.found.others]
    if not lines:
        return []
    first = (
        "Published checkpoints that would take the place of trainings if --checkpoints names a folder that holds them"
    )
    return ["\n".join([f"{first} (of a method all, or none is taken):", *lines])]


def _cost(cost: Cost) -> str:
    packed = f"archives of what is missing {size_in_words(cost.archives)}, and about as much again unpacked"
    disk = [packed] if cost.archives else []
    disk += [f"size not known of {', '.join(cost.unknown)}"] if cost.unknown else []
    disk += [f"weights {size_in_words(cost.weights)}"] if cost.weights else []
    disk += [f"features for training at most {cost.features:.0f} GB below BENCH_CACHE"] if cost.features >= 1 else []
    work = f"{cost.images:,} test images"
    work += f", {counted(cost.trainings, 'training')} on {cost.auxiliary_images:,} images" if cost.trainings else ""
    memory = f"{SCORING_GB} GB, as measured for batches of 8 images in float32"
    memory += f"; up to {STORED_GB} GB for a training, beside features that are kept" if cost.trainings else ""
    if cost.through_towers:
        memory += f"; up to {TOWER_GB} GB for those of {' and '.join(cost.through_towers)}, backward through a tower"
    body = [
        ("work", f"{work}: {cost.passes:,.0f} passes of ViT-L/14 at 518 px"),
        (
            "time",
            f"{_hours(cost.gpu_hours)} on an {GPU} in float32, from what was measured there: {GPU_PASSES:g} passes a "
            f"second, and steps that make {TRAINING_SECONDS:g} s for a training on stored features",
        ),
        ("", f"{_hours(cost.cpu_hours)} of passes on two processor cores, {CPU_SECONDS:g} s each: measured"),
        ("disk", "; ".join(disk) or "nothing more"),
        ("GPU memory", memory),
    ]
    return _grid(body)


def _grid(body: Sequence[Sequence[object]], header: Sequence[str] = ()) -> str:
    table: str = tabulate(body, headers=header, tablefmt="simple" if header else "plain", disable_numparse=True)
    return table


def _hours(hours: float) -> str:
    if hours < 1:
        return f"about {max(1, round(hours * 60))} min"
    return f"about {hours:.1f} h" if hours < 48 else f"about {hours / 24:.0f} days"
