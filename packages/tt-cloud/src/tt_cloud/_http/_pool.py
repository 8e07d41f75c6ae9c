"""Connections that are kept for the next request."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from tt_cloud._http._answer import Answer
from tt_cloud._http._dial import Route
from tt_cloud._http._head import Head, nonsense, parsed, written
from tt_cloud._http._wire import Pace, Wire
from tt_cloud.errors import Unavailable

MAX_IDLE = 64  # connections that are kept
MAX_IDLE_SECONDS = 60.0  # then routers may have forgotten a connection without a word
SLOW = 10  # times the usual patience, for what a server works on before it answers

_NOTHING = memoryview(b"")


class Connections:
    """All connections to one server: thread-safe, picklable; a forked process begins without any.

    Args:
        endpoint: ``http(s)://host[:port]``; what follows is ignored.
        connect_timeout: Seconds until a connection must be there.
        read_timeout: Seconds without a byte after which a connection is given up.
        minimum_rate: Bytes per second, measured over ``read_timeout``, that must move.
        ca_bundle: File of the certificates to trust; else the environment names one, or the
            system's are used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        minimum_rate: int,
        ca_bundle: str | None = None,
    ) -> None:
        self._route = Route(endpoint, connect_timeout, ca_bundle)
        self._pace = Pace(read_timeout, minimum_rate)
        self._forget()

    @property
    def host(self) -> str:
        """The ``Host`` header that every request carries."""
        return self._route.host

    @contextmanager
    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: memoryview | None = None,
        *,
        slow: bool = False,
        once: bool = False,
    ) -> Iterator[Answer]:
        """Ask, and give the answer.

        A connection that the server closed while it was idle is replaced once, unnoticed.

        Args:
            method: In capitals.
            target: Path and query, quoted.
            headers: Without ``Host`` and ``Content-Length``.
            body: Sent as it is.
            slow: Whether the server may need minutes.
            once: Replace no connection: the caller has to look what became of the request.

        Raises:
            Unavailable: When no whole answer came.
            ProtocolError: When it is none of HTTP, or the server is not to be trusted.
        """
        content = _NOTHING if body is None else body.cast("B")
        route = self._route
        lines = written(
            method,
            route.target_prefix + target,
            route.host,
            {**headers, **route.extra},
            len(content),
        )
        pace = self._pace.times(SLOW) if slow else self._pace
        wire, head = self._ask(lines, content, pace, once=once)
        try:
            answer = Answer(wire, head, empty=method == "HEAD")
            yield answer
        except BaseException:
            wire.close()
            raise
        self._keep(wire) if answer.reusable else wire.close()

    def close(self) -> None:
        """Close what is idle; later requests connect anew."""
        _close(self._idle)

    def __getstate__(self) -> dict[str, Any]:
        return {"_route": self._route, "_pace": self._pace}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def _forget(self) -> None:
        self._idle: deque[Wire] = deque()  # its append and pop are atomic: no lock
        self._owner = os.getpid()
        weakref.finalize(self, _close, self._idle)  # stores are dropped rather than closed

    def _ask(
        self, lines: bytes, content: memoryview, pace: Pace, *, once: bool
    ) -> tuple[Wire, Head]:
        """Send over a kept connection; over a new one where there is none or it proves dead."""
        if kept := self._kept():
            try:
                return kept, _exchange(kept, lines, content, pace)
            except Unavailable:
                if once or kept.heard or kept.stalled:
                    raise
        wire = self._route.dial()
        return wire, _exchange(wire, lines, content, pace)

    def _kept(self) -> Wire | None:
        if self._owner != os.getpid():
            self.close()  # only this process's handles: the parent's connections stay
            self._forget()
        while wire := _popped(self._idle):
            if monotonic() - wire.idle_since < MAX_IDLE_SECONDS and wire.is_fresh():
                return wire
            wire.close()
        return None

    def _keep(self, wire: Wire) -> None:
        if len(self._idle) >= MAX_IDLE or self._owner != os.getpid():
            wire.close()
            return
        wire.idle_since = monotonic()
        self._idle.append(wire)


def _popped(idle: deque[Wire]) -> Wire | None:
    """The connection that was used last, if there is one."""
    try:
        return idle.pop()
    except IndexError:
        return None


def _close(idle: deque[Wire]) -> None:
    while wire := _popped(idle):
        wire.close()


def _exchange(wire: Wire, lines: bytes, content: memoryview, pace: Pace) -> Head:
    """Send a request and receive the beginning of its answer; closes the connection on a fault."""
    try:
        wire.begin(pace)
        try:
            wire.send(lines, content)
        except Unavailable:
            if wire.stalled:
                raise
            head = _final(wire)._replace(lasting=False)  # it may have told why it hung up
            if head.status < 300:  # which is no answer to what it did not read
                raise
            return head
        return _final(wire)
    except BaseException:
        wire.close()
        raise


def _final(wire: Wire) -> Head:
    """The first lines that are not provisional."""
    for _ in range(10):
        head = parsed(wire.head(), wire.where)
        if head.status >= 200:
            return head
        if head.status == 101:
            break
    raise nonsense(wire.where, "no end of provisional answers")
