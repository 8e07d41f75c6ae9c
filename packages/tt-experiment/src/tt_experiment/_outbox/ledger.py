"""What a store is known to have of a run, on disk beside the run, so that nobody has to ask again.

It only saves questions: an entry that a crash lost costs one request. What it says is there has
been there, as an entry is written after the store has answered.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from tt_experiment import _json
from tt_experiment._durable import LineFile

__all__ = ["Ledger", "Sent", "Stamp", "stamp"]

_log = logging.getLogger(__name__)


class Stamp(NamedTuple):
    """What of a file changes with its content."""

    size: int
    modified: int
    inode: int


class Sent(NamedTuple):
    """A content that the store has, and the state of the file that it was read from."""

    sha256: str
    stamp: Stamp


def stamp(path: Path) -> Stamp:
    """The state that a file is in."""
    found = path.stat()
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ino)


class Ledger:
    """Entries by the file's name in the run; the last one of a name counts.

    Args:
        path: Where they are kept; ``None`` keeps them in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file: LineFile | None = None
        self._entries: dict[str, Sent] = {}
        if path is not None and path.is_file():
            for line in path.read_bytes().split(b"\n"):
                self._load(line)

    def get(self, name: str) -> Sent | None:
        """What the store has of a file."""
        return self._entries.get(name)

    def note(self, name: str, sent: Sent) -> None:
        """The store has it."""
        self._entries[name] = sent
        self._append({"name": name, "sha256": sent.sha256, "stamp": list(sent.stamp)})

    def forget(self, name: str) -> None:
        """The store may not have it."""
        if self._entries.pop(name, None) is not None:
            self._append({"name": name})

    def close(self) -> None:
        """Close the file; the next entry opens it again."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except OSError as error:  # a full disk: the store has the files all the same
            _log.debug("%s is not whole: %s", self._path, error)

    def _load(self, line: bytes) -> None:
        try:
            entry = _json.load_object(line)
            self._entries.pop(entry["name"], None)
            if "sha256" in entry:
                self._entries[entry["name"]] = Sent(entry["sha256"], Stamp(*entry["stamp"]))
        except (ValueError, KeyError, TypeError):  # torn by a kill: the store is asked again
            return

    def _append(self, entry: dict[str, object]) -> None:
        if self._path is None:
            return
        try:
            self._file = self._file or LineFile(self._path)
            self._file.append(_json.line(entry).encode() + b"\n")
        except OSError as error:  # as above
            _log.debug("%s is not whole: %s", self._path, error)
