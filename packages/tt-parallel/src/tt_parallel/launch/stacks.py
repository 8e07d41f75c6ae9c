"""What the threads of a process are doing, asked from outside and answered at once.

The answer comes from C: also a process that hangs in a collective, or that crashes, gives it.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

__all__ = ["answer_into", "ask"]

_SIGNAL = getattr(signal, "SIGUSR1", None)
_PATIENCE = 1.0  # seconds for all answers together


def answer_into(path: Path) -> None:
    """From now on write this process's stacks into a file, when asked and at a crash."""
    file = path.with_suffix(".new").open("w")  # open as long as the process lives
    faulthandler.enable(file, all_threads=True)
    if _SIGNAL is not None:
        faulthandler.register(_SIGNAL, file, all_threads=True)
    Path(file.name).rename(path)  # its presence says that asking does not kill


def ask(pids: Mapping[Path, int]) -> None:
    """Have processes write their stacks, and wait a moment for it.

    Args:
        pids: Living processes, by the file that each writes into.
    """
    asked = [path for path in pids if _SIGNAL is not None and path.exists()]
    for path in asked:
        os.kill(pids[path], _SIGNAL)  # type: ignore[arg-type]  # there is one, or nobody is asked
    deadline, before = time.monotonic() + _PATIENCE, [-1]
    while asked and time.monotonic() < deadline:
        sizes = [path.stat().st_size for path in asked]
        if all(sizes) and sizes == before:
            break
        before = sizes
        time.sleep(0.02)
