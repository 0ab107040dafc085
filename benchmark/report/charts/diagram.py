"""The diagram of critical differences (Demšar, JMLR 2006, figure 1), as SVG with text."""

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from benchmark.tables import Ranking

MOST_LABELS = 14
"""With more methods each has a row of its own, as labels at two sides would be far from the axis."""
LONGEST = 24
"""Letters of a title that are shown; a browser tells the whole title of a longer one."""
WIDTH = 640
LABELS = 190
"""Width in pixels for a label; letters are 12 px high and at most 7.5 px wide in the mean."""
PITCH = 19
"""Height of a row of text."""
BAR = 7
"""Distance of two bars that join methods."""
GAP = 6
"""Distance of a label from what stands beside it."""


def diagram(ranking: Ranking, *, key: str) -> Markup | None:
    """Return the diagram of critical differences as SVG, or None if there is no Friedman test.

    It draws in the text colour of the page and holds no ids. Bars join methods whose average ranks differ by less than
    the critical difference. From `MOST_LABELS` + 1 methods on, each has a row, and bars stand beside the rows.

    Args:
        ranking: Ranking of the methods by one metric.
        key: What is ranked, for the text that stands for the diagram where it cannot be seen.
    """
    difference = ranking.critical_difference
    if ranking.friedman_p is None or difference is None:
        return None
    ranks = sorted(ranking.ranks.items(), key=lambda each: each[1])
    joined = cliques([rank for _, rank in ranks], difference)
    width, height, body = (_two_sides if len(ranks) <= MOST_LABELS else _rows)(ranks, difference, joined)
    (best, first), (worst, last) = ranks[0], ranks[-1]
    sentence = (
        f"{key}: average ranks from {first:.2f} ({best}) to {last:.2f} ({worst}); critical difference {difference:.2f}."
    )
    return Markup(
        '<svg class="diagram" role="img" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}">{}</svg>'
    ).format(sentence, width, height, width, height, body)


def cliques(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return the first and last place of each largest set of at least two methods that do not differ.

    Args:
        ranks: Average ranks, ascending.
        difference: Critical difference; a smaller one tells no two methods apart.
    """
    found: list[tuple[int, int]] = []
    for start, rank in enumerate(ranks):
        end = max(place for place, other in enumerate(ranks) if other - rank < difference or place == start)
        if end > start and (not found or end > found[-1][1]):
            found.append((start, end))
    return found


def levels(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Return the row of each span, such that spans of one row do not touch. The spans ascend."""
    ends: list[float] = []
    rows = []
    for low, high in spans:
        row = next((row for row, end in enumerate(ends) if end < low), len(ends))
        ends[row : row + 1] = [high]
        rows.append(row)
    return rows


def _two_sides(
    ranks: Sequence[tuple[str, float]], difference: float, joined: Sequence[tuple[int, int]]
) -> tuple[int, int, Markup]:
    """Return width, height and content of the diagram with labels at both sides of the axis."""
    left, right, axis = LABELS, WIDTH - LABELS, 62
    at = Scale(len(ranks), left + 8, right - 8)
    spans = [(at(ranks[start][1]) - 3, at(ranks[end][1]) + 3) for start, end in joined]
    places = levels(spans)
    first = axis + 12 + BAR * (max(places, default=-1) + 1) + 10
    half = math.ceil(len(ranks) / 2)
    lines, texts = [], []
    for place, (title, rank) in enumerate(ranks):
        x, side = at(rank), place < half
        y = first + PITCH * (place if side else len(ranks) - 1 - place)
        lines.append(f"M{x:g} {axis}V{y}H{left if side else right}")
        texts.append(_label(title, rank, left - GAP if side else right + GAP, y + 4, end=side))
    bars = [f"M{low:g} {axis + 12 + BAR * row}H{high:g}" for (low, high), row in zip(spans, places, strict=True)]
    body = _axis(at, len(ranks), axis, difference) + _path(lines, 1) + _path(bars, 4)
    body += _anchored("end", texts[:half]) + _anchored("start", texts[half:])
    return WIDTH, first + PITCH * (half - 1) + 12, body


def _rows(
    ranks: Sequence[tuple[str, float]], difference: float, joined: Sequence[tuple[int, int]]
) -> tuple[int, int, Markup]:
    """Return width, height and content of the diagram with a row per method, and bars at the right of the rows."""
    left, right, axis = LABELS + 10, WIDTH - 20, 62
    at = Scale(len(ranks), left + 8, right - 8)
    rows = [axis + 16 + PITCH * place for place in range(len(ranks))]
    spans = [(rows[start] - 6, rows[end] + 6) for start, end in joined]
    places = levels(spans)
    texts = [_label(title, rank, left - GAP, y + 4, end=True) for (title, rank), y in zip(ranks, rows, strict=True)]
    guides = [f"M{left} {y}H{right}" for y in rows]
    dots = [f"M{at(rank):g} {y}h0" for (_, rank), y in zip(ranks, rows, strict=True)]
    bars = [f"M{right + 12 + BAR * row} {low}V{high}" for (low, high), row in zip(spans, places, strict=True)]
    body = (
        _axis(at, len(ranks), axis, difference)
        + _path(guides, 1, opacity=0.2)
        + _path(dots, 9, round_ends=True)
        + _path(bars, 4)
        + _anchored("end", texts)
    )
    return right + 24 + BAR * (max(places, default=-1) + 1), rows[-1] + 14, body


class Scale:
    """The places of ranks between two ends, rounded to a tenth of a pixel."""

    def __init__(self, methods: int, low: float, high: float) -> None:
        self._low, self._step = low, (high - low) / (methods - 1)

    def __call__(self, rank: float) -> float:
        return round(self._low + self._step * (rank - 1), 1)


def _axis(at: Scale, methods: int, y: int, difference: float) -> Markup:
    """Return the axis of the ranks with its ticks, and the critical difference above it."""
    step = 1 if methods <= MOST_LABELS else 5
    ticks = sorted({1, *range(step, methods - step // 2, step), methods})
    start, end = at(1), at(min(1 + difference, methods))
    lines = [f"M{at(1):g} {y}H{at(methods):g}", *(f"M{at(tick):g} {y - 5}V{y}" for tick in ticks)]
    bar = [f"M{start:g} 14V24", f"M{start:g} 19H{end:g}", f"M{end:g} 14V24"]
    numbers = _anchored("middle", [_text(str(tick), at(tick), y - 9) for tick in ticks])
    return _path([*lines, *bar], 1) + numbers + _text(f"critical difference {difference:.2f}", end + GAP, 23)


def _label(title: str, rank: float, x: float, y: float, *, end: bool) -> Markup:
    short = title if len(title) <= LONGEST else f"{title[: LONGEST - 1]}…"
    whole = "" if short == title else title
    return _text(f"{short} {rank:.2f}" if end else f"{rank:.2f} {short}", x, y, whole)


def _text(text: str, x: float, y: float, whole: str = "") -> Markup:
    title = Markup("<title>{}</title>").format(whole) if whole else ""
    return Markup(f'<text x="{x:g}" y="{y:g}">') + escape(text) + title + Markup("</text>")


def _anchored(anchor: str, texts: Iterable[Markup]) -> Markup:
    return Markup(f'<g text-anchor="{anchor}">') + Markup("").join(texts) + Markup("</g>")


def _path(parts: Sequence[str], width: float, *, opacity: float = 1, round_ends: bool = False) -> Markup:
    look = f' opacity="{opacity}"' if opacity < 1 else ""
    look += ' stroke-linecap="round"' if round_ends else ""
    return Markup(f'<path d="{"".join(parts)}" fill="none" stroke="currentColor" stroke-width="{width:g}"{look}/>')
