"""What the operating system does for transfers: positioned access, locks, and names that last."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path

from tt_cloud._keys import TEMPORARY_PREFIX

# Of a file descriptor that several threads use at once: only Windows has no positioned access.
_turn = threading.Lock()

PRIVATE = 0o600
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)

READ = os.O_RDONLY | _BINARY
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY
_NOT_OURS = (errno.ELOOP, errno.EACCES, errno.EPERM, errno.EISDIR, errno.EROFS)
OWN = os.O_RDWR | os.O_CREAT | _BINARY | _NO_LINK


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 40  # a lock there keeps nobody from reading

    def lock(descriptor: int) -> bool:
        """Lock a file for this opening of it; false when another has it."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Let go of it."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        with suppress(OSError):
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Lock a file for this opening of it; false when another has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Let go of it: closing does not as long as a forked process has the file, too."""
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def owned(path: Path, mode: int) -> int | None:
    """Open a file, made if there is none; ``None`` where somebody else has laid one, or a link."""
    try:
        descriptor = os.open(path, OWN, mode)
    except OSError as error:
        if error.errno in _NOT_OURS:
            return None
        raise
    if is_own(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    return None


def locked(path: Path, mode: int) -> int | None:
    """The same, and lock it; ``None`` also while another opening has it."""
    descriptor = owned(path, mode)
    if descriptor is None or _is_held(path, descriptor):
        return descriptor
    os.close(descriptor)
    return None


def read_at(descriptor: int, buffer: memoryview, offset: int) -> int:
    """Fill a buffer from a position on; gives how many bytes there were."""
    done = 0
    while done < len(buffer) and (count := _read(descriptor, buffer[done:], offset + done)):
        done += count
    return done


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of it to a position."""
    while data:
        count = _write(descriptor, data, offset)
        data, offset = data[count:], offset + count


def store_file(target: Path, data: bytes | bytearray) -> None:
    """Give a file its content in one step, which survives a power cut."""
    path = temporary(target)
    descriptor = create(path)
    try:
        try:
            write_at(descriptor, memoryview(data), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(path, target)  # noqa: PTH105 - a tenth of the time
    except BaseException:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - the same
        raise
    flush_directory(target.parent)


def temporary(target: Path) -> str:
    """A name beside a file that nothing else has."""
    return f"{target.parent}{os.sep}{TEMPORARY_PREFIX}{secrets.token_hex(8)}.part"


def create(path: str, tries: int = 8) -> int:
    """Open a new file; its folder is made, again if another thread removes it in between."""
    for _ in range(tries):
        try:
            return os.open(path, NEW, 0o666)
        except FileNotFoundError as error:
            missing = error
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - the same
    raise missing


def flush_directory(directory: Path) -> None:
    """Make a rename survive a power cut."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no handle on a directory
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_own(info: os.stat_result) -> bool:
    """Whether nobody else has laid the file there."""
    own = not hasattr(os, "geteuid") or info.st_uid == os.geteuid()
    return stat.S_ISREG(info.st_mode) and info.st_nlink <= 1 and own


def _is_held(path: Path, descriptor: int) -> bool:
    """Lock a file, which whoever had the lock before must not have removed."""
    try:
        return lock(descriptor) and os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
    except OSError:  # there are no locks in this place: the file is of no use
        path.unlink(missing_ok=True)
        return False


if hasattr(os, "preadv"):

    def _read(descriptor: int, buffer: memoryview, offset: int) -> int:
        return os.preadv(descriptor, [buffer], offset)

    def _write(descriptor: int, data: memoryview, offset: int) -> int:
        return os.pwrite(descriptor, data, offset)
else:

    def _read(descriptor: int, buffer: memoryview, offset: int) -> int:
        with _turn:
            os.lseek(descriptor, offset, os.SEEK_SET)
            data = os.read(descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _write(descriptor: int, data: memoryview, offset: int) -> int:
        with _turn:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, data)
