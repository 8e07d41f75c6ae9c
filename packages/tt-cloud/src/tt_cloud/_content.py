"""Bytes on their way: the source of an upload, the sink of a download, and the atomic file."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud.errors import ChecksumMismatch

CHUNK = 1 << 20  # large enough that Python's cost per chunk vanishes beside the digest's


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store knows of an object; the token tells which upload wrote it."""

    size: int
    sha256: str | None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What an upload sends: one open stream at its start, and what the stream holds."""

    stream: BinaryIO
    size: int
    sha256: str
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """The stream once more in pieces; fails at its end if it is not what was digested."""
        digest = hashlib.sha256()
        while chunk := self.stream.read(size):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self.sha256:
            msg = "a source must not change while it is being stored: it did; store it again"
            raise ChecksumMismatch(msg)


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
def opened(source: Path | bytes, expected: str | None) -> Iterator[Content]:
    """Open and digest a source; refuse it when it is not what the caller expects."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        if expected is not None and expected.lower() != sha256:
            came = f"sha256 is {sha256}, given was {expected}"
            msg = f"content must have the digest given for it: {came}; check the source"
            raise ChecksumMismatch(msg)
        yield Content(stream, size, sha256)


class Staged:
    """An unfinished file beside its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file = path.open("xb")

    def publish(self, target: Path, *, if_absent: bool = False) -> None:
        """Flush to disk and give the file its name in one step."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()  # Windows renames closed files only
        if if_absent:
            os.link(self._path, target)  # unlike a rename, fails when the name is taken
        else:
            self._path.replace(target)
        _flush_directory(target.parent)


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


def _flush_directory(directory: Path) -> None:
    """Make a rename survive a power cut."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no handle on a directory
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
