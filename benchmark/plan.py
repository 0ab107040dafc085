"""The plan: which cells there are for methods, datasets and seeds, and what it takes to run each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.cells import BackboneId, Cell, DataId
from benchmark.contract import Method
from benchmark.protocol import Protocol
from benchmark.records import is_done
from benchmark.registry import changed_options
from benchmark.samples import SampleSet


@dataclass(frozen=True)
class Job:
    """A cell with what it takes to run it."""

    cell: Cell
    method: type[Method]
    options: Any
    samples: SampleSet

    @property
    def title(self) -> str:
        """The method's name in tables, with the options that are not at their defaults."""
        changed = changed_options(self.options)
        suffix = ", ".join(f"{key}={value}" for key, value in changed.items())
        return self.method.title + (f" ({suffix})" if suffix else "")


def plan(
    methods: Mapping[type[Method], Any],
    datasets: Sequence[SampleSet],
    *,
    seeds: Sequence[int],
    backbone: BackboneId,
    protocol: Protocol,
) -> list[Job]:
    """Return every cell of methods × datasets × seeds, datasets outermost: cells that share a pass are neighbours.

    Args:
        methods: method classes with their options.
        datasets: the test samples of each dataset.
        seeds: for methods with chance; the others run once, as seed 0.
        backbone: which frozen CLIP.
        protocol: what is held fixed.
    """
    return [
        Job(
            cell=Cell(
                method=method.name,
                method_version=method.version,
                options=asdict(options),
                dataset=data_id(samples),
                seed=seed,
                backbone=backbone,
                protocol=protocol,
            ),
            method=method,
            options=options,
            samples=samples,
        )
        for samples in datasets
        for method, options in methods.items()
        for seed in (seeds if method.stochastic or method.trains else (0,))
    ]


def data_id(samples: SampleSet) -> DataId:
    """Return what identifies the test samples of a dataset."""
    return DataId(
        name=samples.card.name,
        card_version=samples.card.version,
        layout=samples.layout.name,
        fingerprint=samples.fingerprint,
    )


def missing(jobs: Sequence[Job], results: Path, *, force: bool = False) -> list[Job]:
    """Return the jobs without a record of success, or all of them if forced."""
    return [job for job in jobs if force or not is_done(results, job.cell.id)]
