"""Charts and diagrams in a headless Chromium: when they are drawn, what they follow, and what goes to paper."""

from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from support.browser import colours, needs_chromium, screen, until, visit

pytestmark = needs_chromium

PRINT_LISTENER = """
window.seen = [];
addEventListener("beforeprint", () => {
  for (const place of document.querySelectorAll(".chart")) {
    seen.push([place._fullLayout?.width, place._fullLayout?.font.color, place.querySelectorAll(".main-svg").length]);
  }
});
"""
LAYOUT = "return [...document.querySelectorAll('.chart')].map((each) => each.layout)"


def drawn(driver: webdriver.Chrome) -> int:
    return len(driver.find_elements(By.CSS_SELECTOR, ".chart > .plot-container"))


def test_no_page_waits_for_the_library(browser: webdriver.Chrome, site: Path) -> None:
    """It comes after the page is loaded, and a chart below keeps its place until it is near the screen."""
    assert not [path for path in site.rglob("*.html") if b"plotly.min.js" in path.read_bytes()]
    screen(browser, 1280, 300)
    visit(browser, site, "methods/genclip.html")
    charts = browser.find_elements(By.CLASS_NAME, "chart")
    last = next(each for each in reversed(charts) if each.is_displayed())
    heights = [each.rect["height"] for each in charts if each.is_displayed()]
    assert min(heights) >= 280
    until(lambda: browser.execute_script("return typeof Plotly !== 'undefined'"))
    browser.execute_script("arguments[0].scrollIntoView()", last)
    until(lambda: last.find_elements(By.CSS_SELECTOR, ".main-svg"))
    assert [each.rect["height"] for each in charts if each.is_displayed()] == heights


def test_every_chart_goes_to_paper_in_dark_ink_and_comes_back(browser: webdriver.Chrome, site: Path) -> None:
    screen(browser, 1280, 300)
    colours(browser, "dark")
    visit(browser, site, "cost.html")
    until(lambda: browser.execute_script("return typeof Plotly !== 'undefined'"))
    browser.find_element(By.CLASS_NAME, "chart").location_once_scrolled_into_view  # noqa: B018
    until(lambda: drawn(browser))
    count, before = drawn(browser), browser.execute_script(LAYOUT)[0]
    browser.execute_script(PRINT_LISTENER)
    browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    seen = browser.execute_script("return seen")
    assert len(seen) == len(browser.find_elements(By.CLASS_NAME, "chart"))
    assert {(width, ink) for width, ink, _ in seen} == {(640, "rgb(26, 29, 33)")}
    assert all(parts >= 1 for *_, parts in seen)
    until(lambda: drawn(browser) == count)
    after = browser.execute_script(LAYOUT)[0]
    assert after["font"]["color"] == before["font"]["color"] == "rgb(230, 232, 235)"
    assert (after.get("width"), after["autosize"]) == (before.get("width"), True)
