"""Checkpoints that a crash cannot break: `CheckpointFolder`, a store for tt-loop.

Example:
    >>> import tempfile, torch
    >>> store = CheckpointFolder(Path(tempfile.mkdtemp(), "checkpoint_model"), keep_last=2)
    >>> ticket = store.save({"model": {"w": torch.ones(2)}}, step=10, scores={"val_loss": 0.5})
    >>> ticket.wait_committed().step
    10
    >>> store.load(store.latest())["model"]["w"]
    tensor([1., 1.])
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tt_experiment._checkpoint_files import Entry, Staged, read_tree, scan, stage, write
from tt_experiment._durable import make_directories, remove_directory, replace_file, sweep_scratch
from tt_experiment.errors import CheckpointError, CorruptCheckpoint, NoValidCheckpoint
from tt_loop.api import CheckpointRef, Tree

__all__ = ["BestPolicy", "CheckpointFolder", "SaveTicket"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BestPolicy:
    """Keep the ``count`` checkpoints with the best value of a metric.

    A checkpoint is judged by the value saved with that very checkpoint; NaN is never best, and of
    equals the older stays best.
    """

    metric: str
    mode: Literal["min", "max"]
    count: int = 1

    def __post_init__(self) -> None:
        _check_mode(self.mode)
        if self.count < 1:
            msg = f"BestPolicy keeps at least one checkpoint. Got count={self.count}"
            raise ValueError(msg)

    def rank(self, entries: list[Entry]) -> list[Entry]:
        """Those that have the metric, best first."""
        sign = 1.0 if self.mode == "min" else -1.0
        scored = [
            (sign * value, entry.serial, entry)
            for entry in entries
            if not math.isnan(value := entry.scores.get(self.metric, math.nan))
        ]
        return [entry for _, _, entry in sorted(scored, key=lambda item: item[:2])]


class SaveTicket:
    """A save that is over: it was committed, or it failed and `wait_committed` raises why."""

    def __init__(self, outcome: CheckpointRef | CheckpointError) -> None:
        self._outcome = outcome

    @property
    def committed(self) -> bool:
        """The checkpoint is safe on disk."""
        return isinstance(self._outcome, CheckpointRef)

    def wait_staged(self) -> None:
        """Return at once: the state was copied before the ticket was given."""

    def wait_committed(self, _timeout: float | None = None, /) -> CheckpointRef:
        """The checkpoint, safe on disk.

        Raises:
            CheckpointError: The save failed; earlier checkpoints are as they were.
        """
        if isinstance(self._outcome, CheckpointError):
            raise self._outcome
        return self._outcome


class CheckpointFolder:
    """A folder of checkpoints, each a directory that appears whole, with digests of every file.

    Opening the folder removes what a dead process left half-written (`.tmp-*` of this machine whose
    process is gone, or older than a day). One process saves into a folder; any number may read.

    Args:
        path: The folder; it is made, with its parents, by the first save.
        keep_last: How many of the newest to keep; ``None`` keeps all, unless ``keep_best`` is
            given: then the newest stays, so that a run can be resumed.
        keep_best: Which to keep by score. Neither the newest nor these are ever deleted.
    """

    def __init__(
        self, path: Path | str, *, keep_last: int | None = None, keep_best: BestPolicy | None = None
    ) -> None:
        if keep_last is not None and keep_last < 1:
            msg = f"keep_last must be at least 1, or None to keep all. Got {keep_last}"
            raise ValueError(msg)
        self.path = Path(path).absolute()
        self.keep_last = keep_last
        self.keep_best = keep_best
        if self.path.is_dir():
            sweep_scratch(self.path)

    def save(self, tree: Tree, /, *, step: int, scores: Mapping[str, float]) -> SaveTicket:
        """Save a state tree under its step; one of the same step is superseded.

        The state is copied, then written and committed, before this returns. A failing disk does
        not raise here but from the ticket; it is logged too.

        Args:
            tree: ``model`` and ``optimizers`` get files of their own; the rest is kept beside them.
            step: Optimizer steps or batches done.
            scores: Metric values that belong to this state.

        Raises:
            StateTreeError: The tree holds what no checkpoint can hold.
        """
        if step < 0:
            msg = f"a step is counted from 0. Got {step}"
            raise ValueError(msg)
        staged = stage(tree)
        try:
            entry = self._commit(staged, step, scores)
        except OSError as error:
            failure = self._failure(staged, step, error)
            _log.error("%s", failure)
            return SaveTicket(failure)
        self._tidy(entry)
        return SaveTicket(entry.ref)

    def latest(self) -> CheckpointRef | None:
        """The newest valid checkpoint; ``None`` only when there is no checkpoint at all.

        A damaged one is skipped with a warning for the next older.

        Raises:
            NoValidCheckpoint: There are checkpoints and none of them is valid.
            FormatVersionError: One was written by a newer version.
        """
        entries, damaged = scan(self.path)
        return self._first_valid(entries, damaged)

    def best(self, metric: str, mode: Literal["min", "max"], /) -> CheckpointRef | None:
        """The valid checkpoint with the best value of a metric; ``None`` when none has it.

        Raises:
            NoValidCheckpoint: There are such checkpoints and none of them is valid.
            FormatVersionError: One was written by a newer version.
        """
        policy = BestPolicy(metric, mode)
        entries, damaged = scan(self.path)
        return self._first_valid(policy.rank(entries), [] if entries else damaged)

    def load(self, ref: CheckpointRef, /) -> Tree:
        """Read a state tree back, after every size and digest was checked.

        Raises:
            CorruptCheckpoint: It is not what was written, or is no longer there.
            FormatVersionError: It was written by a newer version.
        """
        path = Path(ref.location)
        if path.parent != self.path:
            msg = f"{self.path} loads its own checkpoints. Got {ref.location}: open that folder"
            raise CheckpointError(msg)
        return read_tree(path)

    def _commit(self, staged: Staged, step: int, scores: Mapping[str, float]) -> Entry:
        make_directories(self.path)
        entries, _ = scan(self.path)
        serial = 1 + max((entry.serial for entry in entries), default=0)
        return write(self.path, staged, step, scores, serial)

    def _failure(self, staged: Staged, step: int, error: OSError) -> CheckpointError:
        place = next(p for p in [self.path, *self.path.parents] if p.exists())
        free = shutil.disk_usage(place).free
        msg = (
            f"the checkpoint of step {step} could not be written to {self.path}: {error}. "
            f"It needs {staged.bytes / 1e6:.1f} MB, {free / 1e6:.1f} MB are free"
        )
        failure = CheckpointError(msg)
        failure.__cause__ = error
        return failure

    def _tidy(self, newest: Entry) -> None:
        """Hints and retention: the checkpoint is committed, so nothing here may make it fail."""
        try:
            entries, _ = scan(self.path)
            others = [e for e in entries if e.step != newest.step or e.path == newest.path]
            best = self.keep_best.rank(others) if self.keep_best else []
            replace_file(self.path / "LATEST", f"{newest.path.name}\n".encode())
            if best:
                replace_file(self.path / "BEST", f"{best[0].path.name}\n".encode())
            kept = self._kept(others, best)
            for entry in entries:
                if entry not in kept:
                    remove_directory(entry.path)
        except OSError as error:
            _log.warning("tidying %s after step %d failed: %s", self.path, newest.step, error)

    def _kept(self, entries: list[Entry], best: list[Entry]) -> list[Entry]:
        if self.keep_best and not best:
            return entries  # nobody knows yet which are the best
        if self.keep_best:
            return entries[: self.keep_last or 1] + best[: self.keep_best.count]
        return entries[: self.keep_last]

    def _first_valid(
        self, entries: list[Entry], damaged: list[CorruptCheckpoint]
    ) -> CheckpointRef | None:
        problems = list(damaged)
        for problem in damaged:
            _log.warning("skipping a damaged checkpoint: %s", problem)
        for entry in entries:
            try:
                entry.manifest.verify(entry.path)
            except CorruptCheckpoint as problem:
                problems.append(problem)
                _log.warning("skipping a damaged checkpoint for the next older: %s", problem)
            else:
                return entry.ref
        if not problems:
            return None
        reasons = "".join(f"\n  {problem}" for problem in problems)
        msg = f"{self.path} has checkpoints and none of them is whole:{reasons}"
        raise NoValidCheckpoint(msg)


def _check_mode(mode: str) -> None:
    if mode not in ("min", "max"):
        msg = f"mode must be 'min' or 'max'. Got {mode!r}"
        raise ValueError(msg)
