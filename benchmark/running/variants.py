"""Variants: the rows of a method's ablations, as options of cells with the places that their results have in tables."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmark.contract import Ablation, Method
from benchmark.errors import BenchError
from benchmark.records import AblationRow, Placement
from benchmark.registry import changed_options, choose, title_of


def select_ablations(method: type[Method], names: Sequence[str]) -> tuple[Ablation, ...]:
    """Return the named ablations of a method, or all.

    Raises:
        BenchError: it has none, or none of that name.
    """
    known = {ablation.name: ablation for ablation in method.ablations}
    if not known:
        raise BenchError(f"{method.name} declares no ablations; `bench methods` shows which methods do")
    return tuple(known[name] for name in choose(f"ablation of {method.name}", names or known, known))


def variants_of(method: type[Method], base: Any, ablations: Sequence[Ablation]) -> dict[Any, Placement]:
    """Return the options of every row of some ablations, each once, with the rows that they give.

    Args:
        method: the method.
        base: its options in a row that changes none.
        ablations: of the method.
    """
    rows: dict[Any, list[AblationRow]] = defaultdict(list)
    shared = json.loads(json.dumps(changed_options(base)))  # as it is read back: tuples are lists
    for ablation in ablations:
        for place, (row, changes) in enumerate(ablation.variants.items()):
            options = replace(base, **changes)
            rows[options].append(
                AblationRow(
                    ablation=ablation.name,
                    method=title_of(method, base),
                    title=ablation.title,
                    base=shared,
                    row=row,
                    place=place,
                    default=options == base,
                )
            )
    return {options: Placement(main=False, ablations=tuple(found)) for options, found in rows.items()}
