"""As much of HTTP/1.1 as a proxy needs, with every header as it came."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader
from typing import cast

CHUNK = 1 << 16
HUNG_UP = getattr(select, "POLLRDHUP", 0)  # Linux's; others report a reset alone

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks, without the body."""

    method: str
    target: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers; ``body`` is ``None`` where the server's is meant."""

    status: int
    headers: Headers = ()
    body: bytes | None = field(default=None, repr=False)


class RefusedError(ConnectionError):
    """The other side takes no more."""


class Peer:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = cast("BufferedReader", connection.makefile("rb", CHUNK))

    def head(self) -> tuple[str, Headers] | None:
        """The first line and the headers; ``None`` where the other side has closed."""
        if not (first := self._reader.readline()):
            return None
        lines = [first]
        while lines[-1].strip():
            lines.append(self._reader.readline())
            if not lines[-1]:
                msg = "the connection ended inside the headers"
                raise ConnectionError(msg)
        pairs = (line.decode("latin-1").partition(":") for line in lines[1:-1])
        return first.decode("latin-1").strip(), tuple(
            (name, rest.strip()) for name, _, rest in pairs
        )

    def body(self, headers: Headers, *, to_the_end: bool = False) -> Iterator[bytes]:
        """The body that the headers announce, as it comes."""
        if value(headers, "transfer-encoding").lower() == "chunked":
            return _chunks(self._reader)
        if length := value(headers, "content-length"):
            return _exactly(self._reader, int(length))
        return iter(lambda: self._reader.read1(CHUNK), b"") if to_the_end else iter(())

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise RefusedError from error

    def send_body(self, body: Iterator[bytes], headers: Headers) -> Iterator[int]:
        """Send a body under these headers; gives the sizes of its pieces when they are sent."""
        chunked = value(headers, "transfer-encoding").lower() == "chunked"
        for chunk in body:
            if chunk:
                self.send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                yield len(chunk)
        if chunked:
            self.send(b"0\r\n\r\n")

    def send_head(self, line: str, headers: Headers) -> None:
        lines = [line, *(f"{name}: {content}" for name, content in headers), "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))

    def wait_gone(self) -> None:
        """Read nothing more until the other side, or `shut`, ends the connection."""
        poll = select.poll()
        poll.register(self._socket, HUNG_UP)
        poll.poll()

    def shut(self) -> None:
        """End both directions; whoever waits on the connection wakes up."""
        with suppress(OSError):  # ended already
            self._socket.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Say that nothing more comes, and hear the other side out, lest the kernel resets."""
        self._socket.shutdown(socket.SHUT_WR)
        while self._reader.read1(CHUNK):
            pass

    def close(self, *, reset: bool = False) -> None:
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._reader.close()
        self._socket.close()


def reply(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer of the proxy's own."""
    pairs = {name.replace("_", "-"): content for name, content in headers.items()}
    return Answer(status, (*pairs.items(), ("Content-Length", str(len(body)))), body)


def value(headers: Headers, name: str) -> str:
    """A header's value; empty where there is none."""
    return next((content for key, content in headers if key.lower() == name), "")


def replaced(headers: Headers, name: str, content: str) -> Headers:
    """The headers with another value for one that is there."""
    return tuple((key, content if key.lower() == name else old) for key, old in headers)


def moved(headers: Headers, origin: str, here: str) -> Headers:
    """The headers with redirections that lead here instead of there."""
    return replaced(headers, "location", value(headers, "location").replace(origin, here))


def without(headers: Headers, *beginnings: str) -> Headers:
    """The headers but those whose names begin so."""
    return tuple(pair for pair in headers if not pair[0].lower().startswith(beginnings))


def _exactly(reader: BufferedReader, size: int) -> Iterator[bytes]:
    while size:
        chunk = reader.read1(min(size, CHUNK))
        if not chunk:
            msg = f"the body ended {size} bytes early"
            raise ConnectionError(msg)
        size -= len(chunk)
        yield chunk


def _chunks(reader: BufferedReader) -> Iterator[bytes]:
    while size := int(reader.readline().partition(b";")[0], 16):
        yield from _exactly(reader, size)
        reader.readline()
    while reader.readline().strip():
        pass  # trailers
