"""Charts and diagrams in a headless Chromium: when they are drawn, what they follow, and what goes to paper."""

import itertools
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from support.browser import choose, needs_chromium, screen, texts, until, visit
from support.wide import METHODS

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
    """It comes beside the page, and a chart below keeps its place until it is near the screen."""
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


def test_the_key_of_the_curves_is_taken_along_from_beside_it(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "datasets/parts--a.html")
    sides = """
    const boxes = [".scroll", ".take"].map((each) => document.querySelector(`.curves ${each}`).getBoundingClientRect());
    return boxes.map(({ right }) => Math.round(right));
    """
    table, take = browser.execute_script(sides)
    assert abs(table - take) <= 1


def test_a_page_that_is_printed_once_it_is_loaded_has_the_library(browser: webdriver.Chrome, site: Path) -> None:
    """As `chromium --print-to-pdf` prints it, which waits for nothing else."""
    visit(browser, site, "cost.html")  # until the event "load"
    assert browser.execute_script("return typeof Plotly") == "object"


def test_every_chart_goes_to_paper_in_dark_ink_and_comes_back(browser: webdriver.Chrome, site: Path) -> None:
    screen(browser, 1280, 300)
    visit(browser, site, "cost.html")
    browser.execute_script("document.documentElement.dataset.theme = 'dark'; Report.tell('colours')")
    until(lambda: browser.execute_script("return typeof Plotly !== 'undefined'"))
    browser.find_element(By.CLASS_NAME, "chart").location_once_scrolled_into_view  # noqa: B018
    until(lambda: drawn(browser))
    before = browser.execute_script(LAYOUT)[0]
    browser.execute_script(PRINT_LISTENER)
    browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    seen = browser.execute_script("return seen")
    assert len(seen) == len(browser.find_elements(By.CLASS_NAME, "chart"))
    assert {(width, ink) for width, ink, _ in seen} == {(640, "rgb(26, 29, 33)")}
    assert all(parts >= 1 for *_, parts in seen)
    until(lambda: not browser.find_elements(By.CSS_SELECTOR, "[hidden] .chart > .plot-container"))
    after = browser.execute_script(LAYOUT)[0]
    assert after["font"]["color"] == before["font"]["color"] == "rgb(230, 232, 235)"
    assert (after.get("width"), after["autosize"]) == (before.get("width"), True)


def traces(driver: webdriver.Chrome, key: str) -> list[list[object]]:
    """Return the title and the visibility of each trace of a method."""
    script = """
        const place = document.getElementById(arguments[0]);
        return place.data?.filter((each) => each.meta).map((each) => [each.meta, each.visible]) || [];
    """
    found: list[list[object]] = driver.execute_script(script, key)
    return found


def test_charts_show_the_methods_that_are_chosen(browser: webdriver.Chrome, site: Path) -> None:
    """Curves hide those that are left out; strips close the gap, and a mark leads to its image in the gallery."""
    visit(browser, site, "datasets/parts--a.html", "#method=CLIP&method=GenCLIP")
    for key in ("curve-pixel-auroc", "strips"):
        browser.execute_script("document.getElementById(arguments[0]).scrollIntoView()", key)
        until(lambda key=key: browser.execute_script("return document.getElementById(arguments[0]).data", key))
    assert traces(browser, "curve-pixel-auroc") == [["CLIP", True], ["CLIP-AC", False], ["GenCLIP", True]]
    ends = "return [0, 1].map((end) => document.getElementById('curve-pixel-auroc').data[0].x.at(-end))"
    assert browser.execute_script(ends) == [0, 1], "rates, not steps"
    rows = "return document.getElementById('strips').layout.yaxis.ticktext"
    assert browser.execute_script(rows) == ["CLIP", "GenCLIP"]
    assert texts(browser, ".curves tbody th") == ["CLIP", "GenCLIP"]
    height = browser.find_element(By.ID, "strips").rect["height"]
    browser.execute_script("location.hash = ''")
    until(lambda: browser.execute_script(rows) == ["CLIP", "CLIP-AC", "GenCLIP"])
    assert browser.find_element(By.ID, "strips").rect["height"] > height
    assert traces(browser, "curve-pixel-auroc")[1] == ["CLIP-AC", True]
    key = browser.execute_script("""
        const place = document.getElementById("strips");
        const key = place.data.flatMap((each) => each.customdata || []).find((each) => each);
        place.emit("plotly_click", { points: [{ customdata: key }] });
        return key;
    """)
    assert browser.execute_script("return Report.address.get('image')") == key


def test_a_logarithmic_axis_is_part_of_the_address(browser: webdriver.Chrome, site: Path) -> None:
    page = next(path for path in sorted(site.rglob("*.html")) if b"data-log" in path.read_bytes())
    visit(browser, site, page.relative_to(site).as_posix())
    button = browser.find_element(By.CSS_SELECTOR, "[data-log]")
    button.location_once_scrolled_into_view  # noqa: B018
    kind = "return document.querySelector('.chart').layout?.yaxis.type"
    until(lambda: browser.execute_script(kind) == "linear")
    browser.execute_script("arguments[0].click()", button)
    until(lambda: browser.execute_script(kind) == "log")
    assert f"log={button.get_attribute('data-log')}" in browser.current_url
    browser.refresh()
    browser.find_element(By.CSS_SELECTOR, "[data-log]").location_once_scrolled_into_view  # noqa: B018
    until(lambda: browser.execute_script(kind) == "log")


def test_costs_are_chosen_and_the_choice_is_in_the_address(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "cost.html", "#cost=training")
    assert [each.is_displayed() for each in browser.find_elements(By.CSS_SELECTOR, "[data-cost]")] == [
        False,
        False,
        True,
    ]
    choose(browser, "cost", "method")
    assert browser.current_url.endswith("#cost=method")
    assert [each.is_displayed() for each in browser.find_elements(By.CSS_SELECTOR, "[data-cost]")] == [
        False,
        True,
        False,
    ]
    choose(browser, "cost", "time")
    assert "#" not in browser.current_url


@pytest.mark.parametrize("width", [390, 1280])
def test_charts_have_room_and_ticks_do_not_overlap(browser: webdriver.Chrome, site: Path, width: int) -> None:
    screen(browser, width, 900)
    visit(browser, site, "ablations.html")
    browser.find_element(By.CLASS_NAME, "chart").location_once_scrolled_into_view  # noqa: B018
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".chart .xtick text"))
    plot, ticks = browser.execute_script("""
        const chart = document.querySelector(".chart");
        const box = (each) => each.getBoundingClientRect().toJSON();
        return [box(chart.querySelector(".gridlayer")), [...chart.querySelectorAll(".xtick text")].map(box)];
    """)
    assert plot["width"] > 0.5 * min(width, 560)
    assert all(one["right"] < other["left"] for one, other in itertools.pairwise(ticks))


def test_labels_of_diagrams_touch_neither_lines_nor_each_other(browser: webdriver.Chrome, wide: Path) -> None:
    screen(browser, 390, 800)
    visit(browser, wide, "index.html")
    labels, lines, size = browser.execute_script("""
        const diagram = [...document.querySelectorAll("svg.diagram")].find((each) => each.getClientRects().length);
        const box = (each) => each.getBoundingClientRect().toJSON();
        const groups = [...diagram.querySelectorAll("g")].slice(1);
        const path = diagram.querySelectorAll("path")[1];
        return [groups.flatMap((each) => [...each.querySelectorAll("text")]).map(box), box(path),
                parseFloat(getComputedStyle(diagram.querySelector("text")).fontSize)];
    """)
    assert len(labels) == len(METHODS)
    assert size >= 12
    for one, other in itertools.combinations(labels, 2):
        assert (
            one["bottom"] <= other["top"] + 2
            or other["bottom"] <= one["top"] + 2
            or not (one["left"] < other["right"] and other["left"] < one["right"])
        )
    assert all(each["right"] <= lines["left"] or each["left"] >= lines["right"] for each in labels)
    scroller = browser.find_element(By.CSS_SELECTOR, "#diagrams figure:not([hidden]) .drawing")
    assert scroller.rect["width"] <= 390
