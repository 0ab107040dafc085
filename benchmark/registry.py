"""The registry of methods: those of `methods/`, of installed packages (entry points) and of files given by `--plugin`.

Installed packages register methods in the entry point group `zsad_bench.methods`. No other code is searched for or run.
"""

import ast
import dataclasses
import difflib
import functools
import hashlib
import importlib.util
import inspect
import json
import math
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from pydantic import PydanticUserError, TypeAdapter, ValidationError

import methods
from benchmark.common import unix_content, validation_problems, what_is_it
from benchmark.contract import Ablation, Learner, Method
from benchmark.errors import BenchError

ENTRY_POINTS = "zsad_bench.methods"
LONGEST_TITLE = 60
_PLUGIN = "zsad_bench_plugin_"  # how the names of the modules of `--plugin` begin
_EXAMPLE = 'as in (Ablation("heat", "Temperature", {"0.07": {}, "0.01": {"temperature": 0.01}}),)'


class RegistryError(BenchError):
    """A method or an option is unknown or wrong; the message names the near ones."""


PLUGINS: dict[Path, tuple[type[Method], ...]] = {}
"""Methods of the files that `load_plugin` loaded, by real path."""


def all_methods() -> dict[str, type[Method]]:
    """Return every registered method by name, in alphabetical order.

    Raises:
        RegistryError: two methods share a name, or an entry point gives no method.
    """
    plugins = {method.name: method for members in PLUGINS.values() for method in members}
    return dict(sorted({**installed_methods(), **plugins}.items()))


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


def load_plugin(path: Path) -> tuple[type[Method], ...]:
    """Register the methods of a Python file and return them. A file that is registered already is not run again.

    Raises:
        RegistryError: There is no such file, it raises an error, it defines no method, or a method has a name that is
            taken. The message names the file.
    """
    real = path.resolve()
    if real not in PLUGINS:
        if not real.is_file() or real.suffix != ".py":
            raise RegistryError(f"--plugin {path}: {'not a Python file (.py)' if real.is_file() else 'no such file'}")
        # A file of `methods/` is registered by lying there.
        ours = tuple(each for each in installed_methods().values() if Path(inspect.getfile(each)).resolve() == real)
        PLUGINS[real] = ours or _read_plugin(path, real)
    return PLUGINS[real]


def plugin_files() -> tuple[Path, ...]:
    """Return the files that are registered as plug-ins, in order; another process registers them by `load_plugin`."""
    return tuple(PLUGINS)


def _read_plugin(path: Path, real: Path) -> tuple[type[Method], ...]:
    module = _execute(path, real)
    members = _methods_of(module)
    if not members:
        raise RegistryError(f"--plugin {path}: {_why_none(module)}")
    known = all_methods()
    for member in members:
        _add(known, member, f"--plugin {path}")
    return members


def _execute(path: Path, real: Path) -> ModuleType:
    """Run a file as a module with a name of its own."""
    name = f"{_PLUGIN}{hashlib.sha256(str(real).encode()).hexdigest()[:12]}"
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


@functools.cache  # the code that runs is that of the first look, whatever becomes of the file meanwhile
def source_sha256(method: type[Method]) -> str | None:
    """Return the sha256 of the files that define a method, None where there is none.

    They are the file of its class, those of its base classes, and the modules that they import of `methods`, of their
    own package, or from the folder of a plug-in.
    """
    try:
        files = _source_files(method)
        digests = sorted(hashlib.sha256(unix_content(file)).hexdigest() for file in files)
    except (OSError, SyntaxError, ValueError, KeyError, AttributeError):
        return None
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _source_files(method: type[Method]) -> set[Path]:
    """Return the files that define a method.

    Raises:
        KeyError, AttributeError: The method comes from no file.
        OSError: A file is gone.
        SyntaxError, ValueError: A file has changed since it was imported, and is no Python.
    """
    bases = [base for base in method.__mro__ if issubclass(base, Method) and base.__module__ != Method.__module__]
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
        if module.startswith(_PLUGIN):
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


def choose(what: str, wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the wanted names, each once.

    Args:
        what: what the names are names of, in the singular.
        wanted: names to check.
        known: names that exist.

    Raises:
        RegistryError: A name is unknown. The message suggests similar names.
    """
    known = list(known)
    chosen = list(dict.fromkeys(wanted))
    for name in chosen:
        if name not in known:
            folded = name.casefold()
            near = [folded] if folded in known else difflib.get_close_matches(folded, known, n=3)
            raise RegistryError(
                f"unknown {what} {name!r}; "
                + (f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}")
            )
    return chosen


def make_options(method: type[Method], values: Mapping[str, str]) -> Any:
    """Return the method's options with values as they are typed on the command line; the others keep their defaults.

    Raises:
        RegistryError: There is no such option, or a value has the wrong type or is out of range.
    """
    check_option_names(method, values)
    options = options_from(method, {key: literal(value) for key, value in values.items()})
    for key, value in dataclasses.asdict(options).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise RegistryError(f"option {method.name}.{key}: must be a finite number, not {value}")
    if (shots := method.shots(options)) < 0:
        named = ", ".join(f"{method.name}.{key}" for key in values) or method.name
        raise RegistryError(f"{named}: the number of normal images shown must be 0 or more, not {shots}")
    if issubclass(method, Learner):
        for key, least in (("epochs", 0), ("batch_size", 1)):
            value = getattr(options, key, None)  # None where the method's stages say it
            if value is not None and value < least:
                raise RegistryError(f"option {method.name}.{key}: must be {least} or more, not {value}")
    return options


def option_fields(method: type[Method]) -> "tuple[dataclasses.Field[Any], ...]":
    """Return the fields of the method's options.

    Raises:
        RegistryError: the options are no dataclass.
    """
    if not dataclasses.is_dataclass(method.Options):
        raise RegistryError(f"{method.name}: Options is no dataclass; `bench check-method {method.name}` tells more")
    return dataclasses.fields(method.Options)


def check_option_names(method: type[Method], names: Iterable[str]) -> None:
    """Check that the method has options of these names.

    Raises:
        RegistryError: A name is unknown. The message suggests similar names.
    """
    choose(f"option of {method.name}", names, [field.name for field in option_fields(method)])


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


def options_from(method: type[Method], values: Mapping[str, Any]) -> Any:
    """Return the method's options with values as a record or a checkpoint holds them.

    Raises:
        RegistryError: The method has no such option, or a value has the wrong type.
    """
    try:
        return _options_reader(method).validate_python(dict(values))
    except (PydanticUserError, NameError) as error:  # an annotation that is no type, or is not known
        raise RegistryError(f"the types of the options of {method.name} cannot be read: {error}") from None
    except ValidationError as error:
        raise RegistryError(f"option {validation_problems(error, of=method.name)[0]}") from None


@functools.cache
def _options_reader(method: type[Method]) -> TypeAdapter[Any]:
    return TypeAdapter(method.Options)


def literal(text: str) -> Any:
    """Return the value of a text from the command line: JSON is decoded, anything else is the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # it is no JSON, has a number of thousands of digits, or is nested too deeply
        return text


def title_of(method: type[Method], options: Any) -> str:
    """Return a method's name in tables, with the options that are not at their defaults."""
    suffix = ", ".join(f"{key}={value}" for key, value in changed_options(options).items())
    return method.title + (f" ({suffix})" if suffix else "")


def changed_options(options: Any) -> dict[str, Any]:
    """Return the options that differ from their defaults."""
    given, default = dataclasses.asdict(options), dataclasses.asdict(type(options)())
    return {key: value for key, value in given.items() if value != default[key]}
