"""The overview in a headless Chromium: which metrics are shown, what the address says, and the search."""

from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from support.browser import choose, needs_chromium, texts, visit
from support.wide import METHODS

pytestmark = needs_chromium

MAIN = ["image AUROC", "image AP", "pixel AUROC", "pixel AUPRO"]
HEADS = "#leaderboard thead th .sort"
NAMES = "#leaderboard tbody th"


def search(browser: webdriver.Chrome, words: str) -> None:
    field = browser.find_element(By.ID, "search")
    field.clear()
    field.send_keys(words)


def go(browser: webdriver.Chrome, state: str) -> None:
    """Change the address as a reader does, on the page."""
    browser.execute_async_script(
        "addEventListener('hashchange', () => setTimeout(arguments[1], 0), {once: true}); location.hash = arguments[0]",
        state,
    )


def values(browser: webdriver.Chrome, part: str) -> list[float]:
    """Numbers of the first shown column of a part, from the top."""
    return [
        float(each)
        for each in browser.execute_script(
            """
        const table = document.querySelector("#leaderboard");
        const heads = [...table.tHead.rows[0].cells];
        const place = heads.findIndex((head) => head.dataset.part === arguments[0] && !head.hidden);
        const body = [...table.tBodies].find((each) => each.dataset.domain && !each.hidden);
        return [...body.rows].map((row) => row.cells[place].dataset.sort).filter(Boolean);
        """,
            part,
        )
    ]


def test_the_metric_of_the_address_chooses_the_columns(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html", "#metric=pixel_aupro")
    assert texts(browser, HEADS)[:3] == ["Method", "pixel AUPRO", "Behind the best"]
    assert texts(browser, HEADS)[3:] == ["Average rank", "Best on", "Datasets", "Year", "Training"]
    assert texts(browser, "#matrix-name") == ["pixel AUPRO"]
    assert values(browser, "mean") == sorted(values(browser, "mean"), reverse=True)
    ticks = browser.find_elements(By.CSS_SELECTOR, "#leaderboard td.bars:not([hidden]) svg path:first-child")
    assert len([each for each in ticks if each.is_displayed()]) == len(METHODS)
    for state in ("", "metric=nothing", "level=pixel"):
        go(browser, "metric=pixel_ap")
        assert texts(browser, HEADS)[1] == "pixel AP"
        go(browser, state)
        assert texts(browser, HEADS) == ["Method", *MAIN, "Year", "Training"], state
    assert values(browser, "mean") == sorted(values(browser, "mean"), reverse=True)
    Select(browser.find_element(By.ID, "metric")).select_by_value("image_ap")
    assert browser.execute_script("return location.hash").endswith("metric=image_ap")
    assert browser.get_log("browser") == []


def test_a_sort_lasts_until_another_metric_is_chosen(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html", "#metric=pixel_aupro")
    head = next(
        e for e in browser.find_elements(By.CSS_SELECTOR, "#leaderboard th[data-part=rank]") if e.is_displayed()
    )
    head.find_element(By.TAG_NAME, "button").click()
    assert values(browser, "rank") == sorted(values(browser, "rank"))
    assert head.get_attribute("aria-sort") == "ascending"
    browser.refresh()
    assert values(browser, "rank") == sorted(values(browser, "rank"))
    for _ in range(2):  # the other way, then as it was
        browser.find_element(By.CSS_SELECTOR, "#leaderboard th[aria-sort$=scending] button").click()
    assert values(browser, "mean") == sorted(values(browser, "mean"), reverse=True)
    browser.find_element(By.CSS_SELECTOR, "#leaderboard th[data-part=rank]:not([hidden]) button").click()
    Select(browser.find_element(By.ID, "metric")).select_by_value("image_auroc")
    assert "sort=" not in browser.current_url
    assert values(browser, "mean") == sorted(values(browser, "mean"), reverse=True)


def test_words_find_what_has_them_all(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html")
    search(browser, "ad mvtec")
    assert texts(browser, "#matrix tbody th") == ["MVTec AD"]
    assert len(texts(browser, NAMES)) == len(METHODS)
    search(browser, "mrad clip")
    assert texts(browser, NAMES) == ["MRAD-CLIP"]
    assert len(texts(browser, "#matrix tbody th")) == 3
    search(browser, "faprompt btad")  # a method and a dataset
    assert (texts(browser, NAMES), texts(browser, "#matrix tbody th")) == (["FAPrompt"], ["BTAD"])
    search(browser, "winclip coop")  # several methods, or several datasets
    assert sorted(texts(browser, NAMES)) == ["CoOp", "WinCLIP"]
    assert len(texts(browser, "#matrix tbody th")) == 3
    search(browser, "mvtec btad")
    assert (len(texts(browser, NAMES)), texts(browser, "#matrix tbody th")) == (len(METHODS), ["BTAD", "MVTec AD"])
    search(browser, "faprompt nowhere")
    assert texts(browser, NAMES) == []
    assert texts(browser, "#search-note") == ["No method and no dataset has that in its name."]


def test_the_verdict_stands_above_the_table_and_follows_domain_and_metric(
    browser: webdriver.Chrome, wide: Path, site: Path
) -> None:
    visit(browser, wide, "index.html")
    (verdict,) = texts(browser, "#verdicts p")
    first = browser.execute_script("return document.querySelector('#leaderboard tbody th').textContent")
    assert verdict.startswith(f"Highest mean: {first} in image AUROC, ")
    assert all(name in verdict for name in MAIN)
    script = """
        const verdict = document.querySelector("#verdicts p:not([hidden])");
        const isAbove = verdict.compareDocumentPosition(document.querySelector("#leaderboard")) & 4;
        return [Boolean(isAbove), getComputedStyle(verdict).color === getComputedStyle(document.body).color];
    """
    assert browser.execute_script(script) == [True, True]
    Select(browser.find_element(By.ID, "metric")).select_by_value("pixel_aupro")
    (one,) = texts(browser, "#verdicts p")
    assert one.startswith("Highest mean: ")
    assert " in pixel AUPRO, " in one
    assert "image AUROC" not in one
    search(browser, "nowhere")
    assert texts(browser, "#verdicts p") == []
    visit(browser, site, "index.html", "#domain=medical")
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#verdicts p:not([hidden])')].map((each) => each.dataset.domain)"
    )
    assert set(shown) <= {"medical"}


def test_the_best_mean_has_a_box_as_the_others_have(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html")
    (_, *best), value = browser.execute_script("""
        const cell = document.querySelector("#leaderboard tbody:not([hidden]) td.num:is(.best, .highest)");
        cell.firstElementChild.focus({ focusVisible: true });
        return [[...document.querySelectorAll("#hint p")].map((each) => each.textContent), cell.dataset.sort];
    """)
    assert best[0] in (f"{float(value):.2f}", f"{float(value):.2f}, best of its column")
    for name in ("button", "link"):
        found = browser.find_elements(By.CSS_SELECTOR, f"#leaderboard td.num > [role={name}]:not([tabindex='0'])")
        assert found == []


def test_a_dataset_that_is_not_among_those_shown_is_named(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "index.html")
    search(browser, "scans")
    assert texts(browser, "#matrix") == []
    assert texts(browser, "#matrix-none") == ["Scans is in the domain medical, not in industrial; choose it above."]
    choose(browser, "domain", "medical")
    assert texts(browser, "#matrix tbody th") == ["Scans"]
    assert texts(browser, "#matrix-none") == []
    Select(browser.find_element(By.ID, "metric")).select_by_value("pixel_auroc")
    assert texts(browser, "#matrix-none") == ["Scans has no pixel AUROC; choose another metric."]
