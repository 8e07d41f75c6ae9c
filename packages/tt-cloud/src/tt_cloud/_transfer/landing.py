"""Where a large object comes together."""

from __future__ import annotations

from typing import Protocol

from tt_cloud._stored import Stored
from tt_cloud._transfer.digests import verify
from tt_cloud._transfer.pieces import Stretch, split


class Writer(Protocol):
    """What one thread writes through."""

    def room(self, stretch: Stretch) -> memoryview:
        """Where the next bytes are to be put."""
        ...

    def keep(self, stretch: Stretch, count: int) -> None:
        """So many have been put there."""
        ...

    def pause(self) -> None:
        """There are no more for now."""
        ...


class Landing(Protocol):
    """Where the bytes go."""

    def gaps(self, part_size: int) -> list[Stretch]:
        """What is missing, in stretches of up to that size that do not cross its multiples."""
        ...

    def writer(self) -> Writer:
        """One more."""
        ...

    def follow(self) -> None:
        """Digest what is complete from the beginning on."""
        ...

    def verify(self) -> None:
        """Compare all of it with what is known of the object."""
        ...

    def retain(self) -> bool:
        """One more thread writes; false when it is too late."""
        ...

    def release(self) -> None:
        """One less."""
        ...


class MemoryLanding:
    """Bytes from one position up to another, whole objects verified at their end."""

    def __init__(self, stored: Stored, start: int, end: int, where: str) -> None:
        self.data = bytearray(end - start)
        self._view = memoryview(self.data)
        self._stored = stored
        self._start = start
        self._end = end
        self._where = where

    def gaps(self, part_size: int) -> list[Stretch]:
        return list(split(self._start, self._end, part_size, self._start))

    def writer(self) -> Writer:
        return self

    def room(self, stretch: Stretch) -> memoryview:
        return self._view[stretch.position - self._start : stretch.end - self._start]

    def keep(self, stretch: Stretch, count: int) -> None:
        stretch.position += count

    def pause(self) -> None:
        pass

    def follow(self) -> None:
        pass

    def verify(self) -> None:
        if len(self.data) == self._stored.size:
            verify(self.data, self._stored, self._where, quick=True)

    def retain(self) -> bool:
        return True

    def release(self) -> None:
        pass
