"""Time and chance, and the reasons to stop: what tests replace, and what ends every wait."""

from __future__ import annotations

import random
import time

from tt_cloud.api import Cancel
from tt_cloud.errors import Cancelled

SLICE = 0.2  # seconds after which a wait looks whether it should stop
_chance = random.Random()  # the global one belongs to the caller, who may have seeded it


class Clock:
    """The machine's."""

    def now(self) -> float:
        """Seconds since whenever."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def random(self) -> float:
        """Anything from 0 up to 1."""
        return _chance.random()


class Stopped(Exception):  # noqa: N818 - no error: a thread ends because another one failed
    """Nobody needs the rest."""


class Halt:
    """Tells the threads of one call when to stop.

    Args:
        key: What the call is about.
        cancel: The caller's own event.
    """

    __slots__ = ("cancel", "key", "stopped")

    def __init__(self, key: str, cancel: Cancel | None = None) -> None:
        self.key = key
        self.cancel = cancel
        self.stopped = False

    def stop(self) -> None:
        """End the threads of this call."""
        self.stopped = True

    def check(self) -> None:
        """Raise if it is time to stop."""
        if self.cancel is not None and self.cancel.is_set():
            msg = f"a call ends when its cancel event is set: that for {self.key!r} is; call again"
            raise Cancelled(msg)
        if self.stopped:
            raise Stopped

    def pause(self, seconds: float, clock: Clock) -> None:
        """Wait, unless it is time to stop."""
        end = clock.now() + seconds
        self.check()
        while (left := end - clock.now()) > 0:
            clock.sleep(min(left, SLICE))
            self.check()
