"""Packages that only some commands need: the extras of pyproject.toml."""

from collections.abc import Sequence
from importlib.util import find_spec

from benchmark.errors import BenchError


def require_extra(extra: str, modules: Sequence[str], *, user: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        extra: Name of the extra.
        modules: What is imported of its packages.
        user: What needs them, as the message says it.

    Raises:
        BenchError: One or more are missing.
    """
    if missing := [name for name in modules if find_spec(name) is None]:
        raise BenchError(
            f"{user} needs the extra `{extra}`, of which {', '.join(missing)} is not installed; in the checkout, say "
            f"python -m pip install -e '.[{extra}]'"
        )
