"""A process is killed at each of its changes to the disk, one after the other."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from .disk import KillingDisk, using
from .forks import Forks

__all__ = ["deaths"]

_MOST = 2000


def deaths(
    forks: Forks, prepare: Callable[[Path], object], act: Callable[[Path], object], path: Path
) -> Iterator[Path]:
    """What `act` leaves of what `prepare` made, for a kill at each change; last, for none at all.

    ``act`` is a function of a module: a process of its own calls it.
    """
    template, work = path / "template", path / "work"
    template.mkdir()
    prepare(template)
    for at in range(1, _MOST):
        shutil.copytree(template, work, symlinks=True)
        status = forks.run(_die, act, work, at)
        assert status in (0, -signal.SIGKILL)
        yield work
        shutil.rmtree(work)
        if status == 0:
            return
    raise AssertionError("it makes more changes than anyone can die at")


def _die(act: Callable[[Path], object], path: Path, at: int) -> None:
    with using(KillingDisk(at)):
        act(path)
