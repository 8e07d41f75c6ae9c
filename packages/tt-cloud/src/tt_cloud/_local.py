"""What primitives of several stores have in common: conditions, streams, onlookers."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tt_cloud._stored import Condition, Watch
from tt_cloud.errors import AlreadyExists, Cancelled, Changed, CloudError, NotFound, Unsupported

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


_MOVE = "name a place that may be written to, or change its owner and mode"
_ADVICE = {
    errno.EACCES: _MOVE,
    errno.EDQUOT: "free some of the quota, or name another place",
    errno.ENOSPC: "free some space, or name another place",
    errno.EPERM: _MOVE,
    errno.EROFS: _MOVE,
}

CHUNK = 1 << 20  # bytes; large enough that Python's cost per chunk vanishes beside the digest's


def missing(where: str) -> NotFound:
    """The error for an object that is not there."""
    return NotFound(f"{where} must exist to be read: it does not; list() shows what does")


def hold(condition: Condition, etag: str | None, where: str) -> None:
    """Refuse a write whose condition the object with this etag, if any, does not meet."""
    if condition.absent and etag is not None:
        msg = f"with if_absent the key must be free: {where} is taken; use another"
        raise AlreadyExists(msg)
    if condition.etag is not None:
        expect(condition.etag, etag, where)


def expect(wanted: str | None, etag: str | None, where: str) -> None:
    """Refuse another object than the one with the etag that is wanted, if one is."""
    if wanted not in (None, etag):
        fault = "is gone" if etag is None else f"has {etag!r}"
        msg = f"the object must have the etag {wanted!r}: {where} {fault}; look at it again"
        raise Changed(msg)


def current_only(version: str | None, where: str) -> None:
    """Refuse to look for a version."""
    if version is not None:
        msg = f"this store keeps no versions: {version!r} of {where} was asked for; leave that out"
        raise Unsupported(msg)


@contextmanager
def landing(where: object) -> Iterator[None]:
    """Say where a disk is full or may not be written to, and what to do."""
    try:
        yield
    except CloudError:
        raise
    except OSError as error:
        if error.errno not in _ADVICE:
            raise
        rule, advice = "what is fetched or stored needs a place that takes it", _ADVICE[error.errno]
        msg = f"{rule}: {where} does not ({error.strerror}); {advice}"
        raise OSError(error.errno, msg) from error


def refuse_folder(target: Path) -> None:
    """Refuse to write a file where a folder is, before anything is moved."""
    if target.is_dir():
        msg = f"an object is written to a file: {target} is a folder; name a file in it"
        raise IsADirectoryError(errno.EISDIR, msg)


def watched(chunks: Iterable[bytes], key: str, size: int, watch: Watch) -> Iterator[bytes]:
    """The chunks, while somebody looks on and may stop it."""
    stop_if(watch, key)
    for chunk in chunks:
        yield chunk
        if watch.progress is not None:
            watch.progress(key, len(chunk), size)
        stop_if(watch, key)


def stop_if(watch: Watch, key: str) -> None:
    """Stop when the caller asked to."""
    if watch.cancel is not None and watch.cancel.is_set():
        msg = f"a call goes on until its cancel event is set: that of {key!r} is; nothing was kept"
        raise Cancelled(msg)


class Stream(io.RawIOBase):
    """An object as a file, through a function that reads from one position up to another."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            msg = f"a position is not negative: got {start + offset}; seek to 0 or beyond"
            raise ValueError(msg)
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._take(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self._take(self._size)

    def _take(self, count: int) -> bytes:
        end = min(self._position + count, self._size)
        data = self._read(self._position, end) if self._position < end else b""
        self._position += len(data)
        return data
