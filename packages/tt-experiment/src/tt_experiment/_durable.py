"""Writing files for keeping: the only module of this package that does.

What a function here has returned from survives a power cut, and a file or directory that is
visible under its final name is whole. Every change to the disk goes through this module's name
``os``: replacing that one name is how the tests kill the process between any two of them.

Work in progress lies beside its final name, as ``.tmp-<host>-<pid>-<token>-<what>``. A leftover is
swept (`sweep_scratch`) when the process that made it is known to be gone, or when it is a day old.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "Digest",
    "LineFile",
    "abandoned",
    "adopt_file",
    "commit_directory",
    "digest_file",
    "discard",
    "free_space",
    "is_scratch",
    "make_directories",
    "make_directory",
    "remove_directory",
    "remove_file",
    "rename",
    "replace_chunks",
    "replace_file",
    "scratch_path",
    "sweep_scratch",
    "write_file",
]

_SCRATCH = re.compile(r"\.tmp-(?P<host>[A-Za-z0-9_]+)-(?P<pid>\d+)-(?P<token>[0-9a-f]{8})-")
_HOST = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname()) or "host"
_TOKEN = secrets.token_hex(4)  # tells this process from an earlier one that had the same number
_left: set[Path] = set()  # what this process has given up; its disk may not have let it go
_DAY = 24 * 60 * 60
_CHUNK = 1 << 20
_MAX_WHAT = 40  # characters of a name that a scratch name repeats: a file name has 255 bytes
_MOST_WAITING = 1 << 20  # bytes of lines that a full disk has not taken
_BINARY = getattr(os, "O_BINARY", 0)  # only Windows has, and needs, it


class Digest(NamedTuple):
    """What is remembered of a file's content."""

    bytes: int
    sha256: str


def write_file(path: Path, chunks: Iterable[Any]) -> Digest:
    """Write a new file from buffers, hashing as it goes, and flush it to the disk."""
    digest, size = hashlib.sha256(), 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        for chunk in chunks:
            with memoryview(chunk).cast("B") as view:
                digest.update(view)
                size += _write_all(fd, view)
        os.fsync(fd)
    finally:
        os.close(fd)
    return Digest(size, digest.hexdigest())


def _write_all(fd: int, view: memoryview) -> int:
    written = 0
    while written < len(view):  # one write() takes at most 2 GiB, and less when a signal comes
        count = os.write(fd, view[written:])
        if count == 0:  # it would be so for ever
            raise OSError(errno.EIO, "the disk took nothing")
        written += count
    return written


def digest_file(path: Path) -> Digest:
    """Read a file through and tell its size and digest."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Digest(size, digest.hexdigest())


def replace_file(path: Path, content: bytes) -> Digest:
    """Give a file a new content: readers see the old or the new one, never a part."""
    return replace_chunks(path, [content])


def replace_chunks(path: Path, chunks: Iterable[Any]) -> Digest:
    """The same from buffers."""
    scratch = scratch_path(path.parent, path.name[:_MAX_WHAT])
    try:
        digest = write_file(scratch, chunks)
        os.replace(scratch, path)  # noqa: PTH105 - see the module: all changes go through `os`
    except BaseException:
        discard(scratch)
        raise
    sync_directory(path.parent)
    return digest


def adopt_file(scratch: Path, path: Path) -> None:
    """Flush a file that something else wrote, and give it its final name."""
    fd = os.open(scratch, os.O_RDWR | _BINARY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(scratch, path)  # noqa: PTH105 - as above
    sync_directory(path.parent)


def free_space(path: Path) -> int:
    """Bytes that may still be written to where a path is, or will be."""
    place = next(place for place in (path, *path.parents) if place.exists())
    return shutil.disk_usage(place).free


def make_directory(path: Path, *, exist_ok: bool = False) -> None:
    """Make one directory, exclusively unless ``exist_ok``, and flush its parent."""
    try:
        os.mkdir(path)  # noqa: PTH102 - as above
    except FileExistsError:
        if not (exist_ok and path.is_dir()):
            raise
    else:
        sync_directory(path.parent)


def make_directories(path: Path) -> None:
    """Make a directory and its missing parents; fine if it is there."""
    if not path.is_dir():
        make_directories(path.parent)
        make_directory(path, exist_ok=True)


def sync_directory(path: Path) -> None:
    """Flush a directory, so that the names in it survive a power cut."""
    if os.name == "nt":
        return  # Windows cannot open a directory; its file systems journal names themselves
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename(source: Path, target: Path) -> None:
    """Rename and flush the directory that holds both."""
    os.rename(source, target)  # noqa: PTH104 - as above
    sync_directory(target.parent)


def commit_directory(staging: Path, target: Path) -> None:
    """Make a finished staging directory appear under its final name: the commit point."""
    sync_directory(staging)
    rename(staging, target)


def remove_file(path: Path) -> None:
    """Remove a file; fine if there is none."""
    try:
        os.unlink(path)  # noqa: PTH108 - as above
    except FileNotFoundError:
        return
    sync_directory(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a directory tree so that no half of it is ever seen under its name."""
    doomed = path
    if not is_scratch(path):
        doomed = scratch_path(path.parent, f"del-{path.name}")
        _left.add(doomed)
        rename(path, doomed)
    for folder, folders, files in os.walk(doomed, topdown=False):
        for name in files:
            os.unlink(Path(folder, name))  # noqa: PTH108 - as above
        for name in folders:
            _remove_folder(Path(folder, name))
    os.rmdir(doomed)  # noqa: PTH106 - as above


def discard(scratch: Path) -> None:
    """Remove what did not come to be; what a failing disk keeps of it, a later sweep removes."""
    _left.add(scratch)
    _quietly(partial(_remove, scratch))


def _remove_folder(path: Path) -> None:
    if path.is_symlink():
        os.unlink(path)  # noqa: PTH108 - a link is removed, what it points to is not ours
    else:
        os.rmdir(path)  # noqa: PTH106 - as above


def scratch_path(parent: Path, what: str) -> Path:
    """A name for work in progress, beside its final place and so on the same file system."""
    return parent / f".tmp-{_HOST}-{os.getpid()}-{_TOKEN}-{what}-{secrets.token_hex(3)}"


def is_scratch(path: Path) -> bool:
    """Whether a name is that of work in progress."""
    return path.name.startswith(".tmp-")


def sweep_scratch(parent: Path) -> None:
    """Remove what dead processes, or a failing disk, left unfinished; failing to is no error."""
    for path in abandoned(parent):
        _quietly(partial(_remove, path))


def abandoned(parent: Path) -> list[Path]:
    """What dead processes left unfinished in a folder."""
    matches = [(path, _SCRATCH.match(path.name)) for path in sorted(parent.iterdir())]
    return [path for path, match in matches if match and _abandoned(path, match)]


def _remove(path: Path) -> None:
    if path.is_dir():
        remove_directory(path)
    else:
        os.unlink(path)  # noqa: PTH108 - as above


def _abandoned(path: Path, match: re.Match[str]) -> bool:
    if path in _left:
        return True
    if match["host"] == _HOST and not _alive(int(match["pid"]), match["token"]):
        return True
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except FileNotFoundError:  # its owner finished meanwhile
        return False


def _alive(pid: int, token: str) -> bool:
    if pid == os.getpid():
        return token == _TOKEN  # or an earlier process had our number, as in a container
    if os.name == "nt":
        return True  # there, os.kill(pid, 0) is no question but an interrupt
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except OSError:  # tidying up: what made it necessary is the error worth reporting
        return


class LineFile:
    """A file that only grows, one ``write()`` per line, so that a kill tears at most the last one.

    What a full disk does not take is kept, up to a bound, and comes before the next line. A line
    that an earlier writer left unfinished is closed first. Threads may share one.

    Attributes:
        lost: How many lines found no room, neither on the disk nor in the bound.
    """

    def __init__(self, path: Path, *, exclusive: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY
        self._fd = os.open(path, flags | (os.O_EXCL if exclusive else 0), 0o666)
        self.lost = 0
        self._waiting = b"" if _ends_whole(path) else b"\n"
        self._guard = threading.Lock()
        sync_directory(path.parent)

    def append(self, line: bytes) -> None:
        """Write a line, which ends in a newline; it is in the kernel's hands on return.

        Raises:
            OSError: The disk did not take all of it. The rest is kept, if there is room.
        """
        with self._guard:
            data = self._waiting + line if self._waiting else line
            written = 0
            try:
                written = os.write(self._fd, data)
                if written != len(data):
                    raise OSError(errno.ENOSPC, "the disk took only a part of what was recorded")
            finally:
                self._keep(data[written:], line)

    def _keep(self, rest: bytes, newest: bytes) -> None:
        if len(rest) > _MOST_WAITING and len(rest) >= len(newest):
            rest = rest[: len(rest) - len(newest)]
            self.lost += 1
        self._waiting = rest

    def flush(self) -> None:
        """Write what waits and have everything on the disk."""
        if self._waiting:
            self.append(b"")
        os.fsync(self._fd)

    def close(self) -> None:
        """Flush and close; what the disk still does not take is lost. Twice is fine."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            self.lost += self._waiting.lstrip(b"\n").count(b"\n")
            fd, self._fd, self._waiting = self._fd, -1, b""
            os.close(fd)


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return True
        file.seek(-1, 2)
        return file.read(1) == b"\n"
