"""How tables look as Markdown, LaTeX and plain text: marks, escaped text and the grid itself."""

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
STYLES = {
    "md": Style(
        "**{}**",
        "<u>{}</u>",
        _escape_markdown,
        "pipe",
        "## ",
        f"Bold: the best of a row. Underlined: the second best, {BY_NUMBERS}. –: undefined, or not run.",
    ),
    "tex": Style(
        r"\textbf{{{}}}",
        r"\underline{{{}}}",
        _escape_latex,
        "latex_booktabs",
        "% ",
        f"Bold: the best of a row. Underlined: the second best, {BY_NUMBERS}. –: undefined, or not run.",
    ),
    "txt": Style("{}*", "{}", one_line, "simple", "", f"*: the best of a row, {BY_NUMBERS}. –: undefined, or not run."),
}


def headings(metrics: Sequence[str]) -> str:
    """Return the headings of the metrics in the order in which a cell shows them, as `(AUROC, AP)`."""
    return f"({', '.join(METRICS[metric].heading for metric in metrics)})"


def grid(
    header: Sequence[str],
    body: Sequence[Sequence[str]],
    how: Style,
    *,
    facts: Sequence[Sequence[str]] = (),
    ruled: Container[int] = (),
    banner: Sequence[str] = (),
) -> str:
    """Return a table of escaped text. LaTeX needs the package booktabs.

    Args:
        header: Headings of the columns.
        body: Rows.
        how: The style.
        facts: Rows that LaTeX shows below the header; in other formats notes say what is in them.
        ruled: Places of the rows before which LaTeX draws a line.
        banner: Lines that LaTeX shows above the header; in other formats they stand beside the table.
    """
    if how.tablefmt != "latex_booktabs":
        table: str = tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)
        return table
    lines = [rf"\begin{{tabular}}{{{'l' * len(header)}}}", r"\toprule"]
    lines += [rf"\multicolumn{{{len(header)}}}{{l}}{{\textbf{{{line}}}}} \\" for line in banner]
    lines += [r"\midrule"] if banner else []
    lines += [" & ".join(row) + r" \\" for row in (header, *facts)]
    lines.append(r"\midrule")
    for index, row in enumerate(body):
        lines += [r"\midrule"] if index in ruled else []
        lines.append(" & ".join(row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def in_parts(header: Sequence[str], body: Sequence[Sequence[str]], how: Style, *, width: int, together: int = 1) -> str:
    """Return a table of escaped text, in parts where it is wider than the terminal; each begins with the first column.

    Args:
        header: Headings of the columns.
        body: Rows.
        how: The style.
        width: Of the terminal in letters.
        together: How many columns must stay together.
    """

    def drawn(columns: Sequence[int]) -> str:
        return grid([header[i] for i in columns], [[row[i] for i in columns] for row in body], how)

    parts = [[0]]
    for first in range(1, len(header), together):
        columns = list(range(first, min(first + together, len(header))))
        tried = [*parts[-1], *columns]
        if len(parts[-1]) > 1 and max(map(len, drawn(tried).splitlines())) > width:
            parts.append([0, *columns])
        else:
            parts[-1] = tried
    return "\n\n".join(map(drawn, parts))
