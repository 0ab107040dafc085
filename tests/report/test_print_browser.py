"""The report on paper: the PDF that Chromium prints, from a page that is dark on the screen."""

import base64
from ctypes import c_uint
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")
pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed: pip install -e '.[test]'")

import pypdfium2 as pdfium
from selenium import webdriver
from selenium.webdriver.common.by import By
from support.browser import colours, needs_chromium, visit
from support.site_pages import kinds_of_pages
from support.wide import METHODS

pytestmark = needs_chromium

MARGIN = 12 / 25.4 * 72
"""Margin of a sheet in points: 12 mm."""


@pytest.fixture
def dark(browser: webdriver.Chrome, site: Path) -> webdriver.Chrome:
    """The browser on a dark system."""
    colours(browser, "dark")
    return browser


def printed(driver: webdriver.Chrome) -> pdfium.PdfDocument:
    options = {"preferCSSPageSize": True, "printBackground": False}
    return pdfium.PdfDocument(base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", options)["data"]))


def text_of(sheet: pdfium.PdfPage) -> str:
    return " ".join(sheet.get_textpage().get_text_range().split())


def palest(sheet: pdfium.PdfPage) -> int:
    """Return the brightness, from 0 to 255, of the palest letters."""
    text = sheet.get_textpage()
    found = [0]
    for index in range(0, text.count_chars(), 3):
        if not text.get_text_range(index, 1).strip():
            continue
        red, green, blue, opacity = (c_uint() for _ in range(4))
        pdfium.raw.FPDFText_GetFillColor(text, index, red, green, blue, opacity)
        found.append(round(0.299 * red.value + 0.587 * green.value + 0.114 * blue.value))
    return max(found)


def test_every_sheet_is_white_readable_and_says_that_results_are_synthetic(dark: webdriver.Chrome, site: Path) -> None:
    for page in kinds_of_pages(site):
        visit(dark, site, page)
        dark.execute_script("document.documentElement.dataset.theme = 'dark'")
        document = printed(dark)
        for sheet in document:
            text = text_of(sheet)
            assert "SYNTHETIC" in text[:300], page
            assert "Skip to the content" not in text, page
            assert palest(sheet) < 150, page
            picture = sheet.render(scale=0.5).to_numpy()
            assert (picture[[0, -1]] == 255).all(), page
            assert (picture[:, [0, -1]] == 255).all(), page
        assert dark.execute_script("return document.documentElement.className") == "", "as before on the screen"


def test_no_table_is_cut_off(dark: webdriver.Chrome, wide: Path) -> None:
    for page in ("index.html", "datasets/mvtec.html", "cost.html"):
        visit(dark, wide, page)
        last = "[...document.querySelectorAll('main thead tr:last-child > :last-child .sort')]"
        heads = dark.execute_script(
            f"return {last}.filter(each => each.getClientRects().length).map(each => each.innerText)"
        )
        document = printed(dark)
        whole = " ".join(text_of(sheet) for sheet in document)
        assert heads, page
        assert all(head in whole for head in heads), page
        for sheet in document:
            text = sheet.get_textpage()
            boxes = [text.get_charbox(index) for index in range(text.count_chars())]
            assert max(right for _, _, right, _ in boxes) <= sheet.get_width() - MARGIN + 1, page
            assert min(left for left, _, right, _ in boxes if right > left) >= MARGIN - 1, page


def test_a_head_that_a_sheet_repeats_has_its_names(dark: webdriver.Chrome, wide: Path) -> None:
    visit(dark, wide, "datasets/mvtec.html")
    dark.execute_script(
        """
        const body = [...document.querySelectorAll("table.grid tbody")].find((each) => each.getClientRects().length);
        for (let copy = 0; copy < 80; copy++) body.append(body.rows[0].cloneNode(true));
        """
    )
    sheets = [text_of(sheet) for sheet in printed(dark)]
    titles = [title for title, _ in METHODS if title != "CLIP"]  # which is in the names of others
    assert len(sheets) > 1
    assert [title for title in titles if title not in sheets[1]] == []


def test_a_gallery_on_paper_names_its_images_and_has_the_key_of_its_colours(dark: webdriver.Chrome, site: Path) -> None:
    visit(dark, site, "datasets/parts--a.html")
    keys = dark.execute_script("return [...document.querySelectorAll('.case code')].map(each => each.innerText)")
    whole = " ".join(text_of(sheet) for sheet in printed(dark))
    assert keys
    assert [key for key in keys if key not in whole] == []
    assert "99.9 %" in whole, "ticks of the colours"
    assert "Keys in the gallery" not in whole


def test_controls_stay_on_the_screen(dark: webdriver.Chrome, wide: Path) -> None:
    visit(dark, wide, "index.html")
    assert dark.find_element(By.ID, "controls").is_displayed()
    whole = " ".join(text_of(sheet) for sheet in printed(dark))
    assert "method or dataset" not in whole
    assert "Search" not in whole
    assert "Published" not in whole.partition("Zero-shot anomaly detection")[0], "the navigation"
    assert all(title in whole for title, _ in METHODS)
