"""The source that defines a method, by which edited code is told from the code that made a result."""

import ast
import functools
import hashlib
import importlib.util
import inspect
import linecache
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import methods
from benchmark.common import unix_content
from benchmark.contract import Method

PLUGIN = "zsad_bench_plugin_"
"""How the names of the modules of `--plugin` begin."""


@functools.cache  # the code that runs is that of the first look, whatever becomes of the file meanwhile
def source_sha256(method: type[Method]) -> str | None:
    """Return the sha256 of the source that defines a method, None where that cannot be read.

    It is the file of its class, those of its base classes, and the modules that they import of `methods`, of their own
    package, or from the folder of a plug-in. Of a class that was typed, as in a cell of a notebook, it is its
    definition, and those of the typed classes, functions and constants that it names.
    """
    try:
        contents = [*map(unix_content, _source_files(method)), *(text.encode() for text in _typed_sources(method))]
        digests = sorted(hashlib.sha256(content).hexdigest() for content in contents)
    except (OSError, SyntaxError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


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


def is_typed(thing: object) -> bool:
    """Return whether a class or function was typed, in a notebook or at a prompt, and stands in no file."""
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    if module is None or not isinstance(thing, type | FunctionType):
        return False
    if getattr(module, "__file__", None) is None:
        return True
    # At a prompt that opens after a script, the module is that of the script.
    return module.__name__ == "__main__" and any(not Path(file).exists() for file in _files_of(thing))


def _files_of(thing: type | FunctionType) -> list[str]:
    """Return what Python calls the files or cells in which a function, or the methods of a class, are defined."""
    functions = [each for each in vars(thing).values() if isinstance(each, FunctionType)]
    codes = [each.__code__ for each in ([thing] if isinstance(thing, FunctionType) else functions)]
    return [code.co_filename for code in codes if code.co_filename != "<string>"]  # which a dataclass adds


def _typed_sources(method: type[Method]) -> list[str]:
    """Return the definitions of the typed classes of a method, and of all typed things that they name.

    Raises:
        OSError: One of them cannot be read, since nothing keeps what was typed.
    """
    waiting: list[Any] = [base for base in _bases(method) if is_typed(base)]
    found: dict[str, str] = {}
    while waiting:
        thing = waiting.pop()
        found[thing.__qualname__] = text = _definition(thing)
        there = vars(sys.modules[thing.__module__])
        for name in {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)} & there.keys():
            value = there[name]
            if is_typed(value) and value.__qualname__ not in found:
                waiting.append(value)
            elif isinstance(value, str | bytes | int | float | complex | tuple | list | dict | None):
                found.setdefault(name, f"{name} = {value!r}")
    return list(found.values())


def _definition(thing: Any) -> str:
    """Return the lines of a cell that define a class or a function.

    Python knows the cell of a function alone; that of a class is the cell of its methods, or the last that defines a
    class of its name.
    """
    if isinstance(thing, FunctionType):
        return textwrap.dedent(inspect.getsource(thing))
    for file in [*_files_of(thing), *reversed([name for name in linecache.cache if not Path(name).is_file()])]:
        lines = linecache.getlines(file)
        if not lines:
            continue
        for node in ast.walk(ast.parse("".join(lines))):
            if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                return textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))
    raise OSError(f"the definition of {thing.__name__} is not kept")


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
