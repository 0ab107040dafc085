"""Tables that a reader takes along, from a headless Chromium: as CSV, Markdown and LaTeX."""

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
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import choose, needs_chromium, press, texts, until, visit
from support.tables_page import BANNER, HOSTILE, TABLE, TablesPage

pytestmark = needs_chromium


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
    assert len(browser.find_elements(By.CSS_SELECTOR, '#main input[name="intervals"]')) == 1
    assert ", rank" in take(browser, "asCsv").splitlines()[1]


def test_numbers_of_a_csv_are_numbers(browser: webdriver.Chrome, page: TablesPage) -> None:
    visit(browser, page.folder, "tables.html")
    table = "document.querySelector('[data-table=twice]')"
    text = browser.execute_script(f"return Report.take.asCsv(Report.take.read({table}))")
    frame = pd.read_csv(io.StringIO(text), comment="#", index_col=0)
    numbers = {
        "One AUROC": [-2.8, 1.2, None, 0.0],
        "One AP": [80.0, 70.0, None, None],
        "One AP beside": [1.2, -0.3, None, None],
        "Two AUROC": [None, None, 60.0, 65.0],
        "Two AP": [None, None, 1234.0, 9.0],
    }
    marks = {
        "One AUROC mark": [None, None, "failed", None],
        "One AP mark": [None, None, "not run", None],
        "Two AUROC mark": [None, "lacks 2 datasets", None, None],
        "Two AP mark": ["failed", "not run", None, "wide range"],
    }
    assert sorted(frame.columns) == sorted([*numbers, *marks])
    for name, values in numbers.items():
        assert frame[name].dtype.kind in "if"
        assert frame[name].astype(object).where(frame[name].notna(), None).tolist() == values
    for name, words in marks.items():
        assert frame[name].astype(object).where(frame[name].notna(), None).tolist() == words


def test_every_table_of_the_report_is_read_as_numbers(browser: webdriver.Chrome, site: Path) -> None:
    script = """
        const isSeen = (element) => element.getClientRects().length > 0;
        for (const details of document.querySelectorAll("main details")) details.open = true;
        const tables = [...document.querySelectorAll("table.grid")].filter((table) => table.tHead && isSeen(table));
        return tables.map((table) => [
          Report.take.asCsv(Report.take.read(table)),
          Report.columns.headsOf(table).filter((head) => head.matches(".num")).map(Report.columns.nameOf),
        ]);
    """
    numbers = 0
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        visit(browser, site, name)
        for text, of_numbers in browser.execute_script(script):
            frame = pd.read_csv(io.StringIO(text), comment="#")
            assert len(set(frame.columns)) == len(frame.columns)
            assert not [each for each in frame.columns if str(each).startswith("Unnamed")], (name, list(frame.columns))
            kinds = frame.dtypes
            for column in set(frame.columns) & {*of_numbers, *(f"{each} beside" for each in of_numbers)}:
                found = frame[column].dropna().astype(str)
                like = found.str.fullmatch(r"[-+−]?[\d,]+(?:\.\d+)?")
                assert kinds[column].kind in "if" or not like.any(), (name, column, list(found))
                numbers += len(found)
    assert numbers > 100
