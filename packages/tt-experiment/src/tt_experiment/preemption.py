"""Ends that are announced: a signal, or a machine that its owner takes back.

A fit with an `ExperimentCheckpoint` finishes its step after SIGTERM or Ctrl-C, saves, waits until
the state is safe on disk, and ends with exit status 75: the same command goes on from there, where
it resumes ``"auto"``.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from datetime import datetime
from typing import Any

from tt_experiment.errors import ExperimentSetupError, Preempted
from tt_experiment.ports import Instance
from tt_loop.api import Callback

__all__ = ["SpotNotice", "ending"]

_log = logging.getLogger(__name__)


def ending(number: int) -> BaseException:
    """What a fit raises after a signal, when its state is committed.

    In an interactive session Ctrl-C stays what it is, for nobody wants the session to end.
    """
    if number == signal.SIGINT and _is_interactive():
        return KeyboardInterrupt()
    name = signal.Signals(number).name
    msg = f"{name} asked the run to end, and its state is committed: start the same command again."
    _log.warning("%s", msg)
    return Preempted(msg)


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)


class SpotNotice(Callback):
    """End the fit, as SIGTERM does, once the machine's owner has announced to take it away.

    A thread asks for the announcement, in one process of each machine. A failure to ask is told
    once; the next try may work.

    Args:
        instance: The machine, such as `tt_cloud.instance.current_instance` gives it.
        every: Seconds between two questions.

    Raises:
        ExperimentSetupError: The object is no `Instance`, or ``every`` is not positive.
    """

    may_change_weights = False

    def __init__(self, instance: Instance, every: float = 5.0) -> None:
        super().__init__("Spot notice")
        if not isinstance(instance, Instance):
            msg = f"SpotNotice asks an Instance, got {type(instance).__name__}."
            raise ExperimentSetupError(msg)
        if not every > 0:
            msg = f"every is a positive number of seconds, got {every}."
            raise ExperimentSetupError(msg)
        self.instance, self.every = instance, every
        self.announced: datetime | None = None
        self._over: threading.Event | None = None

    def on_train_begin(self) -> None:
        """Begin to ask."""
        if os.environ.get("LOCAL_RANK", "0") != "0":
            return
        self._stop()
        self._over = threading.Event()
        thread = threading.Thread(
            target=self._ask, args=(self._over,), name="tt-experiment spot notice", daemon=True
        )
        thread.start()

    def _ask(self, over: threading.Event) -> None:
        told = False
        while not over.is_set():
            try:
                self.announced = self.instance.interruption()
            except Exception as error:  # whatever a provider raises
                level = logging.DEBUG if told else logging.WARNING
                _log.log(level, "the machine cannot be asked for its end, a next try: %s", error)
                told = True
            if self.announced is not None and not over.is_set():
                _log.warning("the machine ends at %s: the fit ends now", self.announced)
                self.train_loop_obj.interrupt(signal.SIGTERM)
                return
            over.wait(self.every)

    def on_train_end(self) -> None:
        """Ask no more."""
        self._stop()

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002  # whatever it was
        """Ask no more."""
        self._stop()

    def _stop(self) -> None:
        if self._over is not None:
            self._over.set()
            self._over = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_over": None}  # another process has a thread of its own
