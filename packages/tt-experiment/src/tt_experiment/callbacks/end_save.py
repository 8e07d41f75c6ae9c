"""The final model, its results and its predictions, kept at the end of training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tt_experiment._intervals import intervals_of
from tt_experiment.callbacks._run import join_run
from tt_experiment.callbacks.history import draw_history
from tt_experiment.callbacks.performance import tell_folder
from tt_experiment.errors import ExperimentSetupError, ResultsError
from tt_experiment.experiment import Experiment
from tt_experiment.results import save_model, save_results
from tt_experiment.stores import cloud_url
from tt_loop.api import Callback, ResultPackage, TrainLoop, evaluate_whole

__all__ = ["ExperimentEndSave", "ModelTrainEndSave", "check_loaders"]

_log = logging.getLogger(__name__)


class ExperimentEndSave(Callback):
    """At the end, keep the trained model, and evaluate it and keep results and predictions.

    Args:
        experiment: The run.
        val_result_package: Evaluated on the validation set.
        test_result_package: Evaluated on the test set.

    Raises:
        ExperimentSetupError: When there is no result package, or an object that is none.
    """

    may_change_weights = False

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
        join_run(self, self.train_loop_obj)

    def on_train_end(self) -> None:
        """Evaluate, and write everything."""
        loop, folder = self.train_loop_obj, self.experiment.folder
        model = loop.state_dict()["model"]
        if loop.is_main_process():
            save_model(folder, model)  # first: whatever fails below, training was not in vain
        results, predictions, intervals = {}, {}, {}
        for part, package in self.packages.items():
            tell_folder(package, folder)
            found = evaluate_whole(loop, package, part, self.experiment.hyperparams)  # type: ignore[arg-type]  # the keys above
            if found is not None:
                name = f"{package.pkg_name or type(package).__name__}_{_SUFFIX[part]}"
                results[name] = found.results
                predictions[name] = (found.y_true, found.y_predicted)
                intervals[name] = intervals_of(package)
        if loop.is_main_process():
            self._save_results(results, predictions, intervals)
            draw_history(loop, folder.plots, "png")

    def _save_results(
        self, results: dict[str, Any], predictions: dict[str, Any], intervals: dict[str, Any]
    ) -> None:
        about = {"intervals": intervals} if any(intervals.values()) else {}
        try:
            save_results(self.experiment.folder, results, predictions, about=about)
        except ResultsError as error:
            if not predictions:
                raise
            _log.warning("The predictions are not kept: %s", error)  # objects of somebody's own
            self._save_results(results, {}, intervals)


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
