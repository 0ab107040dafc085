"""The registry of methods: those of `methods/`, and third-party ones by the entry point group `zsad_bench.methods`."""

import dataclasses
import difflib
import functools
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeGuard

from pydantic import TypeAdapter, ValidationError

import methods
from benchmark.contract import Method
from benchmark.errors import BenchError

ENTRY_POINTS = "zsad_bench.methods"


class RegistryError(BenchError):
    """A method or an option is unknown or wrong; the message names the near ones."""


@functools.cache
def all_methods() -> dict[str, type[Method]]:
    """Return every registered method by name, in alphabetical order.

    Raises:
        RegistryError: two methods share a name, or an entry point gives no method.
    """
    found: dict[str, type[Method]] = {}
    for info in sorted(pkgutil.iter_modules(methods.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"methods.{info.name}")
        for member in vars(module).values():
            if _is_method(member) and member.__module__ == module.__name__:
                _add(found, member)
    for entry in entry_points(group=ENTRY_POINTS):
        member = entry.load()
        if not _is_method(member):
            raise RegistryError(f"entry point {entry.name} of {ENTRY_POINTS} ({entry.value}) is no benchmark Method")
        _add(found, member)
    return dict(sorted(found.items()))


def _is_method(member: Any) -> TypeGuard[type[Method]]:
    return inspect.isclass(member) and issubclass(member, Method) and not inspect.isabstract(member)


def _add(found: dict[str, type[Method]], method: type[Method]) -> None:
    if method.name in found:
        other = found[method.name]
        raise RegistryError(f"two methods are named {method.name!r}: {other.__module__} and {method.__module__}")
    found[method.name] = method


def choose(what: str, wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the wanted names without repetition.

    Raises:
        RegistryError: a name is unknown; names the near ones.
    """
    known = list(known)
    chosen = list(dict.fromkeys(wanted))
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            raise RegistryError(
                f"unknown {what} {name!r}; "
                + (f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}")
            )
    return chosen


def make_options(method: type[Method], values: Mapping[str, str]) -> Any:
    """Return the method's options with the given fields, as they are typed on the command line, set.

    Raises:
        RegistryError: no such option, or a value of the wrong type.
    """
    choose(f"option of {method.name}", values, [field.name for field in dataclasses.fields(method.Options)])
    try:
        return TypeAdapter(method.Options).validate_python({key: literal(value) for key, value in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
        raise RegistryError(f"option {method.name}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def literal(text: str) -> Any:
    """Read a value as typed on the command line: JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def title_of(method: type[Method], options: Any) -> str:
    """Return a method's name in tables, with the options that are not at their defaults."""
    suffix = ", ".join(f"{key}={value}" for key, value in changed_options(options).items())
    return method.title + (f" ({suffix})" if suffix else "")


def changed_options(options: Any) -> dict[str, Any]:
    """Return the options that differ from their defaults."""
    given, default = dataclasses.asdict(options), dataclasses.asdict(type(options)())
    return {key: value for key, value in given.items() if value != default[key]}
