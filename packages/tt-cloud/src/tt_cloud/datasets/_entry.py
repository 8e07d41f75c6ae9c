"""A folder of data that is there completely or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tt_cloud._transfer.files import store_file
from tt_cloud.api import Cancel
from tt_cloud.datasets._lock import locked
from tt_cloud.errors import UnsafeArchive

NOTES = ".tt-cloud"
"""The folder beside the data for what is known of them: records, locks and unfinished downloads."""

_VERSION = 1
_LONGEST = 200  # of the 255 bytes of a file's name, with room for an ending


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int
    modified: int  # nanoseconds; another one means that the content must be looked at
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """What an entry is made from and consists of.

    Attributes:
        digest: Of the source's version.
        files: Ordered by path.
        version: Of the format.
    """

    digest: str
    files: tuple[_File, ...]
    version: int = _VERSION


class Entry:
    """Data below a root, whose record is written last and says what must be there.

    A crash of the machine may lose bytes of files but not their sizes, and these are compared.

    Args:
        root: A folder.
        name: That of the data in it; may have several parts.
    """

    def __init__(self, root: Path, name: str) -> None:
        notes = root / NOTES / _note(name)
        self.folder = root / name
        self.unfinished = notes.with_name(f"{notes.name}.part")
        self._record = notes.with_name(f"{notes.name}.json")
        self._lock = notes.with_name(f"{notes.name}.lock")

    def locked(self, cancel: Cancel | None) -> AbstractContextManager[None]:
        """Keep all others from this entry."""
        return locked(self._lock, cancel)

    def record(self) -> Record | None:
        """What should be there; `None` when nothing was ever finished."""
        try:
            found: Any = json.loads(self._record.read_bytes())
            if found.pop("version") != _VERSION:
                return None
            return Record(found["digest"], tuple(_File(**each) for each in found["files"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def fault(self, digest: str | None, *, full: bool) -> str | None:
        """What keeps the entry from being used, if anything does.

        Args:
            digest: Of the version that is wanted; `None` for any.
            full: Read all files, instead of comparing sizes and times.
        """
        record = self.record()
        if record is None:
            return "is not complete" if self.folder.exists() else "is not there"
        if digest not in (None, record.digest):
            return "is another version"
        for file in record.files:
            if not self._is_right(file, full=full):
                return f"is not as it was fetched: see {file.path!r}"
        return None

    def _is_right(self, file: _File, *, full: bool) -> bool:
        path = self.folder / file.path
        try:
            found = path.lstat()
            if found.st_size != file.size:
                return False
            same = found.st_mtime_ns == file.modified and not full
            return same or _sha256(path) == file.sha256
        except OSError:
            return False

    def fill(self, digest: str, make: Callable[[Path], Path]) -> None:
        """Replace the data by the folder that a function makes inside the one that it is given.

        What it leaves there is kept when it fails, so that it can go on with it the next time.
        """
        work = self._work(digest)
        try:
            made = make(work)
        except UnsafeArchive:
            shutil.rmtree(self.unfinished)
            raise
        record = Record(digest, tuple(_files(made)))
        self._put_in_place(made)
        self._write(record)
        shutil.rmtree(self.unfinished)

    def _work(self, digest: str) -> Path:
        """The folder for one version; what is left of others is of no use any more."""
        work = self.unfinished / digest[:16]
        work.mkdir(parents=True, exist_ok=True)
        for other in self.unfinished.iterdir():
            if other != work:
                _remove(other)
        return work

    def _put_in_place(self, made: Path) -> None:
        self._record.unlink(missing_ok=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(self.folder):
            self.folder.rename(self.unfinished / "old")
        made.rename(self.folder)

    def _write(self, record: Record) -> None:
        store_file(self._record, json.dumps(asdict(record)).encode())


def _note(name: str) -> str:
    """One part that stands for a name of several, short enough to be that of a file."""
    quoted = quote(name, safe=" ")
    if len(quoted) <= _LONGEST:
        return quoted
    return f"{quoted[: _LONGEST - 33]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _remove(path: Path) -> None:
    """Remove a folder, or a link to one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _files(folder: Path) -> Iterator[_File]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found = path.stat()
            name = path.relative_to(folder).as_posix()
            yield _File(name, found.st_size, found.st_mtime_ns, _sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
