"""How Sphinx builds the documentation: tox -e docs. Nothing is loaded from elsewhere, neither then nor by a reader."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.ext.napoleon import GoogleDocstring

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

project = "zsad-bench"
author = "the zsad-bench authors"
copyright = "2026, the zsad-bench authors"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "zsad-bench"
html_show_sphinx = html_copy_source = False

nb_execution_mode = "off"  # the outputs are in the notebook: docs/notebook.py makes them
myst_heading_anchors = 3
default_role = "code"  # docstrings mark code by single backticks, as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": True, "ignore-module-all": True}


def google_style(_app: Any, what: str, name: str, obj: object, _options: Any, lines: list[str]) -> None:
    """Read the sections of a docstring, and drawings, which are indented after a colon, as they stand.

    An attribute has no sections: napoleon would take text before a colon for a type.
    """
    lines[:] = re.sub(r"(?<!:):\n\n(?= )", "::\n\n", "\n".join(lines)).split("\n")
    if what not in ("attribute", "data"):
        lines[:] = GoogleDocstring(lines, what=what, name=name, obj=obj).lines()


def setup(app: Any) -> None:
    """Read docstrings in Google's style, and stop the build where docs/rooms.svg is not what the imports give."""
    import rooms

    app.connect("autodoc-process-docstring", google_style)
    app.connect("builder-inited", lambda _: rooms.check())
