"""The gallery in a headless Chromium: each thing that a reader can do with it, by mouse, by keyboard, by address."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import choose, needs_chromium, press, screen, texts, until, visit
from support.study import Study

from benchmark.report.images.scale import colour_levels

pytestmark = needs_chromium

PAGE = "datasets/parts--a.html"
METHODS = ["CLIP", "CLIP-AC", "GenCLIP"]


def state(browser: webdriver.Chrome) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(browser.current_url).fragment).items()}


def shown(browser: webdriver.Chrome) -> list[str]:
    """Return the keys of the images in their order."""
    return texts(browser, ".gallery .what code")


def slide(browser: webdriver.Chrome, value: int) -> None:
    script = """
        const slider = document.querySelector('[name="opacity"]');
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input", { bubbles: true }));
    """
    browser.execute_script(script, value)


def count(browser: webdriver.Chrome, selector: str) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, selector))


def test_the_gallery_works_by_keyboard(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, PAGE)

    def key_of_focus() -> str:
        return str(browser.execute_script("return document.activeElement.closest('.open')?.textContent")).split()[-1]

    keys = shown(browser)
    assert len(keys) >= 6
    press(browser, "j")
    assert key_of_focus() == "None", "letters do nothing outside the gallery"
    browser.execute_script("document.querySelector('.open').focus()")
    assert key_of_focus() == keys[0]
    press(browser, "j", Keys.ARROW_DOWN, "k")
    assert key_of_focus() == keys[1]
    assert browser.execute_script("return document.activeElement.tagName") == "BUTTON"
    assert browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    dialog = browser.find_element(By.ID, "large")
    for key in (Keys.ENTER, Keys.SPACE):
        press(browser, key)
        until(dialog.is_displayed)
        assert texts(browser, "#large .what code") == [keys[1]]
        press(browser, Keys.ESCAPE)
        until(lambda: not dialog.is_displayed() and key_of_focus() == keys[1])
    press(browser, Keys.ENTER)
    assert texts(browser, "#large-place") == [f"2 of {len(keys)}"]
    press(browser, Keys.ARROW_RIGHT)
    assert texts(browser, "#large .what code") == [keys[2]]
    press(browser, *"kkkk")
    assert texts(browser, "#large .what code") == [keys[0]], "it stops at the first"
    press(browser, Keys.ESCAPE)
    until(lambda: not dialog.is_displayed() and key_of_focus() == keys[0])


def test_colours_are_percentiles_of_the_normal_pixels(browser: webdriver.Chrome, site: Path, study: Study) -> None:
    """What the canvas shows is compared with the percentiles of the results per image; of `own range`, with the map."""
    visit(browser, site, PAGE)
    browser.execute_script("document.getElementById('gallery-title').scrollIntoView()")
    until(lambda: count(browser, ".gallery .case:first-child canvas") == 3)
    record = next(each for each in study.records if each.title == "GenCLIP" and each.dataset_title.startswith("Parts"))
    images = (study.read(record) or {})["a"]
    values = images.maps[images.keys.index(shown(browser)[0])]
    # Opacity of the canvas at the centres of the 4 × 4 cells of the map, between its 4 pixels there.
    script = """
        const canvas = document.querySelector('.gallery .case figure[data-method="GenCLIP"] canvas');
        const context = canvas.getContext("2d");
        const mean = (x, y) => {
          const data = context.getImageData(x - 1, y - 1, 2, 2).data;
          return (data[3] + data[7] + data[11] + data[15]) / 4;
        };
        return [12, 36, 60, 84].map((y) => [12, 36, 60, 84].map((x) => mean(x, y)));
    """
    levels = colour_levels(images.maps[images.labels == 0].ravel())
    assert np.abs(np.array(browser.execute_script(script)) - levels[values]).max() < 25
    assert texts(browser, "#gallery-view .ticks span") == ["50", "90", "99", "99.9 %"]
    assert (
        "The normal pixels are those of the 5 normal images of the class." in texts(browser, "#gallery-view .note")[0]
    )
    choose(browser, "scale", "image")
    own = (values - float(values.min())) / (int(values.max()) - int(values.min())) * 255
    assert np.abs(np.array(browser.execute_script(script)) - own).max() < 12
    assert texts(browser, "#gallery-view .ticks span") == ["lowest", "highest"]
    assert texts(browser, "#gallery-view .note")[0].startswith("The colours run from the lowest")
    heat = "return getComputedStyle(document.querySelector('.gallery canvas')).opacity"
    assert browser.execute_script(heat) == "0.75"
    slide(browser, 20)
    assert browser.execute_script(heat) == "0.2"
    case = ".gallery .case:has(.anomalous) "
    contours = browser.find_elements(By.CSS_SELECTOR, case + ".contour")
    assert contours
    assert contours[0].is_displayed()
    browser.find_element(By.CSS_SELECTOR, '[name="contour"] + span').click()
    assert not contours[0].is_displayed()
    assert state(browser) == {"scale": "image", "opacity": "20", "contour": "off"}
    browser.refresh()
    browser.execute_script("document.getElementById('gallery-title').scrollIntoView()")
    until(lambda: count(browser, ".gallery .case:first-child canvas") == 3)
    assert browser.execute_script(heat) == "0.2"
    assert np.abs(np.array(browser.execute_script(script)) - own).max() < 12
    assert texts(browser, "#gallery-view .ticks span") == ["lowest", "highest"]
    browser.execute_script("location.hash = ''")
    until(lambda: texts(browser, "#gallery-view .ticks span")[0] == "50")
    assert browser.find_element(By.CSS_SELECTOR, '[name="opacity"]').get_attribute("value") == "75"
    assert browser.find_element(By.CSS_SELECTOR, '[name="contour"]').is_selected()


def test_canvases_are_there_near_the_window_and_on_paper(browser: webdriver.Chrome, site: Path) -> None:
    screen(browser, 1280, 300)
    visit(browser, site, PAGE)
    every = count(browser, ".gallery .case") * len(METHODS)
    assert count(browser, "canvas") == 0, "the table is above the gallery"
    browser.execute_script("document.querySelector('.gallery').scrollIntoView()")
    until(lambda: count(browser, ".gallery .case:first-child canvas") == 3)
    assert count(browser, "canvas") < every
    browser.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
    until(lambda: count(browser, ".gallery .case:last-child canvas") == 3)
    until(lambda: count(browser, ".gallery .case:first-child canvas") == 0)
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert count(browser, "canvas") == every
    drawn = "return [...document.querySelectorAll('canvas')].every((each) => each.width === 96)"
    assert browser.execute_script(drawn)
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert count(browser, ".gallery .case:last-child canvas") == 3
    assert count(browser, "canvas") < every


def test_the_gallery_is_ordered_by_a_method(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, PAGE)
    data: dict[str, Any] = browser.execute_script(
        "return JSON.parse(document.getElementById('gallery-data').textContent)"
    )
    errors = {image["key"]: image["places"] for image in data["images"]}

    def wrong(index: int) -> list[float]:
        return [errors[key][index] for key in shown(browser)]

    assert wrong(0) == sorted(wrong(0), reverse=True)
    browser.find_element(By.CSS_SELECTOR, '[name="by"] option:nth-child(3)').click()
    assert wrong(2) == sorted(wrong(2), reverse=True)
    assert wrong(0) != sorted(wrong(0), reverse=True)
    choose(browser, "first", "best")
    assert wrong(2) == sorted(wrong(2))
    before = shown(browser)
    choose(browser, "label", "anomalous")
    assert 0 < len(shown(browser)) < len(before)
    assert set(texts(browser, ".gallery .what b")) == {"anomalous"}
    assert state(browser) == {"by": "CLIP-AC", "first": "best", "label": "anomalous"}
    found = shown(browser)
    browser.refresh()
    assert shown(browser) == found
    choose(browser, "label", "")
    choose(browser, "first", "")
    assert state(browser) == {"by": "CLIP-AC"}
    visit(browser, site, PAGE, "#by=nobody&first=last&label=odd")
    assert wrong(0) == sorted(wrong(0), reverse=True), "what is not there is the default"
    assert len(shown(browser)) == len(before)


def test_the_address_opens_an_image(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, PAGE)
    key = shown(browser)[2]
    visit(browser, site, PAGE, f"#image={key}&method=GenCLIP&method=CLIP")
    dialog = browser.find_element(By.ID, "large")
    assert dialog.is_displayed()
    assert texts(browser, "#large .what code") == [key]
    captions = [text.split("\n")[0] for text in texts(browser, "#large figcaption")]
    assert captions == ["image", "ground truth", "CLIP", "GenCLIP"]
    browser.find_element(By.ID, "large-after").click()
    assert state(browser)["image"] == shown(browser)[3]
    browser.find_element(By.ID, "large-link").click()
    until(lambda: texts(browser, "#large-said")[0])
    browser.find_element(By.ID, "large-close").click()
    until(lambda: "image" not in state(browser))
    assert not dialog.is_displayed()
    browser.execute_script("location.hash = arguments[0]", f"image={key}")
    until(dialog.is_displayed)
    browser.execute_script("location.hash = ''")
    until(lambda: not dialog.is_displayed())
    visit(browser, site, PAGE, "#image=nothing")
    assert not browser.find_element(By.ID, "large").is_displayed()
    assert browser.get_log("browser") == []


def test_pictures_zoom_and_move_together(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, PAGE)
    browser.execute_script("document.querySelector('.case:has(.anomalous) .open').click()")
    layers = """
        return [...document.querySelectorAll("#large .layer")].map((each) => {
          const [frame, box] = [each.parentElement, each].map((part) => part.getBoundingClientRect());
          return [box.width / frame.width, (box.left - frame.left) / frame.width, (box.top - frame.top) / frame.height];
        });
    """

    def at() -> tuple[float, float, float]:
        found = np.array(browser.execute_script(layers))
        assert len(found) == 2 + len(METHODS)
        assert np.ptp(found, axis=0).max() < 1e-3, "all in step"
        return tuple(found[0])

    large = browser.find_element(By.CSS_SELECTOR, "#large .frame img").get_attribute("src") or ""
    assert large.endswith("-large.webp")
    assert at() == pytest.approx((1, 0, 0))
    browser.find_element(By.ID, "large-in").click()
    assert at() == pytest.approx((1.5, -0.25, -0.25), abs=1e-3), "the centre stays"
    assert texts(browser, "#large-zoom") == ["150 %"]
    press(browser, "+", "-", "0")
    assert at() == pytest.approx((1, 0, 0))
    wheel = """
        const frame = document.querySelectorAll("#large .frame")[2];
        const box = frame.getBoundingClientRect();
        frame.dispatchEvent(new WheelEvent("wheel", { deltaY: -500 * Math.log(2), bubbles: true, cancelable: true,
          clientX: box.left + box.width, clientY: box.top }));
    """
    browser.execute_script(wheel)
    assert at() == pytest.approx((2, -1, 0), abs=0.02), "the corner under the pointer stays"
    drag = """
        const frame = document.querySelector("#large .frame");
        const box = frame.getBoundingClientRect();
        const send = (kind, id, x, y) => frame.dispatchEvent(new PointerEvent(kind, { pointerId: id, bubbles: true,
          clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
        frame.setPointerCapture = () => {};
        for (const each of arguments[0]) send(...each);
    """
    browser.execute_script(drag, [["pointerdown", 1, 0.5, 0.5], ["pointermove", 1, 0.75, 0.25], ["pointerup", 1, 0, 0]])
    assert at() == pytest.approx((2, -0.75, -0.25), abs=0.02)
    browser.execute_script(drag, [["pointermove", 1, 0.1, 0.1]])
    assert at() == pytest.approx((2, -0.75, -0.25), abs=0.02), "nothing is held"
    press(browser, Keys.SHIFT + Keys.ARROW_LEFT)
    assert at()[1] == pytest.approx(-0.65, abs=0.02)
    press(browser, Keys.SHIFT + Keys.ARROW_LEFT * 9)
    assert at()[1] == pytest.approx(0, abs=1e-3), "the picture stays in its frame"
    press(browser, "0")
    pinch = [["pointerdown", 1, 0.4, 0.5], ["pointerdown", 2, 0.6, 0.5], ["pointermove", 2, 0.9, 0.5]]
    browser.execute_script(drag, [*pinch, ["pointerup", 1, 0, 0], ["pointerup", 2, 0, 0]])
    assert at()[0] == pytest.approx(2.5, abs=0.02)
    lines = "return parseFloat(getComputedStyle(document.querySelector('#large .line')).strokeWidth)"
    assert browser.execute_script(lines) == pytest.approx(1.4 / at()[0], rel=0.01), "lines stay thin"
    press(browser, "j")
    assert len(set(texts(browser, "#large-zoom"))) == 1
    assert texts(browser, "#large-zoom") == ["100 %"]


def test_the_controls_go_along_into_the_dialog(browser: webdriver.Chrome, site: Path) -> None:
    screen(browser, 390, 700)
    visit(browser, site, PAGE)
    key = shown(browser)[0]
    visit(browser, site, PAGE, f"#image={key}")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert browser.execute_script("const d = document.getElementById('large'); return d.scrollWidth <= d.clientWidth")
    until(lambda: count(browser, "#large canvas") == 3)
    for control in ('[name="scale"]', '[name="opacity"]', '[name="contour"]', '[name="method"]'):
        assert count(browser, control) == count(browser, "#large " + control) > 0, control
    close = browser.find_element(By.ID, "large-close")
    browser.execute_script("const d = document.getElementById('large'); d.scrollTop = d.scrollHeight")
    box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", close)
    assert 0 <= box["top"] < 60, "the bar stays"
    press(browser, Keys.ARROW_RIGHT)
    assert browser.execute_script("return document.getElementById('large').scrollTop") == 0
    slide(browser, 50)
    choose(browser, "scale", "image")
    browser.find_element(By.CSS_SELECTOR, "#large #methods summary").click()
    browser.execute_script('document.querySelector(\'#large [name="method"][value="CLIP"]\').click()')
    figures = [text.split("\n")[0] for text in texts(browser, "#large figcaption")]
    assert figures == ["image", "ground truth", "CLIP-AC", "GenCLIP"]
    browser.execute_script('document.querySelector(\'#large [name="method"][value="CLIP"]\').click()')
    until(lambda: count(browser, "#large canvas") == 3)
    close.click()
    until(lambda: count(browser, "#large canvas") == 0)
    assert count(browser, "#large #gallery-view") == 0
    assert count(browser, "#choice #methods") == 1
    assert state(browser) == {"scale": "image", "opacity": "50"}
    assert browser.find_element(By.CSS_SELECTOR, '[name="opacity"]').get_attribute("value") == "50"
    words = browser.execute_script("return document.querySelector('.gallery .case figcaption small').textContent")
    assert "/5" in words


def test_the_gallery_shows_the_methods_that_are_chosen(browser: webdriver.Chrome, site: Path) -> None:
    visit(browser, site, PAGE, "#method=CLIP&method=GenCLIP&method=nobody")
    captions = {text.split("\n")[0] for text in texts(browser, ".gallery .case:first-child figcaption")}
    assert captions == {"image", "ground truth", "CLIP", "GenCLIP"}
    browser.execute_script("document.querySelector('.gallery').scrollIntoView()")
    until(lambda: count(browser, ".gallery .case:first-child canvas") == 2)
    browser.execute_script('document.querySelector(\'[name="method"][value="CLIP-AC"]\').click()')
    until(lambda: count(browser, ".gallery .case:first-child canvas") == 3)
