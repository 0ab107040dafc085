"""Names of files on every file system, and lists of names in sentences."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.common.names import listed, safe_name, size_in_words, slug, unique_slugs


@given(st.lists(st.text(max_size=100), unique=True, max_size=8))
def test_slugs_of_different_names_differ(names: list[str]) -> None:
    made = unique_slugs(names)
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,100}", each) for each in made)


@pytest.mark.parametrize("name", ["con", "nul", "COM1", "A", "a b", "", "é", "x" * 200, "../up", "a."])
def test_a_slug_is_no_reserved_or_odd_name(name: str) -> None:
    made = slug(name)
    assert made != name
    assert re.fullmatch(r"[a-z0-9_-]{1,100}", made)
    assert slug("metal_nut") == "metal_nut"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("metal nut.png", "metal nut.png"),
        ('a<b>:"c|d?*.png', "a_b___c_d__.png"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("ends. .", "ends"),
        ("...", "_"),
        ("caf\udce9", "caf_"),
        ("ä" * 150, "ä" * 100),
    ],
)
def test_a_name_is_made_safe_for_windows(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_a_long_list_says_how_many_more() -> None:
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert listed(["a", "b"], 1, "more classes") == "a and 1 more classes"


def test_sizes_are_said_in_words() -> None:
    said = {0: "0.0 kB", 999_949: "999.9 kB", 10**6: "1.0 MB", 13_930_000: "13.9 MB", 2 * 10**9: "2.0 GB"}
    assert {size: size_in_words(size) for size in said} == said
