"""The values of options, as they are typed after --set."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from benchmark.errors import BenchError


def parse_settings(settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the values of `NAME.OPTION=VALUE` by name and option; values that are JSON are decoded.

    Raises:
        BenchError: A setting is not of that form, or contradicts another.
    """
    from benchmark.registry import literal

    typed: dict[str, dict[str, str]] = defaultdict(dict)
    for setting in settings:
        target, equals, value = setting.partition("=")
        name, dot, option = target.partition(".")
        if not (equals and dot):
            raise BenchError(f"--set {setting!r}: say NAME.OPTION=VALUE, as in clip.temperature=0.01")
        if (earlier := typed[name].setdefault(option, value)) != value:
            raise BenchError(f"--set {target}: said twice, as {earlier} and as {value}; leave one out")
    return {name: {option: literal(value) for option, value in values.items()} for name, values in typed.items()}
