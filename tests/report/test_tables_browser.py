"""Tables in a headless Chromium: columns, sorting, addresses, what is said about a number, and tables taken along."""

import csv
import io
import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pandas as pd
import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from markdown_it import MarkdownIt
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import choose, needs_chromium, press, screen, texts, until, visit
from support.tables_page import BANNER, TablesPage, make_tables_page

pytestmark = needs_chromium

HOSTILE = (
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "a_b & 50% #1 {x} ^ ~ \\ $y$ [z]",
    '-1, "two"',
    "**bold**: `x`",
)
LONG = "A method with a name that is far too long for a column, third version with other prompts"
TITLES = (*HOSTILE, LONG, *(f"Method{number}" for number in range(34)))
ROWS = ("=1+1", "x" * 90, "a kind of defect whose name has many words and would take five lines beside numbers", "A|B")
CLASSES = (*ROWS, *(f"class {number:02}" for number in range(26)))
HEADS = "#main .tab:not([hidden]) table[data-table=results] thead th[data-method] .name"
TABLE = "document.querySelector('.tab:not([hidden]) table, #classes')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> TablesPage:
    """Forty methods on thirty classes, with two metrics."""
    return make_tables_page(tmp_path_factory.mktemp("tables"), TITLES, CLASSES, ("image_auroc", "pixel_aupro"))


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
    found: list[str] = driver.execute_script(script, title)
    return found


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


# --- tables to take along


def take(driver: webdriver.Chrome, form: str) -> str:
    text: str = driver.execute_script(f"return Report.take.{form}(Report.take.read({TABLE}))")
    return text


@pytest.fixture
def view(browser: webdriver.Chrome, page: TablesPage) -> pd.DataFrame:
    """What the browser shows: six methods, sorted by one of them."""
    shown = [*HOSTILE, "Method1"]
    state = [("method", title) for title in shown] + [("sort", "results:Method1:desc"), ("pin", "Method1")]
    visit(browser, page.folder, "tables.html", f"#{urlencode(state)}")
    browser.execute_script(f"{TABLE}.tBodies[0].rows[4].hidden = true")
    frame = page.values["image_auroc"][["Method1", *HOSTILE]].sort_values("Method1", ascending=False, kind="stable")
    return frame.drop(index=frame.index[4])


def test_a_table_is_taken_as_csv(browser: webdriver.Chrome, view: pd.DataFrame) -> None:
    text = take(browser, "asCsv")
    assert text.startswith(f"# {BANNER}\n# Tables")
    read = pd.read_csv(io.StringIO(text), comment="#", index_col=0)
    numbers = read[[name for name in read.columns if not name.endswith((" interval", " mark"))]]
    assert [name.removeprefix("'") for name in numbers.columns] == list(view.columns)
    assert [name.removeprefix("'") for name in numbers.index] == list(view.index)
    assert numbers.to_numpy() == pytest.approx(view.to_numpy(), nan_ok=True)
    first = view["Method1"].iloc[0]
    assert read["Method1 interval"].iloc[0] == f"[{first - 1:.1f}–{first + 1:.1f}]"
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    names = [*next(csv.reader(lines[:1])), *(row[0] for row in csv.reader(lines[1:]))]
    assert not [name for name in names if name.startswith(("=", "+", "-", "@"))]
    choose(browser, "intervals", "on")
    assert "interval" not in take(browser, "asCsv")


def test_a_table_is_taken_as_markdown(browser: webdriver.Chrome, view: pd.DataFrame) -> None:
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(take(browser, "asMarkdown"))
    kinds = [token.type for token in tokens]
    assert kinds.count("tr_open") == 1 + len(view)
    assert kinds.count("th_open") == 1 + len(view.columns)
    assert kinds.count("td_open") == len(view) * (1 + len(view.columns))
    inline = [token for token in tokens if token.type == "inline"]
    shown = ["".join(part.content for part in token.children or () if part.type == "text") for token in inline]
    assert BANNER in shown
    for name in (*view.columns, *view.index):
        assert name in [*shown, *("".join(p.content for p in t.children or ()) for t in inline)]
    parts = [part for token in inline for part in token.children or ()]
    assert {part.type for part in parts} <= {"text", "strong_open", "strong_close", "html_inline"}
    assert {part.content for part in parts if part.type == "html_inline"} <= {"<u>", "</u>"}


def test_a_table_is_taken_as_latex(browser: webdriver.Chrome, view: pd.DataFrame) -> None:
    lines = take(browser, "asLatex").splitlines()
    body = [line for line in lines if not line.startswith("%")]
    assert body[0] == r"\begin{tabular}{l" + "r" * len(view.columns) + "}"
    assert body[-1] == r"\end{tabular}"
    assert [line for line in body if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    assert (
        r"\multicolumn{7}{l}{\textbf{SYNTHETIC \textless{}b\textgreater{}numbers\textless{}/b\textgreater{} "
        r"\& nothing else}} \\" in body
    )
    rows = [line.removesuffix(r" \\") for line in body if line.endswith(r" \\") and "multicolumn" not in line]
    cells = [re.split(r"(?<!\\) & ", row) for row in rows]
    assert {len(row) for row in cells} == {1 + len(view.columns)}
    assert len(rows) == 1 + len(view)
    assert cells[0][4] == r"a\_b \& 50\% \#1 \{x\} \textasciicircum{} \textasciitilde{} \textbackslash{} \$y\$ {[}z{]}"
    for line in body:  # nothing stays that TeX would not print: braces are in pairs, special letters are escaped
        bare = re.sub(r"\$\\(approx|pm)\$", "", line)
        bare = re.sub(r"\\[&%_#${}]|\\\\|\\[a-zA-Z]+", "", bare)
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"[#$%_^~\\<>|\"]", bare), line
        assert all(ord(letter) < 128 for letter in bare), line


def test_the_menu_copies_and_downloads(browser: webdriver.Chrome, page: TablesPage, tmp_path: Path) -> None:
    visit(browser, page.folder, "tables.html", "#method=Method1")
    browser.execute_script("window.copied = []; navigator.clipboard.writeText = async (text) => { copied.push(text); }")
    browser.find_element(By.CSS_SELECTOR, ".tab:not([hidden]) .take summary").click()
    until(lambda: texts(browser, ".take-menu button"))
    for label in ("Copy as CSV", "Copy as LaTeX", "Copy as Markdown", "Copy the link to this view"):
        browser.find_element(By.CSS_SELECTOR, f'.tab:not([hidden]) [aria-label="{label}"]').click()
    copied = until(lambda: len(found := browser.execute_script("return copied")) == 4 and found)
    assert copied == [
        take(browser, "asCsv"),
        take(browser, "asLatex"),
        take(browser, "asMarkdown"),
        browser.current_url,
    ]
    assert texts(browser, ".take-menu p") == ["Link copied."]
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.find_element(By.CSS_SELECTOR, '.tab:not([hidden]) [aria-label="Download as Markdown"]').click()
    made = until(lambda: list(tmp_path.glob("*.md")))
    assert made[0].name == "tables-class-by-method-image-auroc.md"
    assert until(made[0].read_text) == take(browser, "asMarkdown")
    press(browser, Keys.ESCAPE)
    assert texts(browser, ".take-menu") == []
    assert browser.execute_script("return document.activeElement.tagName") == "SUMMARY"
    assert json.dumps(browser.get_log("browser")) == "[]"


def test_the_matrix_has_the_same_order_of_columns_for_values_and_for_ranks(
    browser: webdriver.Chrome, wide: Path
) -> None:
    found = []
    for anchor in ("#order=rank&pin=CoOp", "#order=rank&pin=CoOp&show=rank"):
        visit(browser, wide, "matrix.html", anchor)
        found.append(texts(browser, "#classes thead th[data-method] .name"))
    assert found[0] == found[1]
    assert found[0][0] == "CoOp"
    assert len(browser.find_elements(By.CSS_SELECTOR, '#main input[name="brackets"]')) == 1
    assert ", rank" in take(browser, "asCsv").splitlines()[1]
