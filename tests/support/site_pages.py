"""The pages of a report, and what tests read of them without a browser."""

from html.parser import HTMLParser
from pathlib import Path


def kinds_of_pages(site: Path) -> list[str]:
    """Return one page of each kind: all at the top, and of a folder those of a class or not, with a gallery or not."""
    kinds: dict[tuple[str, ...], str] = {}
    for path in sorted(site.rglob("*.html")):
        page = path.relative_to(site)
        kind = (page.name,) if len(page.parts) == 1 else ("--" in page.name, 'id="gallery"' in path.read_text())
        kinds.setdefault((page.parent.name, *map(str, kind)), page.as_posix())
    return sorted(kinds.values())


class Tags(HTMLParser):
    """The tags of a page in their order, each with its attributes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.title = ""
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "title":
            self.title += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]
