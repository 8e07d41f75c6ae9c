"""One process at a time, and one thread in it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tt_cloud._transfer.files import lock, unlock
from tt_cloud.api import Cancel
from tt_cloud.errors import Cancelled

_log = logging.getLogger(__name__)
_PAUSE = 0.1  # seconds between looks at a lock that another holds


@contextmanager
def locked(path: Path, cancel: Cancel | None = None) -> Iterator[None]:
    """Hold a lock; the file stays, and the system lets go of it when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(descriptor, path, cancel or threading.Event())
        yield
    finally:
        unlock(descriptor)
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, cancel: Cancel) -> None:
    told = False
    while not lock(descriptor):
        if not told:
            _log.info("another process has %s: waiting for it", path)
            told = True
        if cancel.wait(_PAUSE):
            msg = f"a call waits for {path} until its cancel event is set: it is; nothing was done"
            raise Cancelled(msg)
