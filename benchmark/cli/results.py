"""The commands `bench results …`."""

from typing import Annotated

import typer

from benchmark.cli.messages import fail, writing
from benchmark.cli.options import Results, add_command
from benchmark.common import RESULTS, tell

app = typer.Typer(no_args_is_help=True, help="Records of results: remove those that are out of date.")


def prune_command(
    *,
    results: Results = RESULTS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be removed; remove nothing.")] = False,
) -> None:
    """Remove the records that `bench tables` leaves out because they are out of date.

    They were made by an older version of a method or of the metrics, from older test images or labels, or after a
    training on older ones, where there are newer results of the same kind, or they give rows of ablations that were
    redefined. The ids of the removed records are printed. A record that stands in other tables only loses the row.
    """
    from benchmark.records import read_records, remove_record, write_record
    from benchmark.tables import newest

    records, problems = read_records(results)
    for problem in problems:
        tell(f"left as it is: {problem}")
    if not records:
        fail(f"no records in {results / 'records'}")
    kept, outdated = newest(records)
    elsewhere = {record.id: record for record in kept}
    removed = set()
    for each in outdated:
        tell(f"of {each.reason}:")
        for record in each.records:
            if record.id in elsewhere:
                tell(f"{record.id} leaves the ablation, and stays in other tables")
                if not dry_run:
                    with writing(results):
                        write_record(results, elsewhere[record.id])
            elif record.id not in removed:
                removed.add(record.id)
                print(record.id)
                if not dry_run:
                    with writing(results):
                        remove_record(results, record.id)
    tell(f"{len(removed)} of {len(records)} records {'would be' if dry_run else 'were'} removed")


add_command(app, "prune", prune_command)
