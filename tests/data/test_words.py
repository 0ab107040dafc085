"""Spellings of normal and anomalous, in folders and tables: what is known is understood, the rest means nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data import words
from benchmark.data.words import label_of, spelled, split_of


@pytest.mark.parametrize(
    "word", ["0", "0.0", "00", "no", "N", "false", "OK", "Good", "Normal", "neg", "PASS", "no_defect"]
)
def test_words_for_normal(word: str) -> None:
    assert label_of(word) == 0
    assert label_of(f" {word.upper()} ") == 0


@pytest.mark.parametrize(
    "word", ["1", "1.0", "+1", "1e0", "yes", "Y", "True", "NG", "n g", "not-ok", "Defect", "positive"]
)
def test_words_for_anomalous(word: str) -> None:
    assert label_of(word) == 1
    assert label_of(word.lower()) == 1


@pytest.mark.parametrize(
    "word", ["", "-1", "2", "10", "0.5", "nan", "inf", "none", "f", "p", "t", "maybe", "-", "unknown"]
)
def test_other_words_mean_nothing(word: str) -> None:
    assert label_of(word) is None


@given(st.text())
def test_no_word_means_both(word: str) -> None:
    label, form = label_of(word), spelled(word)
    assert label == label_of(form)
    assert spelled(form) == form
    assert (label == 0) == (form in words.NORMAL | words.NO)


def test_each_word_stands_in_its_own_form_and_in_one_table() -> None:
    tables = [words.NORMAL, words.ANOMALOUS, words.NO, words.YES, words.MASKS, words.TRAIN, words.TEST]
    every = [word for table in tables for word in table]
    assert len(every) == len(set(every))
    assert all(spelled(word) == word for word in every)


def test_splits_in_any_case() -> None:
    assert [split_of(word) for word in ("Test", "TRAIN", "training", "val", "")] == [
        "test",
        "train",
        "train",
        None,
        None,
    ]
