"""No process outlives the one that launched it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from multiprocessing.connection import wait

from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]  # torch's own launcher uses it

__all__ = ["end_with_parent", "remove_if_orphaned"]

_GRACE = 10.0  # seconds for an orphan to come to its end by itself
_LOOK = 1.0  # seconds between two looks, for another process may have inherited what tells the end


def end_with_parent(folder: str) -> None:
    """When the launching process dies, be interrupted, and after a grace period end."""
    _prctl_pr_set_pdeathsig(signal.SIGINT)
    threading.Thread(target=_watch, args=(os.getppid(), folder), daemon=True).start()


def remove_if_orphaned(folder: str) -> None:
    """Remove the run's folder if the process that would do so is dead."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        shutil.rmtree(folder, ignore_errors=True)


def _watch(launcher: int, folder: str) -> None:
    parent = multiprocessing.parent_process()
    sentinels = [] if parent is None else [parent.sentinel]
    while not wait(sentinels, _LOOK) and os.getppid() == launcher:
        pass
    threading.Event().wait(_GRACE)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
