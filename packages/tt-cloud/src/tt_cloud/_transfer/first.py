"""The first answer to a download, which for most objects is all of it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple

from tt_cloud._remote import Incoming
from tt_cloud._stored import Stored
from tt_cloud._transfer.clock import Halt
from tt_cloud._transfer.line import Line
from tt_cloud._transfer.tally import Tally
from tt_cloud.api import Progress
from tt_cloud.errors import Changed, Unavailable


class Wanted(NamedTuple):
    """What a download is to bring."""

    key: str
    version: str | None = None
    etag: str | None = None
    start: int = 0
    end: int | None = None

    def stop(self, size: int) -> int:
        """Where it ends in an object of that size."""
        return size if self.end is None else min(self.end, size)


class Handed(AbstractContextManager[Incoming]):
    """An answer whose bytes somebody else will read."""

    def __init__(self, manager: AbstractContextManager[Incoming], incoming: Incoming) -> None:
        self._manager = manager
        self._incoming = incoming

    def __enter__(self) -> Incoming:
        return self._incoming

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._manager.__exit__(kind, error, traceback)


class First:
    """Asks for as much as one request brings, and learns what there is.

    Attributes:
        stored: What is known of the object.
        data: All that is wanted, if it fits.
        handed: Else the answer, open, from which nothing was read.
        tally: Told of what comes.
        halt: Ends the call.
    """

    stored: Stored
    tally: Tally

    def __init__(self, line: Line, wanted: Wanted, halt: Halt, progress: Progress | None) -> None:
        self.data: bytearray | None = None
        self.handed: Handed | None = None
        self._line = line
        self._wanted = wanted
        self.halt = halt
        self._progress = progress
        self._known = False
        self._etag = wanted.etag
        self._position = 0
        self._stop = wanted.start + line.options.part_size
        if wanted.end is not None:
            self._stop = min(self._stop, wanted.end)

    def run(self) -> None:
        """Ask until there is an answer."""
        self._line.retrying.run(self._attempt, self.halt, self._mark)

    def close(self) -> None:
        """Drop an answer that nobody reads."""
        if self.handed is not None:
            handed, self.handed = self.handed, None
            handed.__exit__(None, None, None)

    def undo(self) -> None:
        """What came has to come again."""
        if self._known:
            self.tally.undo()

    def _mark(self) -> int:
        return self._position

    def _attempt(self) -> None:
        wanted = self._wanted
        manager = self._line.remote.get(
            wanted.key,
            start=wanted.start + self._position,
            end=self._stop,
            etag=self._etag,
            version=wanted.version,
        )
        incoming = manager.__enter__()
        try:
            self._learn(incoming.stored)
            if self.data is not None:
                self._fill(incoming, memoryview(self.data))
        except BaseException:
            manager.__exit__(*sys.exc_info())
            raise
        if self.data is None:
            self.handed = Handed(manager, incoming)
        else:
            manager.__exit__(None, None, None)

    def _learn(self, stored: Stored) -> None:
        if self._known:
            check_same(stored, self.stored, self._line.where(self._wanted.key))
            return
        self.stored = stored
        self._etag = stored.etag or None
        size = max(0, self._wanted.stop(stored.size) - self._wanted.start)
        self.tally = Tally(self._wanted.key, size, self._progress)
        if size <= self._line.options.part_size:
            self.data = bytearray(size)
        self._known = True

    def _fill(self, incoming: Incoming, view: memoryview) -> None:
        while self._position < len(view):
            count = incoming.readinto(view[self._position :])
            if not count:
                raise too_short(self._line.where(self._wanted.key))
            self.halt.check()
            self._position += count
            self.tally.add(count)


def check_same(stored: Stored, before: Stored, where: str) -> None:
    """Refuse an answer about another object than the one before."""
    if stored.etag != before.etag or stored.size != before.size:
        msg = f"an object must not change while it is read: {where} was replaced; read it again"
        raise Changed(msg)


def too_short(where: str) -> Unavailable:
    """What to raise when fewer bytes came than were announced."""
    return Unavailable(f"{where}: the answer ended too early; try again later")
