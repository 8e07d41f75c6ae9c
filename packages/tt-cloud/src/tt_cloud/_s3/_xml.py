"""The little XML that S3 speaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from tt_cloud.errors import ProtocolError

MAX_LISTING = 32 << 20  # bytes; 1000 keys of 1024 bytes, each byte quoted, and what is beside them


def parsed(body: bytes, name: str, where: str) -> ET.Element:
    """The root of an answer that must be such an element."""
    root = _root(body)
    if root is None or root.tag != name:
        msg = f"{where} was answered by something else than {name}; check the address and any proxy"
        raise ProtocolError(msg)
    return root


def error(body: bytes) -> Mapping[str, str] | None:
    """What an ``<Error>`` says; ``None`` if the body is none."""
    root = _root(body)
    if root is None or root.tag != "Error":
        return None
    return {child.tag: (child.text or "").strip() for child in root}


def text(element: ET.Element, name: str, default: str = "") -> str:
    """What a child says."""
    found = element.findtext(name)
    return default if found is None else found


def number(element: ET.Element, name: str, where: str) -> int:
    """A child that must be one."""
    found = text(element, name).strip()
    if not found.isdecimal() or not found.isascii():
        msg = f"{where} was answered without a number for {name}; check the address and any proxy"
        raise ProtocolError(msg)
    return int(found)


def element(name: str, *children: str, **texts: str | int) -> str:
    """An element as text: first those that name texts, then its children."""
    inner = "".join(f"<{tag}>{escape(str(content))}</{tag}>" for tag, content in texts.items())
    return f"<{name}>{inner}{''.join(children)}</{name}>"


def document(name: str, children: Iterable[str]) -> bytes:
    """A whole request."""
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    inner = "".join(children)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} {space}>{inner}</{name}>'.encode()


def _root(body: bytes) -> ET.Element | None:
    """The document, its names without their namespace; ``None`` for what is no plain XML."""
    try:
        document = body.decode().lstrip()  # a server that takes its time sends spaces first
        if "<!DOCTYPE" in document:  # no service has any; entities can be made to explode
            return None
        root = ET.fromstring(document)  # noqa: S314 - without a document type
    except (UnicodeDecodeError, ValueError, ET.ParseError):
        return None
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    return root
