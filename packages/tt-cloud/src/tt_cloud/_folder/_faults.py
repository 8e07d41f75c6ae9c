"""The operating system's errors as this package's, with the same number."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tt_cloud._local import missing
from tt_cloud.errors import AccessDenied, CloudError, UnsafeKey

_FORBIDDEN = (errno.EACCES, errno.EPERM)
_NO_SUCH = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Of looking for an object."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SUCH:
            raise missing(where) from error
        raise _translated(error, where) from error


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Of putting one in its place."""
    try:
        yield
    except CloudError:  # some are of both kinds
        raise
    except OSError as error:
        if error.errno in _IN_THE_WAY:
            msg = f"in a folder no key lies below another: {where} would, or has some; rename one"
            raise UnsafeKey(msg) from error
        if error.errno == errno.ENAMETOOLONG:
            msg = f"a key's parts are names of files: {where} has too long a part; rename it"
            raise UnsafeKey(msg) from error
        raise _translated(error, where) from error


def _translated(error: OSError, where: str) -> Exception:
    if error.errno in _FORBIDDEN:
        msg = f"a store's files must be accessible: {where} is not; check its owner and mode"
        denied = AccessDenied(msg)
        denied.errno = error.errno
        return denied
    if error.errno == errno.ELOOP:
        msg = f"a folder store never leaves its folder: {where} goes through a link; remove it"
        return UnsafeKey(msg)
    return OSError(error.errno, error.strerror, where)
