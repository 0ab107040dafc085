"""A wrong card is refused with an error that names its file and the field."""

from pathlib import Path

import pytest

from benchmark.data.cards import CardError, load_card, load_cards

GOOD = """
name = "demo"
title = "Demo"
version = 1
domain = "industrial"
levels = ["image", "pixel"]
licence = "none"
reference = "nobody"
folders = ["Demo Data"]
classes = [{ name = "metal_nut", normal = 1, anomalous = 2 }]

[[layouts]]
name = "original"
rules = [
  { pattern = '(?P<class>[^/]+)/good/[^/]+', label = "normal" },
  { pattern = '(?P<class>[^/]+)/(?P<defect>[^/]+)/(?P<stem>\\d+)', label = "anomalous", mask = ["{class}/gt/{stem}"] },
]
"""


def test_a_good_card_is_read(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(GOOD)
    card = load_card(path)
    assert load_cards(tmp_path) == {"demo": card}
    assert card.classes[0].prompt_name == "metal nut"
    assert card.expected(card.layouts[0]) == {"metal_nut": (1, 2)}


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("title =", "titel =", "titel"),
        ("normal = 1", "normla = 1", r"classes\.0\.normla"),
        ("[^/]+)/good", "[^/+)/good", r"layouts\.0\.rules\.0: .*bad regex"),
        ('{ name = "metal_nut"', '{ name = "metal_nut" }, { name = "metal_nut"', "duplicate class 'metal_nut'"),
        (
            '{ name = "metal_nut"',
            '{ name = "a", folders = ["metal_nut"] }, { name = "metal_nut"',
            "duplicate class fold",
        ),
        ("{class}/gt/{stem}", "{class}/gt/{stam}", r"layouts\.0\.rules\.1: .*\['stam'\]"),
        ("{class}/gt/{stem}", "{class}/gt/{}", r"layouts\.0\.rules\.1: .*not groups"),
        ("{class}/gt/{stem}", "{stem.__class__}", r"layouts\.0\.rules\.1: .*not groups"),
        ("{class}/gt/{stem}", "../{stem}", r"layouts\.0\.rules\.1: .*stays inside"),
        ("{class}/gt/{stem}", "/gt/{stem}", r"layouts\.0\.rules\.1: .*stays inside"),
        ('name = "original"', 'name = "original"\nroots = ["../other"]', r"layouts\.0\.roots\.0: .*stays inside"),
        ('name = "original"', 'name = "original"\nmask_threshold = 255', r"layouts\.0\.mask_threshold"),
        ('name = "original"', 'name = "original"\ncounts = { nut = [1, 1] }', "unknown class 'nut'"),
        ('label = "normal"', 'label = "mask_exists"', r"layouts\.0\.rules\.0: .*needs mask"),
        ('label = "normal"', 'label = "table"', r"layouts\.0: .*labels"),
        ('label = "normal"', 'label = "fine"', r"layouts\.0\.rules\.0\.label"),
        ("anomalous = 2", "anomalous = 2, defects = { cut = 3 }", r"classes\.0: .*add up to 3"),
        ('domain = "industrial"', 'domain = "naval"', "domain"),
        ("version = 1", "version = 0", "version"),
        ('name = "demo"', 'name = "other"', "named after its file"),
        ("version = 1", "version = = 1", "TOML"),
    ],
)
def test_a_wrong_card_is_refused_naming_file_and_field(tmp_path: Path, old: str, new: str, field: str) -> None:
    path = tmp_path / "demo.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(CardError, match=rf"(?s)demo\.toml: .*{field}"):
        load_card(path)


def test_shipped_cards_are_valid() -> None:
    assert len(load_cards()) >= 17
