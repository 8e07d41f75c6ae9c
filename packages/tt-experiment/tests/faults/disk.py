"""Stand-ins for the module ``os`` in `tt_experiment._durable`, through which every write goes.

Each counts the changes to the disk that a process makes, in all its threads together, and does
something at one of them: dies, fails, or takes notes.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tt_experiment import _durable

__all__ = ["Change", "FailingDisk", "KillingDisk", "NotingDisk", "using"]

# What changes nothing. The rest of `os`, also what is used there some day, counts as a change.
_HARMLESS = {"close", "fspath", "fstat", "getpid", "getppid", "kill", "listdir", "lstat", "read"}
_HARMLESS |= {"scandir", "stat", "statvfs", "walk", "getuid", "uname", "cpu_count", "dup", "lseek"}


class _Disk:
    """The module ``os`` with its changes to the disk counted."""

    def __init__(self) -> None:
        self.count = 0
        self._turn = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name in _HARMLESS or not callable(real) or isinstance(real, type):
            return real
        return functools.partial(self._counted, name, real)

    def _counted(self, name: str, real: Any, *args: Any, **options: Any) -> Any:
        with self._turn:
            self.count += 1
            return self.change(name, real, *args, **options)

    def change(self, name: str, real: Any, *args: Any, **options: Any) -> Any:
        """Do one change; `count` is its number."""
        raise NotImplementedError


class KillingDisk(_Disk):
    """The process is killed at a change: before it, or halfway if it writes data."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def change(self, name: str, real: Any, *args: Any, **options: Any) -> Any:
        if self.count == self.at:
            if name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "fsync":
            return None  # a kill does not lose what the kernel has: no need to wait for disks
        return real(*args, **options)


class FailingDisk(_Disk):
    """So many changes from one on fail, in every thread."""

    def __init__(self, at: int, error: int, *, changes: int = 1) -> None:
        super().__init__()
        self.at, self.error, self.changes = at, error, changes
        self.failed = 0

    def change(self, name: str, real: Any, *args: Any, **options: Any) -> Any:
        if self.at <= self.count < self.at + self.changes:
            self.failed += 1
            if name == "write" and self.error == errno.ENOSPC and self.failed == 1:
                self.at += 1  # a full disk takes a part first, and says so at the next one
                return real(args[0], bytes(args[1])[: len(args[1]) // 2])
            raise OSError(self.error, os.strerror(self.error))
        return None if name == "fsync" else real(*args, **options)


class Change(NamedTuple):
    """One change to the disk, as it was made."""

    name: str
    args: tuple[Any, ...]
    result: Any


class NotingDisk(_Disk):
    """Notes every change in order."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[Change] = []

    def change(self, name: str, real: Any, *args: Any, **options: Any) -> Any:
        result = None if name == "fsync" else real(*args, **options)
        plain = tuple(bytes(arg) if isinstance(arg, memoryview) else arg for arg in args)
        self.changes.append(Change(name, plain, result))
        return result

    def say(self, what: str, fact: Any) -> None:
        """Put what the program knows now, such as what is committed, between the changes."""
        with self._turn:
            self.changes.append(Change("say", (what, fact), None))


@contextmanager
def using(disk: Any) -> Iterator[None]:
    """Let the package write to a disk."""
    before = _durable.os
    _durable.os = disk
    try:
        yield
    finally:
        _durable.os = before
