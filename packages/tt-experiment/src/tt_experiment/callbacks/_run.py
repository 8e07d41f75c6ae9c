"""Which run a loop's callbacks keep: callbacks that are given the same names share one."""

from __future__ import annotations

from typing import Protocol

from tt_experiment.checkpoints import BestPolicy
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.experiment import Experiment
from tt_experiment.provenance import data_of
from tt_loop.api import TrainLoop, direction_of

__all__ = ["HasExperiment", "best_policy", "experiment_of", "join_run"]


class HasExperiment(Protocol):
    """A callback that keeps a run."""

    experiment: Experiment


def best_policy(
    rm_subopt_local_models: bool | str | BestPolicy, num_best_kept: int
) -> BestPolicy | None:
    """What AIToolbox's two arguments mean: keep all, or the best by a metric (``loss``).

    A `BestPolicy` says by itself which values are better.
    """
    if isinstance(rm_subopt_local_models, BestPolicy):
        return rm_subopt_local_models
    if rm_subopt_local_models is False:
        return None
    default = rm_subopt_local_models in (True, "accumulated_loss")  # its other name
    metric = "loss" if default else str(rm_subopt_local_models)
    return BestPolicy(metric, direction_of(metric), num_best_kept)


def join_run(callback: HasExperiment, loop: TrainLoop) -> None:
    """Start the callback's run, or join the one that the loop has.

    Raises:
        ExperimentSetupError: When the loop has another run, or the same with other settings.
    """
    mine, known = callback.experiment, experiment_of(loop)
    if known is None:
        begins = not mine.is_started()
        mine.start_together(loop.comm, loop.experiment_timestamp)
        if begins and loop.is_main_process():
            mine.folder.note_data(data_of(loop))
    elif known is not mine:
        if not known.hyperparams and mine.hyperparams:  # begun by a callback that has none
            known.hyperparams = mine.hyperparams
            if loop.is_main_process():
                known.folder.write_hyperparams(mine.hyperparams)
        _check_same(known, mine)
        known.retention = known.retention or mine.retention
        if known.store is None and mine.store is not None and loop.is_main_process():
            known.copy_to(mine.store)
        callback.experiment = known
    if loop.measured.recorder is None:
        loop.measured.recorder = callback.experiment.recorder


def experiment_of(loop: TrainLoop) -> Experiment | None:
    """The run that a loop or its callbacks keep."""
    for owner in (loop, *loop.callbacks):
        found = getattr(owner, "experiment", None)
        if isinstance(found, Experiment) and found.is_started():
            return found
    return None


def _check_same(known: Experiment, mine: Experiment) -> None:
    pairs = {
        "project_name": (known.project_name, mine.project_name),
        "experiment_name": (known.experiment_name, mine.experiment_name),
        "folder of all projects": (known.root, mine.root),
        "hyperparams": (known.hyperparams, mine.hyperparams),
    }
    if known.retention is not None and mine.retention is not None:
        pairs["checkpoints to keep"] = (known.retention, mine.retention)
    if known.store is not None and mine.store is not None:
        pairs["store"] = (known.store.url, mine.store.url)
    for what, (one, other) in pairs.items():
        if one != other:
            msg = f"A loop keeps one run, but its callbacks name two: {what} {one!r} and {other!r}."
            raise ExperimentSetupError(msg)
