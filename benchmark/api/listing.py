"""Which methods and datasets there are."""

import ast
import dataclasses
import inspect
import itertools
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api.requests import data_folder

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.contract import Method
    from benchmark.report import MethodFacts


def list_methods() -> "pd.DataFrame":
    """Return the methods that `run` and `load_method` know, a row each; the index has the names by which they go."""
    import pandas as pd

    from benchmark.contract import Learner
    from benchmark.registry import all_methods

    known = all_methods()
    rows = [(each.title, issubclass(each, Learner), each.version, each.paper) for each in known.values()]
    return pd.DataFrame(rows, pd.Index(list(known), name="method"), ["title", "learns", "version", "paper"])


def method_facts() -> "dict[str, MethodFacts]":
    """Return what the report says of the methods that are known, by name, from their code."""
    from benchmark.registry import all_methods

    return {name: _facts(method) for name, method in all_methods().items()}


def _facts(method: "type[Method]") -> "MethodFacts":
    from benchmark.registry import option_fields
    from benchmark.report import MethodFacts, OptionFacts, option_text

    meanings = _meanings(method.Options)
    defaults = dataclasses.asdict(method.Options())
    options = {
        each.name: OptionFacts(option_text(defaults[each.name]), meanings.get(each.name, ""))
        for each in option_fields(method)
    }
    paragraphs = inspect.cleandoc(method.__doc__ or "").split("\n\n")
    return MethodFacts(method.paper, tuple(" ".join(each.split()) for each in paragraphs if each), options)


def _meanings(options: type) -> dict[str, str]:
    """Return the strings that stand below the fields of a dataclass, by field, also of the classes it inherits from.

    Where there is no source, as of a class of a notebook whose cell is gone, there are none.
    """
    found: dict[str, str] = {}
    for each in reversed(options.__mro__[:-1]):
        try:
            [of_class] = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        body = of_class.body if isinstance(of_class, ast.ClassDef) else []
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                match text:
                    case ast.Expr(ast.Constant(str(meaning))):
                        found[field.target.id] = " ".join(meaning.split())
    return found


def list_datasets(data: str | Path | None = None) -> "pd.DataFrame":
    """Return the datasets that `run` knows, a row each; the index has the names by which they go.

    Args:
        data: Folder that holds datasets, of which `found` says where they lie; None for `BENCH_DATA`.
    """
    import pandas as pd

    from benchmark.data import find_directories, load_cards

    folder = data_folder(data)
    rows = {
        name: {
            "title": card.title,
            "domain": card.domain,
            "classes": len(card.classes),
            "levels": ", ".join(card.levels),
            "beyond": card.beyond,
            "found": ", ".join(map(str, find_directories(card, folder, None))),
            "licence": card.licence,
            "home": card.home,
        }
        for name, card in load_cards().items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("dataset")
