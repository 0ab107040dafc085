"""HTML documents as tests read them."""

from html.parser import HTMLParser


class Document(HTMLParser):
    """Every tag with its attributes, what is loaded, and the text."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[tuple[str, str]] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.data.append((self.tags[-1][0] if self.tags else "", data))

    @property
    def text(self) -> str:
        return " ".join(data.strip() for tag, data in self.data if tag not in ("script", "style") and data.strip())
