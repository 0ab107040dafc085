"""Two folders of results cell by cell: what belongs together, what is told of it, and how far it must agree."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.two_folders import changed, of_ablation, reference_records, write_all

from benchmark.records.agreement import SAME_MACHINE, TOLERANCE
from benchmark.records.counterparts import pair_up, records_beside
from benchmark.records.records import Record, path_of
from benchmark.tables.agreement_output import agreement_line

FOUND = reference_records()
LEARNER, CLIP, COOP = FOUND.values()


def renamed(record: Record, change: Callable[[Any], None]) -> Record:
    """Return the record of another cell."""
    other = changed(record, lambda content: change(content["cell"]))
    return other.model_copy(update={"id": other.cell.id})


def other_version(record: Record) -> Record:
    return renamed(record, lambda cell: cell.update(method_version=cell["method_version"] + 1))


def test_a_folder_agrees_with_itself_in_every_number() -> None:
    pairing = pair_up(FOUND.values(), FOUND.values())
    assert [pair.one.id for pair in pairing.pairs] == [record.id for record in FOUND.values()]
    assert not pairing.only_one + pairing.only_other
    for pair in pairing.pairs:
        assert pair.agree
        assert not pair.reasons
        assert pair.tolerance == SAME_MACHINE
        metrics = 8 * (1 + sum(1 + len(result.defects) for result in pair.one.classes.values()))
        assert len(pair.numbers) == metrics


def test_what_is_in_one_folder_alone_has_no_counterpart() -> None:
    seed = renamed(COOP, lambda cell: cell.update(seed=1))
    pairing = pair_up([CLIP, COOP], [CLIP, LEARNER, seed])
    assert [pair.one.id for pair in pairing.pairs] == [CLIP.id]
    assert (pairing.only_one, pairing.only_other) == ((COOP,), (LEARNER, seed))


def test_cells_of_ablations_are_missing_only_where_the_ablation_was_run() -> None:
    row, other = of_ablation(COOP), of_ablation(renamed(COOP, lambda cell: cell.update(seed=1)))
    pairing = pair_up([CLIP], [CLIP, row])
    assert (pairing.agree, pairing.missing, pairing.not_made) == (True, (), (row,))
    for ours in ([CLIP, row], [CLIP, of_ablation(CLIP), row]):
        pairing = pair_up(ours, [CLIP, row, other])
        assert (pairing.agree, pairing.missing, pairing.not_made) == (False, (other,), ())
    elsewhere = of_ablation(renamed(COOP, lambda cell: cell["dataset"].update(name="mpdd")))
    for ours in (of_ablation(COOP, name="depth"), elsewhere):  # another ablation; another dataset
        pairing = pair_up([CLIP, ours], [CLIP, other])
        assert (pairing.agree, pairing.not_made) == (True, (other,))
    both = of_ablation(COOP, main=True)
    assert pair_up([CLIP], [CLIP, both]).missing == (both,)


def test_where_nothing_is_compared_nothing_agrees() -> None:
    assert not pair_up([CLIP], [of_ablation(COOP)]).agree
    assert not pair_up([CLIP], []).agree
    assert pair_up([CLIP, COOP], [CLIP]).agree


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cell: cell.update(method_version=7), "version of the method 7, there"),
        (lambda cell: cell["dataset"].update(fingerprint="f" * 64), "images ffffffff…, there"),
        (lambda cell: cell["dataset"].update(layout="sorted"), "layout of the images sorted, there original"),
        (lambda cell: cell["auxiliary"].update(fingerprint="f" * 64), "training images ffffffff…, there"),
        (lambda cell: cell.update(metrics_version=9), "version of the metrics 9, there"),
    ],
)
def test_the_same_work_on_other_images_or_of_another_version_is_found_and_told(
    change: Callable[[Any], None], said: str
) -> None:
    other = renamed(LEARNER, change)
    assert other.id != LEARNER.id
    pairing = pair_up([other], [LEARNER, CLIP])
    (pair,) = pairing.pairs
    assert pair.reasons[0].startswith(said)
    assert len(pair.reasons) == 1
    assert not pair.agree
    assert not pair.disagreeing
    assert (pairing.only_one, pairing.only_other) == ((), (CLIP,))


@pytest.mark.parametrize(
    "change",
    [
        lambda cell: cell.update(changed={"epochs": 2}),
        lambda cell: cell["backbone"].update(sha256="0" * 64),
        lambda cell: cell["auxiliary"].update(name="visa"),
        lambda cell: cell["protocol"].update(mask_gt0=True),
    ],
)
def test_other_work_is_no_counterpart(change: Callable[[Any], None]) -> None:
    assert not pair_up([renamed(LEARNER, change)], [LEARNER]).pairs


def test_of_several_versions_there_none_is_chosen() -> None:
    first, second = other_version(CLIP), other_version(other_version(CLIP))
    assert not pair_up([CLIP], [first, second]).pairs
    assert [pair.other for pair in pair_up([CLIP], [CLIP, first, second]).pairs] == [CLIP]


@pytest.mark.parametrize(
    ("change", "tolerance", "said"),
    [
        (lambda r: r["run"].update(processor="other"), TOLERANCE, ["processor other, there"]),
        (lambda r: r["run"].update(device="cuda"), TOLERANCE, ["device cuda, there cpu"]),
        (lambda r: r["run"]["packages"].update(torch="1.0"), TOLERANCE, ["torch 1.0, there"]),
        (lambda r: r["run"].update(batch_size=3), TOLERANCE, ["batch size 3, there 8"]),
        (lambda r: r["training"]["made"].update(processor="x"), TOLERANCE, ["in training: processor x, there"]),
        (lambda r: r["run"].update(code_sha256="0" * 64), SAME_MACHINE, ["code of the benchmark (commit"]),
        (lambda r: r["run"].update(source_sha256="0" * 64), SAME_MACHINE, ["files of the method (commit"]),
        (lambda r: r["run"].update(git_commit="0" * 40), SAME_MACHINE, []),
        (lambda r: r["cell"]["options"].update(epochs=1, new=2), SAME_MACHINE, ["option epochs 1, there 15"]),
        (lambda r: r["run"]["packages"].update({"zsad-bench": "9"}), SAME_MACHINE, []),
        (lambda r: r["training"].update(sha256="0" * 64), SAME_MACHINE, ["learned parameters"]),
    ],
)
def test_what_made_two_results_is_told_and_decides_how_far_they_must_agree(
    change: Callable[[Any], None], tolerance: float, said: list[str]
) -> None:
    (pair,) = pair_up([changed(LEARNER, change)], [LEARNER]).pairs
    assert pair.tolerance == tolerance
    assert len(pair.reasons) == len(said)
    assert all(reason.startswith(start) for reason, start in zip(pair.reasons, said, strict=True))
    (pair,) = pair_up([changed(LEARNER, change)], [LEARNER], tolerance=0.5).pairs
    assert pair.tolerance == 0.5


def test_a_machine_that_trained_and_scored_is_told_once() -> None:
    def moved(content: Any) -> None:
        content["run"]["processor"] = content["training"]["made"]["processor"] = "other"

    (pair,) = pair_up([changed(LEARNER, moved)], [LEARNER]).pairs
    assert [reason.partition(" ")[0] for reason in pair.reasons] == ["processor"]


def test_a_number_that_was_changed_does_not_agree_and_is_the_worst() -> None:
    name, result = next(iter(CLIP.classes.items()))
    value = result.metrics["pixel_auroc"] or 0

    def plant(content: Any) -> None:
        content["classes"][name]["metrics"]["pixel_auroc"] = value - 2 * SAME_MACHINE

    (pair,) = pair_up([CLIP], [changed(CLIP, plant)]).pairs
    assert not pair.agree
    assert [(each.place, each.metric) for each in pair.disagreeing] == [(name, "pixel_auroc")]
    assert pair.numbers[0].size == pytest.approx(2 * SAME_MACHINE)
    (pair,) = pair_up([CLIP], [changed(CLIP, plant)], tolerance=TOLERANCE).pairs
    assert pair.agree


def test_a_kind_of_defect_may_differ_by_ten_times_as_much() -> None:
    name, result = next((name, each) for name, each in CLIP.classes.items() if each.defects)
    kind, of_kind = next(iter(result.defects.items()))
    value = of_kind.metrics["pixel_f1max"] or 0

    def plant(content: Any, times: int) -> None:
        content["classes"][name]["defects"][kind]["metrics"]["pixel_f1max"] = value - times * TOLERANCE

    for times, agrees in ((5, True), (15, False)):
        other = changed(CLIP, lambda content, times=times: plant(content, times))
        (pair,) = pair_up([CLIP], [other], tolerance=TOLERANCE).pairs
        assert pair.agree is agrees
        line = agreement_line(pair_up([CLIP], [other], tolerance=TOLERANCE), "there")
        assert ("largest difference 0 points" in line) is agrees  # of the class and the mean


def test_a_failed_cell_does_not_agree() -> None:
    failed = CLIP.model_copy(update={"status": "failed", "error": "no memory", "classes": {}, "mean": {}})
    for ones, others, said in (([failed], [CLIP], "failed: no memory"), ([CLIP], [failed], "failed there: no memory")):
        (pair,) = pair_up(ones, others).pairs
        assert not pair.agree
        assert pair.reasons == (said,)


def test_only_files_of_the_same_method_dataset_and_seed_are_read(tmp_path: Path) -> None:
    write_all(tmp_path, [CLIP, other_version(CLIP), LEARNER])
    path_of(tmp_path, "clip--btad--s0--broken").write_text("{")
    path_of(tmp_path, "clip--mpdd--s0--broken").write_text("{")
    found, problems = records_beside(tmp_path, [CLIP, COOP])
    assert {record.id for record in found} == {CLIP.id, other_version(CLIP).id}
    (problem,) = problems
    assert "clip--btad--s0--broken.json" in problem


def taught(record: Record, *, weights: str, processor: str, magnifies: bool = True) -> Record:
    """Return a record whose training gave these weights on this processor, and a number that differs by 5 points."""

    def change(content: Any) -> None:
        content["training"] |= {"sha256": weights * 64, "magnifies": magnifies}
        for made in (content["training"]["made"], content["run"]):
            made["processor"] = processor
        name = min(content["classes"])
        metrics = content["classes"][name]["metrics"]
        metrics["image_ap"] -= 0.05 * (weights != "a")

    return changed(record, change)


@pytest.mark.parametrize(
    ("weights", "processor", "magnifies", "agrees"),
    [
        ("b", "other", True, True),
        ("b", "other", False, False),
        ("b", "here", True, False),
        ("a", "other", True, True),
    ],
)
def test_a_training_that_magnifies_last_digits_need_not_agree_on_another_machine(
    weights: str, processor: str, magnifies: bool, agrees: bool
) -> None:
    here = taught(LEARNER, weights="a", processor="here", magnifies=magnifies)
    pairing = pair_up([here], [taught(LEARNER, weights=weights, processor=processor, magnifies=magnifies)])
    assert pairing.agree == agrees
    line = agreement_line(pairing, "DIR")
    assert ("not compared, as training magnifies last digits" in line) == (weights == "b" and agrees)


def test_the_same_weights_must_give_the_same_numbers_wherever_they_were_learned() -> None:
    here = taught(LEARNER, weights="a", processor="here")
    there = taught(LEARNER, weights="a", processor="other")
    name = min(there.classes)

    def move(content: Any) -> None:
        content["classes"][name]["metrics"]["pixel_auroc"] -= 0.05

    assert not pair_up([here], [changed(there, move)]).agree
