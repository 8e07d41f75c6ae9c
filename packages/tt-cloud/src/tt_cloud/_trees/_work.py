"""Many objects at once: tasks, the threads that do them, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from tt_cloud._stored import Watch
from tt_cloud._transfer import threads
from tt_cloud.api import Cancel, Failure, ObjectInfo, ObjectStore, TransferReport
from tt_cloud.errors import Cancelled, TransferFailed

_LOOK = 0.05  # seconds between looks at the caller's cancel event
_PATIENCE = 0.8  # seconds for threads to notice that they shall stop

T = TypeVar("T")


class Task(Protocol):
    """One object to move, unless it is there already."""

    @property
    def key(self) -> str:
        """How it is called in the report."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def equal(self, stop: Cancel) -> bool:
        """Whether there is nothing to move."""
        ...

    def move(self, watch: Watch) -> ObjectInfo:
        """Do it."""
        ...


@dataclass(slots=True)
class Outcome:
    """What was done so far; threads append to it."""

    done: list[ObjectInfo] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def fail(self, key: str, error: Exception) -> None:
        """Note what failed."""
        self.failures.append(Failure(key, error))

    def report(self) -> TransferReport:
        """All of it, ordered by key."""
        return TransferReport(
            tuple(sorted(self.done, key=lambda info: info.key)),
            tuple(sorted(self.skipped)),
            tuple(sorted(self.deleted)),
            tuple(sorted(self.failures, key=lambda failure: failure.key)),
            sum(info.size for info in self.done),
            time.monotonic() - self.begun,
        )

    def finished(self) -> TransferReport:
        """The report, unless something failed."""
        report = self.report()
        if not report.failures:
            return report
        count = len(report.failures)
        everything = count + len(report.done) + len(report.skipped) + len(report.deleted)
        first = report.failures[0]
        msg = (
            f"all of {everything} objects must succeed: {count} did not, the first is "
            f"{first.key!r} ({first.error}); do it again, what is done already is skipped"
        )
        raise TransferFailed(msg, report)


def run(
    tasks: Sequence[Task], outcome: Outcome, store: ObjectStore, watch: Watch, *, dry_run: bool
) -> None:
    """Do all tasks, as far as they can be done."""

    def work(task: Task, stop: Cancel) -> None:
        try:
            if task.equal(stop):
                outcome.skipped.append(task.key)
            elif dry_run:
                outcome.done.append(ObjectInfo(task.key, task.size, None))
            else:
                outcome.done.append(task.move(Watch(watch.progress, stop)))
        except Exception as error:
            if isinstance(error, Cancelled) and stop.is_set():
                raise
            outcome.fail(task.key, error)

    each(tasks, work, store, watch.cancel)


def heeding(items: Iterable[T], cancel: Cancel | None) -> Iterator[T]:
    """The items of a long list, until the caller's cancel event is set."""
    for item in items:
        if cancel is not None and cancel.is_set():
            raise _cancelled()
        yield item


def each(
    items: Sequence[T],
    work: Callable[[T, Cancel], None],
    store: ObjectStore,
    cancel: Cancel | None = None,
) -> None:
    """Work on all items in as many threads as the store likes.

    The event that ``work`` gets is set when it shall stop: for the caller's cancel event, Ctrl-C,
    or an exception from ``work``, which is raised here.
    """
    crew = _Crew(items, work, cancel or threading.Event())
    crew.run(min(getattr(store, "concurrency", 4), len(items)))


class _Crew(Generic[T]):
    """Threads that share one pile of items; a thread that does not stop is left alone."""

    def __init__(
        self, items: Sequence[T], work: Callable[[T, Cancel], None], cancel: Cancel
    ) -> None:
        self._pile = list(reversed(items))
        self._work = work
        self._cancel = cancel
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._active = 0
        self._broken: BaseException | None = None

    def run(self, count: int) -> None:
        try:
            self._hire(count)
            self._attend()
        finally:
            self._stop.set()  # Ctrl-C ends up here, too
            self._wait(_PATIENCE)
        if self._broken is not None:
            raise self._broken
        if self._pile or self._active:
            raise _cancelled()

    def _hire(self, count: int) -> None:
        for _ in range(count):
            with self._changed:
                self._active += 1
            if not threads.start(self._toil):
                self._toil()

    def _attend(self) -> None:
        """Wait for the end, or for a reason to stop."""
        while not (self._wait(_LOOK) or self._halted()):
            pass

    def _wait(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._active == 0, seconds)

    def _halted(self) -> bool:
        return self._stop.is_set() or self._cancel.is_set()

    def _toil(self) -> None:
        try:
            while (item := self._next()) is not None:
                self._work(*item, self._stop)
        except BaseException as error:
            self._broken = error
            self._stop.set()
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify()

    def _next(self) -> tuple[T] | None:
        with self._changed:
            return (self._pile.pop(),) if self._pile and not self._halted() else None


def _cancelled() -> Cancelled:
    msg = "a call goes on until its cancel event is set: it is; what was finished before stays"
    return Cancelled(msg)
