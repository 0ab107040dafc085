"""The chart of an ablation: how the results differ from those of the default."""

from typing import Any

from benchmark.metrics import METRICS
from benchmark.report.charts.chart import LONGEST, MARGIN, PALETTE, SYMBOLS, Chart, escape, finite
from benchmark.tables import MEAN, Grid


def ablation_chart(grid: Grid, key: str) -> Chart:
    """Return a chart of an ablation: a row per variant, and a mark for each difference to the default.

    Each metric has a colour and a symbol. Where there are means over several datasets, these are the large marks, and
    the small ones are the datasets. Without a result of the default the marks are the values themselves.
    """
    shown = {row: changes for row, changes in grid.changes.items() if changes is not None}
    against_default = any(value is not None for cells in shown.values() for cell in cells for value in cell)
    if not against_default:
        shown = grid.values
    variants = list(shown)
    means = [column for column, name in enumerate(grid.datasets) if name.startswith(MEAN)]
    large = means or list(range(len(grid.datasets)))
    data: list[dict[str, Any]] = []
    for index, metric in enumerate(grid.metrics):
        # Marks of one row stand at different heights, so that none hides another.
        shift = 0.5 * ((index + 0.5) / len(grid.metrics) - 0.5)
        for columns in (large, [column for column in range(len(grid.datasets)) if column not in large]):
            marks = [
                (len(variants) - 1 - place - shift, value, f"{row}, {grid.datasets[column]}")
                for place, row in enumerate(variants)
                for column in columns
                if (value := finite(shown[row][column][index])) is not None
            ]
            if marks:
                data.append(
                    {
                        "type": "scatter",
                        "mode": "markers",
                        "name": METRICS[metric].heading,
                        "legendgroup": metric,
                        "showlegend": columns is large,
                        "x": [round(value, 3) for _, value, _ in marks],
                        "y": [round(y, 3) for y, _, _ in marks],
                        "text": [escape(name) for *_, name in marks],
                        "marker": {
                            "color": PALETTE[index % len(PALETTE)],
                            "symbol": SYMBOLS[index % len(SYMBOLS)],
                            "size": 10 if columns is large else 5,
                            "opacity": 1 if columns is large else 0.5,
                        },
                        "hovertemplate": "%{text}: %{x:"
                        + ("+" if against_default else "")
                        + ".1f}<extra>"
                        + METRICS[metric].heading
                        + "</extra>",
                    }
                )
    layout = {
        "xaxis": {
            "title": {
                "text": "difference to the default, in points" if against_default else "%, no result of the default"
            },
            "zeroline": against_default,
            "zerolinewidth": 2,
        },
        "yaxis": {
            "tickvals": list(range(len(variants))),
            "ticktext": [_shortened(row) for row in reversed(variants)],
            "range": [-0.6, len(variants) - 0.4],
            "zeroline": False,
            "automargin": True,
        },
        "margin": MARGIN | {"l": 8, "b": 44},
        "hovermode": "closest",
    }
    kind = "differences to the default, in percentage points," if against_default else "percentages"
    what = f"{grid.title}: {kind} of {', '.join(variants)}."
    height = 110 + 40 * len(variants)
    return Chart(
        key, "", {"data": data, "layout": layout}, height=height, alternative=f"{what} The table has the numbers."
    )


def _shortened(text: str) -> str:
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
