"""The state of a page in its address, in a headless Chromium: what `Report` of page.js offers to the other scripts."""

from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from support.browser import choose, needs_chromium, texts, until, visit
from support.wide import METHODS

pytestmark = needs_chromium

COUNTED = """
window.replaced = 0;
const replace = history.replaceState;
history.replaceState = function (...all) { window.replaced += 1; return replace.apply(this, all); };
"""
FORM = """
const { make } = Report;
const option = (name) => make("option", { value: name, textContent: name });
const radio = (value) => make("input", { type: "radio", name: "side", value });
const form = make("form", { id: "tried" },
  make("select", { name: "kind" }, option("a"), option("b")), radio("left"), radio("right"),
  make("input", { type: "checkbox", name: "on" }), make("input", { type: "checkbox", name: "off" }),
  make("input", { type: "search", name: "words" }));
document.querySelector("#main").prepend(form);
window.told = [];
Report.state(form, { kind: "a", side: "left", on: "on", off: "off", words: "", absent: "home" },
  (values, changed) => window.told.push([values, changed]));
"""


def replaced(driver: webdriver.Chrome) -> int:
    count: int = driver.execute_script("const count = window.replaced; window.replaced = 0; return count")
    return count


def test_a_choice_is_handled_once(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html")
    browser.execute_script(COUNTED)
    browser.find_element(By.CSS_SELECTOR, '#metric option[value="image_ap"]').click()
    assert browser.execute_script("return Report.address.get('metric')") == "image_ap"
    assert replaced(browser) <= 2  # another metric also ends the order by a column
    box = browser.find_element(By.ID, "search")
    box.send_keys("a")
    browser.execute_script("arguments[0].blur()", box)
    assert replaced(browser) == 1
    browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
    browser.find_element(By.NAME, "find").send_keys("a")
    assert replaced(browser) == 0
    title = browser.find_element(By.CSS_SELECTOR, ".choice:not([hidden]) [name=method]").get_attribute("value")
    choose(browser, "method", str(title))
    assert replaced(browser) == 1
    assert not browser.execute_script("return Report.methods.shown().has(arguments[0])", title)


def test_fields_stand_in_the_address_without_their_defaults(browser: webdriver.Chrome, site: Path) -> None:
    start = "#kind=z&side=right&on=maybe&words=+two+words+&absent=x&other=1"
    visit(browser, site, "about.html", start)
    browser.execute_script(FORM)
    home = {"kind": "a", "side": "left", "on": "on", "off": "off", "words": "", "absent": "home"}
    ((values, changed),) = browser.execute_script("return window.told")
    assert values == {**home, "side": "right", "words": "two words"}  # what no field offers is the default
    assert set(changed) == set(home)
    browser.execute_script(COUNTED)
    for name in ("on", "off"):
        browser.find_element(By.CSS_SELECTOR, f"#tried [name={name}]").click()
    assert replaced(browser) == 2
    told = browser.execute_script("return window.told")
    assert [changed for _, changed in told[1:]] == [["on"], ["off"]]
    assert told[-1][0] == {**values, "on": "off", "off": "on"}
    state = browser.execute_script("return location.hash")
    assert sorted(state[1:].split("&")) == sorted(["side=right", "words=two+words", "other=1", "on=off", "off=on"])
    browser.execute_script("Report.address.choose({ kind: 'b', on: '' })")
    assert browser.execute_script("return window.told.at(-1)") == [
        {**values, "kind": "b", "off": "on"},
        ["kind", "on"],
    ]
    browser.execute_script("location.hash = '#main'")
    assert (
        browser.execute_async_script(
            "addEventListener('hashchange', () => {}); setTimeout(() => arguments[0](Report.address.anchor()), 50)"
        )
        == "main"
    )
    assert browser.execute_script("return window.told.at(-1)[0]") == home


def test_what_a_page_does_not_know_stays_in_the_address(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html", "#method=CoOp&method=elsewhere&method=WinCLIP&pin=far")
    browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
    choose(browser, "pin", "CoOp")
    choose(browser, "method", "WinCLIP")
    script = "const { all } = Report.address; return [all('method').sort(), all('pin').sort()]"
    assert browser.execute_script(script) == [["CoOp", "elsewhere"], ["CoOp", "far"]]
    visit(browser, wide, "index.html", "#method=elsewhere")
    browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
    choose(browser, "pin", "CoOp")
    assert browser.execute_script(script) == [["elsewhere"], ["CoOp"]]


def test_no_method_is_said_and_a_method_without_a_title_is_none(browser: webdriver.Chrome, wide: Path) -> None:
    for anchor in ("#method=", "#method", "#method=&metric=image_ap"):
        visit(browser, wide, "index.html", anchor)
        assert len(texts(browser, "#leaderboard tbody th")) == len(METHODS)
        assert texts(browser, "#none-chosen") == [""] or not texts(browser, "#none-chosen")
    browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
    browser.find_element(By.CSS_SELECTOR, '[data-choose="none"]').click()
    assert "methods=none" in browser.current_url
    for page in ("index.html", "matrix.html", "datasets/mvtec.html"):
        visit(browser, wide, page, "#methods=none")
        assert texts(browser, "#none-chosen") == [
            "No method is chosen, so there is nothing to show: choose some under “Methods”."
        ]
        assert texts(browser, "#leaderboard, #matrix, #classes, .tab .grid") == texts(browser, "#verdicts p") == []
        browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
        choose(browser, "method", "CoOp")
        assert "methods=" not in browser.current_url
        assert texts(browser, "#leaderboard, #matrix, #classes, .tab .grid")


def test_many_choices_write_the_address_seldom_and_the_last_always(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html")
    browser.execute_script(COUNTED)
    browser.execute_script("""
        const replace = history.replaceState;
        window.refused = 0;
        history.replaceState = function (...all) { // as a browser does whose limit is reached
          if (window.refused < 1) { window.refused += 1; throw new DOMException("too often", "SecurityError"); }
          return replace.apply(this, all);
        };
        for (let number = 0; number < 400; number += 1) Report.address.set({ search: `word${number}` });
    """)
    assert replaced(browser) <= 30
    assert browser.execute_script("return [Report.address.get('search'), window.refused]") == ["word399", 1]
    assert browser.execute_script("return Report.address.link()").endswith("#search=word399")
    until(lambda: browser.current_url.endswith("#search=word399"))
    browser.execute_script("""
        for (let number = 0; number < 30; number += 1) Report.address.set({ search: `again${number}` });
        location.hash = "#search=typed";
    """)
    until(lambda: browser.execute_script("return document.querySelector('#search').value") == "typed")
    assert browser.current_url.endswith("#search=typed")


def test_only_links_to_pages_of_the_site_take_the_state_along(browser: webdriver.Chrome, wide: Path) -> None:
    visit(browser, wide, "index.html", "#pin=CoOp")
    browser.execute_script("""
        const links = ["file:///other/page.html", "//else.org/a.html", "/root.html", "matrix.html"];
        for (const href of links) document.querySelector("main").append(Report.make("a", { href, className: "tried" }));
        document.querySelector("main").append(Report.make("a", { href: "#50%", className: "lone" }, "lone"));
        Report.address.set({ metric: "image_ap" });
    """)
    found = "return [...document.querySelectorAll('a.tried')].map((link) => link.hash !== '')"
    assert browser.execute_script(found) == [False, False, False, True]
    browser.find_element(By.LINK_TEXT, "lone").click()
    assert [each["message"] for each in browser.get_log("browser")] == []
