"""From a state in memory to a checkpoint in its folder: what the thread of a save does."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tt_experiment import _json
from tt_experiment._checkpoint.entries import scan
from tt_experiment._checkpoint.files import Label, write
from tt_experiment._checkpoint.staging import Staging
from tt_experiment._checkpoint.tidying import Tidying
from tt_experiment._durable import free_space, make_directories, sweep_scratch
from tt_experiment.errors import CheckpointError, StateTreeError
from tt_loop.api import CheckpointRef

__all__ = ["Commit", "label"]

_log = logging.getLogger(__name__)

_MARGIN = 1.1  # of the free space that a checkpoint needs: headers, names, and what others write


class Commit:
    """Makes checkpoints of one folder appear.

    Args:
        path: The folder.
        tidying: What is done after each.
        before: Called before each appears.
        after: Told of each; what it raises is logged.
    """

    def __init__(
        self,
        path: Path,
        tidying: Tidying,
        before: Callable[[], None],
        after: Callable[[CheckpointRef], None],
    ) -> None:
        self._path, self._tidying = path, tidying
        self._before, self._after = before, after

    def make(self, label: Label, state: Staging) -> CheckpointRef:
        """Write, commit and tidy up.

        Raises:
            OSError: The disk does not take it.
            CheckpointError: The state changed while it was copied, or the folder has a checkpoint
                of a newer version.
        """
        if free_space(self._path) < _MARGIN * state.bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        make_directories(self._path)
        sweep_scratch(self._path)
        entries, damaged = scan(self._path)
        serial = 1 + max((entry.serial for entry in entries), default=0) + len(damaged)
        self._before()
        entry = write(self._path, state, label, serial)
        try:
            self._after(entry.ref)
        except Exception:  # the checkpoint is committed, whatever others make of it
            _log.exception("telling of the checkpoint of step %d failed", label.step)
        self._tidying.after(entry)
        return entry.ref

    def explain(self, label: Label, size: int, error: BaseException) -> CheckpointError:
        """What to tell of a checkpoint that could not be made."""
        try:
            free = f"{free_space(self._path) / 1e6:.1f} MB are free"
        except OSError as problem:
            free = f"what is free is not known ({problem})"
        msg = (
            f"the checkpoint of step {label.step} could not be written to {self._path}: {error}. "
            f"It needs {_MARGIN * size / 1e6:.1f} MB, {free}"
        )
        failure = CheckpointError(msg)
        failure.__cause__ = error
        return failure


def label(step: int, scores: Mapping[str, float], facts: Mapping[str, Any]) -> Label:
    """Check what is to be noted of a checkpoint, and copy it.

    Raises:
        ValueError: The step is none.
        StateTreeError: The facts are not what JSON has.
    """
    if step < 0:
        msg = f"a step is counted from 0. Got {step}"
        raise ValueError(msg)
    kept, _ = _json.finite(_json.plain(facts))
    try:
        _json.dumps(kept)
    except (TypeError, ValueError) as error:
        msg = f"facts of a checkpoint are what JSON has. Got {error}"
        raise StateTreeError(msg) from error
    return Label(step, {name: float(value) for name, value in scores.items()}, kept)
