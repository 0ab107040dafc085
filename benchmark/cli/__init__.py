"""The command `bench`. Nothing heavy is imported before a command needs it."""

import os
import sys

import typer

from benchmark.cli import (
    ablate,
    calibrate,
    compare,
    data,
    export,
    methods,
    predict,
    report,
    reproduce,
    results,
    run,
    tables,
    train,
)
from benchmark.cli.messages import fail
from benchmark.cli.options import add_command
from benchmark.errors import BenchError, NothingToRunError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark and reproduce CLIP-based zero-shot anomaly detection.\n\n"
    "`bench run --all` runs every method on generated miniatures of 17 datasets and prints the tables. "
    "`bench data list --data DIR` shows which of the real ones lie in DIR, `bench run --all --data DIR` runs on those. "
    "Finished work is kept: the same command, run again, does only what is missing.",
)
add_command(app, "run", run.run_command)
add_command(app, "reproduce", reproduce.reproduce_command)
add_command(app, "train", train.train_command)
add_command(app, "ablate", ablate.ablate_command)
add_command(app, "import-checkpoint", train.import_command)
add_command(app, "predict", predict.predict_command)
add_command(app, "calibrate", calibrate.calibrate_command)
add_command(app, "tables", tables.tables_command)
add_command(app, "compare", compare.compare_command)
add_command(app, "report", report.report_command)
add_command(app, "methods", methods.methods_command)
add_command(app, "new-method", methods.new_method_command)
add_command(app, "check-method", methods.check_method_command)
app.add_typer(data.app, name="data")
app.add_typer(results.app, name="results")
app.add_typer(export.app, name="export")


def main() -> None:
    """Run the command line; an error that the user can correct ends it with a message and exit code 2."""
    # Threads that have no work sleep, in place of keeping the cores from other processes and, where these leave a core
    # to only some of them, from each other. Libraries read this when they are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        if "" in sys.argv[1:]:
            before = sys.argv[sys.argv.index("", 1) - 1]
            fail(f"an empty value after {before}: is a variable of the shell not set?")
        app()
    except NothingToRunError as error:
        fail(str(error).partition("\n")[0], code=1)  # its problems were told before
    except BenchError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("stopped; finished work is kept, and the same command continues from there", code=130)
