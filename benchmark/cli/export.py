"""The commands `bench export …`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.messages import fail, say, writing
from benchmark.cli.options import ChoiceOptions, add_command, with_options
from benchmark.cli.tables import records_that_count
from benchmark.common import write_whole

app = typer.Typer(no_args_is_help=True, help="Take results elsewhere.")


@with_options
def results_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; its ending says what: .csv.")],
    *,
    choice: ChoiceOptions,
) -> None:
    """Write results to a file for other programs."""
    from benchmark.tables import to_long_csv

    if file.suffix != ".csv":
        fail(f"{file}: say a file that ends in .csv")
    kept, _ = records_that_count(choice)
    with writing(file):
        write_whole(file, to_long_csv(kept))
    say(f"written to {file}")


add_command(app, "results", results_command)
