"""The frame of every page in a headless Chromium: skip link, navigation, colours, and what a phone shows."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import colours, needs_chromium, press, screen, texts, until, visit

pytestmark = needs_chromium

PAPER = "return getComputedStyle(document.body).backgroundColor"
FIRST_THEME = """
new MutationObserver((_, observer) => {
  if (!document.body) return;
  window.firstTheme = document.documentElement.dataset.theme || "";
  observer.disconnect();
}).observe(document, { childList: true, subtree: true });
"""
"""Notes the theme of a page as soon as there is anything to paint; deferred scripts have not run by then."""


@pytest.fixture
def clean(browser: webdriver.Chrome, site: Path) -> Iterator[webdriver.Chrome]:
    """The browser without a stored choice, before and after."""
    for moment in ("before", "after"):
        visit(browser, site, "about.html")
        browser.execute_script("localStorage.clear()")
        if moment == "before":
            yield browser


def brightness(colour: str) -> float:
    """Return the relative luminance of an opaque CSS colour (WCAG 2.2)."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((brightness(one), brightness(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_skip_link_moves_the_focus_and_keeps_the_state(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "index.html", "#domain=medical")
    name = texts(browser, "#view-name")
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    assert browser.switch_to.active_element.is_displayed()
    press(browser, Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "main"
    assert browser.current_url.endswith("#domain=medical")
    assert texts(browser, "#view-name") == name
    press(browser, Keys.TAB)
    assert browser.execute_script("return document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("width", [1400, 900])
def test_the_navigation_fits_a_desktop(browser: webdriver.Chrome, site: Path, width: int) -> None:
    screen(browser, width, 900)
    for page in ("index.html", "datasets/parts--a.html"):
        visit(browser, site, page)
        boxes = browser.execute_script(
            "return [...document.querySelectorAll('.top a, .top button')].map(each => each.getBoundingClientRect())"
        )
        assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
        assert browser.execute_script("return document.querySelector('.top').offsetHeight") < 60, "one line"
        assert browser.execute_script("return document.querySelector('#pages').dataset.more") == ""


def test_a_phone_shows_the_current_page_and_that_there_are_more(browser: webdriver.Chrome, site: Path) -> None:
    screen(browser, 390, 800)
    more = "return document.querySelector('#pages').dataset.more"
    visit(browser, site, "index.html")
    assert browser.execute_script(more) == "after"
    assert "transparent" in browser.execute_script(
        "return getComputedStyle(document.querySelector('#pages')).getPropertyValue('--after')"
    )
    browser.execute_script("document.querySelector('#pages').scrollLeft = 60")
    until(lambda: browser.execute_script(more) == "before after")
    browser.execute_script("document.querySelector('#pages').scrollLeft = 9999")
    until(lambda: browser.execute_script(more) == "before")
    for page in ("about.html", "cost.html", "datasets/parts.html"):
        visit(browser, site, page)
        box = browser.find_element(By.CSS_SELECTOR, "#pages [aria-current]").rect
        assert box["x"] >= 0, page
        assert box["x"] + box["width"] <= 390, page


def test_every_press_of_the_button_changes_the_colours(clean: webdriver.Chrome, site: Path) -> None:
    for system, other in (("light", "dark"), ("dark", "light")):
        colours(clean, system)
        visit(clean, site, "index.html")
        button = clean.find_element(By.ID, "theme")
        for seen, next_one in ((system, other), (other, system), (system, other)):
            assert (brightness(clean.execute_script(PAPER)) > 0.5) == (seen == "light"), system
            assert button.accessible_name == f"Switch to {next_one} colours"
            button.click()
        clean.execute_script("localStorage.clear()")


def test_a_choice_of_colours_holds_on_other_pages_from_the_first_paint_on(clean: webdriver.Chrome, site: Path) -> None:
    note = clean.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": FIRST_THEME})
    try:
        visit(clean, site, "index.html")
        clean.find_element(By.ID, "theme").click()
        dark = clean.execute_script(PAPER)
        assert brightness(dark) < 0.1
        for page in ("cost.html", "datasets/parts--a.html"):
            visit(clean, site, page)
            assert clean.execute_script("return firstTheme") == "dark", page
            assert clean.execute_script(PAPER) == dark, page
        clean.find_element(By.ID, "theme").click()  # as the system again, which it follows from now on
        colours(clean, "dark")
        assert clean.execute_script(PAPER) == dark
    finally:
        clean.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", note)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_borders_of_controls_and_ticks_can_be_seen(browser: webdriver.Chrome, site: Path, scheme: str) -> None:
    colours(browser, scheme)
    visit(browser, site, "index.html", "#metric=image_auroc")
    paper = browser.execute_script(PAPER)
    script = "const s = getComputedStyle(document.querySelector(arguments[0])); return s[arguments[1]]"
    for selector, side in (
        ("#controls fieldset label:last-of-type span", "borderRightColor"),
        ("#search", "borderBottomColor"),
        ("#theme", "borderBottomColor"),
        (".bars:not([hidden]) svg path:first-child", "stroke"),
    ):
        assert contrast(browser.execute_script(script, selector, side), paper) >= 3, selector


def test_colours_of_high_contrast_show_what_is_chosen(browser: webdriver.Chrome, site: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "forced-colors", "value": "active"}]})
    visit(browser, site, "index.html")
    chosen, other = browser.execute_script("""
        return ["checked + span", "not(:checked) + span"].map((which) =>
          getComputedStyle(document.querySelector(`#controls input[name="domain"]:${which}`)).backgroundColor)
    """)
    assert contrast(chosen, other) >= 3


def test_where_there_is_nothing_to_choose_there_is_no_choice(browser: webdriver.Chrome, site: Path, wide: Path) -> None:
    visit(browser, site, "index.html")
    assert "Domain" in texts(browser, "#controls legend")
    visit(browser, wide, "index.html")  # three datasets of one domain
    assert "Domain" not in texts(browser, "#controls legend")
    choices = browser.execute_script("""
        const count = (each) => each.querySelectorAll("input[type=radio]").length;
        return [...document.querySelectorAll("fieldset")].filter((each) => each.getClientRects().length).map(count);
    """)
    assert 1 not in choices


def test_the_id_of_a_record_stands_on_one_line(browser: webdriver.Chrome, site: Path) -> None:
    lines = "return [...document.querySelectorAll(arguments[0])].map((each) => each.getClientRects().length)"
    for width in (1400, 390):
        screen(browser, width, 900)
        for page, selector in (("records.html", ".id code"), ("datasets/parts.html", ".records code")):
            visit(browser, site, page)
            counts = browser.execute_script(lines, selector)
            assert counts, page
            assert set(counts) == {1}, (page, width)
