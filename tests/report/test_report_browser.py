"""The report in a headless Chromium, from the disk: it works, by keyboard too, and says nothing in the console."""

import itertools
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from support.browser import choose, colours, needs_chromium, screen, texts, until, visit
from support.wide import METHODS

pytestmark = needs_chromium


def test_every_page_opens_without_a_word_in_the_console(browser: webdriver.Chrome, site: Path) -> None:
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert len(pages) == 18
    for page in pages:
        visit(browser, site, page)
        for chart in browser.find_elements(By.CLASS_NAME, "chart"):
            if chart.is_displayed():
                browser.execute_script("arguments[0].scrollIntoView()", chart)
                until(lambda chart=chart: chart.find_elements(By.CSS_SELECTOR, ".main-svg"))
        assert browser.get_log("browser") == [], page
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
        assert all(name.startswith(("file:", "data:")) for name in loaded), page


def test_a_broken_page_would_be_noticed(browser: webdriver.Chrome, tmp_path: Path) -> None:
    (tmp_path / "broken.html").write_text("<!doctype html><script>nowhere.call()</script>")
    visit(browser, tmp_path, "broken.html")
    assert [entry["level"] for entry in browser.get_log("browser")] == ["SEVERE"]


def test_headers_sort_by_mouse_and_keyboard(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "index.html")

    def means() -> list[float]:
        return [float(text) for text in texts(browser, "#leaderboard tbody td.num:nth-child(2) > :first-child")]

    def order() -> str | None:
        return browser.find_element(By.CSS_SELECTOR, "#leaderboard th:nth-child(2)").get_attribute("aria-sort")

    assert len(means()) == 3
    assert (means(), order()) == (sorted(means(), reverse=True), "descending")
    browser.find_element(By.CSS_SELECTOR, "#leaderboard th:nth-child(2) button").click()
    assert (means(), order()) == (sorted(means()), "ascending")
    assert means() != sorted(means(), reverse=True)
    browser.find_element(By.CSS_SELECTOR, "#leaderboard th:nth-child(1) button").send_keys(Keys.ENTER)
    names = texts(browser, "#leaderboard tbody th")
    assert (names, order()) == (sorted(names), "none")


def test_filters_change_what_is_shown_and_the_address(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "index.html")
    assert texts(browser, "#matrix tbody th") == ["Parts <b>2</b>"]
    choose(browser, "domain", "all")
    assert texts(browser, "#matrix tbody th") == ["Parts <b>2</b>", "Scans"]
    assert "There is no mean over several domains" in texts(browser, "#view-notes p")[0]
    choose(browser, "domain", "medical")
    assert texts(browser, "#matrix tbody th") == ["Scans"]
    assert texts(browser, "#view-name") == ["medical"]
    assert browser.current_url.endswith("#domain=medical")
    Select(browser.find_element(By.ID, "metric")).select_by_value("pixel_auroc")
    assert "No dataset of this domain has this metric." in texts(browser, "#leaderboard tbody")[0]
    choose(browser, "domain", "all")
    assert texts(browser, "#matrix tbody th") == ["Parts <b>2</b>"]
    names = ["AUROC", "AUPRO", "AUPRO-200", "AP", "F1-max"]
    assert texts(browser, "#metric option")[-5:] == [f"pixel {name}" for name in names]
    browser.find_element(By.ID, "search").send_keys("clip-ac")
    assert texts(browser, "#leaderboard tbody th") == ["CLIP-AC"]
    assert len(texts(browser, "#matrix thead th[scope=col]")) == 2
    assert texts(browser, "#matrix thead th.group") == ["training-free"]
    browser.find_element(By.ID, "search").send_keys("nothing")
    assert texts(browser, "#leaderboard tbody th") == []
    assert "No method and no dataset" in texts(browser, "#search-note")[0]


def test_an_address_gives_the_same_view(browser: webdriver.Chrome, site: Path) -> None:
    heads = "#leaderboard thead th[data-part=mean]"
    visit(browser, site, "index.html", "#domain=industrial&metric=pixel_aupro")
    assert texts(browser, heads) == ["pixel AUPRO"]
    visit(browser, site, "index.html", "#domain=nowhere&metric=<script>")
    assert texts(browser, heads) == ["image AUROC", "image AP", "pixel AUROC", "pixel AUPRO"]
    assert texts(browser, "#view-name") == ["industrial"]


def test_the_diagram_follows_the_filters(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "index.html", "#domain=all&metric=image_auroc")
    assert len([each for each in browser.find_elements(By.CSS_SELECTOR, "svg.diagram") if each.is_displayed()]) == 1
    choose(browser, "domain", "medical")
    assert texts(browser, "svg.diagram") == []
    assert len(texts(browser, "#no-diagram")) == 1


def test_it_is_dark_where_the_system_is(browser: webdriver.Chrome, site: Path) -> None:
    def brightness() -> tuple[int, int]:
        script = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        paper, ink = (
            sum(int(part) for part in found.strip("rgb()").split(",")[:3]) for found in browser.execute_script(script)
        )
        return paper, ink

    visit(browser, site, "index.html")
    assert brightness()[0] > 700
    assert brightness()[1] < 150
    colours(browser, "dark")
    assert brightness()[0] < 150
    assert brightness()[1] > 600
    browser.find_element(By.ID, "theme").click()  # light, whatever the system says
    assert brightness()[0] > 700
    browser.find_element(By.ID, "theme").click()  # as the system again
    assert brightness()[0] < 150


def test_charts_follow_the_colours(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "methods/genclip.html")
    browser.execute_script("document.querySelector('.chart').scrollIntoView()")
    ink = "return document.querySelector('.chart').layout?.font.color"
    light = until(lambda: browser.execute_script(ink))
    colours(browser, "dark")
    until(lambda: browser.execute_script(ink) != light)
    browser.find_element(By.CSS_SELECTOR, "[data-log]").click()
    kind = "return document.querySelector('.chart').layout.yaxis.type"
    until(lambda: browser.execute_script(kind) == "log")


SMALL_TEXT = """
const small = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const parent = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || !parent.getClientRects().length || parent.closest("script, .skip")) continue;
  if (parseFloat(getComputedStyle(parent).fontSize) < 12) small.push(walk.currentNode.data);
}
return small;
"""
SMALL_CONTROLS = """
const controls = `button, select, summary, input[type="search"], input[type="range"], nav a, .controls label > span,
  th[scope="row"] a, .crumbs a, .records a, [rel="prev"], [rel="next"], .cards a`;
return [...document.querySelectorAll(controls)].filter((each) => {
  const { width, height } = each.getBoundingClientRect();
  return width && (Math.round(width) < 44 || Math.round(height) < 44);
}).map((each) => each.outerHTML);
"""


def test_a_phone_never_scrolls_sideways(browser: webdriver.Chrome, site: Path) -> None:
    screen(browser, 375, 800)
    for page in sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html")):
        visit(browser, site, page)
        width = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert width == [375, 375], page
        assert browser.execute_script(SMALL_TEXT) == [], page
        assert browser.execute_script(SMALL_CONTROLS) == [], page


def test_a_dataset_shows_one_metric_at_a_time(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "datasets/parts.html")
    assert texts(browser, ".tab h3") == ["image AUROC"]
    choose(browser, "metric", "pixel_auroc")
    assert texts(browser, ".tab h3") == ["pixel AUROC"]


# --- thirteen methods

LEARNERS = [title for title, _ in METHODS[3:]]
PAGES = ("index", "datasets/mvtec", "datasets/mvtec--bottle", "datasets/sdd", "cost", "training", "published", "about")


def overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    """Say whether two boxes have more than their edges in common."""
    return all(
        one[low] + 1 < other[high] and other[low] + 1 < one[high]
        for low, high in (("left", "right"), ("top", "bottom"))
    )


def pick(driver: webdriver.Chrome, name: str, value: str) -> None:
    """Press what stands for a checkbox."""
    driver.find_element(By.CSS_SELECTOR, f'#methods input[name="{name}"][value="{value}"] + span').click()


def test_a_phone_shows_thirteen_methods_in_tables_that_scroll_by_themselves(
    browser: webdriver.Chrome, wide: Path
) -> None:
    screen(browser, 390, 800)
    for page in PAGES:
        visit(browser, wide, f"{page}.html")
        for each in browser.find_elements(By.CSS_SELECTOR, "#methods summary"):
            each.click()
        assert browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [390, 390], page
        assert browser.execute_script(SMALL_TEXT) == [], page
        assert browser.execute_script(SMALL_CONTROLS) == [], page
    visit(browser, wide, "index.html")
    places = browser.execute_script("""
        const scroller = document.querySelector("#matrix").parentElement;
        scroller.scrollLeft = 400;
        const left = (each) => each.getBoundingClientRect().left - scroller.getBoundingClientRect().left;
        const first = [...document.querySelectorAll("#matrix tr > :first-child")];
        return [scroller.scrollLeft, ...first.filter((each) => each.getClientRects().length).map(left)];
    """)
    assert places[0] == 400
    assert {round(place) for place in places[1:]} <= {0, 1}, "the first column stays"


def test_the_leaderboard_is_sorted_by_year_and_by_training(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html")

    def column(heading: str) -> list[str]:
        heads = browser.find_elements(By.CSS_SELECTOR, "#leaderboard thead th")
        place = next(index for index, head in enumerate(heads, 1) if head.text.startswith(heading))
        heads[place - 1].find_element(By.TAG_NAME, "button").click()
        return texts(browser, f"#leaderboard tbody tr > :nth-child({place})")

    assert column("Year") == sorted((str(year) for _, year in METHODS), reverse=True)
    assert column("Training") == ["training-free"] * 3 + ["MVTec AD (VisA for MVTec AD)"] * 10


def test_a_group_of_methods_is_left_out_of_every_page(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html", "#metric=pixel_ap")
    titles = [title for title, _ in METHODS]
    heads = "#matrix thead th[data-method] .sort"
    assert set(texts(browser, heads)) == set(titles)
    pick(browser, "group", "training-free")
    assert set(texts(browser, heads)) == set(texts(browser, "#leaderboard tbody th")) == set(LEARNERS)
    assert texts(browser, "#matrix thead th.group") == ["auxiliary dataset"]
    assert texts(browser, "#method-count") == ["10 of 13"]
    assert "metric=pixel_ap" in browser.current_url
    browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
    for title in LEARNERS[2:]:
        pick(browser, "method", title)
    assert browser.find_element(By.CSS_SELECTOR, "#matrix th.group:not([hidden])").get_attribute("colspan") == "2"
    half = browser.find_element(By.CSS_SELECTOR, '#methods input[value="auxiliary dataset"]')
    assert half.get_property("indeterminate")
    address = browser.current_url
    assert "method=CoOp&method=APRIL-GAN" in address
    browser.find_element(By.ID, "search").send_keys("coop")
    assert texts(browser, heads) == ["CoOp"]
    assert "method=CoOp&method=APRIL-GAN" in browser.current_url
    visit(browser, wide, "index.html", f"#{address.partition('#')[2]}")
    assert texts(browser, heads) == ["CoOp", "APRIL-GAN"]
    assert texts(browser, "#leaderboard thead th[data-part=mean]") == ["pixel AP"]
    browser.find_element(By.LINK_TEXT, "MVTec AD").click()
    assert texts(browser, "h1") == ["MVTec AD"]
    assert texts(browser, "thead th[data-method] .sort") == ["CoOp", "APRIL-GAN"]
    assert len(texts(browser, "tfoot td")) == 2
    browser.find_element(By.LINK_TEXT, "bottle").click()
    assert texts(browser, "thead th[data-method] .sort") == ["CoOp", "APRIL-GAN"] * 2  # also of kinds of defect
    pick(browser, "group", "auxiliary dataset")
    pick(browser, "group", "training-free")
    assert len(texts(browser, "thead th[data-method] .sort")) == 2 * 13
    assert "method=" not in browser.current_url
    for value in ("auxiliary dataset", "training-free"):
        pick(browser, "group", value)
    assert texts(browser, "#method-count") == ["0 of 13"]
    browser.refresh()
    assert texts(browser, "#method-count") == ["0 of 13"]
    assert texts(browser, "thead th[data-method] .sort") == []
    browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
    pick(browser, "method", "CoOp")
    assert browser.current_url.endswith("&method=CoOp")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_legend_of_thirteen_methods_leaves_room_for_the_chart(
    browser: webdriver.Chrome, wide: Path, width: int
) -> None:
    screen(browser, width, 900)
    visit(browser, wide, "cost.html")
    browser.execute_script("document.querySelector('.chart').scrollIntoView()")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".chart .legend .traces"))
    legend, plot, names = browser.execute_script("""
        const chart = document.querySelector(".chart");
        const box = (each) => each.getBoundingClientRect().toJSON();
        const names = [...chart.querySelectorAll(".legendtext")];
        return [box(chart.querySelector(".legend")), box(chart.querySelector(".gridlayer")), names.map(box)];
    """)
    assert legend["bottom"] <= plot["top"] + 1
    assert plot["height"] >= 170
    assert len(names) == len(METHODS)
    assert not [pair for pair in itertools.combinations(names, 2) if overlap(*pair)]
