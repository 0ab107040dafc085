"""The charts of the trainings: the loss of each over its epochs."""

from collections import defaultdict
from collections.abc import Sequence

from benchmark.records import Record
from benchmark.report.charts.chart import MARGIN, PALETTE, Chart, escape, finite


def training_charts(records: Sequence[Record]) -> list[Chart]:
    """Return a chart of the loss for each training, with a line per term of the loss.

    A training that several records share has one chart.
    """
    trained: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.training is not None and record.training.curve:
            trained[record.training.checkpoint].append(record)
    made = []
    for checkpoint, same in trained.items():
        training = same[0].training
        assert training is not None
        terms = sorted(
            {term for epoch in training.curve for term in epoch}, key=lambda term: (not _is_total(term), term)
        )
        epochs = list(range(1, len(training.curve) + 1))
        data = [
            {
                "type": "scatter",
                "mode": "lines+markers" if len(epochs) < 40 else "lines",
                "name": escape(term),
                "x": epochs,
                "y": [finite(epoch.get(term)) for epoch in training.curve],
                # The whole loss is a wide pale line, so that a term that makes up all of it is seen upon it.
                "line": {"color": PALETTE[index % len(PALETTE)], "width": 6 if _is_total(term) else 1.5},
                "marker": {"size": 5},
                "opacity": 0.4 if _is_total(term) else 1,
            }
            for index, term in enumerate(terms)
        ]
        layout = {
            "xaxis": {"title": {"text": "epoch"}, "tickformat": "d", "nticks": min(11, len(epochs))},
            "yaxis": {"title": {"text": "mean loss"}, "rangemode": "tozero"},
            "margin": MARGIN,
            "hovermode": "x unified",
        }
        images = "" if training.images is None else f", {training.images} images"
        names = list(dict.fromkeys(record.dataset_title for record in same))
        targets = ", ".join(names) if len(names) < 5 else f"{len(names)} datasets"
        caption = f"{same[0].title}, seed {same[0].cell.seed}, on {training.source}{images}; used for {targets}"
        made.append(Chart(checkpoint, caption, {"data": data, "layout": layout}, log=True))
    return made


def _is_total(term: str) -> bool:
    """Return whether a line of a curve is the whole loss, of the training or of one of its stages."""
    return term.rpartition(": ")[2] == "total"
