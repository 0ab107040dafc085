"""The methods there are: those of `methods/`, of installed packages (entry points), of files given by `--plugin`, and
classes that a notebook defines.

Installed packages register methods in the entry point group `zsad_bench.methods`. No other code is searched for or run.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

import methods
from benchmark.common import as_path, what_is_it
from benchmark.contract import Ablation, Method
from benchmark.protocol import PROTOCOL
from benchmark.registry.choosing import RegistryError
from benchmark.registry.options import check_option_names, options_from
from benchmark.registry.sources import PLUGIN

ENTRY_POINTS = "zsad_bench.methods"
LONGEST_TITLE = 60
LONGEST_NAME = 60
_EXAMPLE = 'as in (Ablation("heat", "Temperature", {"0.07": {}, "0.01": {"temperature": 0.01}}),)'


PLUGINS: dict[Path, tuple[type[Method], ...]] = {}
"""Methods of the files that `load_plugin` loaded, by real path."""
GIVEN: dict[str, type[Method]] = {}
"""Classes that `register` was given, by the name of the method. No other process knows them."""


def all_methods() -> dict[str, type[Method]]:
    """Return every registered method by name, in alphabetical order.

    Raises:
        RegistryError: two methods share a name, or an entry point gives no method.
    """
    return dict(sorted({**_from_files(), **GIVEN}.items()))


def _from_files() -> dict[str, type[Method]]:
    """Return the methods that other processes can know by name."""
    plugins = {method.name: method for members in PLUGINS.values() for method in members}
    return {**installed_methods(), **plugins}


@functools.cache
def installed_methods() -> dict[str, type[Method]]:
    """Return the methods of `methods/` and of installed packages by name, as they were at the first call.

    Raises:
        RegistryError: As in `all_methods`.
    """
    found: dict[str, type[Method]] = {}
    for info in sorted(pkgutil.iter_modules(methods.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"methods.{info.name}")
        for member in _methods_of(module):
            _add(found, member, str(module.__file__))
    for entry in entry_points(group=ENTRY_POINTS):
        where = f"entry point {entry.name} of {ENTRY_POINTS} ({entry.value})"
        try:
            member = entry.load()
        except Exception as error:  # the message names the package, so that it can be repaired
            raise RegistryError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
        if not _is_method(member):
            raise RegistryError(f"{where} is no benchmark Method")
        _add(found, member, where)
    return found


def load_plugin(path: str | Path) -> tuple[type[Method], ...]:
    """Register the methods of a Python file and return them. A file that is registered already is not run again.

    Args:
        path: The file; `~` is the home folder.

    Raises:
        RegistryError: There is no such file, it raises an error, it defines no method, or a method has a name that is
            taken. The message names the file.
    """
    path = as_path(path, "load_plugin")
    real = path.resolve()
    if real not in PLUGINS:
        if not real.is_file() or real.suffix != ".py":
            raise RegistryError(f"--plugin {path}: {'not a Python file (.py)' if real.is_file() else 'no such file'}")
        # A file of `methods/` is registered by lying there.
        ours = tuple(each for each in installed_methods().values() if Path(inspect.getfile(each)).resolve() == real)
        PLUGINS[real] = ours or _read_plugin(path, real)
    return PLUGINS[real]


def register(method: type[Method]) -> None:
    """Register a class, as one that a cell of a notebook defines; it takes the place of an earlier one of its name.

    Raises:
        RegistryError: It is no whole method, or has the name or the title of an installed method or of a plug-in.
    """
    if not _is_method(method):
        lacking = sorted(getattr(method, "__abstractmethods__", ()))
        why = (
            f"it does not define {', '.join(lacking)}" if lacking else "it is no subclass of benchmark.contract.Method"
        )
        raise RegistryError(f"{getattr(method, '__name__', repr(method))} is no whole method: {why}")
    known = _from_files()
    if known.get(getattr(method, "name", "")) is not method:
        _add(known, method, "the methods given")
        if twins := [each for each in known.values() if each.title == method.title and each.name != method.name]:
            raise RegistryError(
                f"{method.__name__} has the title {method.title!r}, as {twins[0].__name__} of "
                f"{inspect.getfile(twins[0])} has; tables tell methods by their titles, so give it one of its own"
            )
        GIVEN[method.name] = method


def plugin_files() -> tuple[Path, ...]:
    """Return the files that are registered as plug-ins, in order; another process registers them by `load_plugin`."""
    return tuple(PLUGINS)


def _read_plugin(path: Path, real: Path) -> tuple[type[Method], ...]:
    module = _execute(path, real)
    members = _methods_of(module)
    if not members:
        raise RegistryError(f"--plugin {path}: {_why_none(module)}")
    known = _from_files()
    for member in members:
        _add(known, member, f"--plugin {path}")
    for member in members:
        GIVEN.pop(member.name, None)  # what was tried in a notebook is a file now
    return members


def _execute(path: Path, real: Path) -> ModuleType:
    """Run a file as a module with a name of its own."""
    name = f"{PLUGIN}{hashlib.sha256(str(real).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, real)
    assert spec is not None  # the file ends with .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(real)]
        line, message = (lines[-1] if lines else None), str(error)
        if isinstance(error, SyntaxError) and error.filename == str(real):
            line, message = error.lineno, what_is_it(path, text=True) or error.msg
        where = f"line {line}" if line else "on import"
        raise RegistryError(f"--plugin {path}: {where}: {type(error).__name__}: {message}") from error
    return module


def _methods_of(module: ModuleType) -> tuple[type[Method], ...]:
    """Return the methods that a module defines itself, without those that it imports."""
    distinct = dict.fromkeys(member for member in vars(module).values() if inspect.isclass(member))
    return tuple(each for each in distinct if _is_method(each) and each.__module__ == module.__name__)


def _why_none(module: ModuleType) -> str:
    unfinished = [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, Method) and member.__module__ == module.__name__
    ]
    if unfinished:
        lacking = ", ".join(sorted(unfinished[0].__abstractmethods__))
        return f"{unfinished[0].__name__} is no whole method: it does not define {lacking}"
    return "defines no subclass of benchmark.contract.Method; `bench new-method NAME` writes one to start from"


def _is_method(member: Any) -> TypeGuard[type[Method]]:
    return inspect.isclass(member) and issubclass(member, Method) and not inspect.isabstract(member)


def _add(found: dict[str, type[Method]], method: type[Method], where: str) -> None:
    lacking = [key for key in ("name", "title", "paper") if not isinstance(getattr(method, key, None), str)]
    if lacking:
        raise RegistryError(f'{where}: {method.__name__} does not say {lacking[0]}; add {lacking[0]} = "…"')
    name = method.name
    if not re.fullmatch(r"\w[\w-]*", name) or len(name) > LONGEST_NAME or name == PROTOCOL:  # it is part of file names
        raise RegistryError(
            f"{where}: {method.__name__} has the name {name[: LONGEST_NAME + 1]!r}; say 1 to {LONGEST_NAME} letters, "
            f"digits, _ and -, and not {PROTOCOL!r}"
        )
    if len(method.title) > LONGEST_TITLE or not method.title.isprintable() or not method.title.strip():
        raise RegistryError(
            f"{where}: {method.__name__} has the title {method.title[: LONGEST_TITLE + 1]!r}; say 1 to {LONGEST_TITLE} "
            "printable letters"
        )
    if method.name in found:
        other = found[method.name]
        raise RegistryError(
            f"{where}: {method.__name__} is named {method.name!r}, as {other.__name__} of {inspect.getfile(other)} is; "
            "give it a name of its own"
        )
    _check_ablations(method, where)
    found[method.name] = method


def _check_ablations(method: type[Method], where: str) -> None:
    """Refuse ablations that `bench ablate` cannot run.

    Raises:
        RegistryError: names the ablation and the row.
    """
    start = f"{where}: {method.__name__}"
    if not isinstance(method.ablations, tuple | list) or not all(isinstance(a, Ablation) for a in method.ablations):
        raise RegistryError(f"{start}: ablations must be a tuple of Ablation, {_EXAMPLE}")
    for ablation in method.ablations:
        if not re.fullmatch(r"\w[\w-]*", str(ablation.name)):
            raise RegistryError(f"{start}: ablation {ablation.name!r}: a name has letters, digits, _ and - alone")
        rows = ablation.variants
        if not isinstance(rows, Mapping) or not all(isinstance(changes, Mapping) for changes in rows.values()):
            raise RegistryError(f"{start}: ablation {ablation.name!r}: variants must be a dict of dicts, {_EXAMPLE}")
        if not rows:
            raise RegistryError(f"{start}: ablation {ablation.name!r} has no variants, {_EXAMPLE}")
        for row, changes in rows.items():
            try:
                check_option_names(method, changes)
                options_from(method, changes)
                hash(dataclasses.replace(method.Options(), **changes))
            except (RegistryError, TypeError) as error:  # TypeError: not to be hashed, or an option without default
                raise RegistryError(f"{start}: ablation {ablation.name!r}, row {row!r}: {error}") from None
    names = [ablation.name for ablation in method.ablations]
    if len(set(names)) < len(names):
        raise RegistryError(f"{start}: two of its ablations have the same name: {', '.join(names)}")


def find_method(name: str, version: int) -> type[Method]:
    """Return a method by its name and version.

    Raises:
        RegistryError: No method has this name, or it has another version.
    """
    found = all_methods().get(name)
    if found is None:
        raise RegistryError(f"method {name!r} is not known here; install its package, or name it by --plugin FILE")
    if found.version != version:
        raise RegistryError(f"method {name!r} is of version {found.version} here, not {version}; install the same code")
    return found
