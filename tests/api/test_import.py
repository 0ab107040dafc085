"""`import benchmark` costs nothing until a name is used, and offers what the documentation says."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import benchmark
from benchmark.data.cards import load_cards
from benchmark.registry.registered import all_methods


def test_nothing_heavy_is_imported_before_a_name_is_used() -> None:
    code = (
        "import sys, benchmark as zb; dir(zb)\n"
        "heavy = {'torch', 'pandas', 'pydantic', 'numpy', 'open_clip', 'PIL', 'rich', 'matplotlib'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_metrics_are_used_without_torch() -> None:
    code = (
        "import sys, benchmark as zb\n"
        "assert zb.metrics.image_metrics([0, 1], [0.1, 0.2])['image_auroc'] == 1.0\n"
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_version_is_that_of_the_package() -> None:
    assert benchmark.__version__ == importlib.metadata.version("zsad-bench")


def test_methods_and_datasets_are_listed(small_suite: Path) -> None:
    methods, datasets = benchmark.list_methods(), benchmark.list_datasets(small_suite)
    assert list(methods.index) == list(all_methods())
    assert methods.loc["clip", "learns"] == False  # noqa: E712
    assert methods.loc["anomalyclip", "learns"] == True  # noqa: E712
    assert list(datasets.index) == list(load_cards())
    assert datasets.loc["mvtec", "classes"] == 15
    assert [name for name, found in datasets["found"].items() if found] == ["mvtec"]
    assert datasets.loc["mvtec", "found"].startswith(str(small_suite))


def test_every_name_is_there() -> None:
    for name in benchmark.__all__:
        assert getattr(benchmark, name) is not None
    assert benchmark.run.__module__ == "benchmark.api.runs"
