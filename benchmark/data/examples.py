"""Paths that show a person what a regular expression of a card looks for."""

import re
from dataclasses import dataclass

_ANY = re.compile(r"\.|\[\^/\]|\\w|\\S")
"""Parts that match nearly every character; what stands there is told by a placeholder."""
_REPEAT = re.compile(r"[*+?]|\{(\d+)(?:,\d*)?\}")
_GROUP = re.compile(r"\((?:\?P<(?P<name>\w+)>|\?:|\?[aiLmsux]*:)?")
_ESCAPED = {"d": "1", "s": " "}


class _UnknownError(Exception):
    """The pattern has something that is not understood here."""


def example(pattern: str) -> str | None:
    """Return a path that a pattern matches, with placeholders as `<class>` and `<name>` for what may be anything.

    A named group stands as its name in angle brackets where anything may stand, a group with choices as the first of
    them. None where the pattern has what no card needs, as a look-ahead.
    """
    reader = _Reader(pattern)
    try:
        text = reader.choices()
        if reader.place < len(pattern):
            return None
    except (_UnknownError, IndexError):
        return None
    *folders, name = text.split("/")
    return "/".join([*(each.replace("<any>", "<folder>") for each in folders), re.sub("<(any|stem)>", "<name>", name)])


@dataclass
class _Reader:
    """Reads a pattern from left to right."""

    pattern: str
    place: int = 0

    def choices(self) -> str:
        """Return an example of the first of the alternatives up to the end of the group."""
        first = self._sequence()
        while self._next("|"):
            self._sequence()
        return first

    def _next(self, character: str) -> bool:
        found = self.pattern[self.place : self.place + 1] == character
        self.place += found
        return found

    def _sequence(self) -> str:
        parts = ""
        while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
            parts += self._item()
        return parts

    def _item(self) -> str:
        text = self._atom()
        if repeat := _REPEAT.match(self.pattern, self.place):
            self.place = repeat.end()
            if repeat[0] in "*?" or repeat[1] == "0":
                return "<any>" if text == "<any>" and repeat[0] == "*" else ""
            times = int(repeat[1] or 1)
            if text == "1":  # a number with leading zeros
                return f"{1:0{min(times, 20)}}"
            return text if text == "<any>" else text * min(times, 20)
        return text

    def _atom(self) -> str:
        if matched := _ANY.match(self.pattern, self.place):
            self.place = matched.end()
            return "<any>"
        character = self.pattern[self.place]
        self.place += 1
        if character == "(":
            return self._group()
        if character == "[":
            return self._set()
        if character == "\\":
            escaped = self.pattern[self.place]
            self.place += 1
            if escaped.isalnum() and escaped not in _ESCAPED:
                raise _UnknownError
            return _ESCAPED.get(escaped, escaped)
        if character in "^$*+?{":
            raise _UnknownError
        return character

    def _group(self) -> str:
        start = _GROUP.match(self.pattern, self.place - 1)
        if start is None or self.pattern[start.end()] == "?":
            raise _UnknownError
        self.place = start.end()
        text = self.choices()
        if not self._next(")"):
            raise _UnknownError
        return f"<{start['name']}>" if start["name"] and text == "<any>" else text

    def _set(self) -> str:
        end = self.pattern.index("]", self.place + 1) if "]" in self.pattern[self.place + 1 :] else None
        first = self.pattern[self.place]
        if end is None or first in "^\\":
            raise _UnknownError
        self.place = end + 1
        return first
