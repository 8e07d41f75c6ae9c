"""Evaluations whose files belong to the run."""

from __future__ import annotations

from typing import Any

from tt_experiment.callbacks._run import experiment_of
from tt_experiment.folder import ExperimentFolder
from tt_loop.api import ModelPerformanceEvaluation as LoopModelPerformanceEvaluation

__all__ = ["ModelPerformanceEvaluation", "tell_folder"]


class ModelPerformanceEvaluation(LoopModelPerformanceEvaluation):
    """Evaluate a result package or metric during training and put its numbers into the history.

    The names get a prefix: ``val_``, ``train_``, and at the end ``train_end_val_`` and
    ``train_end_train_``.

    Args:
        result_package: A `ResultPackage` or a `Metric`.
        args: Hyperparameters, handed to the result package.
        on_each_epoch: Evaluate after epochs; otherwise only at the end.
        on_train_data: Evaluate on the training set.
        on_val_data: Evaluate on the validation set.
        eval_frequency: Evaluate every so many epochs; by default each.
        if_available_output_to_project_dir: Where there is a run, tell the package its folder, for
            files that it writes itself.
    """

    def __init__(
        self,
        result_package: Any,
        args: Any = None,
        on_each_epoch: bool = True,
        on_train_data: bool = False,
        on_val_data: bool = True,
        eval_frequency: int | None = None,
        if_available_output_to_project_dir: bool = True,
    ) -> None:
        super().__init__(
            result_package, args, on_each_epoch, on_train_data, on_val_data, eval_frequency
        )
        self.if_available_output_to_project_dir = if_available_output_to_project_dir

    def on_train_begin(self) -> None:
        """Tell the package the run's folder."""
        run = experiment_of(self.train_loop_obj)
        if self.if_available_output_to_project_dir and run is not None:
            tell_folder(self.result_package, run.folder)


def tell_folder(package: Any, folder: ExperimentFolder) -> None:
    """Tell a result package the run's folder, in AIToolbox's words, if it wants to know."""
    tell = getattr(package, "set_experiment_dir_path_for_additional_results", None)
    if callable(tell):
        name, _, stamp = folder.path.name.rpartition("_")
        name, _, day = name.rpartition("_")
        tell(folder.path.parent.name, name, f"{day}_{stamp}", folder.path.parent.parent)
