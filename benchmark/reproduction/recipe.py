"""Recipes: which table of a paper is reproduced, and under which conditions. A recipe is data, a TOML file.

What is run is not written down twice: the methods, their options and the datasets follow from the published numbers
that a recipe names, as `results/published/sources.toml` reads them.
"""

import functools
import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from benchmark.common import CARD_LIMIT, RULE, Model, read_limited, validation_problems
from benchmark.contract import Method
from benchmark.data import Card
from benchmark.errors import BenchError
from benchmark.protocol import AUXILIARIES, Protocol, auxiliaries_for
from benchmark.records import Placement
from benchmark.registry import all_methods, choose, options_from
from benchmark.running import select_ablations, variants_of
from benchmark.tables import Number, load_published

RECIPES = Path(__file__).parent / "recipes"
NOT_REPRODUCIBLE = {
    "anomalyclip-table3": "its medical training set is built from CVC-ColonDB in a way that is not published",
}
"""Why there is no recipe, by the name that it would have."""


class RecipeError(BenchError):
    """A recipe is wrong or unknown. The message names it and the way out."""


class Rows(Model):
    """Published numbers: those of a file, or some of them."""

    file: str
    """Of `results/published`."""
    methods: tuple[str, ...] = ()
    """As printed; empty for all."""
    datasets: tuple[str, ...] = ()
    """Cards; empty for all."""

    def hold(self, number: Number) -> bool:
        """Say whether a number is one of them. The means over the classes are, classes are not."""
        return (
            number.file == self.file
            and number.class_name is None
            and number.row.method in (self.methods or (number.row.method,))
            and number.dataset in (self.datasets or (number.dataset,))
        )


class Mini(Model):
    """What of a recipe runs on the mini suite, so that it ends in about a minute."""

    datasets: tuple[str, ...] = Field(min_length=1)
    """Cards; not the one that the methods are trained on."""
    methods: tuple[str, ...] = ()
    """As printed; empty for all."""


class Recipe(Model):
    """A table of a paper, and the conditions under which it is run."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    paper: str
    rows: tuple[Rows, ...] = Field(min_length=1)
    rule: str = RULE
    """On what methods train: a name of `benchmark.protocol.AUXILIARIES`."""
    protocol: Protocol = Protocol()
    """Its fields that are not at their defaults are those of the paper's code."""
    seeds: tuple[int, ...] = (0,)
    ablations: tuple[str, ...] = ()
    """Names of the ablations, as `bench ablate` knows them, whose tables show the results."""
    mini: Mini
    notes: tuple[str, ...] = ()
    """What a reader of the table must know, in sentences."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if self.rule not in AUXILIARIES:
            raise ValueError(f"rule: {self.rule!r} is none of {', '.join(AUXILIARIES)}")
        for rows in self.rows:
            if not any(rows.hold(number) for number in load_published()):
                raise ValueError(f"rows: no published number is in {rows.file} with these methods and datasets")
        for name in self.mini.datasets:
            if name not in {card.name for card in self.cards}:
                raise ValueError(f"mini.datasets: {name!r} is no dataset of the rows")
        return self

    @property
    def numbers(self) -> tuple[Number, ...]:
        """The published numbers of the table, in the order of the files."""
        return tuple(number for number in load_published() if any(rows.hold(number) for rows in self.rows))

    @property
    def cards(self) -> tuple[Card, ...]:
        """The datasets that are tested, as first published."""
        return tuple({card.name: card for number in self.numbers for card in number.cards}.values())

    @property
    def own(self) -> str | None:
        """The method of the paper itself, as printed: the one that begins the title of the recipe; None if none is."""
        known, start = all_methods(), self.title.partition(",")[0]
        titled = (each for each in self.numbers if each.method in known and known[each.method].title == start)
        return next((each.row.method for each in titled), None)

    def part(self, methods: Sequence[str]) -> Self:
        """Return the recipe with the published numbers of some methods alone.

        Args:
            methods: Their names, which are not those that are printed.

        Raises:
            RegistryError: A name is not one of a method of the recipe.
        """
        of_method = {each.method: each.row.method for each in self.numbers if each.method is not None}
        wanted = set(choose("method of this recipe", methods, of_method))
        printed = dict.fromkeys(each.row.method for each in self.numbers if each.method in wanted)
        rows = []
        for each in self.rows:
            held = {number.row.method for number in self.numbers if each.hold(number)}
            if names := tuple(name for name in printed if name in held):
                rows.append(each.model_copy(update={"methods": names}))
        mini = self.mini.model_copy(update={"methods": tuple(each for each in self.mini.methods if each in printed)})
        titles = ", ".join(all_methods()[name].title for name in of_method if name in wanted)
        return self.model_copy(update={"rows": tuple(rows), "mini": mini, "title": f"{self.title}: {titles} alone"})

    def layouts(self, card: Card) -> tuple[str, ...]:
        """Return the layouts of a dataset that hold the test images of the published numbers."""
        of_card = [number for number in self.numbers if card.name in {each.name for each in number.cards}]
        stated = {number.conditions.layouts.get(card.name) for number in of_card}
        return tuple(
            each.name for each in card.layouts if each.name in stated or (each.counts is None and None in stated)
        )

    def auxiliaries(self, cards: Iterable[Card]) -> dict[str, tuple[str, ...]]:
        """Return by the names of some targets the datasets on which methods train before they are tested on them."""
        return {card.name: auxiliaries_for(card.name, self.rule) for card in cards}

    def runs(self, printed: Sequence[str] = ()) -> "tuple[Run, ...]":
        """Return the methods with the options that the rows stand for, each once.

        Args:
            printed: Only those of these methods, as printed; empty for all.
        """
        known = all_methods()
        runs: dict[tuple[str, str], Run] = {}
        for number in self.numbers:
            for variant in number.variants if number.row.method in (printed or (number.row.method,)) else ():
                key = (variant.method, json.dumps(variant.options or {}, sort_keys=True))
                method = known[variant.method]
                options = options_from(method, variant.options or {})
                same = runs.get(key, Run(method, options, self._rows_of(method, options)))
                of_method = variant.options is None or not same.placement.ablations
                runs[key] = Run(method, options, same.placement.joined(Placement(main=of_method)))
        return tuple(runs.values())

    def _rows_of(self, method: type[Method], options: Any) -> Placement:
        """Return the rows of the recipe's ablations that a method with these options gives."""
        names = [each.name for each in method.ablations if each.name in self.ablations]
        rows = variants_of(method, method.Options(), select_ablations(method, names)) if names else {}
        return rows.get(options, Placement(main=False))


@dataclass(frozen=True)
class Run:
    """A method with its options, and the tables that show its results."""

    method: type[Method]
    options: Any
    placement: Placement


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        RecipeError: The file cannot be read, or breaks the schema; names the field.
    """
    try:
        content = tomllib.loads(read_limited(path, CARD_LIMIT).decode())
        return Recipe.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        raise RecipeError(f"{path}: {validation_problems(error)[0]}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not readable TOML: {error}") from None


@functools.cache
def load_recipes() -> dict[str, Recipe]:
    """Return all recipes by name, in alphabetical order."""
    return {path.stem: load_recipe(path) for path in sorted(RECIPES.glob("*.toml"))}


def choose_recipe(name: str) -> Recipe:
    """Return the recipe of a name.

    Raises:
        RecipeError: There is none. The message says why there cannot be one, where that is known, and names all that
            begin with the same word.
        RegistryError: There is none, and none that begins alike. The message suggests similar names.
    """
    recipes = load_recipes()
    start = name.casefold().partition("-")[0]
    alike = [each for each in recipes if each.partition("-")[0] == start]
    if name not in recipes and alike:
        why = NOT_REPRODUCIBLE.get(name.casefold())
        what = f"{name} cannot be reproduced: {why}" if why else f"unknown recipe {name!r}"
        raise RecipeError(f"{what}; recipes that begin alike: {', '.join(alike)}")
    [chosen] = choose("recipe", [name], recipes)
    return recipes[chosen]
