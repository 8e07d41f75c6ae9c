"""The first reading of a file that is to be sent: its digest, and the checksum of each part."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from queue import SimpleQueue

from tt_cloud._transfer import threads
from tt_cloud._transfer.files import read_at
from tt_cloud.errors import SourceChanged

CHUNK = 1 << 20  # large enough that Python's cost per chunk vanishes beside the digest's
TWO_THREADS = 32 << 20  # bytes from which on a second thread for the second digest pays
AHEAD = 4  # chunks between the two threads


def digests(descriptor: int, size: int, part_size: int | None) -> tuple[str, Sequence[int]]:
    """SHA-256 of a file's first bytes, and CRC32 of each part where these are wanted."""
    digest = hashlib.sha256()
    crcs = None if part_size is None else PartCrcs(part_size, aside=size >= TWO_THREADS)
    own = memoryview(bytearray(CHUNK))
    try:
        for start in range(0, size, CHUNK):
            chunk = (own if crcs is None else crcs.buffer())[: size - start]
            if read_at(descriptor, chunk, start) < len(chunk):
                raise changed()
            if crcs is not None:
                crcs.add(chunk)
            digest.update(chunk)
    finally:
        found = () if crcs is None else crcs.finish()
    return digest.hexdigest(), found


def changed() -> SourceChanged:
    """What to raise when a source is not any more what it was."""
    msg = "a source must not change while it is being stored: it did; store it again"
    return SourceChanged(msg)


class PartCrcs:
    """CRC32 of each part of what comes in chunks, in a thread of its own if that pays."""

    def __init__(self, part_size: int, *, aside: bool) -> None:
        self._part_size = part_size
        self._found = [0]
        self._room = part_size
        self._full: SimpleQueue[memoryview | None] = SimpleQueue()
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._aside = aside and threads.start(self._work)
        for _ in range(AHEAD if self._aside else 1):
            self._free.put(memoryview(bytearray(CHUNK)))

    def buffer(self) -> memoryview:
        """Where the next chunk goes."""
        return self._free.get()

    def add(self, chunk: memoryview) -> None:
        """Count what lies in the beginning of that buffer, which must not change any more."""
        if self._aside:
            self._full.put(chunk)
        else:
            self._count(chunk)

    def finish(self) -> Sequence[int]:
        """All of them."""
        if self._aside:
            self._full.put(None)
            self._done.get()
        return self._found

    def _work(self) -> None:
        while (chunk := self._full.get()) is not None:
            self._count(chunk)
        self._done.put(None)

    def _count(self, chunk: memoryview) -> None:
        whole = memoryview(chunk.obj)
        while chunk:
            if not self._room:
                self._found.append(0)
                self._room = self._part_size
            now, chunk = chunk[: self._room], chunk[self._room :]
            self._found[-1] = zlib.crc32(now, self._found[-1])
            self._room -= len(now)
        self._free.put(whole)
