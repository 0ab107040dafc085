"""The page of published numbers in a browser: filters in the address, counts, the chart, printed numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from support.agreeing import agreeing_records
from support.browser import needs_chromium, press, screen, state, texts, until, visit

from benchmark.report import write_site
from benchmark.tables.published import load_published

pytestmark = needs_chromium

PAGE = "published.html"
ROWS = "#list tbody tr"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("real") / "report", agreeing_records(), lambda _: None).index.parent


def column(browser: webdriver.Chrome, place: int) -> list[str]:
    return texts(browser, f"{ROWS} > :nth-child({place})")


def select(browser: webdriver.Chrome, name: str) -> Select:
    return Select(browser.find_element(By.CSS_SELECTOR, f'#filters select[name="{name}"]'))


def test_filters_and_words_are_combined_and_stand_in_the_address(browser: webdriver.Chrome, real: Path) -> None:
    visit(browser, real, PAGE)
    total = browser.execute_script("return document.querySelectorAll(arguments[0]).length", ROWS)
    assert texts(browser, "#count") == [f"The first 200 of {total} rows."]
    assert len(column(browser, 1)) == 200
    select(browser, "method").select_by_value("AnomalyCLIP")
    select(browser, "kind").select_by_value("classes")
    browser.find_element(By.NAME, "search").send_keys("BOTTLE pixel")
    shown = column(browser, 1)
    assert shown
    assert len(shown) < 200
    assert set(shown) == {"MVTec AD: bottle"}
    assert all(each.startswith("pixel") for each in column(browser, 2))
    assert all(each.startswith("AnomalyCLIP") for each in column(browser, 3))
    address = state(browser)
    assert {*address[1:].split("&")} == {"method=AnomalyCLIP", "kind=classes", "search=BOTTLE+pixel"}
    visit(browser, real, PAGE, address)
    assert column(browser, 1) == shown
    assert select(browser, "kind").first_selected_option.text == "single classes"
    browser.find_element(By.ID, "clear").click()
    assert (state(browser), len(column(browser, 1))) == ("", 200)
    browser.find_element(By.ID, "show-all").click()
    assert (state(browser), len(column(browser, 1))) == ("#show=all", total)


def test_what_fits_nothing_is_said_and_methods_of_another_page_are_kept(browser: webdriver.Chrome, real: Path) -> None:
    visit(browser, real, PAGE, "#method=AdaCLIP&method=WinCLIP&metric=pixel_auroc&dataset=nonsense")
    assert set(column(browser, 2)) == {"pixel AUROC"}
    assert {each.split()[0] for each in column(browser, 3)} == {"AdaCLIP", "WinCLIP"}
    assert select(browser, "method").first_selected_option.text == "2 chosen"
    browser.find_element(By.NAME, "search").send_keys("zzz")
    assert texts(browser, "#count") == ["No row fits these filters."]
    assert column(browser, 1) == []


def test_a_count_shows_its_rows_and_the_chart_their_points(browser: webdriver.Chrome, real: Path) -> None:
    visit(browser, real, PAGE, "#by=dataset")
    until(lambda: browser.execute_script("return Boolean(document.querySelector('#agreement').data)"))
    link = browser.find_element(By.CSS_SELECTOR, '[data-by="dataset"][data-kind=""] tbody a[href*="verdict=differs"]')
    count = int(link.text)
    link.click()
    assert "by=dataset" in state(browser), "how the page counts is no filter"
    assert "verdict=differs" in state(browser)
    total = browser.execute_script("return document.querySelectorAll(arguments[0]).length", ROWS)
    assert texts(browser, "#count") == [
        f"{count} of {total} rows fit." if count <= 200 else f"The first 200 of {count} rows that fit."
    ]
    assert set(column(browser, 7)) == {"differs"}
    keys = browser.execute_script(
        "return [...document.querySelectorAll('#list tbody tr:not([hidden])')].map((e) => e.id)"
    )
    drawn = browser.execute_script(
        "return document.querySelector('#agreement').data.flatMap((trace) => trace.customdata || [])"
    )
    assert sorted(drawn) == sorted(keys)
    visit(browser, real, PAGE, "#kind=means")
    assert len(texts(browser, "section .take")) == 1, "a table that is not shown has no menu"
    assert texts(browser, "[data-by]") == texts(browser, '[data-by="method"][data-kind="means"]')


def test_a_click_on_a_point_shows_its_row(browser: webdriver.Chrome, real: Path) -> None:
    """Also one beyond the rows that are shown at once."""
    visit(browser, real, PAGE)
    until(lambda: browser.execute_script("return Boolean(document.querySelector('#agreement').on)"))
    last = browser.execute_script("return document.querySelector('#list tbody').lastElementChild.id")
    assert not browser.find_element(By.ID, last).is_displayed()
    browser.execute_script(
        """
        const place = document.querySelector("#agreement");
        place.dispatchEvent(new PointerEvent("pointerover"));
        place.emit("plotly_click", { points: [{ customdata: arguments[0] }] });
        """,
        last,
    )
    row = browser.find_element(By.ID, last)
    assert row.is_displayed()
    assert row.get_attribute("class") == "here"
    assert state(browser) == f"#row={last}"
    visit(browser, real, PAGE, f"#row={last}")
    assert until(lambda: browser.find_element(By.CSS_SELECTOR, ".here").is_displayed())


def test_rows_that_come_first_after_sorting_are_shown(browser: webdriver.Chrome, real: Path) -> None:
    visit(browser, real, PAGE)
    browser.find_element(By.CSS_SELECTOR, "#list thead th:nth-child(6) button").click()
    first = browser.execute_script(
        "return [...document.querySelectorAll('#list tbody tr')].slice(0, 200).every((row) => !row.hidden)"
    )
    assert first
    assert len(column(browser, 1)) == 200


def test_a_source_says_once_why_its_numbers_may_differ(browser: webdriver.Chrome, real: Path) -> None:
    visit(browser, real, PAGE)
    assert not browser.find_element(By.ID, "sources").get_property("open")
    browser.find_element(By.CSS_SELECTOR, "#list .source").click()
    (said,) = texts(browser, "#sources li")
    assert said.startswith(texts(browser, "#list .source")[0])
    assert len(set(texts(browser, "#list .source"))) == 1


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        ("dataset=VisA&metric=image_auroc", lambda n: n.dataset_title == "VisA" and n.metric == "image_auroc"),
        ("kind=classes&search=bottle+pixel", lambda n: n.class_name == "bottle" and n.row.level == "pixel"),
    ],
)
def test_printed_numbers_are_filtered_where_nothing_is_compared(
    browser: webdriver.Chrome, site: Path, filters: str, fits: Callable[[object], bool]
) -> None:
    visit(browser, site, PAGE, f"#{filters}")
    count = sum(fits(number) for number in load_published())
    assert texts(browser, "#printed-count") == [f"{count} of them fit the filters."]
    assert sum(int(each.split()[-2]) for each in texts(browser, "#printed > details > summary")) == count


def test_on_a_phone_no_heading_is_broken_and_no_number_out_of_sight(browser: webdriver.Chrome, real: Path) -> None:
    screen(browser, 390, 844)
    visit(browser, real, PAGE)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert browser.execute_script(
        """
        const row = document.querySelector("#list tbody tr");
        return [...row.cells].every((cell) => cell.getBoundingClientRect().right <= innerWidth);
        """
    )
    lines = browser.execute_script(
        """
        return [...document.querySelectorAll("#list thead .name")].map((button) => {
          const range = document.createRange();
          range.selectNodeContents(button);
          return range.getClientRects().length;
        });
        """
    )
    assert set(lines) == {1}


def test_the_page_makes_no_complaint(browser: webdriver.Chrome, real: Path) -> None:
    visit(browser, real, PAGE)
    press(browser, "")
    assert [entry["message"] for entry in browser.get_log("browser")] == []
