"""Running a recipe: on the datasets that are there, or on the mini suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.api import Computation, Learning, Places, Ran, Targets, find_targets, identify, run_on
from benchmark.common import PUBLISHED_TOLERANCE, RULE, listed
from benchmark.contract import Learner, Method, training_options
from benchmark.data import load_cards
from benchmark.errors import BenchError
from benchmark.protocol import AUXILIARIES
from benchmark.reproduction.needs import Needs, find_needs
from benchmark.reproduction.recipe import Recipe, Run
from benchmark.reproduction.table import PaperTable, make_table
from benchmark.training import SHIPPED, import_checkpoint


@dataclass(frozen=True)
class Reproduced:
    """What became of a recipe."""

    ran: Ran
    table: PaperTable


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A recipe with all that a user says of it."""

    recipe: Recipe
    computation: Computation
    places: Places = field(default_factory=Places)
    """Of the datasets; without any, nothing but the mini suite can be run."""
    checkpoints: Path | None = None
    """Folder with files that authors have published."""
    mini: bool = False
    """Whether a part of it is run on the mini suite, with a small CLIP, in about a minute."""
    tolerance: float = PUBLISHED_TOLERANCE

    def __post_init__(self) -> None:
        if self.mini and (self.places.is_given or self.checkpoints):
            raise BenchError(
                "--mini runs on generated data with shipped checkpoints; leave out --data (and BENCH_DATA) and "
                "--checkpoints"
            )

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The methods with their options."""
        return self.recipe.runs(self.recipe.mini.methods if self.mini else ())

    @cached_property
    def needs(self) -> Needs:
        """What is needed on real data."""
        return find_needs(self.recipe, self.runs, self.places, self.computation, checkpoints=self.checkpoints)

    @property
    def can_run(self) -> bool:
        """Whether there is any dataset to run on."""
        return self.mini or bool(self.needs.found)

    def run(self, *, dry_run: bool = False, since: float) -> Reproduced:
        """Run what is missing, and compare all with the published numbers.

        Args:
            dry_run: Print the cells on standard output, and run none.
            since: When it began, by `time.monotonic`.

        Raises:
            BenchError: No dataset is there, or something that the user named is wrong.
            KeyboardInterrupt: The user stopped it. The error says what is kept.
        """
        if not self.can_run:
            raise BenchError(
                f"{self.recipe.name}: none of its datasets is there; name their folder by --data DIR, or try the "
                "recipe on generated miniatures by --mini; --dry-run says what it needs"
            )
        if self.mini:
            return self._run_mini(dry_run=dry_run, since=since)
        targets = find_targets([card.name for card in self.needs.found], self.places)
        targets.problems.extend(each.problem or f"{each.card.name}: not found" for each in self.needs.missing)
        with TemporaryDirectory() as scratch:  # a dry run writes nothing
            given = self._import(Path(scratch) if dry_run else self.computation.settings.results, download=not dry_run)
            learning = Learning(
                protocol=self.recipe.rule, seeds=self.recipe.seeds, checkpoints=given, way_out=self._way_out
            )
            ran = self._carry_out(targets, learning, dry_run=dry_run, since=since)
        missing = {each.card.name: f"data: {each.problem or 'not found'}" for each in self.needs.missing if each.tested}
        return self._reproduced(ran, missing, (), untrained=self.needs.untrained)

    @property
    def _way_out(self) -> str:
        """What can be done besides naming its folder where an auxiliary dataset is not found."""
        published = any(each.found and not each.imported for each in self.needs.learned)
        return ", or give the checkpoints that --dry-run names by --checkpoints" if published else ""

    def _run_mini(self, *, dry_run: bool, since: float) -> Reproduced:
        names = self.recipe.mini.datasets
        targets = find_targets(names, self.places)
        shipped = [method for method in self._learners() if self._learns_by_default(method)]
        learning = Learning(seeds=self.recipe.seeds, checkpoints=[SHIPPED / f"{each.name}.json" for each in shipped])
        ran = self._carry_out(targets, learning, dry_run=dry_run, since=since)
        others = {card.name: "not in the mini run" for card in self.recipe.cards if card.name not in names}
        return self._reproduced(ran, others, self._cuts(shipped))

    def _carry_out(self, targets: Targets, learning: Learning, *, dry_run: bool, since: float) -> Ran:
        placements = {(run.method, run.options): run.placement for run in self.runs}
        return run_on(
            targets,
            list(placements),
            self.recipe.protocol,
            learning=learning,
            computation=self.computation,
            placements=placements,
            dry_run=dry_run,
            since=since,
        )

    def _reproduced(
        self,
        ran: Ran,
        why_not: Mapping[str, str],
        cuts: Sequence[str],
        untrained: Mapping[tuple[str, str], str] | None = None,
    ) -> Reproduced:
        table = make_table(
            self.recipe, ran.records, tolerance=self.tolerance, why_not=why_not, untrained=untrained, cuts=cuts
        )
        return Reproduced(ran, table)

    def _import(self, results: Path, *, download: bool) -> list[Path]:
        """Import the published checkpoints that were found; return their JSON files in a folder of results."""
        paths = []
        for each in self.needs.learned:
            if each.imported and each.found is not None:
                source = self.computation.source(each.method, synthetic=False)
                path, _ = import_checkpoint(
                    list(each.found.paths.values()),
                    each.method,
                    auxiliaries=[load_cards()[name] for name in each.auxiliary],
                    backbone=identify(source, dtype=self.computation.number_type, download=download),
                    protocol=self.recipe.protocol,
                    results=results,
                )
                paths.append(path)
        return paths

    def _learners(self) -> list[type[Method]]:
        return list(dict.fromkeys(run.method for run in self.runs if issubclass(run.method, Learner)))

    def _learns_by_default(self, method: type[Method]) -> bool:
        """Say whether all rows of a method are of one training, that with the default options."""
        default = training_options(method.Options())
        return all(training_options(run.options) == default for run in self.runs if run.method is method)

    def _cuts(self, shipped: Sequence[type[Method]]) -> list[str]:
        """Return in sentences what a mini run leaves out or does otherwise."""
        cards, names = load_cards(), self.recipe.mini.datasets
        titles = ", ".join(cards[name].title for name in names)
        found = [
            f"Mini run: generated miniatures of {titles} alone, of {len(self.recipe.cards)} datasets; a small CLIP."
        ]
        if shipped:
            of = listed([method.title for method in shipped], len(shipped))
            found.append(f"Mini run: {of} with shipped checkpoints, learned on the miniature of MVTec AD; not trained.")
        trained = [method.title for method in self._learners() if method not in shipped]
        if trained:
            found.append(f"Mini run: {', '.join(trained)} trained on the miniature of MVTec AD.")
        if self.recipe.rule != RULE and (shipped or trained):
            usual = " and ".join(cards[name].title for name in AUXILIARIES[self.recipe.rule][0])
            found.append(f"Mini run: the recipe itself trains on {usual}.")
        if self.recipe.mini.methods:
            found.append(f"Mini run: only the rows {', '.join(self.recipe.mini.methods)}.")
        return found
