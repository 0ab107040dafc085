"""The report in a headless Chromium, from the disk: it works, by keyboard too, and says nothing in the console."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.study import Study

from benchmark.report import write_site
from benchmark.tables import ranks

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)",
    ),
]


@pytest.fixture(scope="module")
def site(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "FEWEST_DATASETS", 2)  # the study has no more
        return write_site(
            tmp_path_factory.mktemp("site") / "report", study.records, study.read, study.found
        ).index.parent


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    except WebDriverException as error:
        pytest.skip(f"chromium is there but does not start: {error.msg}")
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """A window of a desktop in light colours, as it was before each test."""
    screen(chromium, 1280, 900)
    colours(chromium, "light")
    chromium.get_log("browser")
    yield chromium
    chromium.get("about:blank")


def screen(driver: webdriver.Chrome, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def colours(driver: webdriver.Chrome, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def visit(driver: webdriver.Chrome, site: Path, page: str, anchor: str = "") -> None:
    driver.get("about:blank")  # else another anchor of the same page would not load it anew
    driver.get((site / page).as_uri() + anchor)


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "did not come to hold in time"
        time.sleep(0.02)
    return found


def press(driver: webdriver.Chrome, *keys: str) -> None:
    for key in keys:
        driver.switch_to.active_element.send_keys(key)


def texts(driver: webdriver.Chrome, selector: str) -> list[str]:
    """Return the texts of what is to be seen."""
    return [each.text for each in driver.find_elements(By.CSS_SELECTOR, selector) if each.is_displayed()]


def choose(driver: webdriver.Chrome, name: str, value: str) -> None:
    driver.find_element(By.CSS_SELECTOR, f'input[name="{name}"][value="{value}"] + span').click()


def test_every_page_opens_without_a_word_in_the_console(browser: webdriver.Chrome, site: Path) -> None:
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert len(pages) == 12
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
        return [float(text) for text in texts(browser, "#leaderboard tbody td.num:nth-child(2)")]

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
    assert "There is no mean over several domains" in texts(browser, "#view-note")[0]
    choose(browser, "domain", "medical")
    assert texts(browser, "#matrix tbody th") == ["Scans"]
    assert texts(browser, "#view-name") == ["image AUROC, medical"]
    assert browser.current_url.endswith("#domain=medical")
    choose(browser, "level", "pixel")
    assert "No dataset of this domain has this metric." in texts(browser, "#leaderboard tbody")[0]
    choose(browser, "domain", "all")
    assert texts(browser, "#matrix tbody th") == ["Parts <b>2</b>"]
    assert texts(browser, "#metric option") == ["AUROC", "AUPRO", "AUPRO-200", "AP", "F1-max"]
    browser.find_element(By.ID, "search").send_keys("clip-ac")
    assert texts(browser, "#leaderboard tbody th") == ["CLIP-AC"]
    assert len(texts(browser, "#matrix thead th")) == 2
    browser.find_element(By.ID, "search").send_keys("nothing")
    assert texts(browser, "#leaderboard tbody th") == []
    assert "No method and no dataset" in texts(browser, "#view-note")[0]


def test_an_address_gives_the_same_view(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "index.html", "#domain=industrial&level=pixel&metric=pixel_aupro")
    assert texts(browser, "#view-name") == ["pixel AUPRO, industrial"]
    visit(browser, site, "index.html", "#domain=nowhere&metric=<script>")
    assert texts(browser, "#view-name") == ["image AUROC, industrial"]


def test_the_diagram_follows_the_filters(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "index.html", "#domain=all")
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
    browser.find_element(By.ID, "theme").click()
    browser.find_element(By.ID, "theme").click()  # as the system again
    assert brightness()[0] < 150


def test_charts_follow_the_colours(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "training.html")
    ink = "return document.querySelector('.chart').layout?.font.color"
    light = until(lambda: browser.execute_script(ink))
    colours(browser, "dark")
    until(lambda: browser.execute_script(ink) != light)
    browser.find_element(By.CSS_SELECTOR, "[data-log]").click()
    kind = "return document.querySelector('.chart').layout.yaxis.type"
    until(lambda: browser.execute_script(kind) == "log")


def test_a_phone_never_scrolls_sideways(browser: webdriver.Chrome, site: Path) -> None:
    screen(browser, 375, 800)
    for page in sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html")):
        visit(browser, site, page)
        width = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert width == [375, 375], page


def test_the_gallery_works_by_keyboard(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "datasets/parts--a.html")

    def key_of_focus() -> str:
        return str(browser.execute_script("return document.activeElement.querySelector('.what code')?.textContent"))

    shown = texts(browser, ".gallery .what code")
    assert len(shown) >= 6
    press(browser, "j")
    assert key_of_focus() == shown[0]
    press(browser, "j", Keys.ARROW_DOWN, "k")
    assert key_of_focus() == shown[1]
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press(browser, Keys.ENTER)
    dialog = browser.find_element(By.ID, "large")
    assert dialog.is_displayed()
    assert texts(browser, "#large .what code") == [shown[1]]
    assert texts(browser, "#large-place") == [f"2 of {len(shown)}"]
    press(browser, Keys.ARROW_RIGHT)
    assert texts(browser, "#large .what code") == [shown[2]]
    press(browser, *"kkkk")
    assert texts(browser, "#large .what code") == [shown[0]], "it stops at the first"
    press(browser, Keys.ESCAPE)
    until(lambda: not dialog.is_displayed())
    assert key_of_focus() == shown[0]


def test_heatmaps_are_drawn(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "datasets/parts--a.html")
    canvas = browser.find_element(By.CSS_SELECTOR, ".gallery canvas")
    browser.execute_script("arguments[0].scrollIntoView()", canvas)
    script = "const c = arguments[0]; return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    until(lambda: canvas.get_attribute("data-drawn") is not None)
    before = browser.execute_script(script, canvas)
    assert len(before) == 4 * 96 * 96
    assert len(set(before[3::4])) > 50, "the opacity goes with the value"
    assert max(before[3::4]) <= 191
    nothing = "const o = document.getElementById('opacity'); o.value = 0; o.dispatchEvent(new Event('input', "
    browser.execute_script(nothing + "{bubbles: true}))")
    assert set(browser.execute_script(script, canvas)[3::4]) == {0}


def test_the_gallery_is_ordered_by_a_method(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "datasets/parts--a.html")

    def wrong(index: int) -> list[float]:
        cases = [each for each in browser.find_elements(By.CSS_SELECTOR, ".gallery .case") if each.is_displayed()]
        return [float(str(each.get_attribute("data-wrong")).split()[index]) for each in cases]

    assert wrong(0) == sorted(wrong(0), reverse=True)
    browser.find_element(By.CSS_SELECTOR, "#by option:nth-child(3)").click()
    assert wrong(2) == sorted(wrong(2), reverse=True)
    assert wrong(0) != sorted(wrong(0), reverse=True)
    choose(browser, "order", "best")
    assert wrong(2) == sorted(wrong(2))
    count = len(wrong(0))
    choose(browser, "label", "1")
    assert 0 < len(wrong(0)) < count
    assert set(texts(browser, ".gallery .what b")) == {"anomalous"}


def test_a_dataset_shows_one_metric_at_a_time(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "datasets/parts.html")
    assert texts(browser, ".tab h3") == ["image AUROC"]
    choose(browser, "tab", "3")
    assert texts(browser, ".tab h3") == ["pixel AUROC"]
