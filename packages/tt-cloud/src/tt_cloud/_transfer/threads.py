"""Threads that the end of the program does not wait for, kept for a while for the next job.

`concurrent.futures` refuses work once the interpreter shuts down, which is when many programs save
their last results.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeAlias, TypeVar

from tt_cloud._transfer.clock import SLICE, Halt

_T = TypeVar("_T")
_Job: TypeAlias = Callable[[], object]

IDLE = 5.0  # seconds until a thread without work ends

_idle: list[SimpleQueue[_Job]] = []
_lock = threading.Lock()


def start(job: _Job) -> bool:
    """Run a job, which must not raise, in another thread; false when there can be none any more."""
    with _lock:
        desk = _idle.pop() if _idle else None
    if desk is not None:
        desk.put(job)
        return True
    try:
        threading.Thread(target=_serve, args=(job,), name="tt-cloud", daemon=True).start()
    except RuntimeError:  # since Python 3.12, when the interpreter shuts down
        return False
    return True


def aside(call: Callable[[], _T], halt: Halt) -> _T:
    """Run a call in another thread, and leave it alone there when it is time to stop."""
    halt.check()
    outcome: SimpleQueue[tuple[_T | None, BaseException | None]] = SimpleQueue()

    def job() -> None:
        try:
            outcome.put((call(), None))
        except BaseException as error:  # raised below, in the caller's thread
            outcome.put((None, error))

    if not start(job):
        return call()
    while True:
        try:
            result, error = outcome.get(timeout=SLICE)
        except Empty:
            halt.check()
            continue
        try:
            if error is not None:
                raise error
            return result  # type: ignore[return-value]  # it is None only beside an error, or by itself
        finally:
            error = None  # else the traceback and this frame keep each other alive


def _serve(job: _Job | None) -> None:
    desk: SimpleQueue[_Job] = SimpleQueue()
    while job is not None:
        job()
        job = None  # what it holds is not kept while there is nothing to do
        with _lock:
            _idle.append(desk)
        job = _next(desk)


def _next(desk: SimpleQueue[_Job]) -> _Job | None:
    try:
        return desk.get(timeout=IDLE)
    except Empty:
        with _lock:
            if desk in _idle:
                _idle.remove(desk)
                return None
        return desk.get()  # somebody has just chosen this thread


def _forget() -> None:
    """A forked process has none of its parent's threads."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
