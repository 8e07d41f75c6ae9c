"""Which run is meant by what a user says to resume."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tt_experiment import _json
from tt_experiment.errors import ExperimentSetupError, RunFolderError
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder
from tt_experiment.names import folder_name
from tt_experiment.redact import redact
from tt_experiment.runs import find_runs, is_run, select
from tt_experiment.stores import open_store

__all__ = ["candidates"]

_log = logging.getLogger(__name__)

Candidate = tuple[Path, Path | None]  # a run, and its checkpoint if one was named


def candidates(experiment: Experiment, what: str | Path) -> Iterator[Candidate]:
    """Runs to try in this order.

    Raises:
        QueryError: There is no such run, or the name means several.
        RunFolderError: A folder is no run.
        ExperimentSetupError: It is a run of another project or experiment.
    """
    if what == "auto":
        yield from ((run, None) for run in _unfinished(experiment))
        return
    run, checkpoint = _named(experiment, os.fspath(what))
    _check_names(experiment, ExperimentFolder(run).run(), run)
    _warn_of_others(experiment, ExperimentFolder(run))
    yield run, checkpoint


def _named(experiment: Experiment, what: str) -> Candidate:
    if "://" in what:
        return _fetched(experiment, what), None
    path = Path(what).expanduser().absolute()
    if is_run(path):
        return path, None
    if is_run(path.parent.parent) and path.is_dir():
        return path.parent.parent, path
    if path.exists():
        msg = f"To resume takes the folder of a run, or of one of its checkpoints. Got {path}"
        raise RunFolderError(msg)
    return select(experiment.root, what), None


def _check_names(experiment: Experiment, run: Mapping[str, Any], where: Path) -> None:
    theirs = run["project"], run["experiment"]
    mine = experiment.project_name, experiment.experiment_name
    if theirs != mine:
        msg = (
            f"A run goes on under its names. {where} is {theirs[0]!r}, {theirs[1]!r}; the program "
            f"says {mine[0]!r}, {mine[1]!r}: use those, or begin a new run from its weights with "
            "ModelLoadContinueTraining."
        )
        raise ExperimentSetupError(msg)
    root = where.parent.parent
    if root != experiment.root:
        experiment.root = root  # the run stays where it is


def _fetched(experiment: Experiment, url: str) -> Path:
    """The local copy of a run in a store, brought if it is not there."""
    from tt_experiment.remote import fetch_run

    base, project, name = url.rstrip("/").rsplit("/", 2)
    if (here := experiment.root / project / name).is_dir():
        return here
    own = experiment.store
    store = own if own is not None and own.url.rstrip("/") == base else open_store(base)
    return fetch_run(store, f"{project}/{name}", experiment.root)


def _unfinished(experiment: Experiment) -> Iterator[Path]:
    """Unfinished runs of the same names and hyperparameters, the newest first."""
    found = False
    for run in _local(experiment):
        try:
            theirs = _json.load_object(ExperimentFolder(run).hyperparams_file.read_bytes())
        except (OSError, ValueError) as error:  # it could not even be started
            _log.warning("not going on with %s, which does not say what it is: %s", run, error)
            continue
        if _is_same(experiment, theirs, str(run)):
            found = True
            yield run
    if not found and experiment.store is not None:
        yield from _remote(experiment)


def _local(experiment: Experiment) -> list[Path]:
    project = experiment.root / folder_name(experiment.project_name, "project name")
    known = []
    for path in find_runs(project):
        folder = ExperimentFolder(path)
        try:
            facts = folder.run()
        except RunFolderError as error:
            _log.warning("a run that cannot be read is passed over: %s", error)
            continue
        if _is_meant(experiment, facts, sealed=folder.manifest_file.exists()):
            known.append((str(facts.get("created", "")), path))
    return [path for _, path in sorted(known, key=lambda pair: (pair[0], pair[1].name))][::-1]


def _remote(experiment: Experiment) -> Iterator[Path]:
    from tt_experiment import remote
    from tt_experiment._outbox.claim import read_object

    assert experiment.store is not None  # noqa: S101  # whoever calls this has looked
    prefix = f"{folder_name(experiment.project_name, 'project name')}/"
    runs = remote.find_runs(experiment.store, prefix)
    for run in sorted(runs, key=lambda run: str(run.run.get("created", "")), reverse=True):
        here = experiment.root / run.prefix
        if not _is_meant(experiment, run.run, sealed=True) or here.exists():
            continue
        theirs = read_object(experiment.store, f"{run.prefix}/hyperparams.json") or {}
        if _is_same(experiment, theirs, f"{experiment.store.url}/{run.prefix}"):
            yield remote.fetch_run(experiment.store, run.prefix, experiment.root)


def _is_meant(experiment: Experiment, facts: Mapping[str, Any], *, sealed: bool) -> bool:
    """Whether it is one of the experiment's, and its end has not been reached: the seal is last."""
    names = facts.get("project"), facts.get("experiment")
    own = experiment.project_name, experiment.experiment_name
    return names == own and not (sealed and facts.get("status") == "completed")


def _is_same(experiment: Experiment, theirs: Mapping[str, Any], where: str) -> bool:
    """Whether a run was made with the same hyperparameters: else it is another configuration."""
    other = _differing(experiment, theirs)
    if other:
        _log.warning(
            "not going on with %s, whose hyperparameters differ in %s: name it to resume it",
            where,
            ", ".join(other[:5]),
        )
    return not other


def _warn_of_others(experiment: Experiment, run: ExperimentFolder) -> None:
    """A run that is named goes on with other hyperparameters, too, but not unnoticed."""
    try:
        theirs = _json.load_object(run.hyperparams_file.read_bytes())
    except (OSError, ValueError):  # it could not even be started
        return
    other = _differing(experiment, theirs) if experiment.hyperparams else []
    if other:
        _log.warning(
            "%s began with other hyperparameters (%s): its hyperparams.json stays as it is, and so "
            "does what its state holds, such as learning rates",
            run.path,
            ", ".join(other[:5]),
        )


def _differing(experiment: Experiment, theirs: Mapping[str, Any]) -> list[str]:
    """Names of hyperparameters that a run has otherwise than the program."""
    mine = _json.load_object(_json.dumps(redact(dict(experiment.hyperparams))))
    return sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
