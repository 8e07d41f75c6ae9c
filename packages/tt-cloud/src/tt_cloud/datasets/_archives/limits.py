"""How much an archive may become."""

from __future__ import annotations

from typing import NamedTuple

from tt_cloud.api import Cancel
from tt_cloud.errors import Cancelled, UnsafeArchive

_SMALL = 1 << 16  # what a few bytes become says nothing


class Limits(NamedTuple):
    """What an archive may become before it is taken for a bomb.

    Attributes:
        size: Bytes of all members together.
        members: Files and folders.
        ratio: Unpacked bytes per byte of the archive. Text shrinks to a tenth, seldom to a
            fiftieth.
    """

    size: int = 256 << 30
    members: int = 2_000_000
    ratio: int = 200


class Meter:
    """Counts what comes out of an archive, and stops it when that is too much.

    Args:
        limits: What is too much.
        packed: Bytes of the archive.
        cancel: Stops it, too.
    """

    def __init__(self, limits: Limits, packed: int, cancel: Cancel | None = None) -> None:
        self._limits = limits
        self._largest = min(limits.size, limits.ratio * max(packed, _SMALL))
        self._packed = packed
        self._cancel = cancel
        self._members = 0
        self._size = 0

    def member(self) -> None:
        """Count a file or folder."""
        self._members += 1
        if self._members > self._limits.members:
            msg = (
                f"an archive has up to {self._limits.members} members: this one has more; raise "
                "Limits.members if it is meant to"
            )
            raise UnsafeArchive(msg)
        if self._cancel is not None and self._cancel.is_set():
            msg = "an archive is unpacked until its cancel event is set: it is; nothing was kept"
            raise Cancelled(msg)

    def add(self, size: int) -> None:
        """Count bytes before they are written."""
        self.foresee(size)
        self._size += size

    def foresee(self, size: int) -> None:
        """Refuse so many bytes more, without counting them."""
        if self._size + size <= self._largest:
            return
        limit = "ratio" if self._largest < self._limits.size else "size"
        msg = (
            f"an archive of {self._packed} bytes becomes up to {self._largest}: this one becomes "
            f"more; raise Limits.{limit} if it is meant to"
        )
        raise UnsafeArchive(msg)
