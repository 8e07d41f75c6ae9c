"""What of a run is still to be copied to its store, and the thread that copies it.

The run's folder is the queue, compared with a ledger of what the store has (``.outbox/`` in the
run): a process may die at any moment, and the next one goes on where the store is. Nothing is ever
deleted from the store, except a manifest that is no longer true: what retention removes from the
disk stays there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import weakref
from collections.abc import Iterable, Mapping
from multiprocessing.util import Finalize
from pathlib import Path
from typing import NamedTuple

from tt_experiment._durable import make_directory, sweep_scratch
from tt_experiment._outbox.claim import Claim
from tt_experiment._outbox.courier import Courier, may_pass
from tt_experiment._outbox.errand import Errand
from tt_experiment._outbox.ledger import Ledger
from tt_experiment.errors import ExperimentError, UploadError
from tt_experiment.ports import BlobStore
from tt_experiment.redact import redact_text

__all__ = ["Outbox", "Patience", "Progress"]

_log = logging.getLogger(__name__)
_FOLDER = ".outbox"
_KEPT = 8  # checkpoints that wait on the disk for a store, beyond those that retention keeps
_SLOWEST = 128 << 10  # bytes per second, of a file that still counts as moving
_TELL_EVERY = 60.0  # seconds


class Patience(NamedTuple):
    """How long a store that fails is waited for.

    Attributes:
        base: Seconds. The wait after failure n in a row is random between 0 and ``base * 2**n``.
        cap: Seconds, the longest wait between two tries.
        claim: Seconds that the start of a run waits for the store's first answer.
        give_up: Seconds without a file having arrived after which `Outbox.drain` stops waiting; a
            large file that is on its way gets more, by its size.
    """

    base: float = 1.0
    cap: float = 120.0
    claim: float = 30.0
    give_up: float = 300.0


class Progress(NamedTuple):
    """What this process copied, and what is left."""

    files: int
    bytes: int
    files_left: int
    bytes_left: int


class Outbox:
    """Copies a run to its store behind the training, in the order in which things were committed.

    A thread does it that is there while something is due. A store that fails is tried again and
    again, with growing waits; that is told once, and once more when it is back. A process that was
    forked from this one, like a loader's worker, has no part in it.

    Args:
        run: The run's folder.
        store: Where to.
        prefix: Key of the run in the store, without a slash at the end.
        patience: How long to wait for a store that fails.
    """

    def __init__(
        self, run: Path, store: BlobStore, prefix: str, *, patience: Patience | None = None
    ) -> None:
        self.run, self.store, self.prefix = run, store, prefix
        self.patience = patience = patience or Patience()
        self._ledger = Ledger(_place(run, store, prefix, "sent-{}.jsonl"))
        self._claim = Claim(run, store, prefix, claim_note(run, store, prefix))
        self._courier = Courier(
            run,
            store,
            prefix,
            self._ledger,
            scratch=run / _FOLDER,
            check=self._claim.check,
            began=self._began,
            ended=self._ended,
        )
        self._errand = Errand(self._pass, base=patience.base, cap=patience.cap)
        self._pid = os.getpid()
        self._claimed = self._failing = False
        self._files = self._bytes = self._on_its_way = 0
        self._moved = self._told = time.monotonic()

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (self.run, self.store, self.prefix, self.patience)

    def claim(self) -> None:
        """Be the only writer of this run in the store. One that is down is not waited for long.

        Raises:
            RunLockedError: The run goes on elsewhere.
            UploadError: The store has another run of this name, or cannot be written to.
        """
        errand, end = self._errand, time.monotonic() + self.patience.claim
        self._ask()
        with errand.changed:
            while not (self._claimed or errand.fatal or errand.failures):
                if (left := end - time.monotonic()) <= 0:
                    break
                errand.changed.wait(left)
            failures = [e for e in errand.failures.values() if not may_pass(e)]
        self._raise_fatal()
        if failures and not self._claimed:
            self.close()
            msg = redact_text(f"{self.store.url} cannot be written to: {failures[0]}")
            raise UploadError(msg) from failures[0]

    def offer(self) -> None:
        """Something new is committed. Returns at once and never raises."""
        if self._is_mine():
            self._ask()

    def is_pending(self, path: Path) -> bool:
        """Whether a checkpoint is to be kept until it is copied: the oldest that wait are."""
        try:
            due = self._courier.plan.due().sets[:_KEPT]
            return path.relative_to(self.run).as_posix() in due
        except OSError:
            return True

    def progress(self) -> Progress:
        """How far it is."""
        files, size = self._courier.left()
        return Progress(self._files, self._bytes, files, size)

    def drain(self, timeout: float | None = None) -> int:
        """Wait until everything is in the store; how many files were copied meanwhile.

        Args:
            timeout: Seconds after which to stop waiting in any case.

        Raises:
            UploadError: Something is not there: the time is over, nothing has moved for too long,
                or the store refuses it.
            RunLockedError: The run goes on elsewhere.
        """
        if not self._is_mine():
            return 0
        self._moved = began = time.monotonic()
        before, number = self._files, self._ask(at_once=True)
        with self._errand.changed:
            while not self._errand.is_done(number):
                self._raise_fatal()
                wait = self._patience_left()
                if timeout is not None:
                    wait = min(wait, began + timeout - time.monotonic())
                if wait <= 0 or self._is_hopeless(number):
                    raise UploadError(self._message())
                self._errand.changed.wait(wait)
        return self._files - before

    def forget(self, names: Iterable[str]) -> None:
        """Files that the store has lost are due again; between two calls of `drain`.

        Raises:
            OSError: Whatever the store raises.
        """
        self._courier.forget(names)

    def close(self) -> None:
        """End the thread after the file that it copies; what is left is for the next process."""
        if self._is_mine():
            _used.discard(self)
            self._errand.close()

    def _is_mine(self) -> bool:
        return os.getpid() == self._pid

    def _ask(self, *, at_once: bool = False) -> int:
        _used.add(self)
        return self._errand.ask(at_once=at_once)

    def _raise_fatal(self) -> None:
        if self._errand.fatal is not None:
            raise self._errand.fatal

    def _is_hopeless(self, number: int) -> bool:
        failures = self._errand.failures.values() if self._errand.is_tried(number) else ()
        return bool(failures) and not any(map(may_pass, failures))

    def _patience_left(self) -> float:
        """Seconds until a wait is given up; a large file has its time, if the store answers."""
        more = 0.0 if self._errand.failures else self._on_its_way / _SLOWEST
        return self._moved + self.patience.give_up + more - time.monotonic()

    def _pass(self) -> Mapping[str, Exception]:
        """Copy what is due, in the thread; what failed."""
        try:
            failures = self._copy()
        except ExperimentError as error:
            _log.error("%s", error)
            raise
        except Exception as error:  # training goes on, whatever a store or a disk raises
            failures = {self.run.name: error}
        finally:
            self._ledger.close()
        self._tell(failures)
        return failures

    def _copy(self) -> Mapping[str, Exception]:
        if not self._claimed:
            make_directory(self.run / _FOLDER, exist_ok=True)
            sweep_scratch(self.run / _FOLDER)
            self._claim.take()
            with self._errand.changed:
                self._claimed = True
                self._errand.changed.notify_all()
        return self._courier.deliver(lambda: self._errand.stopping)

    def _began(self, size: int) -> None:
        self._on_its_way = size

    def _ended(self, size: int, was_there: bool) -> None:
        with self._errand.changed:
            self._on_its_way, self._moved = 0, time.monotonic()
            if not was_there:
                self._files += 1
                self._bytes += size
            self._errand.changed.notify_all()
        if self._moved - self._told > _TELL_EVERY:
            self._told = self._moved
            _log.info("copying %s to %s: %s", self.run.name, self.store.url, self.progress())

    def _tell(self, failures: Mapping[str, Exception]) -> None:
        """A store that fails is told once, and so is its return."""
        if failures and not self._failing:
            name, error = next(iter(failures.items()))
            _log.warning(
                "%s does not take %s of %s, which is tried again later: %s",
                *(self.store.url, name, self.run.name, redact_text(str(error))),
            )
        elif self._failing and not failures:
            _log.warning("%s has taken what was left of %s", self.store.url, self.run.name)
        self._failing = bool(failures)

    def _message(self) -> str:
        files, size = self._courier.left()
        failures = list(self._errand.failures.items())[:5]
        why = redact_text("".join(f"\n  {name}: {error}" for name, error in failures))
        return (
            f"{self.run} is safe on this disk, but {files} files ({size / 1e6:.1f} MB) are not in "
            f"{self.store.url} yet. Bring them up later: tt-experiment sync '{self.run}'{why}"
        )

    def _at_exit(self) -> None:
        """Let a store that answers have the rest; say what is left for another time."""
        if not self._is_mine() or self._errand.is_done() or self._errand.fatal is not None:
            return
        try:
            if self._errand.failures:
                raise UploadError(self._message())
            self.drain()
        except (ExperimentError, RuntimeError) as error:  # it may be too late for a thread
            _log.warning("%s", error)


def claim_note(run: Path, store: BlobStore, prefix: str) -> Path:
    """Where a run's folder says which claim it has in a store."""
    return _place(run, store, prefix, "claim-{}.json")


def _place(run: Path, store: BlobStore, prefix: str, name: str) -> Path:
    place = hashlib.sha256(f"{store.url}\n{prefix}".encode()).hexdigest()[:12]
    return run / _FOLDER / name.format(place)


def _again(run: Path, store: BlobStore, prefix: str, patience: Patience) -> Outbox:
    return Outbox(run, store, prefix, patience=patience)


_used: weakref.WeakSet[Outbox] = weakref.WeakSet()


def _finish() -> None:
    for outbox in list(_used):
        outbox._at_exit()


Finalize(None, _finish, exitpriority=0)  # unlike atexit also at the end of a spawned process
