"""Making room in runs that nobody writes to: what may go, why something stays, and removing it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from tt_experiment._checkpoint.entries import Entry, scan
from tt_experiment._checkpoint.pins import read_pins
from tt_experiment._durable import abandoned, remove_directory, remove_file
from tt_experiment._lock import RunLock
from tt_experiment._manifest import Manifest
from tt_experiment._outbox.ledger import Ledger
from tt_experiment._outbox.plan import Plan
from tt_experiment._runs.reseal import changing
from tt_experiment.errors import CorruptCheckpoint
from tt_experiment.folder import RUN_FORMAT, ExperimentFolder, run_files
from tt_experiment.retention import Retention
from tt_experiment.runs import RunSummary

__all__ = [
    "Doomed",
    "Rules",
    "Spared",
    "alone",
    "doomed_checkpoints",
    "doomed_run",
    "leftovers",
    "remove",
]

_CHECKPOINTS = "checkpoint_model"
_OURS = frozenset(
    (
        *("run.json", "hyperparams.json", "hyperparams_list.txt", "environment.json", "git.json"),
        *("data.json", "git.diff", "source_code.zip", "events.jsonl", "metrics", "system"),
        "checkpoint_model",
        *("model", "model.previous", "results", "logs", "tensorboard", "wandb", "MANIFEST.json"),
    )
)


class Doomed(NamedTuple):
    """Something that may go."""

    what: Literal["checkpoint", "leftover", "run"]
    path: Path
    size: int


class Spared(NamedTuple):
    """Something that stays although it was asked to go."""

    path: Path
    reason: str


class Rules(NamedTuple):
    """What may go."""

    keep: Retention | None
    """Which checkpoints stay; ``None`` for all."""
    older_than: timedelta | None
    """Only what is older may go."""

    def is_old(self, moment: datetime) -> bool:
        """Whether something of a time is old enough to go."""
        return self.older_than is None or datetime.now(UTC) - moment > self.older_than


@contextmanager
def alone(run: RunSummary, *, write: bool) -> Iterator[str | None]:
    """Why a run must be left alone; if it need not be, nobody else can write to it meanwhile.

    Args:
        run: The run.
        write: Take the lock instead of only asking who has it.
    """
    if (reason := _in_use(run)) is not None or not write:
        yield reason
        return
    lock = RunLock(run.path)
    lock.acquire()
    try:
        yield None
    finally:
        lock.release()


def _in_use(run: RunSummary) -> str | None:
    owner = RunLock(run.path).owner()
    if owner is not None or run.status == "running":
        return "it is running"
    host = _last_host(run.path)
    if run.status == "died" and host not in (None, socket.gethostname()):
        return f"it may be running on {host}: clean up there"
    return None


def _last_host(run: Path) -> str | None:
    try:
        return str(json.loads((run / ".lock").read_bytes())["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def leftovers(run: Path) -> list[Doomed]:
    """What dead processes left unfinished in a run."""
    places = [run, *(path for path in sorted(run.iterdir()) if _is_folder(path))]
    return [
        Doomed("leftover", path, _size(path))
        for place in places
        for path in abandoned(place)
        if not path.is_symlink()
    ]


def doomed_checkpoints(run: Path, rules: Rules) -> tuple[list[Doomed], list[Spared]]:
    """Checkpoints that no rule keeps. At least one valid one stays, and all that are pinned.

    Raises:
        CheckpointError: One was written by a newer version, or nobody can tell which are pinned.
    """
    folder = run / _CHECKPOINTS
    if rules.keep is None or not _is_folder(folder):
        return [], []
    entries = [entry for entry in scan(folder)[0] if not entry.path.is_symlink()]
    kept = {entry.path for entry in rules.keep.keep(entries)}
    going = [e for e in entries if e.path not in kept and rules.is_old(e.created)]
    spared = [*_spared(run, going), *_last_valid(entries, going)]
    stays = {item.path for item in spared}
    doomed = [Doomed("checkpoint", e.path, e.bytes) for e in going if e.path not in stays]
    unknown = rules.keep.unknown(entries) if entries else []
    spared += [Spared(folder, f"no checkpoint has {metric!r}: all stay") for metric in unknown]
    return doomed, spared


def _spared(run: Path, entries: Sequence[Entry]) -> Iterator[Spared]:
    pinned, pending = read_pins(run / _CHECKPOINTS), _pending(run)
    for entry in entries:
        if entry.path.name in pinned:
            yield Spared(entry.path, "it is pinned")
        elif entry.path.relative_to(run).as_posix() in pending:
            yield Spared(entry.path, "it is not in the store yet")


def _last_valid(entries: Sequence[Entry], going: Sequence[Entry]) -> list[Spared]:
    """The newest valid one of those that go, if none of the others is valid."""
    paths = {entry.path for entry in going}
    if not going or any(_is_whole(entry) for entry in entries if entry.path not in paths):
        return []
    last = next((entry for entry in going if _is_whole(entry)), None)
    return [] if last is None else [Spared(last.path, "it is the only valid one")]


def _is_whole(entry: Entry) -> bool:
    try:
        entry.manifest.verify(entry.path)
    except CorruptCheckpoint:
        return False
    return True


def _pending(run: Path) -> set[str]:
    """Names of what some store of the run does not have yet."""
    folder = run / ".outbox"
    if not folder.is_dir():
        return set()
    ledgers = [Ledger(path) for path in sorted(folder.glob("sent-*.jsonl"))] or [Ledger()]
    dues = [Plan(run, ledger).due() for ledger in ledgers]
    return {name for due in dues for name in (*due.notes, *due.sets, *due.hints)}


def doomed_run(run: RunSummary, rules: Rules) -> Doomed | Spared | None:
    """A whole run, unless it is too young or has something that is worth more than room."""
    try:
        facts = ExperimentFolder(run.path).run()
        if not rules.is_old(datetime.fromisoformat(run.ended or str(facts["created"]))):
            return None
    except (ValueError, KeyError, TypeError) as error:
        return Spared(run.path, f"its age is not known: {error}")
    if foreign := _foreign(run.path):
        return Spared(run.path, f"it has files that are not its own: {', '.join(foreign[:5])}")
    if read_pins(run.path / _CHECKPOINTS):
        return Spared(run.path, "it has pinned checkpoints")
    if _pending(run.path):
        return Spared(run.path, "it is not in the store yet")
    return Doomed("run", run.path, _size(run.path))


def _foreign(run: Path) -> list[str]:
    """Names in a run's folder that it did not write itself."""
    try:
        listed = {name.partition("/")[0] for name in Manifest.read(run, RUN_FORMAT).files}
    except CorruptCheckpoint:  # not sealed
        listed = set()
    return [
        path.name
        for path in sorted(run.iterdir())
        if path.is_symlink()
        or not (path.name in listed | _OURS or path.suffix == ".py" or path.name.startswith("."))
    ]


def remove(run: Path, doomed: Sequence[Doomed]) -> Iterator[Doomed]:
    """Remove what may go, one after the other; a seal of the run no longer lists it."""
    names = [item.path.relative_to(run).as_posix() for item in doomed if item.what != "run"]
    with changing(run, names) if names else _nothing():
        for item in doomed:
            (remove_directory if item.path.is_dir() else remove_file)(item.path)
            yield item


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _size(path: Path) -> int:
    files = run_files(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
