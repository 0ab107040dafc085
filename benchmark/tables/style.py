"""How tables look as Markdown, LaTeX, HTML and plain text: marks, escaped text and the grid itself."""

import html
import re
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tabulate import tabulate

from benchmark.metrics import METRICS

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Style:
    """How a format shows a table."""

    best: str
    second: str
    escape: Callable[[str], str]
    tablefmt: str
    """As tabulate names it."""
    heading: str
    """What stands before the title of a table."""
    legend: str
    """What the marks mean."""

    @property
    def bullet(self) -> str:
        """What stands before a line of a list."""
        return "- " if self.tablefmt == "pipe" else ""


_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CODE = re.compile(r"(`\w+`)|`")
_START = re.compile(r"^(\d*)([-+#.)])(?!\w)")  # of a list or a heading
_OUTER = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # within a word no emphasis begins
_MARKDOWN = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;"} | {letter: f"\\{letter}" for letter in "|[]*~"}
)
_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "±": r"$\pm$"}
    | {letter: f"\\{letter}" for letter in "&%_#${}"}
    | {letter: f"{{{letter}}}" for letter in "[]*"}  # at the start of a row they would belong to the end of the last
)


def one_line(text: str) -> str:
    """Return the text with a blank for line ends and other control characters: a row or a comment stays one."""
    return _BREAKS.sub(" ", text)


def _escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is: no HTML, link, emphasis or end of a cell; a `word` may be code."""
    plain = _OUTER.sub(r"\_", one_line(text).lstrip().translate(_MARKDOWN))
    plain = _START.sub(r"\1\\\2", plain)
    return _CODE.sub(lambda code: code[1] or "&#96;", plain)


def _escape_latex(text: str) -> str:
    return one_line(text).translate(_LATEX)


def _escape_html(text: str) -> str:
    return html.escape(one_line(text))


def as_list(lines: Iterable[str], how: Style) -> str:
    """Return lines of escaped text as a list."""
    return "\n".join(f"{how.bullet}{how.escape(line)}" for line in lines)


def numbered(items: Iterable[Key]) -> dict[Key, int]:
    """Return each distinct item with its number from 1 on, in the order in which they come first."""
    return {item: index for index, item in enumerate(dict.fromkeys(items), 1)}


def lettered(items: Iterable[Key]) -> dict[Key, str]:
    """Return each distinct item with its letters a, b, …, z, aa, ab, …, in the order in which they come first."""
    return {item: _letters(index) for item, index in numbered(items).items()}


def _letters(index: int) -> str:
    before, last = divmod(index - 1, 26)
    return (_letters(before) if before else "") + "abcdefghijklmnopqrstuvwxyz"[last]


def letters_of(items: Iterable[Key], known: Mapping[Key, str]) -> str:
    """Return the letters of some items in the order of the alphabet."""
    return " ".join(sorted((known[item] for item in items), key=lambda letters: (len(letters), letters)))


BY_NUMBERS = "by the numbers as printed"
_UNDEFINED = "–: undefined, or not run."
_LEGEND = f"Bold: the best of a row, of all methods. Underlined: the second best, {BY_NUMBERS}. {_UNDEFINED}"
STYLES = {
    "md": Style(
        "**{}**",
        "<u>{}</u>",
        _escape_markdown,
        "pipe",
        "## ",
        _LEGEND,
    ),
    "tex": Style(
        r"\textbf{{{}}}",
        r"\underline{{{}}}",
        _escape_latex,
        "latex_booktabs",
        "% ",
        _LEGEND,
    ),
    "html": Style(
        "<b>{}</b>",
        "<u>{}</u>",
        _escape_html,
        "unsafehtml",
        "",
        _LEGEND,
    ),
    "txt": Style(
        "{}*",
        "{}",
        one_line,
        "simple",
        "",
        f"*: the best of a row, of all methods, {BY_NUMBERS}. {_UNDEFINED}",
    ),
}


def headings(metrics: Sequence[str]) -> str:
    """Return the headings of the metrics in the order in which a cell shows them, as `(AUROC, AP)`."""
    return f"({', '.join(METRICS[metric].heading for metric in metrics)})"


@dataclass(frozen=True)
class Part:
    """A table, or some columns of it, of escaped text."""

    header: Sequence[str]
    """Headings of the columns."""
    body: Sequence[Sequence[str]]
    facts: Sequence[Sequence[str]] = ()
    """Rows that LaTeX shows below the header; in other formats notes say what is in them."""
    groups: Sequence[tuple[str, int]] = ()
    """Headings over columns side by side, from the second column on, with the number of their columns; LaTeX alone."""


def grid(header: Sequence[str], body: Sequence[Sequence[str]], how: Style, *, banner: Sequence[str] = ()) -> str:
    """Return a table of escaped text. LaTeX needs the package booktabs.

    Args:
        header: Headings of the columns.
        body: Rows.
        how: The style.
        banner: Lines that LaTeX shows above the header; in other formats they stand beside the table.
    """
    if how.tablefmt == "latex_booktabs":
        return latex([Part(header, body)], banner=banner)
    table: str = tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)
    return table


def latex(parts: Sequence[Part], *, ruled: Container[int] = (), banner: Sequence[str] = ()) -> str:
    """Return a table in LaTeX, its parts below each other in one `tabular`, so that it can be scaled as a whole.

    Args:
        parts: Of the table; they have the same rows.
        ruled: Places of the rows before which there is a line.
        banner: Lines above the header.
    """
    width = max(len(part.header) for part in parts)
    lines = [rf"\begin{{tabular}}{{{'l' * width}}}", r"\toprule"]
    lines += [rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{line}}}}} \\" for line in banner]
    lines += [r"\midrule"] if banner else []
    for number, part in enumerate(parts):
        lines += [r"\midrule[\heavyrulewidth]"] if number else []
        lines += _group_lines(part.groups)
        lines += [" & ".join(row) + r" \\" for row in (part.header, *part.facts)]
        lines.append(r"\midrule")
        for index, row in enumerate(part.body):
            lines += [r"\midrule"] if index in ruled else []
            lines.append(" & ".join(row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _group_lines(groups: Sequence[tuple[str, int]]) -> list[str]:
    """Return the row of the groups and the rules below it, which end short of each other."""
    if not groups:
        return []
    ends = [1 + sum(count for _, count in groups[: place + 1]) for place in range(len(groups))]
    rules = [rf"\cmidrule(lr){{{end - count + 1}-{end}}}" for (_, count), end in zip(groups, ends, strict=True)]
    row = "".join(rf" & \multicolumn{{{count}}}{{c}}{{{heading}}}" for heading, count in groups)
    return [row + r" \\", " ".join(rules)]
