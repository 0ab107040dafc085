"""The command `bench`. Nothing heavy is imported before a command needs it."""

import typer

from benchmark.cli import ablate, compare, data, methods, predict, report, run, tables, train
from benchmark.cli.messages import fail
from benchmark.errors import BenchError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark and reproduce CLIP-based zero-shot anomaly detection.\n\n"
    "`bench run --all` runs every method on generated miniatures of 17 datasets and prints the tables. "
    "`bench data list --data DIR` shows which of the real ones lie in DIR, `bench run --all --data DIR` runs on those. "
    "What is done is kept: the same command again does only what is missing.",
)
app.command("run")(run.run_command)
app.command("train")(train.train_command)
app.command("ablate")(ablate.ablate_command)
app.command("import-checkpoint")(train.import_command)
app.command("predict")(predict.predict_command)
app.command("tables")(tables.tables_command)
app.command("compare")(compare.compare_command)
app.command("report")(report.report_command)
app.command("methods")(methods.methods_command)
app.command("new-method")(methods.new_method_command)
app.command("check-method")(methods.check_method_command)
app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line; errors a user can mend end it with one message and exit code 2."""
    try:
        app()
    except BenchError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("stopped; what is done is kept, and the same command goes on from there", code=130)
