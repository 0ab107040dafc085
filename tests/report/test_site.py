"""What the site computes once and keeps: values, leaderboards and text embeddings."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from support.study import Study
from support.wide import wide_records

from benchmark.metrics.names import METRICS
from benchmark.report import boards, report_data
from benchmark.report.charts.texts import TextFeatures, text_features
from benchmark.report.pages.figures import TEXT_DATASETS, keeps_texts, text_charts
from benchmark.report.report_data import DatasetResults, collect_report_data
from benchmark.report.site import make_site


def _places(dataset: DatasetResults) -> Iterator[tuple[str, str | None]]:
    titles = {record.title for record in dataset.records}
    names: list[str | None] = [None, *(each.name for each in dataset.classes)]
    return ((title, name) for title in titles for name in names)


def test_values_are_the_means_over_seeds(study: Study) -> None:
    """The second seed of a method has other numbers, and lacks one."""
    first = next(record for record in study.records if record.title == "CLIP" and record.status == "done")
    classes = {
        name: each.model_copy(
            update={"metrics": {key: value and value / 3 for key, value in each.metrics.items()} | {"image_ap": None}}
        )
        for name, each in first.classes.items()
    }
    mean = {key: value and value / 5 for key, value in first.mean.items()} | {"image_ap": None}
    cell = first.cell.model_copy(update={"seed": 1})
    second = first.model_copy(update={"cell": cell, "id": cell.id, "classes": classes, "mean": mean})
    known = 0
    for dataset in collect_report_data([*study.records, second]).datasets:
        for title, name in _places(dataset):
            same = [record for record in dataset.records if record.title == title]
            assert list(dataset.of_method(title)) == same
            for metric in METRICS:
                seeds = [(r.mean if name is None else r.classes[name].metrics).get(metric) for r in same]
                value = dataset.value(title, metric, name)
                if None in seeds:
                    assert value is None
                else:
                    assert value == pytest.approx(100 * np.mean(np.array(seeds, float)))
                    known += len(seeds) == 2
        assert dataset.value("no such method", "image_auroc") is None
        assert dataset.of_method("no such method") == ()
        assert dataset.first_seed("no such method") is None
    assert known > 4


def test_values_and_leaderboards_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"mean_values": 0, "mean_estimates": 0}
    for module, name in ((report_data, "mean_values"), (boards, "mean_estimates")):
        original = getattr(module, name)

        def counted(*args: object, of: object = original, name: str = name) -> object:
            counts[name] += 1
            return of(*args)  # type: ignore[operator]

        monkeypatch.setattr(module, name, counted)
    records = wide_records([(title, 2020) for title in "ABC"])
    make_site(records, lambda _: None)
    report = collect_report_data(records)
    assert counts["mean_values"] == sum(len(list(_places(dataset))) for dataset in report.datasets)
    assert counts["mean_estimates"] <= len(boards.domains(report)) * len(METRICS)


def test_text_embeddings_are_kept_of_the_datasets_that_are_shown(study: Study) -> None:
    report = collect_report_data(study.records)
    one = report.datasets[0]
    record = one.first_seed("GenCLIP")
    assert record is not None
    features = text_features({"GenCLIP": study.read(record) or {}})
    names = ("a", "b", "c")
    for order in (names, (TEXT_DATASETS[0], *names), (*names[:2], TEXT_DATASETS[0], "c"), (*names, TEXT_DATASETS[0])):
        several = replace(report, datasets=tuple(replace(one, title=name, name=name) for name in order))
        kept: dict[str, TextFeatures] = {}
        for dataset in several.datasets:
            if keeps_texts(dataset, kept):
                kept[dataset.title] = features
        shown = text_charts(several, kept)
        assert shown == text_charts(several, dict.fromkeys(order, features))
        assert shown
        assert len(kept) < len(order)
