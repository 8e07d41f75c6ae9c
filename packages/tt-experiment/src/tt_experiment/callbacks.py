"""Callbacks that keep a run: checkpoints, the final model with its results, plots.

Callbacks that are given the same names share one run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from tt_experiment.checkpoints import BestPolicy
from tt_experiment.errors import ExperimentSetupError, ResultsError
from tt_experiment.experiment import Experiment
from tt_experiment.plots import plot_history
from tt_experiment.results import save_model, save_results
from tt_experiment.stores import cloud_url
from tt_loop.api import Callback, Checkpoint, ResultPackage, TrainLoop, direction_of, evaluate_whole

__all__ = [
    "ExperimentCheckpoint",
    "ExperimentEndSave",
    "ModelCheckpoint",
    "ModelTrainEndSave",
    "ModelTrainHistoryPlot",
    "best_policy",
]

_log = logging.getLogger(__name__)


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


def _join(callback: ExperimentCheckpoint | ExperimentEndSave, loop: TrainLoop) -> None:
    """Start the callback's run, or join the one that the loop has.

    Raises:
        ExperimentSetupError: When the loop has another run, or the same with other settings.
    """
    mine, known = callback.experiment, experiment_of(loop)
    if known is None:
        mine.start_together(loop.comm, loop.experiment_timestamp)
        if loop.measured.recorder is None:
            loop.measured.recorder = mine.recorder
    elif known is not mine:
        _check_same(known, mine)
        known.keep_best = known.keep_best or mine.keep_best
        known.store = known.store or mine.store
        callback.experiment = known


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
    if known.keep_best is not None and mine.keep_best is not None:
        pairs["checkpoints to keep"] = (known.keep_best, mine.keep_best)
    if known.store is not None and mine.store is not None:
        pairs["store"] = (known.store.url, mine.store.url)
    for what, (one, other) in pairs.items():
        if one != other:
            msg = f"A loop keeps one run, but its callbacks name two: {what} {one!r} and {other!r}."
            raise ExperimentSetupError(msg)


class ExperimentCheckpoint(Checkpoint):
    """Keep the loop's state after epochs, and inside them, in an experiment; see `Checkpoint`."""

    def __init__(
        self, experiment: Experiment, every_epochs: int = 1, *, every_batches: int | None = None
    ) -> None:
        super().__init__(experiment, every_epochs, every_batches=every_batches)
        self.experiment = experiment

    def on_train_loop_registration(self) -> None:
        """Start the run."""
        _join(self, self.train_loop_obj)
        self.store = self.experiment

    def save(self) -> None:
        """Save now, if it can be told which checkpoints are the best.

        Raises:
            ExperimentSetupError: When the metric that tells it is not measured.
        """
        policy, loop = self.experiment.keep_best, self.train_loop_obj
        if not loop.is_main_process():
            policy = None
        later = loop.inside_epoch or loop.callbacks_handler.may_measure_later()
        if policy and policy.metric not in loop.train_history and not later:
            msg = (
                f"The best checkpoints are kept by {policy.metric!r}, which nobody measures; the "
                f"history has {sorted(loop.train_history)}. Name one, or add its evaluation."
            )
            raise ExperimentSetupError(msg)
        super().save()


class ModelCheckpoint(ExperimentCheckpoint):
    """AIToolbox's checkpoint callback: the state after every epoch.

    Args:
        project_name: Folder of the project.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        hyperparams: What the run was made with.
        cloud_save_mode: ``'s3'`` or ``'gcs'`` copies the run there; ``None`` stays local.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
        rm_subopt_local_models: ``True``, the name of a metric, or a `BestPolicy`: keep only the
            best checkpoints and the newest.
        num_best_checkpoints_kept: How many of the best.
    """

    def __init__(
        self,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str,
        hyperparams: Mapping[str, Any],
        cloud_save_mode: str | None = None,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        rm_subopt_local_models: bool | str | BestPolicy = False,
        num_best_checkpoints_kept: int = 2,
    ) -> None:
        experiment = Experiment(
            project_name,
            experiment_name,
            local_model_result_folder_path,
            hyperparams=hyperparams,
            store=cloud_url(cloud_save_mode, bucket_name, cloud_dir_prefix),
            keep_best=best_policy(rm_subopt_local_models, num_best_checkpoints_kept),
        )
        super().__init__(experiment)


class ExperimentEndSave(Callback):
    """At the end, keep the trained model, and evaluate it and keep results and predictions.

    Args:
        experiment: The run.
        val_result_package: Evaluated on the validation set.
        test_result_package: Evaluated on the test set.

    Raises:
        ExperimentSetupError: When there is no result package, or an object that is none.
    """

    def __init__(
        self,
        experiment: Experiment,
        val_result_package: ResultPackage | None = None,
        test_result_package: ResultPackage | None = None,
    ) -> None:
        super().__init__("Model save at the end of training", execution_order=101)
        self.experiment = experiment
        packages = {"validation": val_result_package, "test": test_result_package}
        self.packages = {part: p for part, p in packages.items() if p is not None}
        if not self.packages:
            msg = (
                "At least one result package is needed: val_result_package or test_result_package."
            )
            raise ExperimentSetupError(msg)
        for part, package in self.packages.items():
            if not isinstance(package, ResultPackage):
                got = type(package).__name__
                msg = f"The {part} result package must be a ResultPackage, got {got}."
                raise ExperimentSetupError(msg)

    def on_train_loop_registration(self) -> None:
        """Start the run; say now what would fail at the end."""
        check_loaders(self.train_loop_obj, self.packages)
        _join(self, self.train_loop_obj)

    def on_train_end(self) -> None:
        """Evaluate, and write everything."""
        loop, folder = self.train_loop_obj, self.experiment.folder
        model = loop.state_dict()["model"]
        if loop.is_main_process():
            save_model(folder, model)  # first: whatever fails below, training was not in vain
        results, predictions = {}, {}
        for part, package in self.packages.items():
            found = evaluate_whole(loop, package, part, self.experiment.hyperparams)  # type: ignore[arg-type]  # the keys above
            if found is not None:
                name = f"{package.pkg_name or type(package).__name__}_{_SUFFIX[part]}"
                results[name] = found.results
                predictions[name] = (found.y_true, found.y_predicted)
        if loop.is_main_process():
            self._save_results(results, predictions)
            _draw(loop, folder.plots, "png")

    def _save_results(self, results: dict[str, Any], predictions: dict[str, Any]) -> None:
        try:
            save_results(self.experiment.folder, results, predictions)
        except ResultsError as error:
            if not predictions:
                raise
            _log.warning("The predictions are not kept: %s", error)
            self._save_results(results, {})


_SUFFIX = {"validation": "VAL", "test": "TEST"}


def check_loaders(loop: TrainLoop, packages: Mapping[str, ResultPackage]) -> None:
    """Look whether each result package has its loader.

    Raises:
        ExperimentSetupError: When one has none.
    """
    for part in packages:
        if getattr(loop, f"{part}_loader") is None:
            msg = (
                f"A result package for the {part} set needs a {part}_loader, got None: pass the "
                "loader to the TrainLoop, or leave the package out."
            )
            raise ExperimentSetupError(msg)


class ModelTrainEndSave(ExperimentEndSave):
    """AIToolbox's end-save callback: the trained model, its results and its predictions.

    Args:
        project_name: Folder of the project.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        hyperparams: What the run was made with.
        val_result_package: Evaluated on the validation set.
        test_result_package: Evaluated on the test set.
        cloud_save_mode: ``'s3'`` or ``'gcs'`` copies the run there; ``None`` stays local.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
    """

    def __init__(
        self,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str,
        hyperparams: Mapping[str, Any],
        val_result_package: ResultPackage | None = None,
        test_result_package: ResultPackage | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
    ) -> None:
        experiment = Experiment(
            project_name,
            experiment_name,
            local_model_result_folder_path,
            hyperparams=hyperparams,
            store=cloud_url(cloud_save_mode, bucket_name, cloud_dir_prefix),
        )
        super().__init__(experiment, val_result_package, test_result_package)


class ModelTrainHistoryPlot(Callback):
    """Draw the history's curves into the run's ``results/plots`` after epochs.

    The run is the one of the loop or of its other callbacks.

    Args:
        epoch_end: Draw after every epoch.
        train_end: Draw at the end.
        file_format: ``'png'``, one file per metric, or ``'pdf'``, one file with a page for each.
    """

    def __init__(
        self,
        epoch_end: bool = True,
        train_end: bool = False,
        file_format: Literal["png", "pdf"] = "png",
    ) -> None:
        super().__init__("Train history plot", execution_order=97, device_idx_execution=0)
        if file_format not in ("png", "pdf"):
            msg = f"file_format must be 'png' or 'pdf', got {file_format!r}."
            raise ExperimentSetupError(msg)
        self.epoch_end = epoch_end
        self.train_end = train_end
        self.file_format = file_format

    def on_train_begin(self) -> None:
        """Find the run."""
        self._plots()

    def on_epoch_end(self) -> None:
        """Draw, if asked for."""
        if self.epoch_end:
            _draw(self.train_loop_obj, self._plots(), self.file_format)

    def on_train_end(self) -> None:
        """Draw, if asked for."""
        if self.train_end:
            _draw(self.train_loop_obj, self._plots(), self.file_format)

    def _plots(self) -> Path:
        experiment = experiment_of(self.train_loop_obj)
        if experiment is not None:
            return experiment.folder.plots
        msg = (
            "ModelTrainHistoryPlot draws into the folder of a run, and there is none: use a "
            "tracking loop such as TrainLoopEndSave, or add ModelCheckpoint or ModelTrainEndSave."
        )
        raise ExperimentSetupError(msg)


def _draw(loop: TrainLoop, directory: Path, file_format: Literal["png", "pdf"]) -> None:
    try:
        plot_history(_curves(loop), directory, file_format=file_format)
    except OSError as error:  # a full disk may have room again for what matters
        _log.warning("the plots are not written: %s", error)


def _curves(loop: TrainLoop) -> dict[str, list[float]]:
    """The numbers of the history."""
    curves = {}
    for name, values in loop.train_history.items():
        plain = [v.item() if isinstance(v, torch.Tensor) and v.numel() == 1 else v for v in values]
        if all(isinstance(value, int | float) for value in plain):
            curves[name] = [float(value) for value in plain]
    return curves
