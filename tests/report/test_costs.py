"""Charts of results over costs, and of ablations and trainings."""

import json
from typing import Any

import plotly.graph_objects as go
from hypothesis import given
from hypothesis import strategies as st
from support.study import Study

from benchmark.records.records import Record
from benchmark.report.boards import all_standings, leaderboard
from benchmark.report.charts.ablations import ablation_chart
from benchmark.report.charts.costs import CostPoint, cost_chart, front
from benchmark.report.charts.training import training_charts
from benchmark.report.pages.ablations import ablations_page
from benchmark.report.pages.cost import AXES, METHOD, TIME, TRAINING, cost_page, cost_scatter, overview_costs
from benchmark.report.report_data import collect_report_data
from benchmark.tables.ablations import AblationTable, Grid


def a_point(name: str, cost: float, value: float, place: int = 0) -> CostPoint:
    return CostPoint(name, name, cost, value, place)


def points_of(figure: Any) -> dict[str, tuple[float, float]]:
    return {each["name"]: (each["x"][0], each["y"][0]) for each in figure["data"] if "meta" in each}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_nothing_is_cheaper_and_better_than_what_is_on_the_front(found: list[tuple[int, int]]) -> None:
    points = [a_point(f"M{place}", cost, value) for place, (cost, value) in enumerate(found)]

    def beaten(point: CostPoint) -> bool:
        worse = (point.cost, -point.value)
        return any(o.cost <= point.cost and o.value >= point.value and (o.cost, -o.value) != worse for o in points)

    expected = {(point.cost, point.value) for point in points if not beaten(point)}
    made = front(points)
    assert [(point.cost, point.value) for point in made] == sorted(expected)


def test_twenty_points_of_a_chart_of_costs_can_be_told_apart() -> None:
    """No two have colour and symbol in common, and those of one colour have different symbols."""
    made = cost_chart([a_point(f"M{n}", 1.0 + n, 50.0, n) for n in range(20)], TIME, "c", "k")
    markers = [(each["marker"]["color"], each["marker"]["symbol"]) for each in made.figure["data"][1:]]
    assert len(set(markers)) == len(markers) == 20
    assert made.height > cost_chart([a_point("M", 1.0, 50.0)], TIME, "c", "k").height
    go.Figure(made.figure)


def test_a_chart_of_costs_names_the_front_and_has_its_numbers_as_a_table() -> None:
    points = [a_point("<b>A</b>", 1234.5678, 50.0), a_point("B", 2000, 49.0), a_point("C", 3000, 60.04)]
    made = cost_chart(points, TIME, "c", "k")
    assert made.alternative.endswith("beats these in both: <b>A</b>, C.")
    assert made.table is not None
    assert made.table.rows == (
        ("<b>A</b>", "1,235", "50.0", "yes"),
        ("B", "2,000", "49.0", ""),
        ("C", "3,000", "60.0", "yes"),
    )
    assert [each.get("meta") for each in made.figure["data"]] == [None, "<b>A</b>", "B", "C"]
    assert made.figure["data"][1]["name"] == "&lt;b&gt;A&lt;/b&gt;"
    assert made.figure["data"][1]["x"] == [1234.6]


def test_results_stand_over_the_costs_of_the_tables(study: Study) -> None:
    """Two datasets of 40 images in two seconds: half of them in the tower, a quarter in the method."""
    report = collect_report_data(study.records)
    standings = all_standings(report)
    page = cost_page(report, standings)
    assert [view["axis"] for view in page["views"]] == list(AXES[:3]), "the memory is not known"
    places = (("industrial", "image_auroc"), ("industrial", "pixel_auroc"), ("medical", "image_auroc"))
    for view, milliseconds in zip(page["views"], (37.5, 12.5), strict=False):
        assert len(view["charts"]) == len(places), "no pixel metric is defined on the scans"
        for chart, place in zip(view["charts"], places, strict=True):
            board = leaderboard(report, *place, {})
            assert board is not None
            found = points_of(chart.figure)
            assert found.keys() == {row.title for row in board.rows}
            for row in board.rows:
                assert found[row.title] == (milliseconds, round(row.mean.value or 0, 3))
    assert [chart.key for chart in overview_costs(report, standings)] == [c.key for c in page["views"][0]["charts"][:2]]
    json.dumps([chart.figure for view in page["views"] for chart in view["charts"]])


def test_trainings_that_are_not_known_are_left_out(study: Study) -> None:
    def with_seconds(record: Record, *, known: bool) -> Record:
        if record.training is None:
            return record
        made = record.run if known else None
        return record.model_copy(
            update={"training": record.training.model_copy(update={"made": made, "seconds": 90.0})}
        )

    for known in (True, False):
        report = collect_report_data([with_seconds(record, known=known) for record in study.records])
        chart = cost_scatter(report, TRAINING, all_standings(report)["industrial"].boards["image_auroc"])
        assert chart is not None
        costs = {name: cost for name, (cost, _) in points_of(chart.figure).items()}
        assert costs == {"CLIP": 0.0, "CLIP-AC": 0.0} | ({"GenCLIP": 90.0} if known else {})


def test_points_of_several_devices_say_which(study: Study) -> None:
    records = study.records
    other = records[0].run.model_copy(update={"device": "Some GPU", "processor": "Some CPU"})
    changed = [r.model_copy(update={"run": other}) if r.dataset_title == "Scans" else r for r in records]
    report = collect_report_data(changed)
    chart = cost_scatter(report, METHOD, all_standings(report)["industrial"].boards["image_auroc"])
    assert chart is not None
    names = [trace["name"] for trace in chart.figure["data"][1:]]
    assert "CLIP (Some GPU with Some CPU, batch size 8)" in names
    assert len(names) == 6


def an_ablation(*, default: bool = True) -> Grid:
    values = {
        "one": ((90.0, None), (80.0, 70.0), (85.0, None)),
        "<b>two</b> with a name that is long": ((91.0, 50.0), (80.0, 72.0), (85.5, 61.0)),
    }
    changes = {"one": None, "<b>two</b> with a name that is long": ((1.0, None), (0.0, 2.0), (0.5, None))}
    undefined = dict.fromkeys(values, ((None, None),) * 3)
    names = ("A", "B", "Mean")
    return Grid("M: T, image level", ("image_auroc", "image_ap"), names, values, changes if default else undefined)


def test_an_ablation_is_drawn_as_differences_to_the_default() -> None:
    """A row for each variant but the default; the mean is the large mark; nothing joins nominal variants."""
    made = ablation_chart(an_ablation(), "k")
    assert made.caption == "", "the heading says it"
    assert {each["mode"] for each in made.figure["data"]} == {"markers"}
    drawn = {(each["name"], each["marker"]["size"]): each["x"] for each in made.figure["data"]}
    assert drawn == {("AUROC", 10): [0.5], ("AUROC", 5): [1.0, 0.0], ("AP", 5): [2.0]}
    [name] = made.figure["layout"]["yaxis"]["ticktext"]
    assert name.startswith("&lt;b&gt;two&lt;/b&gt; with")
    assert name.endswith("…")
    look = {(each["marker"]["color"], each["marker"]["symbol"]) for each in made.figure["data"]}
    assert len(look) == 2, "one per metric"
    go.Figure(made.figure)


def test_an_ablation_without_its_default_is_drawn_as_values() -> None:
    made = ablation_chart(an_ablation(default=False), "k")
    assert len(made.figure["layout"]["yaxis"]["tickvals"]) == 2
    assert sorted(made.figure["data"][0]["x"]) == [85.0, 85.5]
    assert "no result of the default" in made.figure["layout"]["xaxis"]["title"]["text"]


def test_the_page_of_ablations_has_headers_by_dataset_and_marks_changes() -> None:
    [section] = ablations_page([AblationTable("m-t", (an_ablation(),), ())])["sections"]
    assert (section["method"], section["title"]) == ("M", "T")
    [part] = section["parts"]
    assert (part["datasets"], part["metrics"], part["heading"]) == (("A", "B", "Mean"), ["AUROC", "AP"], "Image level")
    first, second = part["rows"]
    assert first["default"]
    assert {number.change for number in first["numbers"]} == {""}
    found = [(number.value.text, number.change, number.mark) for number in second["numbers"]]
    assert found[:4] == [("91.0", "+1.0", "up"), ("50.0", "", ""), ("80.0", "0.0", ""), ("72.0", "+2.0", "up")]


def test_a_term_that_is_the_whole_loss_is_seen_upon_it(study: Study) -> None:
    """The total is drawn first, wide and pale."""
    record = next(each for each in study.records if each.training is not None)
    assert record.training is not None
    curve = ({"image": 1.0, "total": 1.0}, {"image": 0.5, "total": 0.5})
    training = record.training.model_copy(update={"curve": curve})
    [chart] = training_charts([record.model_copy(update={"training": training})])
    total, image = chart.figure["data"]
    assert (total["name"], image["name"]) == ("total", "image")
    assert total["line"]["width"] > 3 * image["line"]["width"]
    assert total["opacity"] < image["opacity"]
