"""Class names that prompts can and cannot take."""

import re
import shutil
from pathlib import Path

import open_clip
import pytest
import torch

from benchmark.api.datasets import class_name_problems
from benchmark.clip.backbone import Backbone
from benchmark.clip.class_names import NAME_TOKENS, ClassName, ClassNameError, check_class_name
from benchmark.contract import Learner
from benchmark.data.cards import ClassCard, load_cards
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import DatasetError
from benchmark.records.learned import load_learned
from benchmark.registry import all_methods

LONGEST = "bolt " * NAME_TOKENS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is no name; say what the images show"),
        ("  \t", "is no name"),
        ("---", "is no name"),
        ("…?!", "is no name"),
        ("screw\x1b[2J", "is no name"),
        ("\0", "is no name"),
        ("ratchet " * 120, r'"ratchet ratchet .*…" has \d+ tokens; a prompt of 77 tokens takes names of at most 55'),
        (f"{LONGEST} nut", "has 56 tokens"),
        ("螺丝" * 60, "has .* tokens"),
        ("x" * 5000, "has .* tokens"),
    ],
)
def test_a_name_that_says_nothing_or_is_too_long_is_refused(name: str, said: str) -> None:
    with pytest.raises(ClassNameError, match=f"--class: .*{said}"):
        check_class_name(name, where="--class")


@pytest.mark.parametrize("name", ["metal nut", "螺丝", "Schraube M8", "7", "écrou", LONGEST, "screw (left)", "a" * 55])
def test_a_name_that_prompts_take_is_not_refused(name: str) -> None:
    check_class_name(name, where="--class")


def test_all_names_of_the_cards_can_be_used() -> None:
    for card in load_cards().values():
        for each in card.classes:
            check_class_name(each.prompt_name, where=card.name)
            check_class_name(each.name, where=card.name)


def test_an_ordinary_name_needs_no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is at least a byte. The import of the tokenizer takes seconds."""
    monkeypatch.setattr(open_clip, "SimpleTokenizer", None)
    check_class_name("metal nut with a very long name, of 55 characters, yes", where="--class")


@pytest.mark.parametrize("name", all_methods())
def test_no_method_cuts_the_longest_name(tiny: Backbone, name: str) -> None:
    method = all_methods()[name]
    made = method(tiny, method.Options(), seed=0)
    if isinstance(made, Learner):  # a memory that nothing was kept in yet would be refused
        state = {
            key: each if len(each) else torch.ones(1, *each.shape[1:])
            for key, each in made.learned.state_dict().items()
        }
        load_learned(made.learned, state)
    spec = made.vision()
    features = tiny.encode_images(torch.zeros(1, 3, spec.image_size, spec.image_size), spec)
    assert made.predict(features, [ClassName(LONGEST)]).scores.shape == (1,)


def test_a_card_without_a_name_of_a_class_is_refused() -> None:
    for prompt in (" ", "--", "a\nb"):
        with pytest.raises(ValueError, match="is no class name"):
            ClassCard(name="bottle", prompt=prompt)
    with pytest.raises(ValueError, match="is no class name"):
        ClassCard(name="__")


def test_a_folder_of_such_a_class_is_refused_by_its_name(parts: Path) -> None:
    good, long = (read_folder(PlainFolder(directory=parts, class_name=name)) for name in ("nut", "nut " * 70))
    assert class_name_problems([good]) == []
    [line] = class_name_problems([good, long])
    assert re.match(r"parts, class '.*': the class name \"nut nut .*…\" has 70 tokens; .*say it shorter", line)


def test_a_class_of_a_folder_that_has_no_name_is_said(tmp_path: Path, parts: Path) -> None:
    for name in ("bolt", "---"):
        shutil.copytree(parts, tmp_path / "several" / name)
    with pytest.raises(DatasetError, match=r"'---' is no name of a class.*rename it"):
        read_folder(PlainFolder(directory=tmp_path / "several"))
    for name in (" ", "--", "\n"):
        with pytest.raises(DatasetError, match="--folder-class: say what the images show"):
            read_folder(PlainFolder(directory=parts, class_name=name))
    long = tmp_path / "several" / ("rat_" * 56)
    (tmp_path / "several/---").rename(long)
    [line] = class_name_problems([read_folder(PlainFolder(directory=tmp_path / "several"))])
    assert "rat rat" in line
