"""Members as files of a new folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from tt_cloud.datasets._archives.limits import Meter
from tt_cloud.datasets._archives.names import Names

CHUNK = 1 << 20  # bytes that are read at once

_NEW = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)  # Windows
)
_PLAIN = 0o666  # the process's umask takes from these; nothing else of a mode is kept
_EXECUTABLE = 0o777


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""
        ...


class Writer:
    """Writes into a folder that nobody else knows yet.

    Args:
        folder: Where to; there is nothing in it.
        meter: Told of all bytes before they are written.
    """

    def __init__(self, folder: Path, meter: Meter) -> None:
        self.folder = folder
        self.meter = meter
        self._names = Names()
        self._parent = folder

    def make_folder(self, name: str) -> None:
        """Make a folder; it may be there already."""
        self.meter.member()
        parts = self._names.add(name, is_folder=True)
        self.folder.joinpath(*parts).mkdir(parents=True, exist_ok=True)

    def new_file(self, name: str) -> Path:
        """Where a member goes; its folder is there."""
        self.meter.member()
        path = self.folder.joinpath(*self._names.add(name, is_folder=False))
        if path.parent != self._parent:  # members of a folder mostly come together
            path.parent.mkdir(parents=True, exist_ok=True)
            self._parent = path.parent
        return path

    def write(self, path: Path, chunks: Iterable[bytes], *, executable: bool = False) -> int:
        """Write a file that is not there yet; its size."""
        size = 0
        with os.fdopen(os.open(path, _NEW, _EXECUTABLE if executable else _PLAIN), "wb") as file:
            for chunk in chunks:
                self.meter.add(len(chunk))
                size += file.write(chunk)
        return size


def chunks_of(stream: Readable, size: int = CHUNK) -> Iterator[bytes]:
    """A stream in pieces."""
    while chunk := stream.read(size):
        yield chunk
