"""What of a log fits into a mail."""

from __future__ import annotations

import html
import os
import zlib
from collections import deque
from pathlib import Path
from typing import BinaryIO

from tt_cloud._mail.message import Attachment, encoded
from tt_cloud.errors import MailError

_CHUNK = 1 << 20
_SHOWN = 1 << 17  # bytes of the mail's text at most: a mail is read, the file is searched
_FRAME = 8192  # bytes of headers and of the lines between parts
_ENCODED = 3  # bytes that one byte of text becomes at most
_GZIP = 31  # zlib's number for the largest window with a gzip header


def excerpt(path: Path, tail: int, limit: int) -> tuple[str, Attachment]:
    """The last lines as text, and as much of the log as fits beside them."""
    try:
        with path.open("rb") as file:
            text = _last_lines(file, tail)
            shown = len(text.encode()) + len(html.escape(text).encode())
            return text, _attachment(path.name, file, _room(limit - _FRAME - _ENCODED * shown))
    except OSError as error:
        msg = f"a log is a file that can be read: {path} is not; correct it"
        raise MailError(msg) from error


def _last_lines(file: BinaryIO, count: int) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _SHOWN))
    lines = deque(file.read().decode("utf-8", "replace").splitlines(), max(count, 0))
    return "\n".join(lines)


def _room(limit: int) -> int:
    """Bytes of content whose encoding has so many bytes at most."""
    room = max(limit, 0) * 57 // 78  # 57 bytes are a line of 76 characters and its end
    while room and encoded(room) > limit:
        room -= 1
    return room


def _attachment(name: str, file: BinaryIO, room: int) -> Attachment:
    """All of the file, all of it compressed, or its end compressed."""
    size = file.seek(0, os.SEEK_END)
    if size <= room:
        file.seek(0)
        return Attachment(name, file.read())
    keep, label = size, f"{name}.gz"
    while keep:
        packed, taken = _packed(file, size - keep, room)
        if packed is not None:
            return Attachment(label, packed)
        keep, label = min(taken, keep) * 9 // 10, f"end-of-{name}.gz"
    msg = f"a mail has room for a log: limit leaves {room} bytes; raise it"
    raise MailError(msg)


def _packed(file: BinaryIO, start: int, room: int) -> tuple[bytes | None, int]:
    """What is behind ``start``, compressed, if that fits; and how much was compressed."""
    packer = zlib.compressobj(wbits=_GZIP)
    packed = bytearray()
    taken = 0
    file.seek(start)
    if start:
        file.readline()  # the rest of a line that began before
    while chunk := file.read(_CHUNK):
        packed += packer.compress(chunk)
        taken += len(chunk)
        if len(packed) > room:
            return None, taken
    packed += packer.flush()
    return (bytes(packed) if len(packed) <= room else None), taken
