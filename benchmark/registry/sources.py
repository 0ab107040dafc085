"""The source that defines a method, by which edited code is told from the code that made a result."""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import methods
from benchmark.common import unix_content
from benchmark.contract import Method
from benchmark.registry.typed import is_typed, typed_sources

PLUGIN = "zsad_bench_plugin_"
"""How the names of the modules of `--plugin` begin."""


@dataclass(frozen=True)
class _Source:
    """What was found at the first look; the code that runs is that one, whatever becomes of the file meanwhile."""

    sha256: str | None
    unknown: tuple[str, ...] = ()


_FOUND: dict[type[Method], _Source] = {}


def source_sha256(method: type[Method]) -> str | None:
    """Return the sha256 of the source that defines a method, None where that cannot be read.

    It is the file of its class, those of its base classes, and the modules that they import of `methods`, of their own
    package, or from the folder of a plug-in. Of a class that was typed, as in a cell of a notebook, it is its
    definition, and those of the typed classes, functions and values that it names. The source is read once, that of a
    typed class again after `look_again`.
    """
    return _source(method).sha256


def not_compared(method: type[Method]) -> tuple[str, ...]:
    """Return what a typed class names whose value cannot be compared with that of another time."""
    return _source(method).unknown


def look_again() -> None:
    """Forget the sources of typed classes, at the beginning of a run: what they name may have been edited since."""
    for method in [each for each in _FOUND if any(map(is_typed, _bases(each)))]:
        del _FOUND[method]


def _source(method: type[Method]) -> _Source:
    if method not in _FOUND:
        _FOUND[method] = _look(method)
    return _FOUND[method]


def _look(method: type[Method]) -> _Source:
    try:
        texts, unknown = typed_sources(base for base in _bases(method) if is_typed(base))
        contents = [*map(unix_content, _source_files(method)), *(text.encode() for text in texts)]
    except (OSError, SyntaxError, ValueError, KeyError, AttributeError, TypeError):
        return _Source(None)
    digests = sorted(hashlib.sha256(content).hexdigest() for content in contents)
    return _Source(hashlib.sha256(" ".join(digests).encode()).hexdigest(), tuple(unknown))


def _bases(method: type[Method]) -> list[type[Method]]:
    return [base for base in method.__mro__ if issubclass(base, Method) and base.__module__ != Method.__module__]


def _source_files(method: type[Method]) -> set[Path]:
    """Return the files that define a method.

    Raises:
        KeyError, AttributeError: The method comes from no file.
        OSError: A file is gone.
        SyntaxError, ValueError: A file has changed since it was imported, and is no Python.
    """
    bases = [base for base in _bases(method) if not is_typed(base)]
    waiting = {_file_of(sys.modules[base.__module__]): base.__module__ for base in bases}
    folders = _folders(waiting)
    found: set[Path] = set()
    while waiting:
        file, module = waiting.popitem()
        found.add(file)
        for name in _imported(file, module):
            imported = _find(name, folders)
            if imported is not None and imported not in found:
                waiting[imported] = name
    return found


def _folders(modules: Mapping[Path, str]) -> dict[str, Path]:
    """Return where modules of the methods' own are searched for: a folder by the first part of a name, "" for any."""
    folders = {methods.__name__: Path(methods.__path__[0]).parent}
    for file, module in modules.items():
        if module.startswith(PLUGIN):
            folders[""] = file.parent
        else:
            folders[module.partition(".")[0]] = file.parents[module.count(".") + (file.name == "__init__.py")]
    return folders


def _find(name: str, folders: Mapping[str, Path]) -> Path | None:
    """Return the file of a module of the methods' own, None for any other."""
    parts = name.split(".")
    for folder in (folders.get(parts[0]), folders.get("")):
        if folder is not None and parts[0] != "benchmark":
            path = folder.joinpath(*parts)
            for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
                if file.is_file():
                    return file.resolve()
    return None


def _imported(file: Path, module: str) -> Iterator[str]:
    """Yield the names of all modules that a module may import, wherever in it; some are names of what they hold."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(unix_content(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = importlib.util.resolve_name("." * node.level, package) if node.level else ""
            start = ".".join(part for part in (start, node.module or "") if part)
            yield from (start, *(f"{start}.{alias.name}" for alias in node.names))


def _file_of(module: ModuleType) -> Path:
    file = module.__file__
    if file is None:
        raise AttributeError(f"{module.__name__} has no file")
    return Path(file).resolve()
