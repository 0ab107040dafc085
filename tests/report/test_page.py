"""What every page has in common, without a browser, and the plain files behind the pages."""

import shutil
import subprocess
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from support.documents import Document

ROOM = Path(str(files("benchmark.report")))
SCRIPTS = [path for path in sorted((ROOM / "static/js").glob("*.js")) if path.read_text()]
SIZES = {"static/js/*.js": 300, "static/css/*.css": 120, "templates/**/*.html": 120}
"""Each file has fewer lines than this."""
NAMING = ("aria-labelledby", "aria-describedby", "aria-controls", "for", "list")
"""Attributes that name elements by id."""


def all_of(page: Document, tag: str) -> list[dict[str, str | None]]:
    return [attributes for name, attributes in page.tags if name == tag]


def title_of(page: Document) -> str:
    return "".join(text for tag, text in page.data if tag == "title").strip()


@pytest.fixture(scope="module")
def pages(site: Path, wide: Path) -> dict[Path, Document]:
    return {path: Document(path.read_bytes()) for folder in (site, wide) for path in sorted(folder.rglob("*.html"))}


def test_no_id_occurs_twice_and_every_id_that_is_named_is_there(pages: dict[Path, Document]) -> None:
    for path, page in pages.items():
        ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
        assert [name for name, count in ids.items() if count > 1] == [], path
        named = {
            word for _, attributes in page.tags for name in NAMING for word in (attributes.get(name) or "").split()
        }
        assert named <= set(ids), path


def test_every_page_has_a_title_of_its_own_a_description_and_one_heading(
    site: Path, pages: dict[Path, Document]
) -> None:
    own = {path: page for path, page in pages.items() if path.is_relative_to(site)}
    titles = Counter(title_of(page) for page in own.values())
    assert max(titles.values()) == 1, titles
    for path, page in own.items():
        assert title_of(page).endswith(" · zsad-bench"), path
        assert all_of(page, "html") == [{"lang": "en"}], path
        descriptions = [each["content"] for each in all_of(page, "meta") if each.get("name") == "description"]
        assert len(descriptions) == 1, path
        assert descriptions[0], path
        assert len(all_of(page, "main")) == len(all_of(page, "h1")) == 1, path


def test_the_navigation_says_where_one_is(pages: dict[Path, Document]) -> None:
    for path, page in pages.items():
        current = {each["href"]: each["aria-current"] for each in all_of(page, "a") if "aria-current" in each}
        folder = {"datasets": "../index.html", "methods": "../methods.html"}.get(path.parent.name)
        assert current == ({folder: "true"} if folder else {path.name: "page"}), path


def test_only_the_script_that_sets_the_colours_holds_up_the_first_paint(pages: dict[Path, Document]) -> None:
    for path, page in pages.items():
        blocking = [each["src"] for each in all_of(page, "script") if "src" in each and "defer" not in each]
        assert [Path(str(src)).name for src in blocking] == ["theme.js"], path
        order = [
            attributes.get("src") or attributes.get("href")
            for tag, attributes in page.tags
            if tag in ("script", "link")
        ]
        first_style = next(index for index, name in enumerate(order) if name and name.endswith(".css"))
        assert order.index(blocking[0]) < first_style, path


def test_no_page_waits_for_the_chart_library(pages: dict[Path, Document]) -> None:
    for path, page in pages.items():
        assert not [each for each in all_of(page, "script") if "plotly" in (each.get("src") or "")], path


@pytest.mark.parametrize("pattern", SIZES)
def test_every_file_of_the_pages_is_small(pattern: str) -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in ROOM.glob(pattern)}
    assert len(lines) > 5
    assert {name: count for name, count in lines.items() if count >= SIZES[pattern]} == {}


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_every_script_is_javascript() -> None:
    for script in SCRIPTS:
        done = subprocess.run(["node", "--check", str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_scripts_are_strict_and_insert_no_markup() -> None:
    for script in SCRIPTS:
        text = script.read_text()
        assert '"use strict";' in text, script.name
        for never in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert never not in text, (script.name, never)
