"""A wrong card is refused with an error that names its file and the field."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmark.data.archives import Archive, Download
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


PUBLISHED = {
    "mvtec": ["cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d"],
    "visa": ["2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362"],
    "btad": ["461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a"],
    "sdd": ["65dc621693418585de9c4467d1340ea7958a6181816f0dc2883a1e8b61f9d4dc"],
    "kvasir": ["03b30e21d584e04facf49397a2576738fd626815771afbbf788f74a7153478f7"],
    "mpdd": ["69f8da73eea4a31451a50251e5c261e83e0c53f2d1a39a7d4dfc78b5c434ddd6"],
    "tn3k": ["0ba1770076dab01b1f8fd661a227d80982168bc433de61c80fd266427b20cf60"],
    "isic": ["efebcaeaae751007401a40a60d391f93", "492a7711a2e19b96114cab6c96bd1ad5"],
}
"""The checksums of the published archives, as public loaders of these datasets have them."""


def test_checksums_of_archives_are_the_published_ones() -> None:
    for name, digests in PUBLISHED.items():
        download = load_cards()[name].download
        assert download is not None
        assert [each.sha256 or each.md5 for each in download.archives] == digests


UNATTENDED = {"visa", "btad", "sdd", "kvasir", "isic", "mpdd", "tn3k", "dagm"}


def test_every_dataset_of_the_papers_says_how_it_is_had() -> None:
    cards = {name: card for name, card in load_cards().items() if not card.beyond}
    assert {name for name, card in cards.items() if card.download and card.download.unattended} == UNATTENDED
    for name, card in cards.items():
        assert card.download is not None and card.download.expects, name
        assert card.home.startswith(("https://", "http://mv.cvc.uab.es/")), name
        assert card.licence and "unknown" not in card.licence, name


def test_dagm_is_ten_archives_of_one_record() -> None:
    download = load_cards()["dagm"].download
    assert download is not None
    assert [each.file for each in download.archives] == [f"Class{number}.zip" for number in range(1, 11)]
    assert len({each.record for each in download.archives}) == 1


SHA = "a" * 64


@pytest.mark.parametrize(
    "url", ["http://example.org/a.zip", "ftp://example.org/a", "file:///etc/passwd", "https://", "a"]
)
def test_a_card_names_addresses_of_https_alone(url: str) -> None:
    for fields in ({"urls": (url,)}, {"record": url}):
        with pytest.raises(ValidationError, match="https"):
            Archive.model_validate({"file": "a.zip", **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"file": "../a.zip"}, "without folders"),
        ({"file": ".a.zip"}, "without folders"),
        ({"file": "a.zip", "sha256": "A" * 64}, "sha256"),
        ({"file": "a.zip", "md5": SHA}, "md5"),
        ({"file": "a.zip", "sha256": SHA, "md5": "a" * 32}, "say one of"),
        ({"file": "a.zip", "into": "../up"}, "stays inside"),
        ({"file": "a.zip", "size": 0}, "size"),
    ],
)
def test_a_wrong_archive_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Archive.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"unattended": True}, "needs archives"),
        ({"unattended": True, "archives": [{"file": "a.zip", "sha256": SHA}]}, "an address and a checksum"),
        ({"unattended": True, "archives": [{"file": "a.zip", "urls": ["https://a.b/c"]}]}, "an address and a checksum"),
        ({"archives": [{"file": "a.zip"}]}, "needs steps"),
    ],
)
def test_a_download_that_cannot_be_followed_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Download.model_validate(fields)
