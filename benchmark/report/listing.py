"""Long lists that a reader filters: what can be chosen, and where a row stands in each choice."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True)
class Facet:
    """A property of rows by which a list is filtered."""

    name: str
    """Its name in the address of the page."""
    title: str
    options: Mapping[str, str]
    """Value in the address → text that is shown, in the order in which they are offered."""

    def place(self, value: str) -> int:
        """Return the place of a value among the options.

        Raises:
            ValueError: If it is none of them.
        """
        return list(self.options).index(value)


def filtered(page: str, **values: str) -> str:
    """Return the address of a page whose list shows what has these values; empty ones are left out."""
    return f"{page}#{urlencode({name: value for name, value in values.items() if value})}"
