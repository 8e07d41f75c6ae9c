"""One connection: bytes out and in, with an eye on the clock."""

from __future__ import annotations

import select
import socket
import ssl
from time import monotonic
from typing import NamedTuple

from tt_cloud._http._head import nonsense
from tt_cloud.errors import ProtocolError, Unavailable

MAX_HEAD = 64 << 10  # bytes of an answer before its body
SLICE = 256 << 10  # bytes sent between two looks at the clock

_ENDED = "ended the connection"


class Pace(NamedTuple):
    """Too slow is: no byte within ``seconds``, or fewer than ``rate`` a second over them."""

    seconds: float
    rate: int

    def times(self, factor: int) -> Pace:
        """The same with more patience."""
        return Pace(self.seconds * factor, self.rate)


class Wire:
    """A connected socket, and what came over it but was not asked for yet.

    Attributes:
        where: The server, for messages.
        heard: Whether anything came since the last request.
        stalled: Whether it was given up for being slow.
        idle_since: When the last answer ended.
    """

    __slots__ = (
        "_buffer",
        "_end",
        "_moved",
        "_pace",
        "_socket",
        "_start",
        "_view",
        "_waited",
        "heard",
        "idle_since",
        "stalled",
        "where",
    )

    def __init__(self, connected: socket.socket, where: str) -> None:
        self._socket = connected
        self._buffer = bytearray(MAX_HEAD)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self.where = where
        self.heard = self.stalled = False
        self.idle_since = 0.0

    def begin(self, pace: Pace) -> None:
        """Before each request: how long to wait this time."""
        self._pace = pace
        self.heard = self.stalled = False
        self._restart()
        if self._socket.gettimeout() != pace.seconds:
            self._socket.settimeout(pace.seconds)

    def is_fresh(self) -> bool:
        """Whether an idle connection is open and has nothing to say."""
        if self._start != self._end:
            return False
        try:
            if hasattr(select, "poll"):
                poll = select.poll()
                poll.register(self._socket, select.POLLIN)
                return not poll.poll(0)
            return not select.select([self._socket], [], [], 0)[0]
        except (OSError, ValueError):
            return False

    def send(self, head: bytes, body: memoryview) -> None:
        """Send a request; of a small one all bytes at once."""
        first = b"".join((head, body[:MAX_HEAD]))
        self._send_all(memoryview(first))
        if len(body) > MAX_HEAD:
            self._send_all(body[MAX_HEAD:])

    def head(self) -> bytes:
        """The lines of an answer before its body."""
        return self._until(b"\r\n\r\n")

    def line(self) -> bytes:
        """One line, without its end."""
        return self._until(b"\r\n")

    def readinto(self, buffer: memoryview) -> int:
        """What came already, or the next that comes; 0 when the server ended the connection."""
        if ready := min(self._end - self._start, len(buffer)):
            buffer[:ready] = self._view[self._start : self._start + ready]
            self._start += ready
            return ready
        return self._receive(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def lost(self, what: str, advice: str = "try again later") -> Unavailable:
        """What to raise when the connection does not work."""
        return Unavailable(f"{self.where} {what}; {advice}")

    def _send_all(self, data: memoryview) -> None:
        sent = 0
        while sent < len(data):
            begun = monotonic()
            try:
                count = self._socket.send(data[sent : sent + SLICE])
            except OSError as error:
                raise self._broken(error) from error
            sent += count
            self._count(count, begun)

    def _until(self, end: bytes) -> bytes:
        while (found := self._buffer.find(end, self._start, self._end)) < 0:
            self._fill()
        text = bytes(self._view[self._start : found])
        self._start = found + len(end)
        return text

    def _fill(self) -> None:
        """Receive more behind what is there."""
        if self._start:
            rest = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, len(rest)
            self._view[: self._end] = rest
        if self._end == MAX_HEAD:
            raise nonsense(self.where, f"more than {MAX_HEAD} bytes of headers")
        if not (count := self._receive(self._view[self._end :])):
            raise self.lost(_ENDED)
        self._end += count

    def _receive(self, buffer: memoryview) -> int:
        begun = monotonic()
        try:
            count = self._socket.recv_into(buffer)
        except OSError as error:
            raise self._broken(error) from error
        if self.heard:
            self._count(count, begun)
        elif count:
            self.heard = True
            self._restart()
        return count

    def _restart(self) -> None:
        self._waited = 0.0
        self._moved = 0

    def _count(self, moved: int, begun: float) -> None:
        """Only time spent here counts, not what the caller does in between."""
        self._waited += monotonic() - begun
        self._moved += moved
        if self._waited < self._pace.seconds:
            return
        if self._moved < self._pace.rate * self._waited:
            self.stalled = True
            raise self.lost(f"moved {self._moved} bytes in {self._waited:.0f} s")
        self._restart()

    def _broken(self, error: OSError) -> Unavailable | ProtocolError:
        if isinstance(error, TimeoutError):
            self.stalled = True
            return self.lost(f"moved nothing in {self._pace.seconds:.0f} s")
        if isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
            return self.lost(_ENDED)
        return self.lost(f"cannot be reached ({type(error).__name__})")
