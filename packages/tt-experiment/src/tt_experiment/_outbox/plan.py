"""What of a run is to be copied next: its folder, compared with what the store is known to have.

The folder is the queue. So nothing that was committed can be forgotten, whenever a process dies,
and a checkpoint that is deleted before its turn is not missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tt_experiment import _json, _manifest
from tt_experiment._manifest import Manifest
from tt_experiment._outbox.ledger import Ledger, Stamp, stamp
from tt_experiment.errors import CorruptCheckpoint
from tt_experiment.folder import run_files

__all__ = ["Due", "Plan", "read_manifest"]

_LAST = 1 << 62  # behind every checkpoint


@dataclass(frozen=True)
class Due:
    """What a store does not have yet.

    Attributes:
        notes: Files that belong to no set, ordered by name, ``run.json`` first.
        sets: Directories with a manifest, in the order in which they were committed.
        hints: Files beside the checkpoints, which may name them.
    """

    notes: list[str]
    sets: list[str]
    hints: list[str]

    @property
    def anything(self) -> bool:
        """Whether anything is."""
        return bool(self.notes or self.sets or self.hints)


class Plan:
    """Compares a run with a ledger.

    Args:
        run: The run's folder.
        ledger: What the store has.
    """

    def __init__(self, run: Path, ledger: Ledger) -> None:
        self.run, self.ledger = run, ledger
        self._serials: dict[str, tuple[Stamp, int]] = {}

    def due(self) -> Due:
        """What is to be copied; the seal of the run apart."""
        loose: list[Path] = []
        sets: list[Path] = []
        _survey(self.run, loose, sets)
        names = [self._name(path) for path in loose if path != self.run / _manifest.NAME]
        names = [name for name in names if self.is_due(name)]
        notes = [name for name in names if not name.startswith("checkpoint_model/")]
        return Due(
            sorted(notes, key=lambda name: (name != "run.json", name)),
            self._in_order([self._name(path) for path in sets]),
            [name for name in names if name.startswith("checkpoint_model/")],
        )

    def is_due(self, name: str) -> bool:
        """Whether a file is another than the one that was copied, or is new."""
        sent = self.ledger.get(name)
        try:
            return sent is None or sent.stamp != stamp(self.run / name)
        except FileNotFoundError:
            return False

    def left(self) -> tuple[int, int]:
        """How many files are due, and their bytes."""
        due = self.due()
        files = [self.run / name for name in due.notes + due.hints]
        files += [path for name in due.sets for path in _files(self.run / name)]
        return len(files), sum(_size(path) for path in files)

    def _in_order(self, names: list[str]) -> list[str]:
        due = [name for name in names if self.is_due(f"{name}/{_manifest.NAME}")]
        return sorted(due, key=lambda name: (self._serial(name), name))

    def _serial(self, name: str) -> int:
        try:
            now = stamp(self.run / name / _manifest.NAME)
            if self._serials.get(name, (None, 0))[0] != now:
                facts = read_manifest(self.run / name).facts
                self._serials[name] = now, int(facts.get("serial", _LAST))
        except (OSError, CorruptCheckpoint):
            return _LAST
        return self._serials[name][1]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.run).as_posix()


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a set of any kind.

    Raises:
        CorruptCheckpoint: It is missing or damaged.
    """
    try:
        document = _json.load_object((directory / _manifest.NAME).read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{directory / _manifest.NAME} is missing or damaged: {error}"
        raise CorruptCheckpoint(msg) from error
    return Manifest.read(directory, str(document.get("format")))


def _survey(folder: Path, loose: list[Path], sets: list[Path]) -> None:
    """Files and sets below a folder."""
    for path in _listing(folder):
        if path.name.startswith(".") or path.is_symlink():
            continue
        if not path.is_dir():
            loose.append(path)
        elif (path / _manifest.NAME).is_file():
            sets.append(path)
        else:
            _survey(path, loose, sets)


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:  # deleted meanwhile
        return []


def _files(folder: Path) -> list[Path]:
    try:
        return run_files(folder)
    except FileNotFoundError:  # deleted meanwhile
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
