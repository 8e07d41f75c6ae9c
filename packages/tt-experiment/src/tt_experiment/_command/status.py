"""Exit statuses."""

from __future__ import annotations

from tt_experiment.errors import (
    CorruptCheckpoint,
    ExperimentNameError,
    NoValidCheckpoint,
    QueryError,
    UploadError,
    UploadPending,
)

OK, FAILED, USAGE, PENDING, CORRUPT, STOPPED = 0, 1, 2, 3, 4, 130

_STATUS: tuple[tuple[int, tuple[type[BaseException], ...]], ...] = (
    (USAGE, (QueryError, ExperimentNameError)),
    (PENDING, (UploadPending, UploadError)),
    (CORRUPT, (CorruptCheckpoint, NoValidCheckpoint)),
    (STOPPED, (KeyboardInterrupt,)),
)


def status_of(error: BaseException) -> int:
    """The exit status for an error."""
    return next((status for status, kinds in _STATUS if isinstance(error, kinds)), FAILED)
