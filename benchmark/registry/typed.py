"""What defines a class that was typed, as in a cell of a notebook: its text, and the values that it names."""

import ast
import dataclasses
import functools
import hashlib
import inspect
import linecache
import secrets
import sys
import textwrap
import types
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

_BY_TEXT = (str, bytes, int, float, complex, bool, range, slice, type(None), type(...), type(NotImplemented))
"""Types whose values `repr` gives completely."""


def is_typed(thing: object) -> bool:
    """Return whether a class or function was typed, in a notebook or at a prompt, and stands in no file."""
    if not isinstance(thing, type | FunctionType):
        return False
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    if module is None:
        return False
    if getattr(module, "__file__", None) is None:
        return module.__name__ not in sys.builtin_module_names
    # At a prompt that opens after a script, the module is that of the script.
    return module.__name__ == "__main__" and any(not Path(file).exists() for file in _files_of(thing))


def typed_sources(classes: Iterable[type]) -> tuple[list[str], list[str]]:
    """Return all that defines some typed classes, and the names of what cannot be compared with another time.

    Counted are their texts and members; of all typed functions and classes that they name, the same; the values of
    constants that they name, that functions hold in closures and as defaults; and the names of what is imported. What
    cannot be compared gets a random text, so that it never passes for what it was before.

    Raises:
        OSError: One of the definitions cannot be read, since nothing keeps what was typed.
    """
    look = _Look()
    for each in classes:
        look.define(each)
    return look.texts, list(dict.fromkeys(look.unknown))


class _Look:
    """One look at all that typed classes name."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.unknown: list[str] = []
        self._seen: dict[int, Any] = {}
        """What was met, by its id, which is its own as long as it is kept."""

    def define(self, thing: Any) -> None:
        """Add the definition of a typed class or function, and of what it names."""
        if id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        self.texts.append(text := _definition(thing))
        if isinstance(thing, type):
            for name, member in vars(thing).items():
                if _is_own(name, member):
                    self._add(f"{thing.__qualname__}.{name}", member)
        else:
            held = (each.cell_contents for each in thing.__closure__ or () if each != types.CellType())
            for place, value in enumerate((*held, thing.__defaults__, thing.__kwdefaults__)):
                self._add(f"{thing.__qualname__}:{place}", value)
        try:
            tree = ast.parse(text)
        except SyntaxError:  # a lambda in the middle of something
            self._add(thing.__qualname__, object())
            return
        there = vars(sys.modules[thing.__module__])
        for name in sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & there.keys()):
            self._add(name, there[name])

    def _add(self, name: str, value: object) -> None:
        self.texts.append(f"{name} = {self._text(value, name)}")

    def _text(self, value: Any, name: str) -> str:
        """Return a text that is the same where a value is the same, and another where it is another."""
        if type(value) in _BY_TEXT or isinstance(value, np.generic | np.dtype | np.ufunc | PurePath):
            return repr(value)
        if is_typed(value):
            self.define(value)
            return str(value.__qualname__)
        if (imported := _imported_name(value)) is not None:
            return imported
        if id(value) in self._seen:
            return "the same"
        self._seen[id(value)] = value
        parts = _parts(value)
        if parts is None:
            self.unknown.append(name)
            return secrets.token_hex()
        texts = [self._text(part, name) for part in parts]
        del self._seen[id(value)]  # equal values give equal texts, whether or not they are one object
        kind = type(value)
        return (
            f"{kind.__module__}.{kind.__qualname__}({', '.join(sorted(texts) if kind in (set, frozenset) else texts)})"
        )


def _parts(value: Any) -> list[Any] | None:
    """Return what a value consists of; None where it is not known."""
    kind = type(value)
    if kind in _PARTS:
        return _PARTS[kind](value)
    if kind.__module__ in ("torch", "torch.nn.parameter") and kind.__name__ in ("Tensor", "Parameter"):
        return _tensor(value)
    if wrapped := inspect.getattr_static(value, "__wrapped__", None):  # by functools.cache and others
        return [wrapped]
    if (dataclasses.is_dataclass(value) or is_typed(kind)) and not hasattr(kind, "__slots__"):
        return [kind, vars(value)]
    return None


def _array(value: npt.NDArray[Any]) -> list[Any] | None:
    if value.dtype.hasobject:
        return None
    return [str(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]


def _tensor(value: Any) -> list[Any] | None:
    import torch

    try:
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    except (RuntimeError, TypeError):  # it is sparse, for example
        return None
    return [str(value.dtype), tuple(value.shape), content]


_PARTS: dict[type, Callable[[Any], list[Any] | None]] = {
    **dict.fromkeys((tuple, list, set, frozenset), list),
    **dict.fromkeys((dict, types.MappingProxyType), lambda each: [part for item in each.items() for part in item]),
    **dict.fromkeys((staticmethod, classmethod), lambda each: [each.__func__]),
    property: lambda each: [each.fget, each.fset, each.fdel],
    functools.cached_property: lambda each: [each.func],
    functools.partial: lambda each: [each.func, each.args, each.keywords],
    np.ndarray: _array,
}
"""What values of some types consist of."""


def _is_own(name: str, member: object) -> bool:
    """Return whether a member of a class says what it does; Python and decorators add others."""
    if isinstance(member, FunctionType):
        inner: Any = inspect.unwrap(member)
        return bool(inner.__code__.co_filename != "<string>")  # which a dataclass adds
    return not (name.startswith("__") and name.endswith("__")) and name != "_abc_impl"


def _imported_name(value: Any) -> str | None:
    """Return the name of what is imported, whose code does not count, and of types of hints; None of any other."""
    if isinstance(value, ModuleType):
        return value.__name__
    kind = type(value)
    if kind.__module__ in ("typing", "types") and kind.__name__ not in ("MappingProxyType", "SimpleNamespace"):
        return repr(value)
    if kind.__module__ == "torch" and kind.__name__ in ("dtype", "device", "layout"):
        return repr(value)
    if isinstance(value, types.BuiltinFunctionType | type | FunctionType):
        owner = getattr(value, "__self__", None)
        if owner is None or isinstance(owner, ModuleType | type):
            return f"{value.__module__}.{value.__qualname__}"
    return None


def _files_of(thing: type | FunctionType) -> list[str]:
    """Return what Python calls the files or cells in which a function, or the methods of a class, are defined."""
    functions = [each for each in vars(thing).values() if isinstance(each, FunctionType)]
    codes = [each.__code__ for each in ([thing] if isinstance(thing, FunctionType) else functions)]
    return [code.co_filename for code in codes if code.co_filename != "<string>"]  # which a dataclass adds


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
