"""HTML and SVG elements, escaped in one place."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

__all__ = ["Markup", "join", "tag", "text"]

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Markup(str):
    """A string that is markup already; every other string is text and gets escaped."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Escape text for element content and for attribute values alike."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_CONTROL.sub("\ufffd", str(value)), quote=True))


def join(parts: Iterable[object]) -> Markup:
    """Put markup and escaped text together."""
    return Markup("".join(text(part) for part in parts))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element. ``class_`` gives ``class``, ``a_b`` gives ``a-b``; None is left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{shown}>{join(children)}</{name}>")
