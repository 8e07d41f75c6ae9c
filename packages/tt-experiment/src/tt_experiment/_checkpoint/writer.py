"""The thread that copies and writes a checkpoint, and the ticket that tells of it."""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections.abc import Callable

from tt_experiment._checkpoint.staging import Staging
from tt_experiment.errors import CheckpointError
from tt_loop.api import CheckpointRef

__all__ = ["SaveTicket"]

_log = logging.getLogger(__name__)


class SaveTicket:
    """A save under way; `CheckpointFolder.save` makes it.

    The thread behind it lives as long as the save, and a program that ends waits for it.
    """

    def __init__(
        self,
        state: Staging,
        commit: Callable[[Staging], CheckpointRef],
        explain: Callable[[BaseException], CheckpointError],
    ) -> None:
        self._state: Staging | None = state
        self._commit, self._explain = commit, explain
        self._staged, self._over = threading.Event(), threading.Event()
        self._outcome: CheckpointRef | CheckpointError | None = None
        self._told = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="tt-experiment save", daemon=False)

    @property
    def committed(self) -> bool:
        """The checkpoint is safe on disk."""
        return isinstance(self._outcome, CheckpointRef)

    def wait_staged(self) -> None:
        """Return when the state is copied: from now on training may change it.

        On a GPU it does not wait: what its current stream is asked to do from now on does.
        """
        self._check_process()
        self._staged.wait()
        state = self._state
        if state is not None:
            state.release()

    def wait_committed(self, timeout: float | None = None, /) -> CheckpointRef:
        """The checkpoint, safe on disk.

        Args:
            timeout: Most seconds to wait; the save goes on after them.

        Raises:
            CheckpointError: The save failed, with its cause; earlier checkpoints are as they were.
            TimeoutError: It is still under way.
        """
        self._check_process()
        if not self._over.wait(timeout):
            msg = f"the save is still under way after {timeout} seconds: wait again"
            raise TimeoutError(msg)
        self._join()
        self._told = True
        if not isinstance(self._outcome, CheckpointRef):
            assert self._outcome is not None  # noqa: S101  # `_run` has set it
            raise self._outcome
        return self._outcome

    def begin(self) -> None:
        """Copy, write and commit, in a thread of its own where there can be one."""
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is at its end
            _log.debug("saving in place: %s", error)
            self._run()

    def settle(self) -> None:
        """Wait until it is over, however it ends.

        The save does not wait for itself, nor a forked process for what is not made in it.
        """
        if self._thread is not threading.current_thread() and self._process == os.getpid():
            self._over.wait()
            self._join()

    def raise_untold(self) -> None:
        """Wait as `settle` does, and raise what it failed with, unless somebody was told."""
        self.settle()
        if isinstance(self._outcome, CheckpointError) and not self._told:
            self._told = True
            raise self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._save()
        except BaseException as error:
            self._outcome = error if isinstance(error, CheckpointError) else self._explain(error)
            traceback.clear_frames(error.__traceback__)  # they hold the whole state
            _log.error("%s", self._outcome)
            if not isinstance(error, Exception):
                raise
        finally:
            self._state = None
            self._staged.set()
            self._over.set()

    def _save(self) -> CheckpointRef:
        state = self._state
        assert state is not None  # noqa: S101  # there is one until the save is over
        try:
            state.copy()
        finally:
            self._staged.set()
            state.arrive()  # in any case: the next save uses the memory again
        return self._commit(state)

    def _join(self) -> None:
        """See the thread end, so that a process that forks now has no other."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _check_process(self) -> None:
        if self._process != os.getpid():
            msg = f"process {self._process} makes this save: wait for it there, not in a fork of it"
            raise CheckpointError(msg)
