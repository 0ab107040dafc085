"""A page with nothing but tables of numbers by method, made of the report's own templates and scripts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from benchmark.report.rendering import NAVIGATION, SiteFiles
from benchmark.report.values import ShownValue, TableRow

BANNER = "SYNTHETIC <b>numbers</b> & nothing else"
TEMPLATE = """{% extends "base.html" %}{% block title %}Tables{% endblock %}
{% block main %}<h1>Tables</h1>
<form class="controls" autocomplete="off">{{ method_parts.chooser(groups) }}</form>
{{ table_parts.by_metric(tables, groups, "Class") }}
{{ table_parts.by_metric(kinds, groups, "Kind (images)", "kinds") }}
<div class="scroll"><table class="grid sortable" data-table="twice">
<thead><tr><td></td>
{% for name in ("One", "Two") %}<th scope="colgroup" colspan="2">{{ name }}</th>{% endfor %}</tr>
<tr>{{ table_parts.sorter("Variant") }}
{% for name in ("AUROC", "AP") * 2 %}{{ table_parts.sorter(name, "num") }}{% endfor %}</tr></thead>
<tbody>{% for row in differences %}<tr>{{ table_parts.row_head(row.title) }}
{% for n in row.numbers %}{{ table_parts.cell(n) }}{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<p><a href="other.html">other</a> <a href="#last">last</a></p><h2 id="last">Last</h2>
{% endblock %}"""

HOSTILE = (
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "a_b & 50% #1 {x} ^ ~ \\ $y$ [z]",
    '-1, "two"',
    "**bold**: `x`",
)
LONG = "A method with a name that is far too long for a column, third version with other prompts"
TITLES = (*HOSTILE, LONG, *(f"Method{number}" for number in range(34)))
ROWS = ("=1+1", "x" * 90, "a kind of defect whose name has many words and would take five lines beside numbers", "A|B")
CLASSES = (*ROWS, *(f"class {number:02}" for number in range(26)))
TABLE = "document.querySelector('.tab:not([hidden]) table, #classes')"
"""The table of numbers that a page shows first, as a script finds it."""

FAILED = ShownValue("failed", "", mark="failed", record="r2")
NOT_RUN = ShownValue("not run", "", mark="absent")
UNDEFINED = ShownValue("–", "", hint="Undefined: its masks are empty.")
LACKING = ShownValue("–", "", "lacks 2 datasets")
DIFFERENCES = (
    TableRow("a", None, "", (ShownValue("−2.8", "-2.84"), ShownValue("80.0", "80", "+1.2"), UNDEFINED, FAILED)),
    TableRow("b", None, "", (ShownValue("+1.2", "1.21"), ShownValue("70.0", "70", "−0.3"), LACKING, NOT_RUN)),
    TableRow("c", None, "", (FAILED, NOT_RUN, ShownValue("60.0", "60"), ShownValue("1,234", "1234"))),
    TableRow(
        "d", None, "", (ShownValue("0.0", "0"), UNDEFINED, ShownValue("65.0", "65"), ShownValue("9", "9", span="†"))
    ),
)
"""Rows of a table with two columns of each name: differences, changes, and numbers that lack."""


@dataclass(frozen=True)
class TablesPage:
    """A site of two pages, `tables.html` and `other.html`."""

    folder: Path
    values: dict[str, pd.DataFrame]
    """Values by metric, as the first tables show them: rows by methods, NaN where undefined."""
    groups: tuple[tuple[str, tuple[str, ...]], ...]


def make_tables_page(folder: Path, titles: Sequence[str], rows: Sequence[str], metrics: Sequence[str]) -> TablesPage:
    """Write the site: half of the methods train nothing; some values are undefined, and some are equal."""
    draw = random.Random(7)
    middle = len(titles) // 2
    groups = (("training-free", tuple(titles[:middle])), ("auxiliary dataset", tuple(titles[middle:])))
    values = {}
    for metric in metrics:
        drawn = [
            [draw.choice([None, *(round(draw.uniform(40, 99), 1) for _ in range(9))]) for _ in titles] for _ in rows
        ]
        values[metric] = pd.DataFrame(drawn, index=list(rows), columns=list(titles), dtype=float)
    tables = [_table(metric, frame) for metric, frame in values.items()]
    kinds = [_table(metric, frame.iloc[:3]) for metric, frame in values.items()]
    columns = [(name, [SimpleNamespace(title=title, year=2024) for title in same]) for name, same in groups]
    site = SiteFiles(
        {
            "report": None,
            "nav": NAVIGATION,
            "banner": (BANNER,),
            "version": "0",
            "counts": {"records": 0},
            "groups": columns,
        }
    )
    site.static()
    template = site.templates.from_string(TEMPLATE)
    for page in ("tables.html", "other.html"):
        text = template.render(
            root="", here=page, section="", tables=tables, kinds=kinds, differences=DIFFERENCES, **site.common
        )
        site.content[page] = text.encode()
    site.content.pop("static/plotly.min.js")
    for path, data in site.content.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return TablesPage(folder, values, groups)


def _table(metric: str, frame: pd.DataFrame) -> SimpleNamespace:
    rows = []
    lacking = cycle((ShownValue("–", ""), UNDEFINED, FAILED, NOT_RUN))
    for name, found in frame.iterrows():
        best = found.max()
        numbers = [
            next(lacking)
            if pd.isna(value)
            else ShownValue(
                f"{value:.1f}",
                f"{value:.4f}",
                spread=f"[{value - 1:.1f}–{value + 1:.1f}]",
                mark="best" if value == best else "",
                behind=() if value == best else (f"{best - value:.1f}", "−0.5", "2.5"),
                tied=bool(best - 1 < value < best),
                record="r1",
            )
            for value in found
        ]
        rows.append(TableRow(str(name), None, "", tuple(numbers)))
    return SimpleNamespace(key=metric, title=metric.replace("_", " "), rows=rows, mean=None)
