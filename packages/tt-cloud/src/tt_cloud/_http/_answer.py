"""The answer to one request: status, headers, and the body in any of HTTP's three forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from tt_cloud._http._head import Head, announced, nonsense
from tt_cloud._http._wire import Wire
from tt_cloud.errors import ProtocolError

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_MAX_TRAILERS = 100


class Answer:
    """What a server says, its body still to be read.

    Attributes:
        status: As the server sent it.
        headers: Names are lower case.
    """

    __slots__ = ("_body", "_lasting", "_where", "headers", "status")

    def __init__(self, wire: Wire, head: Head, *, empty: bool) -> None:
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self._where = wire.where
        self._lasting = head.lasting
        self._body = _body(wire, head, empty=empty)

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the server tells; for HEAD, of the object."""
        return announced(self.headers, self._where)

    @property
    def reusable(self) -> bool:
        """Whether the body was read to its end, and the connection can serve on."""
        return self._lasting and self._body.done

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the beginning of a buffer with what came, at least one byte; 0 at the end.

        Raises:
            Unavailable: When the connection ends too early, or is too slow.
        """
        return 0 if self._body.done else self._body.readinto(buffer)

    def read(self, limit: int = 1 << 20) -> bytes:
        """The rest of a small body.

        Raises:
            ProtocolError: When it has more than ``limit`` bytes.
        """
        if self._body.done:
            return b""
        found = bytearray()
        piece = memoryview(bytearray(min(limit, 64 << 10) + 1))
        while count := self.readinto(piece):
            found += piece[:count]
            if len(found) > limit:
                msg = f"{self._where} answered with more than {limit} bytes where few belong; "
                raise ProtocolError(f"{msg}check the address and any proxy")
        return bytes(found)


class _Body(Protocol):
    done: bool

    def readinto(self, buffer: memoryview) -> int: ...


def _body(wire: Wire, head: Head, *, empty: bool) -> _Body:
    """The right reader for what the headers announce."""
    encoding = head.headers.get("transfer-encoding")
    length = announced(head.headers, wire.where)
    if empty or head.status in (204, 304):
        return _Sized(wire, 0)
    if encoding is not None:
        if encoding.lower() != "chunked" or length is not None:
            raise nonsense(wire.where, "a body of an unknown form")
        return _Chunked(wire)
    return _Sized(wire, length) if length is not None else _Endless(wire)


class _Sized:
    """A body whose length was announced."""

    __slots__ = ("_left", "_wire", "done")

    def __init__(self, wire: Wire, length: int) -> None:
        self._wire = wire
        self._left = length
        self.done = length == 0

    def readinto(self, buffer: memoryview) -> int:
        count = self._wire.readinto(buffer[: self._left])
        if count == 0:
            raise self._wire.lost(f"ended an answer {self._left} bytes too early")
        self._left -= count
        self.done = self._left == 0
        return count


class _Chunked:
    """A body in pieces that each tell their length."""

    __slots__ = ("_left", "_wire", "done")

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._left = 0
        self.done = False

    def readinto(self, buffer: memoryview) -> int:
        if self._left == 0 and not self._next():
            return 0
        count = self._wire.readinto(buffer[: self._left])
        if count == 0:
            raise self._wire.lost("ended an answer in the middle")
        self._left -= count
        if self._left == 0 and self._wire.line():
            raise nonsense(self._wire.where, "a broken chunk")
        return count

    def _next(self) -> bool:
        """Begin the next piece; false at the end."""
        size = _CHUNK.fullmatch(self._wire.line())
        if size is None:
            raise nonsense(self._wire.where, "a broken chunk")
        self._left = int(size[1], 16)
        if self._left == 0:
            self._end()
        return not self.done

    def _end(self) -> None:
        for _ in range(_MAX_TRAILERS):
            if not self._wire.line():
                self.done = True
                return
        raise nonsense(self._wire.where, "too many lines behind its body")


class _Endless:
    """A body that ends with the connection, for servers that tell nothing."""

    __slots__ = ("_wire", "done")

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.done = False

    def readinto(self, buffer: memoryview) -> int:
        return self._wire.readinto(buffer)  # never done: the connection is not used again
