"""The first lines of a request and of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tt_cloud.errors import ProtocolError

_LINE = r"\r\n([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)"
_HEAD = re.compile(rf"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?((?:{_LINE})*)")
_LINES = re.compile(_LINE)
_LENGTH = re.compile(r"[0-9]{1,18}")


class Head(NamedTuple):
    """Status and headers of an answer; names are lower case, repeated ones joined by commas."""

    status: int
    headers: Mapping[str, str]
    lasting: bool
    """Whether the server keeps the connection."""


def written(method: str, target: str, host: str, headers: Mapping[str, str], size: int) -> bytes:
    """A request up to its body; nothing in it can begin a line of its own."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    if size or method in ("PUT", "POST"):
        lines.append(f"Content-Length: {size}")
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\r") != breaks or text.count("\n") != breaks or " " in target:
        msg = "a header or an address must not hold a line break or space: one does; remove it"
        raise ValueError(msg)
    return f"{text}\r\n\r\n".encode("latin-1")


def parsed(data: bytes, where: str) -> Head:
    """An answer's lines, without the empty one at their end."""
    found = _HEAD.fullmatch(data.decode("latin-1"))
    if found is None:
        raise nonsense(where, "no lines of HTTP/1.1")
    pairs = _LINES.findall(found[3])
    headers = {name.lower(): text.strip(" \t") for name, text in pairs}
    if len(headers) < len(pairs):
        headers = _joined(pairs)
    connection = headers.get("connection", "").lower()
    lasting = "close" not in connection if found[1] == "1" else "keep-alive" in connection
    return Head(int(found[2]), headers, lasting)


def announced(headers: Mapping[str, str], where: str) -> int | None:
    """The length of a body, where the headers tell it."""
    text = headers.get("content-length")
    if text is None:
        return None
    if "," in text and len(same := {each.strip() for each in text.split(",")}) == 1:
        text = same.pop()
    if not _LENGTH.fullmatch(text):
        raise nonsense(where, "a Content-Length that is no number")
    return int(text)


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers of which some came more than once."""
    headers: dict[str, str] = {}
    for name, text in pairs:
        name, text = name.lower(), text.strip(" \t")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def nonsense(where: str, what: str) -> ProtocolError:
    """What to raise for an answer that no HTTP server gives."""
    msg = f"{where} must speak HTTP/1.1: its answer had {what}; check the address and any proxy"
    return ProtocolError(msg)
