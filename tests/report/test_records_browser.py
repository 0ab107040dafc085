"""The page of the records in a browser: search, filters, and the row that a number links to."""

from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from support.browser import needs_chromium, screen, state, texts, until, visit

pytestmark = needs_chromium

PAGE = "records.html"
TITLES = "#list tbody th"


def test_a_search_finds_all_words_also_in_what_made_a_record(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, PAGE)
    assert len(texts(browser, TITLES)) == 8
    assert texts(browser, "#count") == ["8 rows."]
    search = browser.find_element(By.NAME, "search")
    search.send_keys("Vision parts")
    assert texts(browser, TITLES) == ["GenCLIP (branch=vision)"]
    assert state(browser) == "#search=Vision+parts"
    visit(browser, site, PAGE, "#search=mvtec+scans")  # the auxiliary dataset stands in what is folded
    assert texts(browser, TITLES) == ["GenCLIP"]
    assert texts(browser, "#count") == ["1 of 8 rows fits."]


def test_failed_records_and_ablations_are_filtered(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, PAGE)
    choices = {name: Select(browser.find_element(By.NAME, name)) for name in ("status", "kind")}
    choices["status"].select_by_value("failed")
    assert (texts(browser, TITLES), state(browser)) == (["WinCLIP"], "#status=failed")
    choices["kind"].select_by_value("ablation")
    assert texts(browser, TITLES) == []
    browser.find_element(By.ID, "clear").click()
    assert (len(texts(browser, TITLES)), state(browser)) == (8, "")


def test_a_number_links_to_its_row(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "datasets/scans.html")
    link = browser.find_element(By.CSS_SELECTOR, "main td.num > a")
    number, anchor = link.text, (link.get_attribute("href") or "").partition("#")[2]
    link.click()
    (row,) = until(lambda: browser.find_elements(By.CSS_SELECTOR, "#list .here"))
    assert row.get_attribute("id") == anchor
    assert number in row.text
    assert "Scans" in row.text
    assert "sha256" in row.text, "what made it stands open"
    browser.execute_script("location.hash = '#r0'")
    assert until(lambda: browser.find_element(By.CSS_SELECTOR, ".here").get_attribute("id") == "r0")
    browser.find_element(By.NAME, "search").send_keys("zzz")
    assert texts(browser, "#count") == ["No row fits these filters."]


def test_on_a_phone_every_number_of_a_row_is_in_sight(browser: webdriver.Chrome, site: Path) -> None:
    screen(browser, 390, 844)
    visit(browser, site, PAGE)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert browser.execute_script(
        """
        return [...document.querySelectorAll("#list tbody tr > *")]
          .every((cell) => cell.getBoundingClientRect().right <= innerWidth);
        """
    )
    assert [entry["message"] for entry in browser.get_log("browser")] == []
