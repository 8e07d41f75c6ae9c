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
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "Digest",
    "LineFile",
    "commit_directory",
    "digest_file",
    "is_scratch",
    "make_directories",
    "make_directory",
    "remove_directory",
    "remove_file",
    "rename",
    "replace_file",
    "scratch_path",
    "sweep_scratch",
    "write_file",
]

_SCRATCH = re.compile(r"\.tmp-(?P<host>[A-Za-z0-9_]+)-(?P<pid>\d+)-(?P<token>[0-9a-f]{8})-")
_HOST = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname()) or "host"
_TOKEN = secrets.token_hex(4)  # tells this process from an earlier one that had the same number
_DAY = 24 * 60 * 60
_CHUNK = 1 << 20
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
        written += os.write(fd, view[written:])
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
    scratch = scratch_path(path.parent, path.name)
    try:
        digest = write_file(scratch, [content])
        os.replace(scratch, path)  # noqa: PTH105 - see the module: all changes go through `os`
    except BaseException:
        _quietly(lambda: os.unlink(scratch))  # noqa: PTH108 - as above
        raise
    sync_directory(path.parent)
    return digest


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
        rename(path, doomed)
    for folder, folders, files in os.walk(doomed, topdown=False):
        for name in files:
            os.unlink(Path(folder, name))  # noqa: PTH108 - as above
        for name in folders:
            _remove_folder(Path(folder, name))
    os.rmdir(doomed)  # noqa: PTH106 - as above


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
    """Remove what dead processes left unfinished; failing to is not an error."""
    for path in list(parent.iterdir()):
        match = _SCRATCH.match(path.name)
        if match and _abandoned(path, match):
            _quietly(partial(_remove, path))


def _remove(path: Path) -> None:
    if path.is_dir():
        remove_directory(path)
    else:
        os.unlink(path)  # noqa: PTH108 - as above


def _abandoned(path: Path, match: re.Match[str]) -> bool:
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

    A line that an earlier writer (or a full disk) left unfinished is closed before the next.
    """

    def __init__(self, path: Path, *, exclusive: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY
        self._fd = os.open(path, flags | (os.O_EXCL if exclusive else 0), 0o666)
        self._torn = not _ends_whole(path)
        sync_directory(path.parent)

    def append(self, line: str) -> None:
        """Write one line; it is in the kernel's hands on return, and on the disk after `close`."""
        data = (f"\n{line}\n" if self._torn else f"{line}\n").encode()
        written = os.write(self._fd, data)
        self._torn = written != len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, "a line must be written whole; the disk took a part of it")

    def close(self) -> None:
        """Flush to the disk and close; a second call does nothing."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return True
        file.seek(-1, 2)
        return file.read(1) == b"\n"
