"""The matrix in a headless Chromium: what it shows, its order, its colours, and its address."""

import re
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import choose, colours, needs_chromium, pick, screen, state, texts, until, visit

pytestmark = needs_chromium

ROWS = """
return [...document.querySelectorAll("#classes tbody tr")].filter((row) => row.getClientRects().length).map((row) =>
  [row.dataset.title, ...[...row.querySelectorAll("td[data-method]")].filter((cell) => cell.getClientRects().length)
    .map((cell) => cell.querySelector(":scope > :first-child").textContent)]);
"""
CONTRASTS = """
const numbers = (colour) => {
  const found = colour.match(/[\\d.]+/g).map(Number);
  return colour.startsWith("color(") ? found : found.map((each, place) => place < 3 ? each / 255 : each);
};
const light = (rgb) => rgb.slice(0, 3).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
return [...document.querySelectorAll("#classes td.high, #classes td.low")].flatMap((cell) => {
  const paper = numbers(getComputedStyle(cell).backgroundColor);
  return [...cell.querySelectorAll(":scope > :first-child, small")].map((each) => {
    const [a, b] = [light(paper), light(numbers(getComputedStyle(each).color))].sort((x, y) => x - y);
    return [paper[3] ?? 1, (b + 0.05) / (a + 0.05)];
  });
});
"""


def rows(browser: webdriver.Chrome) -> list[list[str]]:
    found: list[list[str]] = browser.execute_script(ROWS)
    return found


def column(browser: webdriver.Chrome, title: str) -> list[float]:
    place = 1 + texts(browser, "#classes thead th[data-method] .sort").index(title)
    return [float(row[place].replace("−", "-")) for row in rows(browser) if row[place] != "–"]


def test_values_differences_and_ranks(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "matrix.html")
    values = rows(browser)
    assert [row[0] for row in values] == ["Parts <b>2</b>", "<script>alert(1)</script>", "A", "a", "Scans"]
    first = texts(browser, "#classes thead th[data-method] .sort")
    assert first == ["CLIP", "CLIP-AC", "GenCLIP"]
    assert not texts(browser, "#classes td small")
    choose(browser, "intervals", "on")
    assert len(texts(browser, "#classes td small")) == 15
    assert all(re.match(r"\[[\d.]+–[\d.]+\]", each) for each in texts(browser, "#classes td small"))
    assert rows(browser) == values

    choose(browser, "show", "difference")
    pick(browser, "matrix-controls", "baseline", "GenCLIP")
    assert not texts(browser, "#classes td small")
    for shown, value in zip(rows(browser), values, strict=True):
        for difference, number in zip(shown[1:], value[1:], strict=True):
            shown_as = float(difference.replace("−", "-"))
            assert shown_as == pytest.approx(float(number) - float(value[3]), abs=0.11)
            assert re.fullmatch(r"[+−]\d+\.\d|0\.0", difference)
    assert "minus GenCLIP" in texts(browser, "#matrix-how")[0]

    choose(browser, "show", "rank")
    for shown, value in zip(rows(browser), values, strict=True):
        highest = max(map(float, value[1:]))
        of_best = [rank for rank, number in zip(shown[1:], value[1:], strict=True) if float(number) == highest]
        assert of_best[0] == f"{(1 + len(of_best)) / 2:.1f}"
        assert sum(map(float, shown[1:])) == 6
    pick(browser, "matrix-controls", "metric", "pixel_aupro")
    assert [row[0] for row in rows(browser)] == ["Parts <b>2</b>", "<script>alert(1)</script>", "A", "a"]
    assert texts(browser, "#matrix-note") == ["Without this metric, and so not shown: Scans."]
    assert {number for row in rows(browser) for number in row[1:]} == {"2.0"}
    assert state(browser) == "#intervals=on&metric=pixel_aupro&show=rank&baseline=GenCLIP"
    assert browser.get_log("browser") == []


def test_the_order_the_rows_and_the_address(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "matrix.html", "#show=difference&baseline=WinCLIP&sort=classes:GenCLIP:desc")
    assert column(browser, "WinCLIP") == [0.0] * len(rows(browser))
    sorted_down = column(browser, "GenCLIP")
    assert sorted_down == sorted(sorted_down, reverse=True)
    assert len(set(sorted_down)) > 5
    assert "MVTec AD" not in [row[0] for row in rows(browser)], "classes of all datasets stand in one list"
    assert "MVTec AD" in texts(browser, "#classes tbody .of")
    head = browser.find_element(By.CSS_SELECTOR, '#classes th[data-method="GenCLIP"]')
    assert head.get_attribute("aria-sort") == "descending"
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert column(browser, "GenCLIP") == sorted(sorted_down)
    assert state(browser).endswith("sort=classes:GenCLIP:asc")
    texts_before = rows(browser)
    visit(browser, wide, "matrix.html", browser.execute_script("return location.hash"))
    assert rows(browser) == texts_before

    browser.find_element(By.CSS_SELECTOR, '#classes th[data-method="GenCLIP"] button').send_keys(Keys.ENTER)
    assert "sort" not in state(browser)
    grouped = [row[0] for row in rows(browser)]
    assert grouped[grouped.index("MVTec AD") + 1] == "bottle"
    fold = browser.find_element(By.CSS_SELECTOR, '[aria-label="Classes of MVTec AD"]')
    fold.send_keys(Keys.SPACE)
    assert fold.get_attribute("aria-expanded") == "false"
    assert [row[0] for row in rows(browser)] == [
        title for title in grouped if title not in grouped[grouped.index("MVTec AD") + 1 :][:15]
    ]
    assert state(browser).endswith("folded=MVTec+AD")
    browser.find_element(By.CSS_SELECTOR, "[name=search]").send_keys("caBLe mvtec")
    assert [row[0] for row in rows(browser)] == ["MVTec AD", "cable"], "a search finds what is folded; all words count"
    browser.find_element(By.CSS_SELECTOR, "[name=search]").send_keys(" nothing")
    assert rows(browser) == []
    assert texts(browser, "#matrix-note") == ["No class and no dataset of this domain has all these words."]
    assert browser.get_log("browser") == []

    visit(
        browser,
        wide,
        "matrix.html",
        "#show=rank&metric=nothing&baseline=nobody&sort=classes:nobody:asc&folded=nothing&domain=x",
    )
    assert [row[0] for row in rows(browser)] == grouped, "what the page does not have means the default"
    visit(browser, wide, "matrix.html", "#show=rank&intervals=off&order=rank&pin=MRAD-TF")
    titles = texts(browser, "#classes thead th[data-method] .sort")
    assert titles[0] == "MRAD-TF"
    means = {title: sum(column(browser, title)) for title in titles[1:]}
    assert list(means.values()) == sorted(means.values()), "columns in the order of their ranks, the best first"
    ranks = rows(browser)[0][1:]
    assert sum(map(float, ranks)) == pytest.approx(13 * 14 / 2, abs=0.5)
    browser.find_element(By.CSS_SELECTOR, 'input[name="group"][value="training-free"] + span').click()
    fewer = [row[1:] for row in rows(browser)]
    assert len(fewer[0]) < 13
    assert sum(map(float, fewer[0])) == pytest.approx(len(fewer[0]) * (len(fewer[0]) + 1) / 2, abs=0.5)


def test_a_column_that_is_left_out_sorts_nothing(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "matrix.html")
    grouped = rows(browser)
    anchor = "#sort=classes:GenCLIP:desc"
    visit(browser, wide, "matrix.html", anchor)
    assert rows(browser) != grouped
    head = browser.find_element(By.CSS_SELECTOR, '#classes th[data-method="GenCLIP"]')
    group = str(head.get_attribute("data-group"))
    choose(browser, "group", group)
    assert [row[0] for row in rows(browser)] == [row[0] for row in grouped]
    assert not browser.find_elements(By.CSS_SELECTOR, "#classes.flat")
    choose(browser, "group", group)
    assert browser.find_elements(By.CSS_SELECTOR, "#classes.flat")
    browser.find_element(By.CSS_SELECTOR, "#classes thead th:first-child button").click()
    names = [row[0] for row in rows(browser)]
    assert names == sorted(names, key=str.casefold), "a click on the first header gives one list by name"


def test_the_box_says_what_is_shown(browser: webdriver.Chrome, wide: Path) -> None:
    cell = '#classes tbody td[data-method="WinCLIP"] > :first-child'
    shown = {"": r"[\d.]+(, (best|second) of its row)?", "#show=rank": r"Rank [\d.]+ of 13"}
    shown["#show=difference&baseline=CLIP"] = r"[+−]\d+\.\d\d points to CLIP"
    for anchor, said in shown.items():
        visit(browser, wide, "matrix.html", anchor)
        ActionChains(browser).move_to_element(browser.find_element(By.CSS_SELECTOR, cell)).perform()
        until(lambda said=said: re.fullmatch(said, [*texts(browser, "#hint p"), "", ""][1]))


def test_intervals_have_one_switch(browser: webdriver.Chrome, wide: Path) -> None:
    """Off in the matrix and on elsewhere, unless the reader chose; the choice of one page is not lost on another."""
    visit(browser, wide, "matrix.html", "#intervals=off")
    assert not texts(browser, "#classes td small")
    choose(browser, "group", "training-free")
    assert "intervals=off" in state(browser)
    choose(browser, "intervals", "on")
    assert texts(browser, "#classes td small")
    assert "intervals=on" in state(browser)
    choose(browser, "show", "rank")
    assert not texts(browser, ".of-intervals")


def test_texts_are_legible_on_every_colour(browser: webdriver.Chrome, wide: Path) -> None:
    for scheme in ("light", "dark"):
        colours(browser, scheme)
        for anchor in ("#intervals=on", "#show=difference&baseline=WinCLIP", "#show=rank"):
            visit(browser, wide, "matrix.html", anchor)
            found = browser.execute_script(CONTRASTS)
            assert len(found) > 100
            assert all(opaque == 1 and contrast >= 4.5 for opaque, contrast in found), (scheme, anchor, min(found))
    both = {kind: browser.find_elements(By.CSS_SELECTOR, f"#classes td.{kind}") for kind in ("high", "low")}
    assert both["high"] and not both["low"], "ranks have one hue"


def test_a_phone_scrolls_the_table_and_not_the_page(browser: webdriver.Chrome, wide: Path) -> None:
    screen(browser, 390, 844)
    visit(browser, wide, "matrix.html")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    fold = browser.find_element(By.CSS_SELECTOR, ".fold")
    assert fold.size["width"] >= 44
    assert fold.size["height"] >= 44
