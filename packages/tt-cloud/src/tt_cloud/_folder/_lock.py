"""One writer at a time in a directory, among all threads and processes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tt_cloud._folder._directory import Directory
from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud._transfer.files import unlock
from tt_cloud.errors import Unsupported

LOCK = f"{TEMPORARY_PREFIX}lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def locked(directory: Directory, *, needed: bool) -> Iterator[None]:
    """Keep all other writers of the directory out.

    The file exists only while it is held: who waited for it finds that it is gone, and begins anew.
    """
    descriptor = _acquired(directory, needed=needed)
    try:
        yield
    finally:
        with suppress(OSError):  # the folder may be gone, and Windows keeps open files
            directory.unlink(LOCK)
        unlock(descriptor)
        os.close(descriptor)


def _acquired(directory: Directory, *, needed: bool) -> int:
    while True:
        descriptor = _opened(directory)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in _NO_LOCKS and not needed:
                return descriptor
            os.close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise
            msg = "if_match needs locks: this folder's file system has none; use another folder"
            raise Unsupported(msg) from error
        found = directory.find(LOCK)
        if found is not None and os.path.samestat(found, os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)


def _opened(directory: Directory) -> int:
    try:
        return directory.open(LOCK, os.O_RDWR | os.O_CREAT)
    except PermissionError:  # another user's; it may be locked nevertheless
        return directory.open(LOCK, os.O_RDONLY)
