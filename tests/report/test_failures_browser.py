"""The page of failures in a headless Chromium: its lists, filters and address, and its links into the galleries."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import choose, needs_chromium, pick, screen, texts, until, visit
from support.study import KIND, PARTS

pytestmark = needs_chromium


def _images(site: Path) -> list[dict[str, Any]]:
    page = (site / "failures.html").read_text(encoding="utf-8")
    data = json.loads(page.split('id="failures-data">')[1].split("</script>")[0])
    return [
        {"key": key, "label": label, "right": dict(zip(data["methods"], right, strict=True))}
        for _, label, _, key, _, right in data["images"]
    ]


def listed(browser: webdriver.Chrome) -> list[str]:
    return texts(browser, "#failures code")


def test_lists_filters_and_the_address(browser: webdriver.Chrome, site: Path) -> None:
    images = _images(site)
    visit(browser, site, "failures.html")
    assert [i for i in images if max(i["right"].values()) < 0.5] == []
    assert listed(browser) == []
    assert texts(browser, "#found") == ["There is no image on the wrong side for all methods with this choice."]

    browser.find_element(By.CSS_SELECTOR, "#methods summary").click()
    choose(browser, "method", "GenCLIP")
    wrong = [i for i in images if max(i["right"]["CLIP"], i["right"]["CLIP-AC"]) < 0.5]
    means = {i["key"]: i["right"]["CLIP"] + i["right"]["CLIP-AC"] for i in wrong}
    assert set(listed(browser)) == set(means)
    assert [means[key] for key in listed(browser)] == pytest.approx(sorted(means.values()))
    assert len(wrong) > 1
    words = "on the wrong side for the 2 methods that are shown, the worst first."
    assert texts(browser, "#found") == [f"{len(wrong)} of 40 images {words}"]
    choose(browser, "method", "CLIP-AC")
    assert set(listed(browser)) == {i["key"] for i in images if i["right"]["CLIP"] < 0.5}
    choose(browser, "method", "CLIP")
    assert texts(browser, "#found") == ["No method is chosen."]
    for title in ("CLIP", "CLIP-AC", "GenCLIP"):
        choose(browser, "method", title)

    choose(browser, "list", "differ")
    assert texts(browser, ".pair") != []
    pick(browser, "failure-controls", "a", "GenCLIP")
    pick(browser, "failure-controls", "b", "CLIP")
    apart = {image["key"]: abs(image["right"]["GenCLIP"] - image["right"]["CLIP"]) for image in images}
    shown = [apart[key] for key in listed(browser)]
    assert shown == sorted((each for each in apart.values() if each), reverse=True)
    choose(browser, "label", "anomalous")
    pick(browser, "failure-controls", "dataset", PARTS)
    pick(browser, "failure-controls", "defect", KIND)
    keys = {i["key"] for i in images if i["label"] and apart[i["key"]] and not i["key"].startswith("brain")}
    assert set(listed(browser)) == keys
    assert f"{len(keys)} anomalous images with {KIND} on which GenCLIP and CLIP differ" in texts(browser, "#found")[0]
    browser.find_element(By.CSS_SELECTOR, '[name="numbers"] + span').click()
    assert len(texts(browser, "#failures .sides-numbers dd")) == 3 * len(keys)

    address = browser.execute_script("return location.hash")
    before = texts(browser, "#failures > li")
    visit(browser, site, "failures.html", address)
    assert texts(browser, "#failures > li") == before
    visit(browser, site, "failures.html", "#list=disputed")
    spread = {image["key"]: max(image["right"].values()) - min(image["right"].values()) for image in images}
    assert [spread[key] for key in listed(browser)] == sorted((each for each in spread.values() if each), reverse=True)
    visit(browser, site, "failures.html", "#list=x&a=x&b=x&dataset=x&defect=x&label=x&shown=x")
    assert "on the wrong side for all methods" in texts(browser, "#found")[0], "what it does not have is the default"
    assert browser.get_log("browser") == []


def test_an_image_opens_enlarged_in_its_gallery(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "failures.html", "#list=disputed&intervals=off&metric=pixel_auroc&method=CLIP&method=GenCLIP")
    key = listed(browser)[0]
    address = browser.find_element(By.CSS_SELECTOR, "#failures li .name a").get_attribute("href") or ""
    kept = {"intervals": ["off"], "metric": ["pixel_auroc"], "method": ["CLIP", "GenCLIP"], "image": [key]}
    assert parse_qs(address.partition("#")[2]) == kept
    browser.find_element(By.CSS_SELECTOR, "#failures li a.photo").send_keys(Keys.ENTER)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog[open]"))
    assert key in texts(browser, "dialog[open]")[0]
    assert browser.get_log("browser") == []


def test_the_table_of_kinds_follows_the_choice(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, "failures.html")
    rows = browser.find_elements(By.CSS_SELECTOR, "#kinds tbody tr")
    for row in rows:
        numbers = [float(cell.text) for cell in row.find_elements(By.CSS_SELECTOR, "td[data-method]")]
        spread = float(row.find_element(By.CSS_SELECTOR, ".spread").text)
        assert spread == pytest.approx(max(numbers) - min(numbers), abs=0.11)
    button = browser.find_element(By.CSS_SELECTOR, "#kinds thead tr:last-child th:nth-child(3) button")
    button.click()
    spreads = [float(text) for text in texts(browser, "#kinds .spread")]
    assert len(spreads) == 3
    assert spreads == sorted(spreads, reverse=True)
    pick(browser, "failure-controls", "dataset", "Scans")
    assert texts(browser, "#kinds .spread") == []
    assert texts(browser, "#no-kinds") == ["There is no such kind of defect in this dataset."]


def test_more_images_come_on_demand_and_a_phone_has_room(browser: webdriver.Chrome, site: Path, tmp_path: Path) -> None:
    page = (site / "failures.html").read_text(encoding="utf-8")
    before, rest = page.split('id="failures-data">')
    text, after = rest.split("</script>", 1)
    data = json.loads(text)
    data["images"] = [[*image[:5], [0.0, 0.25, 0.125]] for image in data["images"]] * 4
    (tmp_path / "failures.html").write_text(
        before + 'id="failures-data">' + json.dumps(data).replace("<", "\\u003c") + "</script>" + after,
        encoding="utf-8",
    )
    (tmp_path / "static").symlink_to(site / "static")
    screen(browser, 390, 844)
    visit(browser, tmp_path, "failures.html")
    assert len(listed(browser)) == 60
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    widths = "return [...document.querySelectorAll('.sides i')].map((each) => each.offsetWidth)"
    assert set(browser.execute_script(widths)) == {18}, "bars of three methods have their full width"
    outside = """
    for (const strip of document.querySelectorAll(".sides")) {
      for (let bar = 0; bar < 40; bar++) strip.append(strip.firstChild.cloneNode());
    }
    return [...document.querySelectorAll(".failure *")].filter((each) => (
      each.getBoundingClientRect().right > each.closest(".failure").getBoundingClientRect().right)).length;
    """
    assert browser.execute_script(outside) == 0, "bars of forty methods stay in their card"
    more = browser.find_element(By.ID, "more")
    assert more.text == "Show more: 60 of 160 are shown"
    more.send_keys(Keys.ENTER)
    assert len(listed(browser)) == 120
    assert browser.execute_script("return location.hash") == "#shown=120"
    focused = browser.execute_script(
        "return [...document.querySelectorAll('#failures > li')].indexOf(document.activeElement.closest('li'))"
    )
    assert focused == 60, "the keyboard goes on where the new images begin"
    more.send_keys(Keys.ENTER)
    assert not more.is_displayed()
