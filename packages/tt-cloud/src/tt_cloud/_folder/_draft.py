"""An object that is being written, until it gets its name."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedRandom
from pathlib import Path

from tt_cloud._folder import _beside
from tt_cloud._folder._beside import Beside
from tt_cloud._folder._directory import Directory, entered
from tt_cloud._folder._lock import locked
from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud._local import hold
from tt_cloud._stored import Condition

_TRIES = 100
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


class Draft:
    """An unfinished file in the directory where it belongs."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._part = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.part"
        descriptor = directory.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.file: BufferedRandom = os.fdopen(descriptor, "w+b")

    def publish(
        self, name: str, beside: Beside, condition: Condition, where: str
    ) -> os.stat_result:
        """Flush the file to disk and give it its name in one step, if the condition holds."""
        info = self._finished()
        try:
            _beside.keep(self._directory, info, beside)
            with locked(self._directory, needed=condition.etag is not None):
                before = plain(self._directory, name)
                hold(condition, before and _beside.identity(before), where)
                self._name_it(name, condition, where)
        except BaseException:
            _beside.forget(self._directory, info)
            raise
        _beside.forget(self._directory, before)
        self._directory.flush()
        return info

    def discard(self) -> None:
        """Remove the file's first name; it is gone, unless it was published."""
        with suppress(OSError):  # what could not be written is not written now
            self.file.close()
        self._directory.unlink(self._part)

    def _finished(self) -> os.stat_result:
        self.file.flush()
        self._directory.touch(self._part, time.time_ns())  # finer than the system's: no two alike
        os.fsync(self.file.fileno())
        info = os.fstat(self.file.fileno())
        self.file.close()  # Windows renames closed files only
        return info

    def _name_it(self, name: str, condition: Condition, where: str) -> None:
        if condition.absent and self._linked(name, where):
            return
        self._directory.rename(self._part, name)

    def _linked(self, name: str, where: str) -> bool:
        """Name it if the name is free, also among programs that do not know of the lock."""
        try:
            self._directory.link(self._part, name)
        except FileExistsError:
            if plain(self._directory, name) is not None:
                hold(Condition(absent=True), "", where)
            raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return False
        return True


def plain(directory: Directory, name: str) -> os.stat_result | None:
    """The object of that name, if there is one; fails at a link."""
    directory.refuse_link(name)
    info = directory.find(name)
    return info if info is not None and stat.S_ISREG(info.st_mode) else None


@contextmanager
def drafted(root: Path, parts: Sequence[str]) -> Iterator[Draft]:
    """A draft in the directory to which the parts lead; nothing is left of it, nor of its way."""
    try:
        with ExitStack() as stack:
            yield _begun(root, parts, stack)
    except BaseException:
        prune(root, parts)
        raise


def _begun(root: Path, parts: Sequence[str], stack: ExitStack) -> Draft:
    """Begin; another thread's delete may remove the empty directory in between."""
    for _ in range(_TRIES):
        with ExitStack() as attempt:
            directory = attempt.enter_context(entered(root, parts, make=True))
            try:
                draft = Draft(directory)
            except FileNotFoundError as error:
                missing = error
                continue
            attempt.callback(draft.discard)
            stack.push(attempt.pop_all())
            return draft
    raise missing


def prune(root: Path, parts: Sequence[str]) -> None:
    """Remove directories that became empty: a key must be free once nothing lies below it."""
    with suppress(OSError):  # not empty
        for depth in reversed(range(len(parts))):
            with suppress(FileNotFoundError):
                _prune(root, parts[:depth], parts[depth])


def _prune(root: Path, parts: Sequence[str], name: str) -> None:
    with entered(root, (*parts, name)) as directory:
        _clear(directory)
    with entered(root, parts) as above:
        above.rmdir(name)


def _clear(directory: Directory) -> None:
    """Remove what belonged to objects that somebody else removed, where nothing else is."""
    names = []
    for entry in directory.entries():
        if not _beside.is_beside(entry.name):
            return
        names.append(entry.name)
    for name in names:
        directory.unlink(name)
