"""`import benchmark` costs nothing until a name is used, and offers what the documentation says."""

import subprocess
import sys

import benchmark


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


def test_every_name_is_there() -> None:
    for name in benchmark.__all__:
        assert getattr(benchmark, name) is not None
    assert benchmark.run.__module__ == "benchmark.api.runs"
