"""The checkpoints of a folder, as their manifests tell of them.

They are ordered by ``serial``, which counts the saves of a folder. Neither clocks nor steps would
do: a run that went back to step 50 and on to step 60 is newer than its abandoned step 100.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tt_experiment import _json
from tt_experiment._manifest import Manifest
from tt_experiment.errors import CorruptCheckpoint, NoValidCheckpoint

if TYPE_CHECKING:
    from tt_loop.api import CheckpointRef

__all__ = ["FORMAT", "CheckpointInfo", "Entry", "first_valid", "scan"]

_log = logging.getLogger(__name__)

FORMAT = "tt-checkpoint/1"
_NAME = re.compile(r"step-(\d{10,})(?:_(\d+))?")


@dataclass(frozen=True)
class Entry:
    """A committed checkpoint whose manifest is whole; its files may still be damaged."""

    path: Path
    manifest: Manifest
    step: int
    serial: int
    created: datetime
    scores: Mapping[str, float]
    finite: bool

    @classmethod
    def of(cls, path: Path, manifest: Manifest) -> Entry:
        """Read what a manifest says.

        Raises:
            CorruptCheckpoint: It does not say what a checkpoint's has to.
        """
        facts = manifest.facts
        try:
            scores = _json.restore(facts.get("scores", {}), facts.get("nonfinite", {}))
            created = datetime.fromisoformat(facts["created"])
            return cls(
                path,
                manifest,
                step=int(facts["step"]),
                serial=int(facts["serial"]),
                created=created if created.tzinfo else created.replace(tzinfo=UTC),
                scores=scores,
                finite=facts.get("finite") is not False,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = (
                f"{path}: a checkpoint's manifest has step, serial, created, scores. Got {error!r}"
            )
            raise CorruptCheckpoint(msg) from error

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(digest.bytes for digest in self.manifest.files.values())

    @property
    def ref(self) -> CheckpointRef:
        """The entry as tt-loop knows it."""
        from tt_loop.api import CheckpointRef  # here: it brings torch, and `show` goes without

        return CheckpointRef(self.step, str(self.path), dict(self.scores))

    def info(self, pinned: Mapping[str, str]) -> CheckpointInfo:
        """The entry as people see it."""
        facts = self.manifest.facts.get("facts", {})
        return CheckpointInfo(
            ref=self.ref,
            name=self.path.name,
            path=self.path,
            step=self.step,
            serial=self.serial,
            created=self.created,
            bytes=self.bytes,
            scores=self.scores,
            finite=self.finite,
            facts=facts,
            pinned=pinned.get(self.path.name),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """What is known of a checkpoint without reading its state."""

    ref: CheckpointRef
    name: str
    path: Path
    step: int
    serial: int
    """How many saves the folder had seen, this one included: the order of checkpoints."""
    created: datetime
    """In UTC."""
    bytes: int
    scores: Mapping[str, float]
    """Metric values that were saved with it."""
    finite: bool
    """Whether every weight is a number."""
    facts: Mapping[str, Any]
    """What else its saver noted."""
    pinned: str | None
    """Why nothing deletes it; ``None`` if it is not pinned."""

    @property
    def epoch(self) -> int | None:
        """Epochs done, if its saver noted them."""
        epoch = self.facts.get("epoch")
        return epoch if isinstance(epoch, int) else None


def scan(parent: Path) -> tuple[list[Entry], list[CorruptCheckpoint]]:
    """The checkpoints of a folder, newest first, and what is wrong with those that cannot be one.

    Raises:
        FormatVersionError: One was written in a newer format.
    """
    entries: list[Entry] = []
    damaged: list[CorruptCheckpoint] = []
    for path in _committed(parent):
        try:
            entries.append(Entry.of(path, Manifest.read(path, FORMAT)))
        except CorruptCheckpoint as error:
            damaged.append(error)
    return sorted(entries, key=lambda entry: entry.serial, reverse=True), damaged


def _committed(parent: Path) -> Iterator[Path]:
    if parent.is_dir():
        yield from sorted(path for path in parent.iterdir() if _NAME.fullmatch(path.name))


def first_valid(
    folder: Path, entries: Sequence[Entry], damaged: Sequence[CorruptCheckpoint]
) -> CheckpointRef | None:
    """The first whose files are what was written; ``None`` only if there is none at all.

    Args:
        folder: Where they are.
        entries: Checkpoints, the one that is wanted most first.
        damaged: What is wrong with others.

    Raises:
        NoValidCheckpoint: There are some and all are damaged.
    """
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
    msg = f"{folder} has checkpoints and none of them is whole:{reasons}"
    raise NoValidCheckpoint(msg)
