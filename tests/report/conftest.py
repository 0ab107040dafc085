"""The sites that the tests in a browser look at, and the browser."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.study import Study
from support.tables_page import CLASSES, TITLES, TablesPage, make_tables_page
from support.wide import SHOWN, wide_records

from benchmark.report import write_site
from benchmark.report.images import gallery
from benchmark.report.site import make_site
from benchmark.tables import ranks

if TYPE_CHECKING:
    from selenium import webdriver


@pytest.fixture(scope="session")
def site_files(study: Study) -> Mapping[str, bytes]:
    """The files of the report of the study: three methods and a failed cell, with galleries."""
    return make_site(study.records, study.read, study.found)


@pytest.fixture(scope="session")
def files_without_images(study: Study) -> Mapping[str, bytes]:
    """The same where the images were not found."""
    return make_site(study.records, study.read)


@pytest.fixture(scope="session")
def site(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the study in a folder, with diagrams of ranks and thumbnails smaller than its images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "FEWEST_DATASETS", 2)  # the study has no more
        patch.setattr(gallery, "THUMBNAIL_SIZE", 16)  # its images are smaller than a thumbnail
        return write_site(
            tmp_path_factory.mktemp("site") / "report", study.records, study.read, study.found
        ).index.parent


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of thirteen methods on three datasets, without galleries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "FEWEST_DATASETS", len(SHOWN))
        return write_site(tmp_path_factory.mktemp("wide") / "report", wide_records(), lambda _: None).index.parent


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> TablesPage:
    """Nothing but tables: forty methods on thirty classes, with two metrics."""
    return make_tables_page(tmp_path_factory.mktemp("tables"), TITLES, CLASSES, ("image_auroc", "pixel_aupro"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator["webdriver.Chrome"]:
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service
    from support.browser import CHROMIUM, DRIVER, FLAGS

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    except WebDriverException as error:
        pytest.skip(f"chromium is there but does not start: {error.msg}")
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: "webdriver.Chrome") -> Iterator["webdriver.Chrome"]:
    """A window of a desktop in light colours, as it was before each test."""
    from support.browser import colours, screen

    screen(chromium, 1280, 900)
    colours(chromium, "light")
    chromium.get_log("browser")
    yield chromium
    chromium.get("about:blank")
