"""Notes of a transfer, from which another process goes on: one line of JSON each, appended.

A line that a kill or a power cut has torn ends what can be read. Nothing is trusted because it is
noted: bytes are compared with checksums, and the service is asked for what it has.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from tt_cloud._cache_dir import cache_dir
from tt_cloud._transfer.files import PRIVATE, locked, unlock

logger = logging.getLogger(__name__)

Entry: TypeAlias = Mapping[str, Any]

FORMAT = 1
STALE = 8 * 24 * 3600  # seconds: Google's sessions end after a week


class Journal:
    """A file of notes, locked while it is open; to keep them is worth no failure."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()

    def entries(self) -> list[dict[str, Any]]:
        """What was noted; a torn line, and all behind it, is dropped."""
        with self._lock:
            if self._descriptor is None:
                return []
            found, good = _parsed(_content(self._descriptor))
            os.ftruncate(self._descriptor, good)
        if not found or found[0].get("format") != FORMAT:
            return []
        return found

    def begin(self, header: Entry) -> None:
        """Forget everything, and note what this is about."""
        self.clear()
        self.note({"format": FORMAT, **header})

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            if self._descriptor is not None:
                os.ftruncate(self._descriptor, 0)

    def note(self, entry: Entry) -> None:
        """Add a line."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._descriptor is None:
                return
            try:
                os.lseek(self._descriptor, 0, os.SEEK_END)
                os.write(self._descriptor, line)
            except OSError as error:
                logger.info("no more notes can be kept in %s: %s", self.path, error)
                self._close()

    def remove(self) -> None:
        """Nothing is left to go on with."""
        if os.name == "nt":  # removes closed files only
            self.close()
        with suppress(OSError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            unlock(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


def open_journal(path: Path, mode: int = PRIVATE) -> Journal | None:
    """Open and lock it; ``None`` while another transfer uses it, or where no such file can be."""
    try:
        descriptor = locked(path, mode)
    except OSError as error:
        logger.info("no notes can be kept in %s: %s", path, error)
        return None
    return None if descriptor is None else Journal(path, descriptor)


def uploads_folder(chosen: Path | None) -> Path:
    """Where the notes on uploads are; made if need be, for this user alone."""
    folder = chosen or cache_dir("uploads")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def clear_stale(folder: Path) -> None:
    """Remove notes that no service knows anything of by now."""
    before = time.time() - STALE
    for path in folder.glob("*.journal"):
        with suppress(OSError):
            if path.stat().st_mtime < before and (journal := open_journal(path)) is not None:
                journal.remove()


def _content(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()


def _parsed(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The entries of all whole lines, and how many bytes these are."""
    found: list[dict[str, Any]] = []
    good = 0
    for line in data.split(b"\n")[:-1]:  # what follows the last line's end was torn
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not isinstance(entry, dict):
            break
        found.append(entry)
        good += len(line) + 1
    return found, good
