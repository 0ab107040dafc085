"""axe-core finds nothing on any kind of page, in light and in dark colours, on a desktop, a tablet and a phone."""

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")
pytest.importorskip("axe_playwright_python", reason="axe-core is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from support.axe import Violation, violations
from support.browser import colours, needs_chromium, screen, until, visit
from support.site_pages import kinds_of_pages

pytestmark = [*needs_chromium, pytest.mark.slow]

OPEN_SOME = "for (const each of [...document.querySelectorAll('details')].slice(0, 6)) each.open = true"
MANY_METHODS = ("index.html", "matrix.html", "datasets/btad.html", "datasets/btad--01.html")
"""Pages that look different with thirteen methods."""
COLOURS = ("color-contrast", "link-in-text-block")
"""Rules that depend on the colours."""


def shown(found: list[Violation], page: str) -> list[str]:
    counts = Counter((each.rule, each.why.replace("\n", " ")[:300]) for each in found)
    first = {(each.rule, each.why.replace("\n", " ")[:300]): each.selector for each in reversed(found)}
    return [f"{page}: {rule} × {count} at {first[rule, why]}: {why}" for (rule, why), count in counts.items()]


def test_axe_finds_what_is_wrong(browser: webdriver.Chrome, site: Path, tmp_path: Path) -> None:
    policy = next(line for line in (site / "index.html").read_text().splitlines() if "Security-Policy" in line)
    (tmp_path / "wrong.html").write_text(
        f'<!doctype html><html lang="en"><head>{policy}<title>Wrong</title></head><body>'
        '<p style="color: #ccc">pale</p><main><h1>One</h1><img src="data:,"><button style="width: 9px">x</button>'
        '<button style="width: 9px">y</button></main></body></html>'
    )
    visit(browser, tmp_path, "wrong.html")
    assert {each.rule for each in violations(browser)} >= {"color-contrast", "image-alt", "region"}
    assert [each.rule for each in violations(browser, only=["image-alt"])] == ["image-alt"]


@pytest.mark.parametrize("only", [(), COLOURS], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 900, 390])
def test_axe_finds_nothing(
    browser: webdriver.Chrome, site: Path, wide: Path, width: int, only: tuple[str, ...]
) -> None:
    screen(browser, width, 900)
    colours(browser, "dark" if only else "light")
    pages = [(site, page) for page in kinds_of_pages(site)]
    if width != 900 and not only:
        pages += [(wide, page) for page in MANY_METHODS]
    found: list[str] = []
    for folder, page in pages:
        visit(browser, folder, page)
        browser.execute_script(OPEN_SOME)
        found += shown(violations(browser, only=only), page)
    visit(browser, site, "datasets/parts--a.html")
    browser.find_element(By.CSS_SELECTOR, ".gallery .case").click()
    until(lambda: browser.find_element(By.ID, "large").is_displayed())
    found += shown(violations(browser, only=only), "an image enlarged")
    assert not found, "\n".join(found)
