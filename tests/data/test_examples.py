"""Paths that stand for the regular expressions of cards: a person is shown them, and never an expression."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data.cards import load_cards
from benchmark.data.examples import example

PATTERNS = {rule.pattern: card for card in load_cards().values() for layout in card.layouts for rule in layout.rules}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_example_of_every_pattern_of_a_card_matches_it(pattern: str) -> None:
    shown = example(pattern)
    assert shown is not None
    assert re.search(r"[\\()\[\]?*+|^$]", shown) is None
    assert set(re.findall(r"<\w+>", shown)) <= {"<class>", "<defect>", "<folder>", "<name>"}
    assert re.fullmatch(pattern, re.sub(r"[<>]", "", shown))


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        (r"(?P<class>[^/]+)/test/(?P<defect>[^/]+)/(?P<stem>[^/]+)", "<class>/test/<defect>/<name>"),
        (r"(?P<class>[^/]+)/test/[^/]+/[^/]+", "<class>/test/<folder>/<name>"),
        (r"(?i:normal|good|ok)/.+", "normal/<name>"),
        (r"(?:head_ct/){1,2}(?P<stem>\d{3})", "head_ct/001"),
        (r"(?P<class>0[123])/train/ok/[^/]+", "01/train/ok/<name>"),
        (r"(?P<class>electrical[ _]commutators)/a", "electrical commutators/a"),
        (r"a(?:-b)?/c\.d{2}", "a/c.dd"),
        (r"images/\w+", "images/<name>"),
        (r"(?=x)y", None),
        (r"(?<!x)y", None),
        (r"(?P<a>x)(?P=a)", None),
        (r"a[^b]c", None),
        (r"\bx", None),
        (r"(a", None),
        (r"[a", None),
        ("a\\", None),
    ],
)
def test_what_is_shown_of_a_pattern(pattern: str, shown: str | None) -> None:
    assert example(pattern) == shown


@given(st.one_of(st.text(max_size=20), st.text("()[]{}|*+?.\\^$<>P=:!1,/a", max_size=20)))
def test_no_pattern_is_an_error(pattern: str) -> None:
    example(pattern)
