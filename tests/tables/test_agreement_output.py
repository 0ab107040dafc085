"""How two folders of results are shown: the line, the numbers that do not agree, a row per cell, CSV."""

import csv
import io
import re
from typing import Any

import pytest
from support.two_folders import changed, of_ablation, reference_records

from benchmark.records.agreement import SAME_MACHINE
from benchmark.records.counterparts import pair_up
from benchmark.records.records import Record
from benchmark.tables.agreement_output import agreement_csv, agreement_line, disagreement_lines, render_agreement

LEARNER, CLIP, COOP = reference_records().values()
ALL = [LEARNER, CLIP, COOP]
CLASS = min(CLIP.classes)


def planted(record: Record, metric: str, value: float | None) -> Record:
    """Return a record with another number of one class."""

    def plant(content: Any) -> None:
        content["classes"][CLASS]["metrics"][metric] = value

    return changed(record, plant)


def elsewhere(record: Record) -> Record:
    return changed(record, lambda content: content["run"].update(processor="other"))


SAME = "within 0.0001 points (machine and packages are the same)"
LEARNS = "as much as the stability test of methods that learn allows"
MIXED = f"{LEARNS}; 1 within 0.0001, as machine and packages are the same"


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (ALL, f"3 of 3 cells agree with DIR {SAME}; largest difference 0 points"),
        (
            [elsewhere(each) for each in ALL],
            f"3 of 3 cells agree with DIR within 0.1 points ({LEARNS}); largest difference 0 points",
        ),
        (
            [elsewhere(CLIP)],
            "1 of 1 cell agrees with DIR within 0.1 points; largest difference 0 points; 2 have no counterpart there",
        ),
        (
            [elsewhere(LEARNER), CLIP],
            f"2 of 2 cells agree with DIR within 0.1 points ({MIXED}); largest difference 0 points; 1 has no "
            "counterpart there",
        ),
        (
            [LEARNER, planted(CLIP, "pixel_auroc", 0.125)],
            f"1 of 2 cells agree with DIR {SAME}; largest difference 0 points; not: CLIP on BTAD; 1 has no "
            "counterpart there",
        ),
    ],
)
def test_one_line_says_how_many_cells_agree_and_how_far(others: list[Record], said: str) -> None:
    assert agreement_line(pair_up(ALL, others), "DIR") == said


def test_a_tolerance_that_was_asked_for_is_told_without_a_cause() -> None:
    pairing = pair_up(ALL, [elsewhere(each) for each in ALL], tolerance=SAME_MACHINE)
    assert (
        agreement_line(pairing, "DIR")
        == "3 of 3 cells agree with DIR within 0.0001 points; largest difference 0 points"
    )


def test_a_cell_of_another_version_is_named_and_not_counted() -> None:
    newer = changed(CLIP, lambda content: content["cell"].update(method_version=9))
    newer = newer.model_copy(update={"id": newer.cell.id})
    pairing = pair_up([newer, COOP], ALL)
    line = agreement_line(pairing, "DIR")
    assert line.startswith("1 of 1 cell agrees with DIR within")
    assert line.endswith("; of other images or another version there: CLIP on BTAD")
    line = agreement_line(pair_up([newer], ALL), "DIR")
    assert line == "DIR has none of the cells; of other images or another version there: CLIP on BTAD"
    (told,) = disagreement_lines(pairing)
    assert told.startswith(
        "CLIP on BTAD: all numbers within 0.0001 points. Not the same: version of the method 9, there "
    )


def test_what_does_not_agree_is_told_with_class_values_difference_tolerance_and_cause() -> None:
    value = 100 * (CLIP.classes[CLASS].metrics["pixel_auroc"] or 0)
    other = planted(elsewhere(CLIP), "pixel_auroc", value / 100 + 0.05)
    (told,) = disagreement_lines(pair_up(ALL, [LEARNER, other]))
    assert told == (
        f"CLIP on BTAD: {CLASS}, pixel AUROC {value:.4f}, there {value + 5:.4f} (difference 5, tolerance 0.1). Not the "
        f"same: processor {CLIP.run.processor}, there other"
    )


@pytest.mark.parametrize("points", [2e-5, 3e-9])
def test_two_numbers_that_differ_look_different(points: float) -> None:
    value = CLIP.classes[CLASS].metrics["pixel_auroc"] or 0
    (told,) = disagreement_lines(pair_up([CLIP], [planted(CLIP, "pixel_auroc", value - points / 100)], tolerance=0))
    here, there = re.findall(r"pixel AUROC (\S+), there (\S+) ", told)[0]
    assert float(here) - float(there) == pytest.approx(points, rel=0.2)


def test_the_worst_numbers_are_told_and_how_many_there_are() -> None:
    def plant(content: Any) -> None:
        metrics = content["classes"][CLASS]["metrics"]
        metrics.update(dict.fromkeys(("image_auroc", "image_ap", "image_f1max", "pixel_auroc"), 0.0), pixel_ap=None)

    (told,) = disagreement_lines(pair_up([CLIP], [changed(CLIP, plant)]))
    assert ", there undefined; " in told
    assert told.count("tolerance") == 2
    assert told.endswith("; and 2 more. Not the same: nothing that records tell")


def test_every_cell_has_a_row_and_those_that_do_not_agree_come_first() -> None:
    others = [elsewhere(LEARNER), planted(COOP, "pixel_auroc", 0.125), CLIP]
    text = render_agreement(pair_up(ALL, others), "txt", there="DIR")
    rows = [re.split(r"  +", line) for line in text.splitlines()[2:5]]
    verdicts = {(row[0], row[1]): row[-2:] for row in rows}
    assert rows[0][:3] == ["BTAD", "CoOp", f"{CLASS}, pixel AUROC"]
    assert verdicts == {
        ("BTAD", "CoOp"): ["0.0001", "differs"],
        ("BTAD", "CLIP"): ["0.0001", "agrees"],
        ("MPDD", "AnomalyCLIP"): ["agrees", "a"],
    }
    assert f"\na: processor {LEARNER.run.processor}, there other\n" in text
    assert text.splitlines()[-1].startswith("2 of 3 cells agree with DIR within 0.1 points")


def test_cells_of_one_folder_alone_are_named() -> None:
    text = render_agreement(pair_up([CLIP, LEARNER], [CLIP, COOP]), "md", there="DIR")
    assert "- Only here: AnomalyCLIP on MPDD." in text
    assert "- Only in DIR: CoOp on BTAD." in text
    assert text.startswith("# Two folders of results\n\n| Dataset")


def test_cells_of_ablations_that_were_not_run_here_are_named_apart() -> None:
    text = render_agreement(pair_up([CLIP], [CLIP, LEARNER, of_ablation(COOP)]), "txt", there="DIR")
    assert "\nOnly in DIR: AnomalyCLIP on MPDD.\n" in text
    assert "\nOnly in DIR, of ablations that were not run here: CoOp on BTAD.\n" in text


def test_text_of_other_people_stays_text() -> None:
    odd = changed(CLIP, lambda content: content.update(dataset_title="<b>|a\x1b[1m", title="*x*"))
    pairing = pair_up([odd], [changed(CLIP, lambda content: content.update(error="\x1b[2J<i>", status="failed"))])
    text = render_agreement(pairing, "md", there="D")
    assert not any(each in text for each in ("<b>", "<i>", "\x1b", "*x*"))
    assert "x* on <b>" in agreement_line(pairing, "D")
    assert not any("\x1b" in line for line in (agreement_line(pairing, "D"), *disagreement_lines(pairing)))


def test_the_csv_has_every_number_and_each_cell_of_one_folder_alone() -> None:
    pairing = pair_up([CLIP, LEARNER], [planted(CLIP, "pixel_auroc", None), COOP])
    rows = list(csv.DictReader(io.StringIO(agreement_csv(pairing))))
    numbers = [row for row in rows if row["metric"]]
    assert len(numbers) == len(pairing.pairs[0].numbers)
    assert {row["class"] for row in numbers} == {*CLIP.classes, "mean"}
    (wrong,) = [row for row in numbers if row["verdict"] != "agrees"]
    assert (wrong["class"], wrong["metric"], wrong["there"], wrong["difference"]) == (CLASS, "pixel_auroc", "", "")
    assert float(wrong["here"]) == pytest.approx(100 * (CLIP.classes[CLASS].metrics["pixel_auroc"] or 0))
    alone = [(row["verdict"], row["record"], row["record_there"]) for row in rows if not row["metric"]]
    assert alone == [("only here", LEARNER.id, ""), ("only there", "", COOP.id)]
