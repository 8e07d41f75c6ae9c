"""Which runs a command is about."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tt_experiment._runs.index import read_summaries
from tt_experiment.errors import QueryError
from tt_experiment.query import Query
from tt_experiment.runs import RunSummary, select, summarise

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments

ROOT = "TT_EXPERIMENT_ROOT"


def root_of(arguments: Arguments) -> Path:
    """The folder of all projects.

    Raises:
        QueryError: There is no such folder.
    """
    said = arguments.root or os.environ.get(ROOT)
    if said is None:
        return Path("experiments") if Path("experiments").is_dir() else Path()
    root = Path(said).expanduser()
    if not root.is_dir():
        msg = f"the root is the folder of all projects. Got {said}: say --root, or set {ROOT}"
        raise QueryError(msg)
    return root


def all_runs(arguments: Arguments) -> list[RunSummary]:
    """Every run, newest first, as far as the filter lets them pass."""
    runs = sorted(read_summaries(root_of(arguments)), key=_age, reverse=True)
    runs = [_told_dead(run) for run in runs]
    return runs if arguments.where is None else Query(arguments.where).select(runs)


def named_runs(arguments: Arguments) -> list[RunSummary]:
    """The runs that were named, or with a filter or ``--all`` those that it lets pass.

    Raises:
        QueryError: Nothing says which, or both do.
    """
    by_rule = arguments.all or arguments.where is not None
    if bool(arguments.runs) == by_rule:
        msg = "name runs, or choose them by --where or --all, not both"
        raise QueryError(msg)
    return all_runs(arguments) if by_rule else [one_run(arguments, name) for name in arguments.runs]


def one_run(arguments: Arguments, name: str) -> RunSummary:
    """The run of a name.

    Raises:
        QueryError: It means none, or several.
    """
    return _told_dead(summarise(select(root_of(arguments), name)))


def labels(runs: Sequence[RunSummary]) -> list[str]:
    """Short names that tell runs apart: the folder's, with the project's where that is needed."""
    several = len({run.path.parent for run in runs}) > 1
    return [f"{run.path.parent.name}/{run.name}" if several else run.name for run in runs]


def _age(run: RunSummary) -> tuple[str, str]:
    return run.created, run.name


def _told_dead(run: RunSummary) -> RunSummary:
    """A run that says it is running, while nobody writes to it, has died."""
    if run.status != "running" or not (run.path / ".lock").is_file():
        return run
    from tt_experiment._lock import RunLock

    try:
        owner = RunLock(run.path).owner()
    except OSError:  # not ours to ask
        return run
    return run if owner is not None else replace(run, status="died")
