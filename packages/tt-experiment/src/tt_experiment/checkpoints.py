"""Checkpoints that a crash cannot break: `CheckpointFolder`, a store for tt-loop.

Example:
    >>> import tempfile, torch
    >>> store = CheckpointFolder(tempfile.mkdtemp(), retention=Retention(last=2))
    >>> ticket = store.save({"model": {"w": torch.ones(2)}}, step=10, scores={"val_loss": 0.5})
    >>> ticket.wait_committed().step
    10
    >>> store.load(store.latest())["model"]["w"]
    tensor([1., 1.])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from tt_experiment._checkpoint.commit import Commit, label
from tt_experiment._checkpoint.entries import FORMAT, CheckpointInfo, Entry, first_valid, scan
from tt_experiment._checkpoint.files import read_tree
from tt_experiment._checkpoint.host_buffer import HostBuffer
from tt_experiment._checkpoint.pins import read_pins, write_pins
from tt_experiment._checkpoint.staging import Staging
from tt_experiment._checkpoint.tidying import Tidying
from tt_experiment._checkpoint.writer import SaveTicket
from tt_experiment._durable import sweep_scratch
from tt_experiment._manifest import Manifest
from tt_experiment.errors import CheckpointError, CorruptCheckpoint
from tt_experiment.retention import BestPolicy, Retention
from tt_loop.api import CheckpointRef, Tree

__all__ = ["BestPolicy", "CheckpointFolder", "CheckpointInfo", "Retention", "SaveTicket"]


class CheckpointFolder:
    """A folder of checkpoints, each a directory that appears whole, with digests of every file.

    Saves are made behind the training, one at a time; whatever else the object is asked for waits
    for the save under way. Opening the folder removes what a dead process left half-written
    (`.tmp-*` of this machine whose process is gone, or older than a day). One process saves into a
    folder; any number may read.

    Args:
        path: The folder; it is made, with its parents, by the first save.
        retention: Which checkpoints are kept; by default all.
        is_pending: Tells of a checkpoint's directory whether it is still to be uploaded: such a one
            is not deleted.
        before_commit: Called before a checkpoint appears, in whichever thread makes it: what must
            not be missing beside it after a power cut is put on the disk there; must not raise.
        on_commit: Called with each new checkpoint, by the thread that made it; what it raises is
            logged.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        retention: Retention | BestPolicy | None = None,
        is_pending: Callable[[Path], bool] = lambda _: False,
        before_commit: Callable[[], None] = lambda: None,
        on_commit: Callable[[CheckpointRef], None] = lambda _: None,
    ) -> None:
        self.path = Path(path).absolute()
        self.retention = (
            Retention(best=retention) if isinstance(retention, BestPolicy) else retention
        ) or Retention()
        tidying = Tidying(self.path, self.retention, is_pending)
        self._commit = Commit(self.path, tidying, before_commit, on_commit)
        self._buffer = HostBuffer()
        self._ticket: SaveTicket | None = None
        if self.path.is_dir():
            sweep_scratch(self.path)

    def save(
        self,
        tree: Tree,
        /,
        *,
        step: int,
        scores: Mapping[str, float],
        facts: Mapping[str, Any] = MappingProxyType({}),
    ) -> SaveTicket:
        """Save a state tree behind the training; an older one of the same step is superseded.

        No tensor of the tree may change before the ticket's ``wait_staged`` has returned; all else
        is copied when this returns. A save waits for the one before it. A failing disk does not
        raise here but from the ticket; it is logged too.

        Args:
            tree: ``model`` and ``optimizers`` get files of their own; the rest is kept beside them.
            step: Optimizer steps or batches done.
            scores: Metric values that belong to this state.
            facts: What else to note of it, as JSON has it.

        Raises:
            StateTreeError: The tree holds what no checkpoint can hold.
            CheckpointError: The save before it failed, and nobody asked its ticket.
        """
        noted = label(step, scores, facts)
        self.wait()
        state = Staging(tree, self._buffer)
        self._ticket = SaveTicket(
            state,
            partial(self._commit.make, noted),
            partial(self._commit.explain, noted, state.bytes),
        )
        self._ticket.begin()
        return self._ticket

    def wait(self) -> None:
        """Wait for the save under way.

        Raises:
            CheckpointError: It failed, and nobody asked its ticket.
        """
        if self._ticket is not None:
            self._ticket.raise_untold()

    def close(self) -> None:
        """Wait as `wait` does, and give the memory back that saves are copied to."""
        try:
            self.wait()
        finally:
            self._ticket = None
            self._buffer.free()

    def entries(self) -> list[CheckpointInfo]:
        """All checkpoints, newest first; their files are not looked at.

        Raises:
            FormatVersionError: One was written by a newer version.
        """
        self._settle()
        pinned = read_pins(self.path)
        return [entry.info(pinned) for entry in scan(self.path)[0]]

    def damaged(self) -> list[CorruptCheckpoint]:
        """What is wrong with those whose manifest is missing or damaged; `entries` leaves them out.

        Raises:
            FormatVersionError: One was written by a newer version.
        """
        self._settle()
        return scan(self.path)[1]

    def verify(self, ref: CheckpointRef, /) -> None:
        """Read every file of a checkpoint and compare it with what was written.

        Raises:
            CorruptCheckpoint: It is not that, or is no longer there.
            FormatVersionError: It was written by a newer version.
        """
        self._settle()
        path = self._own(ref)
        Manifest.read(path, FORMAT).verify(path)

    def pin(self, which: CheckpointRef | int, /, reason: str = "") -> CheckpointInfo:
        """Let nothing delete a checkpoint: no rule, and no later save of the same step.

        Args:
            which: The checkpoint, or the step of it.
            reason: Why, for people.

        Raises:
            CheckpointError: There is no such checkpoint.
        """
        self._settle()
        entry = self._find(which)
        write_pins(self.path, {**read_pins(self.path), entry.path.name: reason})
        return self._find(entry.ref).info({entry.path.name: reason})  # it is still there

    def unpin(self, which: CheckpointRef | int, /) -> None:
        """Leave a checkpoint to the rules again; fine if it is not pinned.

        Raises:
            CheckpointError: There is no such checkpoint.
        """
        self._settle()
        name = self._find(which).path.name
        pinned = read_pins(self.path)
        if name in pinned:
            write_pins(self.path, {key: why for key, why in pinned.items() if key != name})

    def pinned(self) -> list[CheckpointInfo]:
        """The pinned checkpoints, newest first."""
        return [info for info in self.entries() if info.pinned is not None]

    def _find(self, which: CheckpointRef | int) -> Entry:
        path = None if isinstance(which, int) else self._own(which)
        for entry in scan(self.path)[0]:
            if entry.path == path or (path is None and entry.step == which):
                return entry
        msg = f"{self.path} must have the checkpoint. Got {which!r}, and it has no such one"
        raise CheckpointError(msg)

    def _own(self, ref: CheckpointRef) -> Path:
        path = Path(ref.location)
        if path.parent != self.path:
            msg = f"{self.path} loads its own checkpoints. Got {ref.location}: open that folder"
            raise CheckpointError(msg)
        return path

    def _settle(self) -> None:
        if self._ticket is not None:
            self._ticket.settle()

    def latest(self) -> CheckpointRef | None:
        """The newest valid checkpoint; ``None`` only when there is no checkpoint at all.

        A damaged one is skipped with a warning for the next older.

        Raises:
            NoValidCheckpoint: There are checkpoints and none of them is valid.
            FormatVersionError: One was written by a newer version.
        """
        self._settle()
        entries, damaged = scan(self.path)
        return first_valid(self.path, entries, damaged)

    def best(self, metric: str, mode: Literal["min", "max"], /) -> CheckpointRef | None:
        """The valid checkpoint with the best value of a metric; ``None`` when none has it.

        Raises:
            NoValidCheckpoint: There are such checkpoints and none of them is valid.
            FormatVersionError: One was written by a newer version.
        """
        self._settle()
        policy = BestPolicy(metric, mode)
        entries, damaged = scan(self.path)
        return first_valid(self.path, policy.rank(entries), [] if entries else damaged)

    def load(self, ref: CheckpointRef, /) -> Tree:
        """Read a state tree back, after every size and digest was checked.

        Raises:
            CorruptCheckpoint: It is not what was written, or is no longer there.
            FormatVersionError: It was written by a newer version.
        """
        self._settle()
        return read_tree(self._own(ref))
