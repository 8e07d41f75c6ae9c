"""Exit statuses."""

from __future__ import annotations

from tt_cloud.errors import Cancelled, InvalidURL, UnknownOption, UnknownScheme

OK, FAILED, STOPPED = 0, 1, 130

_STATUS: tuple[tuple[int, tuple[type[BaseException], ...]], ...] = (
    (2, (InvalidURL, UnknownOption, UnknownScheme)),
    (3, (FileNotFoundError,)),  # which NotFound is, and so on
    (4, (PermissionError,)),
    (5, (FileExistsError,)),
    (STOPPED, (Cancelled, KeyboardInterrupt)),
)


def status_of(error: BaseException) -> int:
    """The exit status for an error."""
    return next((status for status, kinds in _STATUS if isinstance(error, kinds)), FAILED)
