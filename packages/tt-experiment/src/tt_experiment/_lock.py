"""One process writes to a run: a lock that ends with its process, and a note of who holds it.

The lock is a POSIX record lock (a locked byte on Windows). It is the process's own: loader workers
that are forked from it do not keep it, so a run whose process was killed can be gone on with at
once. Closing any descriptor of the file would give the lock up, so a process opens it once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tt_experiment.errors import RunLockedError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["NAME", "RunLock"]

NAME = ".lock"
_log = logging.getLogger(__name__)
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_FAR = 1 << 30  # Windows locks bytes against reading, so not those of the note
_WAITS = (0.01, 0.02, 0.04, 0.08)  # seconds: who only asks for the owner has it for an instant
_HOST = socket.gethostname()
_guard = threading.Lock()
_held: dict[str, tuple[int, int]] = {}  # path: process that has it, descriptor


class RunLock:
    """The right to write to a run, for this process.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / NAME
        self._key = os.path.realpath(self.path)

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return _held.get(self._key, (0, 0))[0] == os.getpid()

    def acquire(self) -> None:
        """Take the lock; a process that has it keeps it.

        Raises:
            RunLockedError: Another process has it.
        """
        with _guard:
            if self.held:
                return
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock_patiently(fd)
            except OSError as error:
                if error.errno not in _WITHOUT_LOCKS:
                    owner = _read(fd)
                    os.close(fd)
                    if _is_parent(owner):
                        return  # a launcher that waits for this process writes through it
                    raise self._locked(owner) from error
                _log.warning("%s cannot be locked: start no second process", self.path)
            _write(fd)
            _held[self._key] = (os.getpid(), fd)

    def release(self) -> None:
        """Give it back; fine if this process does not have it."""
        with _guard:
            if self.held:
                os.close(_held.pop(self._key)[1])

    def owner(self) -> dict[str, Any] | None:
        """Who writes to the run now; ``None`` when nobody does."""
        with _guard:
            if self.held:
                return _note()
            if not self.path.is_file():
                return None
            fd = os.open(self.path, os.O_RDONLY)
            try:
                _lock(fd, shared=True)
            except OSError:
                return _read(fd)
            finally:
                os.close(fd)
            return None

    def _locked(self, owner: dict[str, Any]) -> RunLockedError:
        who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
        msg = (
            f"One process writes to a run. {self.path.parent} is written to by {who}, since "
            f"{owner.get('since', '?')}: wait for its end, or start a run of its own."
        )
        return RunLockedError(msg)


def _lock_patiently(fd: int) -> None:
    for wait in (*_WAITS, None):
        try:
            _lock(fd)
        except OSError as error:
            if wait is None or error.errno in _WITHOUT_LOCKS or _is_parent(_read(fd)):
                raise
            time.sleep(wait)
        else:
            return


def _is_parent(owner: dict[str, Any]) -> bool:
    return owner.get("host") == _HOST and owner.get("pid") == os.getppid()


def _lock(fd: int, *, shared: bool = False) -> None:
    if sys.platform == "win32":
        os.lseek(fd, _FAR, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.lockf(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _note() -> dict[str, Any]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": _HOST, "since": since}


def _write(fd: int) -> None:
    """Say who has the lock; the lock does not depend on it."""
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, json.dumps(_note()).encode())


def _read(fd: int) -> dict[str, Any]:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        note = json.loads(os.read(fd, 4096))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
