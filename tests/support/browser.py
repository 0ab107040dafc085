"""A headless Chromium: finding it, and what tests do in it. Needs selenium."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)

TEXTS = """
return [...document.querySelectorAll(arguments[0])]
  .filter((each) => (each.closest("select") || each).getClientRects().length)
  .map((each) => (each.innerText ?? each.textContent).trim());
"""

needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)",
    ),
]


def screen(driver: webdriver.Chrome, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def colours(driver: webdriver.Chrome, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def visit(driver: webdriver.Chrome, site: Path, page: str, anchor: str = "") -> None:
    driver.get("about:blank")  # else another anchor of the same page would not load it anew
    driver.get((site / page).as_uri() + anchor)


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "did not come to hold in time"
        time.sleep(0.02)
    return found


def press(driver: webdriver.Chrome, *keys: str) -> None:
    for key in keys:
        driver.switch_to.active_element.send_keys(key)


def texts(driver: webdriver.Chrome, selector: str) -> list[str]:
    """Return the texts of what is to be seen."""
    found: list[str] = driver.execute_script(TEXTS, selector)
    return found


def state(driver: webdriver.Chrome) -> str:
    """Return what the address says of the page, as a reader would type it."""
    found: str = driver.execute_script("return decodeURIComponent(location.hash)")
    return found


def pick(driver: webdriver.Chrome, form: str, name: str, value: str) -> None:
    """Choose an option of a list in the form with the id."""
    Select(driver.find_element(By.CSS_SELECTOR, f'#{form} select[name="{name}"]')).select_by_value(value)


def choose(driver: webdriver.Chrome, name: str, value: str) -> None:
    driver.find_element(By.CSS_SELECTOR, f'input[name="{name}"][value="{value}"] + span').click()
