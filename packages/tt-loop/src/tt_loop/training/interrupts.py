"""Ctrl-C and SIGTERM while several processes train: all of them stop at the same step.

A signal may reach one process or all, at any moment. Its handler only notes it. The note travels
with the step's message like the wish to stop early, so that every process learns of it at the same
step, between two steps, where their states belong together. On one process signals do what they
always do.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupts", "exception_for", "signal_in"]

# What a process adds to the sum of wishes. An early stop adds 1; no sum of those reaches the next.
_WISHES = {signal.SIGTERM: 2.0**40, signal.SIGINT: 2.0**20}
_ONE = 1.0  # seconds: a terminal and a launcher may both pass on the same Ctrl-C


class Interrupts:
    """Notes signals instead of acting on them.

    A second signal, some time after the first, acts at once.

    Args:
        active: Note signals at all. Only a program's main thread can.

    Attributes:
        wish: What this process adds to the sum of wishes.
    """

    def __init__(self, *, active: bool) -> None:
        self._active = active and threading.current_thread() is threading.main_thread()
        self._previous: dict[signal.Signals, Any] = {}
        self._noted: float | None = None
        self.wish = 0.0

    def __enter__(self) -> Self:
        if self._active:
            self._previous = {number: signal.signal(number, self._note) for number in _WISHES}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self._noted is not None and now - self._noted > _ONE:
            raise exception_for(number)
        self._noted = now if self._noted is None else self._noted
        self.wish = max(self.wish, _WISHES[signal.Signals(number)])


def signal_in(wishes: float) -> int | None:
    """The signal in a sum of wishes."""
    return next((number for number, wish in _WISHES.items() if wishes >= wish), None)


def exception_for(number: int) -> BaseException:
    """What Python raises, or a shell reports, after a signal."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
