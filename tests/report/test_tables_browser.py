"""Tables in a headless Chromium: columns, sorting, addresses, and what is said about a number."""

import pandas as pd
import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import choose, needs_chromium, press, screen, texts, until, visit
from support.tables_page import CLASSES, HOSTILE, LONG, ROWS, TABLE, TITLES, TablesPage

from benchmark.report.values import HAS_RANGE

pytestmark = needs_chromium

HEADS = "#main .tab:not([hidden]) table[data-table=results] thead th[data-method] .name"


def heads(driver: webdriver.Chrome) -> list[str]:
    """Return the whole names of the columns that are shown, in their order."""
    script = """
        const heads = [...document.querySelectorAll(arguments[0])];
        return heads.filter((each) => each.getClientRects().length).map((each) => each.textContent);
    """
    found: list[str] = driver.execute_script(script, HEADS)
    return found


def column(driver: webdriver.Chrome, title: str) -> list[str]:
    """Return the numbers that stand below the header of a method, from the rows' cells as they are ordered now."""
    script = f"""
        const table = {TABLE};
        const head = [...table.tHead.rows].at(-1);
        const place = [...head.cells].findIndex((each) => each.dataset.method === arguments[0]);
        const cells = [...table.tBodies[0].rows].map((row) => row.cells[place]);
        return cells.map((cell) => cell.querySelector(":scope > :first-child").textContent);
    """
    return ["–" if each in ("failed", "not run") else each for each in driver.execute_script(script, title)]


def printed(values: pd.Series) -> list[str]:
    return ["–" if pd.isna(value) else f"{value:.1f}" for value in values]


def sort_button(driver: webdriver.Chrome, title: str) -> None:
    script = f"""
        const heads = [...{TABLE}.querySelectorAll("th[aria-sort]")];
        const button = heads.find((each) => each.dataset.method === arguments[0]).querySelector("button");
        button.scrollIntoView({{ block: "center", inline: "center" }});
        return button;
    """
    driver.execute_script(script, title).click()


def test_columns_in_order_of_average_rank(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html")
    assert heads(browser) == list(TITLES)
    assert texts(browser, "thead th.group")[:2] == ["training-free", "auxiliary dataset"]
    browser.find_element(By.CSS_SELECTOR, 'select[name="order"] option[value="rank"]').click()
    for metric in page.values:
        frame = page.values[metric]
        ranks = frame.rank(axis=1, ascending=False).mean()
        assert heads(browser) == list(ranks.sort_values(kind="stable").index)
        assert column(browser, "Method3") == printed(frame["Method3"])
        assert texts(browser, "thead th.group") == []
        choose(browser, "metric", "pixel_aupro")
    assert browser.current_url.endswith("#order=rank&metric=pixel_aupro")
    browser.find_element(By.CSS_SELECTOR, 'select[name="order"] option[value=""]').click()
    assert heads(browser) == list(TITLES)
    assert column(browser, LONG) == printed(page.values["pixel_aupro"][LONG])


def test_pinned_methods_come_first_and_stay(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html", "#pin=Method7&pin=nobody")
    assert heads(browser) == ["Method7", *(title for title in TITLES if title != "Method7")]
    browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
    browser.find_element(By.CSS_SELECTOR, 'input[name="find"]').send_keys("method 2")
    choose(browser, "pin", "Method2")
    assert texts(browser, "#method-count") == ["all 40, 2 pinned"]
    assert heads(browser)[:3] == ["Method7", "Method2", TITLES[0]]
    assert column(browser, "Method2") == printed(page.values["image_auroc"]["Method2"])
    assert texts(browser, "thead th.group")[:2] == ["pinned", "training-free"]
    *gaps, left = browser.execute_script(f"""
        const table = {TABLE};
        const scroller = table.parentElement;
        scroller.scrollTo(900, 200);
        const box = scroller.getBoundingClientRect();
        const [first, one, two] = [...table.tBodies[0].rows[9].cells].map((each) => each.getBoundingClientRect());
        const head = table.tHead.getBoundingClientRect();
        const gaps = [first.left - box.left, one.left - first.right, two.left - one.right, head.top - box.top];
        return [...gaps, scroller.scrollLeft];
    """)
    assert gaps == pytest.approx([0] * 4, abs=1.1), "the first column, those that are pinned, and the header stay"
    assert left == 900
    top = "scrollTo(0, 400); return document.querySelector('.banner').getBoundingClientRect().top"
    assert browser.execute_script(top) == 0
    browser.find_element(By.LINK_TEXT, "other").click()
    assert "other.html#pin=Method7&pin=Method2" in browser.current_url
    assert heads(browser)[:2] == ["Method7", "Method2"]
    browser.execute_script("document.querySelector('input[name=pin][value=Method7]').click()")
    assert heads(browser)[:2] == ["Method2", TITLES[0]]


def test_names_have_two_lines_and_a_number_is_in_sight_on_a_phone(browser: webdriver.Chrome, page: TablesPage) -> None:
    screen(browser, 390, 844)
    for anchor in ("", "#pin=Method7&pin=Method8&pin=Method9"):
        visit(browser, page.folder, "tables.html", anchor)
        lines, seen, width = browser.execute_script(f"""
            const table = {TABLE};
            const lineOf = (name) => parseFloat(getComputedStyle(name).lineHeight);
            const heights = [...table.querySelectorAll("th .name")].map((name) => name.offsetHeight / lineOf(name));
            const box = table.parentElement.getBoundingClientRect();
            table.parentElement.scrollLeft = 700;
            const sticky = [...table.tBodies[0].rows[1].cells].filter((cell) => {{
              const {{ position, left }} = getComputedStyle(cell);
              return position === "sticky" && left !== "auto";
            }});
            const edge = Math.max(...sticky.map((cell) => cell.getBoundingClientRect().right));
            return [heights, box.right - edge, document.documentElement.scrollWidth];
        """)
        assert max(lines) <= 2.05
        assert seen >= 100, "what stays leaves room for a number with its interval"
        assert width == 390


def test_the_chooser_finds_methods_and_works_by_keyboard(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html")
    browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
    browser.find_element(By.CSS_SELECTOR, '[data-choose="none"]').click()
    assert heads(browser) == []
    find = browser.find_element(By.CSS_SELECTOR, 'input[name="find"]')
    find.send_keys("METHOD 3")
    assert len(texts(browser, ".choice")) == 7
    browser.find_element(By.CSS_SELECTOR, '[data-choose="all"]').click()
    assert heads(browser) == [f"Method{number}" for number in (3, 13, 23, 30, 31, 32, 33)]
    find.send_keys(Keys.ENTER)
    press(browser, Keys.ARROW_RIGHT, Keys.SPACE)
    assert texts(browser, "#method-count") == ["6 of 40"]
    find.send_keys("nothing")
    assert texts(browser, "#no-method") == ["No method has that in its name."]
    assert browser.current_url.count("method=") == 6


def test_sorting_stands_in_the_address_and_stays_when_the_metric_changes(
    browser: webdriver.Chrome, page: TablesPage
) -> None:
    visit(browser, page.folder, "tables.html", "#nothing=1&sort=results:nobody:asc&sort=broken")
    frame = page.values["image_auroc"]
    own = printed(frame["Method1"])
    assert column(browser, "Method1") == own
    sort_button(browser, "Method1")
    down = printed(frame["Method1"].sort_values(ascending=False))
    assert column(browser, "Method1") == down
    assert "sort=results%3AMethod1%3Adesc" in browser.current_url
    choose(browser, "metric", "pixel_aupro")
    assert column(browser, "Method1") == printed(page.values["pixel_aupro"]["Method1"].sort_values(ascending=False))
    choose(browser, "metric", "image_auroc")
    assert "metric=" not in browser.current_url
    sort_button(browser, "Method1")
    assert column(browser, "Method1") == printed(frame["Method1"].sort_values())
    address = browser.current_url
    browser.find_element(By.LINK_TEXT, "other").click()
    assert column(browser, "Method1") == own
    browser.back()
    assert browser.current_url == address
    assert column(browser, "Method1") == printed(frame["Method1"].sort_values()), "a page looks as it was left"
    sort_button(browser, "Method1")
    assert column(browser, "Method1") == own, "a third time gives the table's own order"
    assert "sort=results" not in browser.current_url
    hostile = HOSTILE[4]
    sort_button(browser, hostile)
    found = column(browser, hostile)
    assert found == printed(frame[hostile].sort_values(ascending=False))
    browser.refresh()
    assert column(browser, hostile) == found
    browser.execute_script("location.hash = ''")
    until(lambda: column(browser, "Method1") == own)


def test_the_forms_of_metrics_follow_one_choice(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html", "#metric=pixel_aupro")
    assert texts(browser, ".tab h3") == ["pixel aupro"] * 2
    ids = browser.execute_script("return [...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))
    browser.find_element(By.LINK_TEXT, "other").click()
    assert texts(browser, ".tab h3") == ["pixel aupro"] * 2
    browser.execute_script("location.hash = '#metric=unknown'")
    until(lambda: texts(browser, ".tab h3") == ["image auroc"] * 2)
    choose(browser, "metric", "pixel_aupro")
    browser.execute_script("location.hash = ''")
    until(lambda: texts(browser, ".tab h3") == ["image auroc"] * 2)


def test_an_anchor_leaves_the_state_in_the_address(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html", "#metric=pixel_aupro")
    browser.find_element(By.LINK_TEXT, "last").click()
    assert browser.current_url.endswith("#metric=pixel_aupro")
    assert browser.execute_script("return document.activeElement.id") == "last"
    browser.execute_script("document.querySelector('.skip').focus()")
    press(browser, Keys.ENTER)
    assert browser.current_url.endswith("#metric=pixel_aupro")
    assert browser.execute_script("return document.activeElement.id") == "main"


def value_of(driver: webdriver.Chrome, row: int, title: str) -> object:
    script = f"""
        const table = {TABLE};
        const place = [...[...table.tHead.rows].at(-1).cells].findIndex((each) => each.dataset.method === arguments[1]);
        const value = table.tBodies[0].rows[arguments[0]].cells[place].querySelector(":scope > :first-child");
        value.scrollIntoView({{ block: "center", inline: "center" }});
        return value;
    """
    return driver.execute_script(script, row, title)


def test_a_number_says_more_by_keyboard_mouse_and_finger(browser: webdriver.Chrome, page: TablesPage) -> None:
    frame = page.values["image_auroc"]
    title = "Method5"
    best = frame.idxmax(axis=1)
    row = next(
        at for at, name in enumerate(CLASSES) if best[name] != title and not pd.isna(frame[title][name]) and at > 5
    )
    value = frame[title][CLASSES[row]]
    behind = frame.loc[CLASSES[row]].max() - value
    visit(browser, page.folder, "tables.html")

    def hint() -> str:
        return "\n".join(texts(browser, "#hint p"))

    def gone() -> bool:
        return not browser.find_element(By.ID, "hint").is_displayed()

    press(browser, Keys.TAB)  # what has the focus is shown from the first key on
    browser.execute_script("arguments[0].focus()", value_of(browser, row, title))
    said = until(hint)
    assert said.split("\n")[:2] == [f"{title} · {CLASSES[row]}", f"{value:.2f}"]
    assert f"95 % bootstrap interval {value - 1:.1f} to {value + 1:.1f}." in said
    assert f"{behind:.1f} points behind the best, paired interval −0.5 to 2.5." in said
    described = browser.execute_script("return document.activeElement.getAttribute('aria-describedby')")
    assert described == "hint"
    press(browser, Keys.ESCAPE)
    assert gone()
    assert browser.execute_script("return document.activeElement.hasAttribute('aria-describedby')") is False
    press(browser, Keys.ARROW_RIGHT)
    assert until(hint).startswith("Method6 · ")
    press(browser, Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    assert until(hint).startswith(f"{title} · {CLASSES[row + 1]}")
    browser.execute_script("document.activeElement.blur()")
    until(gone)
    ActionChains(browser).move_to_element(value_of(browser, row, title)).perform()  # type: ignore[arg-type]
    assert until(hint).startswith(f"{title} · {CLASSES[row]}")
    box, cell = browser.execute_script(
        "return [document.getElementById('hint'), arguments[0]].map((each) => each.getBoundingClientRect().toJSON())",
        value_of(browser, row, title),
    )
    assert box["top"] >= cell["bottom"] or box["bottom"] <= cell["top"], "it is not over the number"
    ActionChains(browser).move_to_element(browser.find_element(By.CSS_SELECTOR, "#hint a")).perform()
    assert not gone(), "the pointer may go to the box"
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, "h1")).perform()
    until(gone)
    touched = value_of(browser, row, title)
    place = browser.execute_script(
        "const r = arguments[0].getBoundingClientRect(); return [r.x + r.width / 2, r.y + 5]", touched
    )
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        touch = {"x": place[0], "y": place[1]}
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [touch]})
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert until(hint).startswith(f"{title} · {CLASSES[row]}")
    finally:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert "tables.html" in browser.current_url, "a finger sees the box before the record"
    link = browser.find_element(By.CSS_SELECTOR, "#hint a")
    assert str(link.get_attribute("href")).endswith("records.html#r1")


def test_a_cut_name_is_said_whole(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html")
    press(browser, Keys.TAB)
    browser.execute_script(
        f"[...{TABLE}.querySelectorAll('.sort')].find((e) => e.textContent === arguments[0]).focus()", LONG
    )
    until(lambda: texts(browser, "#hint p") == [LONG])
    browser.execute_script(f"{TABLE}.tBodies[0].rows[2].querySelector('.name').focus()")
    until(lambda: texts(browser, "#hint p") == [ROWS[2]])


def test_intervals_are_hidden_and_that_stands_in_the_address(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html")
    small = ".tab td.num small"
    assert len(texts(browser, small)) > 1000
    choose(browser, "intervals", "on")
    assert texts(browser, small) == []
    assert browser.current_url.endswith("#intervals=off")
    browser.find_element(By.LINK_TEXT, "other").click()
    assert texts(browser, small) == []


def test_columns_of_one_name_are_told_apart(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html")
    rows = "[data-table=twice] tbody th"
    assert texts(browser, rows) == ["a", "b", "c", "d"]
    heads = browser.find_elements(By.CSS_SELECTOR, "[data-table=twice] tr:last-child .sort")
    heads[3].click()  # the second AUROC
    assert texts(browser, rows) == ["d", "c", "a", "b"]
    assert browser.execute_script("return Report.address.all('sort')") == ["twice:Two AUROC:desc"]
    browser.refresh()
    assert texts(browser, rows) == ["d", "c", "a", "b"]


@pytest.mark.parametrize("where", ["site", "wide"])
def test_no_table_has_two_columns_of_one_name(
    browser: webdriver.Chrome, where: str, request: pytest.FixtureRequest
) -> None:
    script = """
        return [...document.querySelectorAll("table.sortable")].map((table) =>
          Report.columns.headsOf(table).filter((head) => head.hasAttribute("aria-sort")).map(Report.tables.titleOf));
    """
    site = request.getfixturevalue(where)
    count = 0
    for path in site.rglob("*.html"):
        visit(browser, site, path.relative_to(site).as_posix())
        for names in browser.execute_script(script):
            count += 1
            assert len(names) == len(set(names)), (path.name, names)
    assert count > 20


def test_what_failed_was_not_run_or_is_undefined_is_said_apart(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html")
    script = f"""
        const cells = [...{TABLE}.querySelectorAll("td.num[data-sort='']")];
        const same = cells.filter((cell) => cell.textContent === arguments[0]);
        const found = same.filter((cell) => (cell.dataset.hint || "") === arguments[1]);
        found[0].scrollIntoView({{ block: "center", inline: "center" }});
        return found[0].firstElementChild;
    """
    masks = "Undefined: its masks are empty."
    cases = {("failed", ""): "Failed.", ("not run", ""): "Not run.", ("–", ""): "Undefined.", ("–", masks): masks}
    for shown, said in cases.items():
        ActionChains(browser).move_to_element(browser.execute_script(script, *shown)).perform()
        until(lambda said=said: texts(browser, "#hint p")[1:] == [said])
    last = browser.find_element(By.CSS_SELECTOR, "[data-table=twice] tbody tr:last-child td:last-child > span")
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", last)
    ActionChains(browser).move_to_element(last).perform()
    until(lambda: texts(browser, "#hint p")[1:] == ["9.00", HAS_RANGE])
