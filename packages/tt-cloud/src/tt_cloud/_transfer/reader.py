"""An object as a seekable stream, which fetches what is read and somewhat more."""

from __future__ import annotations

from io import BufferedReader
from typing import BinaryIO

from tt_cloud._local import Stream
from tt_cloud._transfer.download import Download
from tt_cloud._transfer.first import Wanted
from tt_cloud._transfer.line import Line

LEAST = 1 << 20  # bytes that are fetched at once
MOST = 8 << 20
BUFFER = 64 << 10  # between the stream and whoever reads few bytes at a time


def open_reader(line: Line, key: str, version: str | None) -> BinaryIO:
    """A stream of one version of an object; `NotFound` if there is none."""
    window = Window(line, key, version)
    return BufferedReader(Stream(window, window.size), BUFFER)


class Window:
    """The part of an object that is in memory: larger, the longer it is read in order.

    Attributes:
        size: Of the whole object.
    """

    def __init__(self, line: Line, key: str, version: str | None) -> None:
        self._line = line
        self._ahead = LEAST
        self._start = 0
        stored, self._data = Download(line, Wanted(key, version, end=LEAST)).to_memory()
        self._wanted = Wanted(key, version, stored.etag or None)
        self.size = stored.size

    def __call__(self, start: int, end: int) -> bytes:
        """All the bytes from start up to end, which is not beyond the object's."""
        found = self._found(start, end)
        missing = start + len(found)
        if missing < end:
            self._move(missing, end)
            found += self._found(missing, end)
        return found

    def _move(self, start: int, end: int) -> None:
        """Have these bytes in memory, and somewhat more."""
        sequential = start == self._start + len(self._data)
        self._ahead = min(2 * self._ahead, MOST) if sequential else LEAST
        wanted = self._wanted._replace(
            start=start, end=min(self.size, max(end, start + self._ahead))
        )
        self._data = Download(self._line, wanted).to_memory()[1]
        self._start = start

    def _found(self, start: int, end: int) -> bytes:
        """What is in memory of that."""
        if start < self._start:
            return b""
        return self._data[start - self._start : end - self._start]
