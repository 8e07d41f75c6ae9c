"""A copy of a file that the file system makes itself, where it can: some share the bytes."""

from __future__ import annotations

import errno
import os
import shutil
from typing import BinaryIO

from tt_cloud._local import CHUNK

_AT_ONCE = 1 << 30
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def clone(source: BinaryIO, target: BinaryIO) -> None:
    """Fill an empty file; both are at their beginning before and after."""
    if not _shared(source.fileno(), target.fileno()):
        shutil.copyfileobj(source, target, CHUNK)
    for file in (source, target):
        file.seek(0)


def _shared(source: int, target: int) -> bool:
    if not hasattr(os, "copy_file_range"):
        return False
    done = 0
    try:
        while moved := os.copy_file_range(source, target, _AT_ONCE, done, done):
            done += moved
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    return done == os.fstat(source).st_size
