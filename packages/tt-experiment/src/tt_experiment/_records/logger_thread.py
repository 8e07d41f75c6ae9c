"""Loggers beside training: each gets its calls in order, in a thread of its own."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Literal

from tt_experiment.ports import Logger, RunFacts

__all__ = ["LoggerThread"]

_log = logging.getLogger(__name__)
Status = Literal["completed", "failed", "interrupted"]
_ROOM = 10_000  # calls that may wait; more are dropped rather than kept in memory
_PATIENCE = 300.0  # seconds that starting or finishing may take
_MOST_FAILURES = 5


class LoggerThread:
    """Calls a logger, which may be slow or fail, without holding up or ending training.

    The first failure is told; after five in a row the logger is left out, but for being finished.

    Args:
        logger: The logger. All its methods are called in one thread.

    Attributes:
        dropped: Calls for which there was no room, as the logger was too slow.
    """

    def __init__(self, logger: Logger) -> None:
        self.logger = logger
        self.name = type(logger).__name__
        self.dropped = 0
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._failures, self._is_told = 0, False
        self._status: Status = "interrupted"
        self._owner = os.getpid()  # a forked process has no such thread
        self._thread = threading.Thread(target=self._work, name=f"tt-{self.name}", daemon=True)

    def start(self, run: RunFacts) -> Exception | None:
        """Start the logger and wait until it has; returns why it could not."""
        started = threading.Event()
        outcome: list[Exception | None] = []

        def begin() -> None:
            try:
                self.logger.start(run)
                outcome.append(None)
            except Exception as error:  # a stranger's library raises what it likes
                self._failures, self._is_told = _MOST_FAILURES, True  # by the caller
                outcome.append(error)
            finally:
                started.set()

        self._calls.put(begin)
        self._thread.start()
        if not started.wait(_PATIENCE):
            return TimeoutError(f"{self.name} did not start within {_PATIENCE:.0f} s")
        return outcome[0] if outcome else RuntimeError(f"{self.name} did not start")

    def call(self, action: Callable[[], object]) -> None:
        """Have something done in the logger's thread, after what was asked for before."""
        if os.getpid() != self._owner:
            return
        if self._calls.qsize() >= _ROOM:
            self.dropped += 1
        else:
            self._calls.put(action)

    def finish(self, status: Status) -> None:
        """Have everything out; a logger that hangs is given up after five minutes."""
        if os.getpid() != self._owner:
            return
        self._status = status
        self._calls.put(None)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            _log.warning("%s did not finish within %.0f s: given up", self.name, _PATIENCE)
        if self.dropped:
            _log.warning("%s was too slow and lost %d of its records", self.name, self.dropped)

    def _work(self) -> None:
        while (action := self._calls.get()) is not None:
            if self._failures < _MOST_FAILURES:
                self._try(action)
        self._try(lambda: self.logger.finish(self._status))

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
            self._failures = 0
        except Exception as error:  # as above
            self._failures += 1
            if not self._is_told:
                self._is_told = True
                _log.warning("%s failed, training goes on: %s", self.name, error)
            if self._failures == _MOST_FAILURES:
                _log.warning("%s failed %d times in a row: left out", self.name, self._failures)
