"""Which tables show a record: the main tables, tables of ablations, or both."""

import json
from typing import Any

from benchmark.common import Model
from benchmark.records.cells import Name


class AblationRow(Model):
    """A row of the table of an ablation, as the record of the row's cell says it."""

    ablation: Name
    """Name of the ablation on the command line."""
    method: str
    """The method's name in tables, with the options that all rows share and that are not at the defaults."""
    title: str
    """Title of the table."""
    base: dict[str, Any]
    """The options that all rows share and that are not at the method's defaults (`bench ablate --set`)."""
    row: str
    """Title of the row."""
    place: int
    """Place of the row in the table, counted from 0."""
    default: bool
    """Whether the other rows are compared with this one."""

    @property
    def table(self) -> tuple[str, str]:
        """What tells the table from the other ablations of the method."""
        return self.ablation, json.dumps(self.base, sort_keys=True)


class Placement(Model):
    """The tables that show a record. It is no part of the cell: the same numbers may stand in several tables."""

    main: bool = True
    """Whether the record was asked for by `bench run` and stands in the main tables."""
    ablations: tuple[AblationRow, ...] = ()
    """The rows of ablations that the record gives."""

    def joined(self, other: "Placement") -> "Placement":
        """Return a placement in the tables of both. Of a table that both name, the rows of the other one count."""
        named = {row.table for row in other.ablations}
        rows = [*(row for row in self.ablations if row.table not in named), *other.ablations]
        rows.sort(key=lambda row: (row.table, row.place))
        return Placement(main=self.main or other.main, ablations=tuple(rows))
