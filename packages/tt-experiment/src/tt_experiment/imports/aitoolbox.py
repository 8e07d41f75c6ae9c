"""Experiments that AIToolbox kept, as runs of ours; nothing that is in them is ever run."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tt_experiment import _json
from tt_experiment._durable import replace_file
from tt_experiment.errors import ImportFormatError
from tt_experiment.folder import RUN_FORMAT, ExperimentFolder
from tt_experiment.imports._old_experiment import OldExperiment
from tt_experiment.names import folder_name
from tt_experiment.runs import find_runs

__all__ = ["Imported", "experiments_in", "import_aitoolbox"]

_NAME = re.compile(r"(?P<name>.+)_(?P<stamp>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)")
_MARKS = ("hyperparams_list.txt", "checkpoint_model", "model", "results")


@dataclass(frozen=True, slots=True)
class Imported:
    """A run that was made of an experiment."""

    path: Path
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Files that were not taken, with the reason."""


def experiments_in(source: Path | str) -> list[Path]:
    """The experiments in a folder: itself, those of a project, or those of all projects.

    Raises:
        ImportFormatError: There is none.
    """
    source = Path(source).expanduser().absolute()
    folders = [source, *_folders(source)]
    folders += [below for folder in folders[1:] for below in _folders(folder)]
    found = [folder for folder in folders if _is_experiment(folder)]
    if not found:
        msg = f"an experiment of AIToolbox is a folder <name>_<YYYY-MM-DD_HH-MM-SS>. Got {source}"
        raise ImportFormatError(msg)
    return found


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(below for below in path.iterdir() if below.is_dir() and not below.is_symlink())


def _is_experiment(path: Path) -> bool:
    if not _NAME.fullmatch(path.name) or (path / "run.json").exists():
        return False
    return any((path / mark).exists() for mark in _MARKS)


def import_aitoolbox(source: Path | str, root: Path | str) -> Imported:
    """Make a run of an experiment's folder, which stays as it is.

    Weights, optimizer states, hyperparameters, history, results, predictions, plots and sources are
    taken over as far as they can be read without running code. An experiment that was imported
    before is not imported again. Training cannot go on from its checkpoints to the same bits, for
    they never had all of the state; their weights load as those of any run.

    Args:
        source: The experiment's folder.
        root: Folder of all projects, for the run.

    Raises:
        ImportFormatError: It is no such folder.
    """
    source = Path(source).expanduser().absolute()
    match = _NAME.fullmatch(source.name)
    if match is None or not source.is_dir():
        msg = f"an experiment of AIToolbox is a folder <name>_<YYYY-MM-DD_HH-MM-SS>. Got {source}"
        raise ImportFormatError(msg)
    if (done := _earlier(source, Path(root))) is not None:
        return done
    folder = ExperimentFolder.create(
        root, source.parent.name, match["name"], timestamp=match["stamp"]
    )
    old = OldExperiment(source, folder)
    old.keep()
    run: dict[str, Any] = {
        "format": RUN_FORMAT,
        "id": str(uuid.uuid4()),
        "project": source.parent.name,
        "experiment": match["name"],
        "created": _moment(match["stamp"]),
        "status": "completed" if old.is_finished else "interrupted",
        "attempts": [],
        "parent": None,
        "imported": {"tool": "aitoolbox", "from": str(source), "left_out": old.left_out},
    }
    replace_file(folder.run_file, _json.dumps(run))
    folder.seal()
    return Imported(folder.path, old.left_out)


def _earlier(source: Path, root: Path) -> Imported | None:
    for path in find_runs(root.absolute() / folder_name(source.parent.name)):
        try:
            noted = ExperimentFolder(path).run().get("imported")
        except ValueError:
            continue
        if isinstance(noted, dict) and noted.get("from") == str(source):
            return Imported(path, noted.get("left_out", {}))
    return None


def _moment(stamp: str) -> str:
    """AIToolbox's stamps are of the local clock."""
    moment = datetime.strptime(stamp, "%Y-%m-%d_%H-%M-%S").astimezone(UTC)
    return moment.isoformat(timespec="seconds")
