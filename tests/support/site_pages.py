"""The pages of a report."""

from pathlib import Path


def kinds_of_pages(site: Path) -> list[str]:
    """Return one page of each kind: all at the top, and of a folder those of a class or not, with a gallery or not."""
    kinds: dict[tuple[str, ...], str] = {}
    for path in sorted(site.rglob("*.html")):
        page = path.relative_to(site)
        kind = (page.name,) if len(page.parts) == 1 else ("--" in page.name, 'id="gallery"' in path.read_text())
        kinds.setdefault((page.parent.name, *map(str, kind)), page.as_posix())
    return sorted(kinds.values())
