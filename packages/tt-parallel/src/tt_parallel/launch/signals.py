"""Ctrl-C and SIGTERM while processes of a run are at work."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["PassedOn", "ignore", "receive_once"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class PassedOn:
    """In the launching process: signals are noted and passed on, nothing else.

    A signal whose handling was not Python's, such as an ignored one, is left alone, and so are all
    of them outside the main thread.

    Args:
        pass_on: Called with a signal's number.

    Attributes:
        count: Signals so far.
        first_at: When the first came, on the machine's monotonic clock.
        newest_at: When the newest came.
    """

    def __init__(self, pass_on: Callable[[int], None]) -> None:
        self._pass_on = pass_on
        self._previous: dict[signal.Signals, Any] = {}
        self._first: int | None = None
        self.count = 0
        self.first_at = self.newest_at = float("inf")

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _NUMBERS:
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.note(number)

    def note(self, number: int) -> None:
        """Note a signal and pass it on."""
        self.count, self.newest_at = self.count + 1, time.monotonic()
        if self._first is None:
            self._first, self.first_at = number, self.newest_at
        self._pass_on(number)

    def exception(self) -> BaseException:
        """What the run ends with after the first signal."""
        if self._first == signal.SIGTERM:
            return SystemExit(128 + signal.SIGTERM)
        return KeyboardInterrupt()


def receive_once() -> None:
    """In a process of a run: Ctrl-C at a terminal comes from the launching process, and so once."""
    if hasattr(os, "setpgid"):
        with suppress(OSError):
            os.setpgid(0, 0)


def ignore() -> None:
    """In a process of a run that has done its work: the little that is left is not cut short."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
