"""Directories entered step by step without following links, and what is done inside them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from tt_cloud._files import is_link
from tt_cloud.errors import InvalidURL

# Elsewhere (Windows) names are joined to paths, and links are looked for before each step.
_RELATIVE = (
    {os.link, os.mkdir, os.open, os.rename, os.rmdir, os.stat, os.unlink, os.utime}
    <= os.supports_dir_fd
) and os.scandir in os.supports_fd
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_PLAIN = _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Directory:
    """An open directory, whatever becomes of its path; names are single parts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, _DIRECTORY) if _RELATIVE else None

    def enter(self, name: str, *, make: bool) -> None:
        """Go one step down."""
        if make:
            self._make(name)
        self.refuse_link(name)
        below = self._path / name
        if self._handle is not None:
            handle = self.open(name, _DIRECTORY)
            os.close(self._handle)
            self._handle = handle
        elif not below.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(below))
        self._path = below

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def open(self, name: str, flags: int) -> int:
        """A descriptor; never of what a link points to, and without waiting for a pipe's writer."""
        return os.open(self._name(name), flags | _PLAIN, 0o666, dir_fd=self._handle)

    def file(self, name: str) -> BufferedReader:
        """A plain file to read; everything else is not found."""
        self.refuse_link(name)
        descriptor = self.open(name, os.O_RDONLY)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return os.fdopen(descriptor, "rb")

    def find(self, name: str) -> os.stat_result | None:
        """What is there, links themselves included."""
        try:
            return os.stat(self._name(name), dir_fd=self._handle, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def refuse_link(self, name: str) -> None:
        """Fail where there is one."""
        found = self.find(name)
        linked = found is not None and stat.S_ISLNK(found.st_mode)
        if linked or (self._handle is None and is_link(self._path / name)):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)

    def rename(self, name: str, new: str) -> None:
        """Give a file another name; what had that name before is gone in the same step."""
        old = self._name(name)
        os.replace(old, self._name(new), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def link(self, name: str, new: str) -> None:
        """Give a file a second name, which must be free."""
        old = self._name(name)
        os.link(old, self._name(new), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def unlink(self, name: str) -> None:
        """Remove a file that may be gone already."""
        with suppress(FileNotFoundError):
            os.unlink(self._name(name), dir_fd=self._handle)

    def touch(self, name: str, nanoseconds: int) -> None:
        """Set the time at which a file was written."""
        times = (nanoseconds, nanoseconds)
        os.utime(self._name(name), ns=times, dir_fd=self._handle)

    def rmdir(self, name: str) -> None:
        os.rmdir(self._name(name), dir_fd=self._handle)

    def entries(self) -> Iterator[os.DirEntry[str]]:
        """What is inside, in no order."""
        with os.scandir(self._path if self._handle is None else self._handle) as found:
            yield from found

    def flush(self) -> None:
        """Make what was renamed survive a power cut."""
        if self._handle is not None:
            os.fsync(self._handle)

    def _make(self, name: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(self._name(name), dir_fd=self._handle)
            self.flush()

    def _name(self, name: str) -> str:
        return name if self._handle is not None else str(self._path / name)


@contextmanager
def entered(root: Path, parts: Sequence[str], *, make: bool = False) -> Iterator[Directory]:
    """The directory that the parts lead to from a root, which itself may be a link."""
    directory = _root(root, make=make)
    try:
        for part in parts:
            directory.enter(part, make=make)
        yield directory
    finally:
        directory.close()


def _root(path: Path, *, make: bool) -> Directory:
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        return Directory(path)
    except (FileExistsError, NotADirectoryError) as error:
        msg = f"a folder store needs a folder: {path} is or lies below a file; give another path"
        raise InvalidURL(msg) from error
