"""HTML as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_HIDDEN = ("head", "script", "style", "title")
_BLOCKS = frozenset("br div h1 h2 h3 h4 h5 h6 li p pre table tr ul".split())  # noqa: SIM905 - shorter


def text_of(page: str) -> str:
    """The text of a page, a line for each block."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - HTMLParser's
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _BLOCKS:
            self.text.append("\n")
        elif tag in ("td", "th"):
            self.text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _BLOCKS:
            self.text.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)
