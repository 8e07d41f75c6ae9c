"""Something that is done behind the program, and again until it succeeds."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping

from tt_experiment.errors import ExperimentError

__all__ = ["Errand"]

_CLOSE_WITHIN = 2.0  # seconds, for what is under way
_chance = (
    random.Random()
)  # of its own: the global one belongs to the training, which it must not move


class Errand:
    """Calls a function in a thread, which is there while something is asked for.

    Args:
        work: Says what failed. An `ExperimentError` that it raises ends the errand for good.
        base: Seconds. The wait after failure n in a row is random between 0 and ``base * 2**n``.
        cap: Seconds, the longest wait.

    Attributes:
        changed: Notified of everything that changes.
        failures: Of the last call that failed, until one succeeds.
        fatal: What ended the errand.
    """

    def __init__(
        self, work: Callable[[], Mapping[str, Exception]], *, base: float, cap: float
    ) -> None:
        self._work, self._base, self._cap = work, base, cap
        self.changed = threading.Condition()
        self.failures: Mapping[str, Exception] = {}
        self.fatal: ExperimentError | None = None
        self._thread: threading.Thread | None = None
        self._asked = self._tried = self._done = self._tries = 0
        self._stop = self._hurry = False

    @property
    def stopping(self) -> bool:
        """Whether `close` was called, and nothing was asked for since."""
        return self._stop

    def ask(self, *, at_once: bool = False) -> int:
        """Have it done once more; a number for `is_done`.

        Args:
            at_once: Do not wait because it failed before, and forget that it did.
        """
        with self.changed:
            self._asked += 1
            self._stop = False
            if at_once:
                self._hurry, self.failures, self._tries = True, {}, 0
            if self._thread is None and self.fatal is None:
                self._thread = threading.Thread(target=self._run, name="tt-outbox", daemon=True)
                self._thread.start()
            self.changed.notify_all()
            return self._asked

    def is_done(self, number: int | None = None) -> bool:
        """Whether a call that began after it was asked for succeeded; by default the last one."""
        return self._done >= (self._asked if number is None else number)

    def is_tried(self, number: int) -> bool:
        """Whether a call that began after it was asked for has ended."""
        return self._tried >= number

    def close(self) -> None:
        """End the thread after what it is doing, if that does not take long."""
        with self.changed:
            thread, self._stop = self._thread, True
            self.changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_WITHIN)

    def _run(self) -> None:
        try:
            while (number := self._next()) is not None:
                self._settle(number, self._work())
        except ExperimentError as error:
            self.fatal = error
        finally:
            with self.changed:
                if self._thread is threading.current_thread():
                    self._thread = None
                self.changed.notify_all()

    def _next(self) -> int | None:
        """What was asked for last; ``None`` if there is nothing to do, and so no thread."""
        with self.changed:
            self._pause()
            if self._stop or self.is_done():
                self._thread = None
                return None
            return self._asked

    def _pause(self) -> None:
        wait = _chance.uniform(0.0, min(self._cap, self._base * 2.0**self._tries))
        end = time.monotonic() + (wait if self._tries else 0.0)
        while not (self._stop or self._hurry) and (left := end - time.monotonic()) > 0:
            self.changed.wait(left)
        self._hurry = False

    def _settle(self, number: int, failures: Mapping[str, Exception]) -> None:
        with self.changed:
            self.failures, self._tried = failures, number
            if failures:
                self._tries = min(self._tries + 1, 32)
            elif not self._stop:  # else it may have ended half way
                self._tries, self._done = 0, number
            self.changed.notify_all()
