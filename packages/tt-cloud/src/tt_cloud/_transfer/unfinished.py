"""A file that is being fetched, and from which a later call goes on."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud._stored import Stored
from tt_cloud._transfer import crc
from tt_cloud._transfer.digests import CRC32, Rolling, compare, hashing, rolling
from tt_cloud._transfer.files import (
    create,
    flush_directory,
    owned,
    read_at,
    temporary,
    write_at,
)
from tt_cloud._transfer.journal import Journal, open_journal
from tt_cloud._transfer.landing import Writer
from tt_cloud._transfer.pieces import Piece, Stretch, noted_pieces, split

BUFFER = 256 << 10  # what is digested and written at once stays in the processor's cache
MOST_NOTES = 10_000  # on one file
LEAST_PIECE = 64 << 10


class FileLanding:
    """An unfinished file beside its place.

    Args:
        target: The place.
        name: Of the object, with its store.
        stored: What is known of it.
        where: Its address, for messages.
        piece: Bytes after which it is noted that they are there.
    """

    def __init__(self, target: Path, name: str, stored: Stored, where: str, piece: int) -> None:
        self._target = target
        self._stored = stored
        self._where = where
        self._piece = max(piece, stored.size // MOST_NOTES, LEAST_PIECE)
        self._roll = rolling(stored)
        self._hash = hashing(stored) if self._roll is None else None
        self._followed = 0
        self._lock = threading.Lock()
        self._users = 1
        self._pieces: dict[int, Piece] = {}
        self._path, self._descriptor, self._journal = _opened(target, name)
        try:
            os.ftruncate(self._descriptor, stored.size)
            self._resume()
        except BaseException:
            if not self.lasting:
                self.discard()
            self.release()
            raise

    def gaps(self, part_size: int) -> list[Stretch]:
        found: list[Stretch] = []
        position = 0
        for piece in sorted(self._pieces.values()):
            found += split(position, piece.start, part_size)
            position = piece.end
        found += split(position, self._stored.size, part_size)
        return found

    @property
    def have(self) -> int:
        """Bytes that are there."""
        return sum(piece.end - piece.start for piece in self._pieces.values())

    def writer(self) -> Writer:
        return FileWriter(self, self._descriptor, self.rolling, self._piece)

    @property
    def rolling(self) -> Rolling:
        """How pieces are checked; the object's own checksum where that can be."""
        return self._roll or CRC32

    def add(self, piece: Piece) -> None:
        """These are there."""
        with self._lock:
            self._pieces[piece.start] = piece
        if self._journal is not None:
            self._journal.note(piece._asdict())

    def follow(self) -> None:
        if self._hash is None:
            return
        buffer = memoryview(bytearray(BUFFER))
        while (piece := self._pieces.get(self._followed)) is not None:
            for start in range(piece.start, piece.end, BUFFER):
                chunk = buffer[: piece.end - start]
                read_at(self._descriptor, chunk, start)
                self._hash[1].update(chunk)
            self._followed = piece.end

    def verify(self) -> None:
        self.follow()
        stored = self._stored
        if self._hash is not None:
            name, digest = self._hash
            compare(name, digest.hexdigest(), stored.sha256 or stored.checksums[name], self._where)
        elif self._roll is not None:
            pieces = [
                (piece.crc, piece.end - piece.start) for piece in sorted(self._pieces.values())
            ]
            whole = crc.joined(self._roll.polynomial, pieces)
            name = self._roll.name
            compare(name, f"{whole:08x}", stored.checksums[name], self._where)

    def publish(self) -> None:
        """Give the file its name, which survives a power cut."""
        os.fsync(self._descriptor)
        if os.name == "nt":  # renames closed files only
            os.close(self._descriptor)
            self._descriptor = -1
        os.replace(self._path, self._target)  # noqa: PTH105 - the path is a str
        flush_directory(self._target.parent)
        if self._journal is not None:
            self._journal.remove()

    def discard(self) -> None:
        """Nothing of it is of use."""
        with suppress(OSError):
            os.unlink(self._path)  # noqa: PTH108 - the path is a str
        if self._journal is not None:
            self._journal.remove()

    @property
    def lasting(self) -> bool:
        """Whether another call will find it."""
        return self._journal is not None

    def retain(self) -> bool:
        with self._lock:
            open_still = self._users > 0
            self._users += open_still
        return open_still

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:  # a thread that nobody waits for may have been writing until now
            if self._descriptor >= 0:
                os.close(self._descriptor)
            if self._journal is not None:
                self._journal.close()

    def _resume(self) -> None:
        """Take over what an earlier call has fetched of the same version, where it is intact."""
        if self._journal is None:
            return
        stored = self._stored
        header = {"etag": stored.etag, "size": stored.size, "checksum": self.rolling.name}
        entries = self._journal.entries()
        if stored.etag and entries and header.items() <= entries[0].items():
            for piece in noted_pieces(entries[1:], stored.size):
                if self._is_intact(piece):
                    self._pieces[piece.start] = piece
        self._journal.begin(header)
        for piece in self._pieces.values():
            self._journal.note(piece._asdict())

    def _is_intact(self, piece: Piece) -> bool:
        buffer = memoryview(bytearray(BUFFER))
        found = 0
        for start in range(piece.start, piece.end, BUFFER):
            chunk = buffer[: piece.end - start]
            read_at(self._descriptor, chunk, start)
            found = self.rolling.update(chunk, found)
        return found == piece.crc


class FileWriter:
    """Writes what one thread fetches, and notes it piece by piece."""

    def __init__(self, landing: FileLanding, descriptor: int, roll: Rolling, piece: int) -> None:
        self._landing = landing
        self._descriptor = descriptor
        self._update = roll.update
        self._piece = piece
        self._buffer = memoryview(bytearray(BUFFER))
        self._start = self._end = self._crc = 0

    def room(self, stretch: Stretch) -> memoryview:
        return self._buffer[: stretch.end - stretch.position]

    def keep(self, stretch: Stretch, count: int) -> None:
        data = self._buffer[:count]
        if stretch.position != self._end:
            self.pause()
            self._start = self._end = stretch.position
        write_at(self._descriptor, data, stretch.position)
        self._crc = self._update(data, self._crc)
        stretch.position = self._end = stretch.position + count
        if self._end - self._start >= self._piece:
            self.pause()

    def pause(self) -> None:
        if self._end > self._start:
            self._landing.add(Piece(self._start, self._end, self._crc))
        self._start, self._crc = self._end, 0


def _opened(target: Path, name: str) -> tuple[str, int, Journal | None]:
    """The unfinished file, and the notes on it unless another call is at the same."""
    digest = hashlib.sha256(f"{target.absolute()}\n{name}".encode()).hexdigest()[:24]
    path = target.parent / f"{TEMPORARY_PREFIX}{digest}.part"
    target.parent.mkdir(parents=True, exist_ok=True)
    journal = open_journal(path.with_suffix(".journal"))
    if journal is not None:
        descriptor = owned(path, 0o666)
        if descriptor is not None:
            return str(path), descriptor, journal
        journal.remove()
    other = temporary(target)
    return other, create(other), None
