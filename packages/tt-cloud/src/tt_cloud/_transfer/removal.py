"""Removing many objects."""

from __future__ import annotations

from collections.abc import Sequence

from tt_cloud._transfer.clock import Halt
from tt_cloud._transfer.line import Line
from tt_cloud.api import Failure, TransferReport
from tt_cloud.errors import CloudError, TransferFailed, Unavailable

BATCH = 1000  # keys that one request takes


def remove(line: Line, keys: Sequence[str]) -> None:
    """Remove objects, again those that failed only for now; not an error when there are none."""
    keys = tuple(dict.fromkeys(keys))
    failures: dict[str, CloudError] = {}
    for start in range(0, len(keys), BATCH):
        batch = _Batch(line, keys[start : start + BATCH])
        try:
            batch.run()
        except CloudError as error:
            if start == 0 and batch.untouched:
                raise  # as it would fail for each
            failures |= dict.fromkeys(batch.left, error)
        failures |= batch.failures
    if len(keys) == 1 and failures:
        raise failures[keys[0]]
    if failures:
        raise _failed(keys, failures)


class _Batch:
    """Up to as many keys as one request takes.

    Attributes:
        left: What may still be removed.
        failures: What will not.
    """

    def __init__(self, line: Line, keys: Sequence[str]) -> None:
        self.left = keys
        self.failures: dict[str, CloudError] = {}
        self._line = line
        self._count = len(keys)

    @property
    def untouched(self) -> bool:
        """Whether nothing was removed, and there is one reason for all."""
        return len(self.left) == self._count

    def run(self) -> None:
        """Remove them all."""
        self._line.retrying.run(self._attempt, Halt(self.left[0]))

    def _attempt(self) -> None:
        failed = self._line.remote.delete(self.left)
        passing = {key: error for key, error in failed.items() if isinstance(error, Unavailable)}
        self.failures |= {key: error for key, error in failed.items() if key not in passing}
        self.left = tuple(passing)
        for error in passing.values():
            raise error


def _failed(keys: Sequence[str], failures: dict[str, CloudError]) -> TransferFailed:
    first = next(iter(failures.values()))
    msg = f"{len(failures)} of {len(keys)} objects could not be removed: {first}"
    done = tuple(sorted(set(keys) - failures.keys()))
    failed = tuple(Failure(key, failures[key]) for key in sorted(failures))
    return TransferFailed(msg, TransferReport(deleted=done, failures=failed))
