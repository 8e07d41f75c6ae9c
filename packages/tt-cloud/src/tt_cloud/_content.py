"""Bytes on their way: the source of an upload, the sink of a download, and the atomic file."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud._stored import Stored
from tt_cloud._transfer.files import NEW, READ, flush_directory, read_at
from tt_cloud._transfer.prepass import CHUNK, changed, digests
from tt_cloud.api import Source
from tt_cloud.errors import ChecksumMismatch

SPOOL = 16 << 20  # bytes of a source that are kept in memory

PartSize: TypeAlias = Callable[[int], int | None]
"""From the size of a content to that of its parts, where it has some."""


class Content:
    """What an upload sends: bytes in memory, or an open file, and what they were when digested.

    Attributes:
        size: Bytes.
        sha256: In hex.
        token: Another for each upload.
        data: All of it, where it is in memory.
        part_size: Bytes of each part but the last, where there are ``crcs``.
        crcs: CRC32 of each part, of a file that is sent to where they are needed.
    """

    __slots__ = ("_file", "_info", "crcs", "data", "part_size", "sha256", "size", "token")

    def __init__(
        self,
        size: int,
        sha256: str,
        data: memoryview | None = None,
        file: IO[bytes] | None = None,
        part_size: int = 0,
        crcs: Sequence[int] = (),
    ) -> None:
        self.size = size
        self.sha256 = sha256
        self.token = secrets.token_hex(16)
        self.data = data
        self.part_size = part_size
        self.crcs = crcs
        self._file = file
        self._info = None if file is None else _state(file.fileno())

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """The content in pieces; fails at its end if it is not what was digested."""
        if self.data is not None:
            for start in range(0, self.size, size):
                yield bytes(self.data[start : start + size])
            return
        digest = hashlib.sha256()
        for start in range(0, self.size, size):
            buffer = memoryview(bytearray(min(size, self.size - start)))
            self.read_into(buffer, start)
            digest.update(buffer)
            yield bytes(buffer)
        self.check_unchanged()
        if digest.hexdigest() != self.sha256:
            raise changed()

    def read_into(self, buffer: memoryview, start: int) -> None:
        """Fill a buffer from a position on; the source must have as many bytes there."""
        if self.data is not None:
            buffer[:] = self.data[start : start + len(buffer)]
        elif self._file is not None and read_at(self._file.fileno(), buffer, start) < len(buffer):
            raise changed()

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        if self._file is not None and _state(self._file.fileno()) != self._info:
            raise changed()


class Sink:
    """Where a download goes: counts and digests what is written through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def verify(self, stored: Stored, where: str) -> None:
        """Compare what came with what the store promised."""
        if self.size != stored.size:
            fault = f"{self.size} bytes instead of {stored.size}"
        elif stored.sha256 not in (None, self.sha256):
            fault = f"sha256 {self.sha256} instead of {stored.sha256}"
        else:
            return
        msg = f"an object must come as it was stored: {where} came with {fault}; get it again"
        raise ChecksumMismatch(msg)


@contextmanager
def opened(
    source: Source, expected: str | None, part_size: PartSize | None = None
) -> Iterator[Content]:
    """Open and digest a source; refuse it when it is not what the caller expects.

    Args:
        source: What to send.
        expected: Its digest, where the caller knows it.
        part_size: Of whoever needs the CRC32 of each part.
    """
    if isinstance(source, bytes):
        yield _expected(_in_memory(source), expected)
    elif isinstance(source, os.PathLike):
        with _open(Path(source)) as file, _content(file, part_size) as content:
            yield _expected(content, expected)
    else:
        with _spooled(_pieces(source), part_size) as content:
            yield _expected(content, expected)


def _expected(content: Content, expected: str | None) -> Content:
    if expected is not None and expected.lower() != content.sha256:
        came = f"sha256 is {content.sha256}, given was {expected}"
        msg = f"content must have the digest given for it: {came}; check the source"
        raise ChecksumMismatch(msg)
    return content


def _in_memory(data: bytes | bytearray) -> Content:
    return Content(len(data), hashlib.sha256(data).hexdigest(), memoryview(data))


def _open(path: Path) -> io.FileIO:
    descriptor = os.open(path, READ)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        msg = f"an object is stored from a file: {path} is a folder; see upload_tree()"
        raise IsADirectoryError(errno.EISDIR, msg)
    return io.FileIO(descriptor, "r")


@contextmanager
def _content(file: io.FileIO, part_size: PartSize | None) -> Iterator[Content]:
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        yield _digested(file, part_size)
    else:  # a device or a pipe
        with _spooled(_pieces(file), part_size) as content:
            yield content


def _pieces(source: Any) -> Iterable[Any]:
    """A source that can be read once."""
    if isinstance(source, bytearray | memoryview):
        return (source,)
    if callable(getattr(source, "read", None)):
        return iter(lambda: source.read(CHUNK), b"")
    if isinstance(source, Iterable) and not isinstance(source, str):
        return source
    advice = "write Path(...)" if isinstance(source, str) else "convert it"
    came = f"got {type(source).__name__}"
    msg = f"a source is a path, bytes, a stream or an iterable of bytes: {came}; {advice}"
    raise TypeError(msg)


@contextmanager
def _spooled(pieces: Iterable[bytes], part_size: PartSize | None) -> Iterator[Content]:
    """All that comes, in memory or in a file without a name."""
    kept = bytearray()
    rest = map(_checked, pieces)
    for piece in rest:
        kept += piece
        if len(kept) > SPOOL:
            break
    else:
        yield _in_memory(kept)
        return
    with tempfile.TemporaryFile(buffering=0) as file:
        for piece in chain((memoryview(kept),), rest):
            _write(file, piece)
        yield _digested(file, part_size)


def _checked(piece: Any) -> memoryview:
    if isinstance(piece, bytes | bytearray | memoryview):
        return memoryview(piece).cast("B")
    msg = f"a source gives bytes: got {type(piece).__name__}; open it in binary mode"
    raise TypeError(msg)


def _write(file: IO[bytes], piece: memoryview) -> None:
    while piece:
        piece = piece[file.write(piece) :]


def _digested(file: IO[bytes], part_size: PartSize | None) -> Content:
    """Read a file once; a small one stays in memory, so that just that is sent."""
    before = _state(file.fileno())
    size = before[0]
    if size <= SPOOL:
        content = _in_memory(_whole(file.fileno(), size))
    else:
        span = None if part_size is None else part_size(size)
        sha256, crcs = digests(file.fileno(), size, span)
        content = Content(size, sha256, file=file, part_size=span or 0, crcs=crcs)
    if _state(file.fileno()) != before:
        raise changed()
    return content


def _whole(descriptor: int, size: int) -> bytearray:
    data = bytearray(size)
    if read_at(descriptor, memoryview(data), 0) < size:
        raise changed()
    return data


def _state(descriptor: int) -> tuple[int, int]:
    """What shows that a file was written to."""
    info = os.fstat(descriptor)
    return info.st_size, info.st_mtime_ns


class Staged:
    """An unfinished file beside its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file: BinaryIO = os.fdopen(os.open(path, NEW, 0o666), "w+b")

    def publish(self, target: Path) -> None:
        """Flush to disk and give the file its name in one step."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()  # Windows renames closed files only
        self._path.replace(target)
        flush_directory(target.parent)


@contextmanager
def staged(directory: Path) -> Iterator[Staged]:
    """A new file in a directory, gone after the block unless it was published."""
    path = directory / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.part"
    unfinished = _stage(path)
    try:
        with unfinished.file:
            yield unfinished
    finally:
        path.unlink(missing_ok=True)


def _stage(path: Path, tries: int = 8) -> Staged:
    """Create the file; another thread's delete may remove its empty directory in between."""
    for _ in range(tries):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return Staged(path)
        except FileNotFoundError as error:
            missing = error
    raise missing
