"""Parts of a dataset: classes, a few images of each, and images that are set aside for methods that are shown some."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data.cards import load_cards
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.layouts import Sample
from benchmark.data.samples import DatasetError, SampleSet, count
from benchmark.data.subset import hold_out, subsets


def sample(class_name: str, index: int, label: int, split: str = "test") -> Sample:
    key = f"{class_name}/{split}/{label}/{index}.png"
    return Sample(key, Path(key), class_name, class_name, label, "", "test" if split == "test" else "train", None, None)


def dataset(name: str = "mvtec", domain: str = "industrial", **classes: tuple[int, int]) -> SampleSet:
    """A dataset with these numbers of normal and anomalous test images by class."""
    samples = [
        sample(each, index, label)
        for each, numbers in classes.items()
        for label in (0, 1)
        for index in range(numbers[label])
    ]
    card = load_cards()["mvtec"].model_copy(update={"name": name, "title": name, "domain": domain})
    return SampleSet(card, Path(), card.layouts[0], "", tuple(samples), ())


def test_a_part_has_the_classes_and_another_name_and_expects_no_counts() -> None:
    whole = dataset(bottle=(3, 2), cable=(4, 1))
    [part] = subsets([whole], classes=["cable"])
    assert {each.class_name for each in part.test} == {"cable"}
    assert (part.title, part.name) == ("mvtec (subset: cable)", "mvtec-subset")
    assert part.card.name == "mvtec"  # so that a method is not trained on it
    assert not part.expected and not part.warnings


def test_a_dataset_without_the_class_is_left_out_and_an_unknown_class_is_an_error() -> None:
    data = [dataset(bottle=(1, 1)), dataset("visa", candle=(1, 1))]
    assert [each.card.name for each in subsets(data, classes=["candle"])] == ["visa"]
    with pytest.raises(DatasetError, match=r"--classes cabel: no dataset .* there are bottle, candle"):
        subsets(data, classes=["cabel"])


def test_the_whole_is_no_part() -> None:
    whole = dataset(bottle=(3, 2))
    assert subsets([whole], classes=["bottle"], limit=9) == [whole]


@given(
    numbers=st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(any),
    limit=st.integers(1, 30),
    more=st.integers(0, 5),
)
def test_a_limit_keeps_as_many_of_both_labels_as_it_can_and_a_larger_one_keeps_them_too(
    numbers: tuple[int, int], limit: int, more: int
) -> None:
    whole = dataset(bottle=numbers)
    [part], [larger] = (subsets([whole], limit=each) for each in (limit, limit + more))
    found = count(part.test)["bottle"]
    assert sum(found) == min(limit, sum(numbers))
    assert abs(found[0] - found[1]) <= 1 or found[0] == numbers[0] or found[1] == numbers[1]
    assert {each.key for each in part.test} <= {each.key for each in larger.test}


def test_a_plain_folder_sets_normal_images_aside_for_methods_that_see_some() -> None:
    whole = dataset("folder-nuts", "custom", nut=(5, 2), bolt=(2, 2))
    held = hold_out(whole, 2)
    assert count(held.test) == {"nut": (3, 2), "bolt": (2, 2)}  # two of two would leave no normal bolt
    assert [each.label for each in held.train] == [0, 0]
    assert held.notes == ("2 normal images are not tested: methods that are shown normal images see them",)
    assert held.title == "folder-nuts (subset: without 2 normal images)"
    assert hold_out(whole, 0) == whole
    known = replace(whole, samples=(*whole.samples, *(sample("nut", index, 0, "train") for index in range(2))))
    assert count(hold_out(known, 2).test)["nut"] == (5, 2)


def test_other_datasets_keep_their_test_images() -> None:
    whole = dataset(bottle=(5, 2))
    assert hold_out(whole, 2) == whole


def test_a_part_of_a_plain_folder_is_another_dataset(parts: Path) -> None:
    whole = read_folder(PlainFolder(directory=parts, name="nuts"))
    [part] = subsets([whole], limit=2)
    assert part.fingerprint != whole.fingerprint
    assert (whole.title, whole.name, part.name) == ("nuts", "folder-nuts", "folder-nuts-subset")


def test_images_beyond_a_limit_are_shown_before_tested_ones() -> None:
    whole = dataset("folder-nuts", "custom", nut=(5, 2))
    [part] = subsets([whole], limit=3)
    held = hold_out(part, 2)
    assert {each.key for each in held.test} == {each.key for each in part.test}
    assert (held.title, len(held.train)) == (part.title, 2)
    assert not {each.key for each in held.train} & {each.key for each in held.test}
