"""Cells of a notebook in tests: code that is typed, not read from a file, and kept as IPython keeps it."""

import hashlib
import linecache
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Notebook:
    """The module of a notebook, which has no file, and the cells that were run in it."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def run(self, cell: str) -> dict[str, Any]:
        """Run a cell, and return the names that there are then."""
        name = f"<ipython-input-{hashlib.sha256(cell.encode()).hexdigest()[:8]}>"
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        exec(compile(cell, name, "exec"), vars(self._module))
        return vars(self._module)


@contextmanager
def notebook(name: str = "typed_in_cells") -> Iterator[Notebook]:
    """A notebook whose cells run in a module of this name."""
    from benchmark.registry.registered import GIVEN

    sys.modules[name] = module = types.ModuleType(name)
    before = dict(GIVEN)
    try:
        yield Notebook(module)
    finally:
        del sys.modules[name]
        GIVEN.clear()
        GIVEN.update(before)
