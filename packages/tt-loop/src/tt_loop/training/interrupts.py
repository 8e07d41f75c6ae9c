"""Ctrl-C and SIGTERM during a fit: all of its processes stop at the same step, between two.

A signal may reach one process or all, at any moment. Its handler only notes it. The note travels
with the step's message like the wish to stop early, so that every process learns of it at the same
step, between two steps, where their states belong together. On one process signals do what they
always do, unless a callback has the hook ``on_interrupt``.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["PAUSE", "Interrupts", "exception_for", "signal_in"]

# What a process adds to the sum of wishes. An early stop adds 1; no sum of those reaches the next.
_WISHES = {signal.SIGTERM: 2.0**40, signal.SIGINT: 2.0**20}
PAUSE = 0.5
"""What the first process adds for a pause between two steps."""

_ONE = 1.0  # seconds: a terminal and a launcher may both pass on the same Ctrl-C


class Interrupts:
    """Notes signals instead of acting on them.

    A second signal, some time after the first, acts at once. Signals that the program ignores stay
    ignored.

    Args:
        active: Note signals at all. Only a program's main thread can.

    Attributes:
        wish: What this process adds to the sum of wishes.
        at_once: A second signal came: whatever takes time has to be left undone.
    """

    def __init__(self, *, active: bool) -> None:
        self._active = active and threading.current_thread() is threading.main_thread()
        self._previous: dict[signal.Signals, Any] = {}
        self._noted: float | None = None
        self.wish = 0.0
        self.at_once = False

    def __enter__(self) -> Self:
        for number in _WISHES if self._active else ():
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self._noted is not None and now - self._noted > _ONE:
            self.at_once = True
            raise exception_for(number)
        if self._noted is None:
            self._noted = now
            self._expect_dead_children()
        self.ask(number)

    def ask(self, number: int) -> None:
        """Wish to end as after a signal; from any thread."""
        self.wish = max(self.wish, _WISHES[signal.Signals(number)])

    def _expect_dead_children(self) -> None:
        """A signal to the whole process group ends a loader's workers: torch must not raise then.

        Its handler would do so in the middle of the step that is to be finished.
        """
        child = getattr(signal, "SIGCHLD", None)
        if child is not None and callable(signal.getsignal(child)):
            self._previous[child] = signal.signal(child, signal.SIG_DFL)


def signal_in(wishes: float) -> int | None:
    """The signal in a sum of wishes."""
    return next((number for number, wish in _WISHES.items() if wishes >= wish), None)


def exception_for(number: int) -> BaseException:
    """What Python raises, or a shell reports, after a signal."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
