"""How much of one object has moved, for whoever looks on."""

from __future__ import annotations

import threading

from tt_cloud.api import Progress


class Tally:
    """Counts bytes, from several threads, and tells of them."""

    def __init__(self, key: str, size: int, progress: Progress | None) -> None:
        self._key = key
        self._size = size
        self._progress = progress
        self._lock = threading.Lock()
        self._moved = 0

    def add(self, count: int) -> None:
        """So many more."""
        if self._progress is None or not count:
            return
        with self._lock:
            self._moved += count
        self._progress(self._key, count, self._size)

    def undo(self) -> None:
        """All of it has to move again."""
        self.add(-self._moved)
