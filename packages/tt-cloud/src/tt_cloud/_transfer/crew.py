"""A few threads that do the parts of one call; the first failure ends them all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar

from tt_cloud._transfer import threads
from tt_cloud._transfer.clock import SLICE, Halt, Stopped
from tt_cloud._transfer.endpoint import Endpoint

_Job = TypeVar("_Job")

GRACE = 0.7  # seconds that the others have after a failure, to finish or to notice


class Crew(Generic[_Job]):
    """Does jobs in their order, several at once.

    Threads are shared by all calls to the endpoint: each call has one at least, and takes more as
    others end. Where no thread can be had, because the interpreter shuts down, `finish` works.

    Args:
        jobs: What to do.
        worker: Gives each thread its own function, with what it needs for as long as it runs.
        most: Threads at once.
        endpoint: Counts the threads of all calls.
        halt: Ends the call.
    """

    def __init__(
        self,
        jobs: Iterable[_Job],
        worker: Callable[[], AbstractContextManager[Callable[[_Job], object]]],
        most: int,
        endpoint: Endpoint,
        halt: Halt,
    ) -> None:
        self._jobs = list(reversed(list(jobs)))
        self._worker = worker
        self._most = min(most, len(self._jobs))
        self._endpoint = endpoint
        self._halt = halt
        self._changed = threading.Condition()
        self._active = 0
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._hire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._halt.stop()
            self._wait(GRACE)

    def finish(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until all is done, or raise the first failure.

        Args:
            meanwhile: Called now and then, and after each job.
        """
        while self._failure is None:
            self._halt.check()
            self._hire()
            if self._jobs and not self._active:
                self._endpoint.take_one()
                self._active += 1
                self._work()
            meanwhile()
            with self._changed:
                if self._failure is None and not self._jobs and not self._active:
                    return
                self._changed.wait(SLICE)
        raise self._failure

    def _hire(self) -> None:
        """Take threads as long as there is work for them."""
        while self._jobs and self._active < self._most:
            if self._active == 0:
                self._endpoint.take_one()
            elif not self._endpoint.hire(self._most):
                return
            with self._changed:
                self._active += 1
            if not threads.start(self._work):
                self._left()
                return

    def _work(self) -> None:
        try:
            with self._worker() as work:
                while (job := self._next()) is not None:
                    work(job)
                    with self._changed:
                        self._changed.notify()
        except BaseException as error:  # raised in `finish`
            self._fail(error)
        finally:
            self._left()

    def _next(self) -> _Job | None:
        with self._changed:
            return self._jobs.pop() if self._jobs and not self._halt.stopped else None

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._failure is None and not isinstance(error, Stopped):
                self._failure = error
        self._halt.stop()

    def _left(self) -> None:
        self._endpoint.give_back()
        with self._changed:
            self._active -= 1
            self._changed.notify()

    def _wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._active == 0, seconds)
