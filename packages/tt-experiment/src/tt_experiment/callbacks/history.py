"""The history as plots and text files in a run's folder."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from tt_experiment._durable import make_directories, replace_file
from tt_experiment._gradient_plots import check_format, draw_gradients
from tt_experiment.callbacks._experiment import AbstractExperimentCallback
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.plots import plot_history
from tt_loop.api import GradDistributionPlot as LoopGradDistributionPlot
from tt_loop.api import GradientHistogram, HistoryTextFile, TrainLoop

__all__ = [
    "GradDistributionPlot",
    "ModelTrainHistoryBaseCB",
    "ModelTrainHistoryFileWriter",
    "ModelTrainHistoryPlot",
    "draw_history",
]

_log = logging.getLogger(__name__)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ModelTrainHistoryBaseCB(AbstractExperimentCallback):
    """Writes the history into the run's results, in the first process.

    The run is the one of the loop or of its other callbacks. What fails is logged and does not end
    training. The paths of the files are left with `TrainLoop.message_service`, as one message under
    the class's name followed by ``_results_file_local_paths``.

    Args:
        callback_name: What the callback is called in lists and errors.
        execution_order: Callbacks run in ascending order.
        epoch_end: Write after every epoch.
        train_end: Write at the end.
        file_format: Ending of the files.
        project_name: This and the rest are those of `AbstractExperimentCallback`.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        cloud_save_mode: ``'s3'`` or ``'gcs'``.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
    """

    may_change_weights = False

    def __init__(
        self,
        callback_name: str,
        execution_order: int = 0,
        epoch_end: bool = True,
        train_end: bool = False,
        file_format: str = "",
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
    ) -> None:
        super().__init__(
            callback_name,
            project_name,
            experiment_name,
            local_model_result_folder_path,
            cloud_save_mode,
            bucket_name,
            cloud_dir_prefix,
            execution_order=execution_order,
            device_idx_execution=0,
        )
        if not (epoch_end or train_end):
            msg = f"{type(self).__name__} needs epoch_end or train_end, got neither."
            raise ExperimentSetupError(msg)
        self.epoch_end = epoch_end
        self.train_end = train_end
        self.file_format = file_format

    def on_epoch_end(self) -> None:
        """Write, if asked for."""
        if self.epoch_end:
            self._write("")

    def on_train_end(self) -> None:
        """Write, if asked for."""
        if self.train_end:
            self._write("train_end_")

    @abstractmethod
    def write(self, prefix: str) -> list[Path]:
        """Write the files, whose names begin with the prefix if they are not to be replaced."""

    def _write(self, prefix: str) -> None:
        try:
            paths = self.write(prefix)
        except Exception:  # what was measured is still in the history: the next write has it
            _log.exception("%s: the history could not be written", self.callback_name)
            return
        key = f"{type(self).__name__}_results_file_local_paths"
        self.train_loop_obj.message_service.write_message(key, [str(path) for path in paths])
        self.offer(paths)


class ModelTrainHistoryPlot(ModelTrainHistoryBaseCB):
    """Draw the history's curves into the run's ``results/plots``, anew each time.

    Args:
        epoch_end: Draw after every epoch.
        train_end: Draw at the end.
        file_format: ``'png'``, one file per metric, or ``'pdf'``, one file with a page for each.
        project_name: This and the rest are those of `AbstractExperimentCallback`.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        cloud_save_mode: ``'s3'`` or ``'gcs'``.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
    """

    def __init__(
        self,
        epoch_end: bool = True,
        train_end: bool = False,
        file_format: Literal["png", "pdf"] = "png",
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
    ) -> None:
        if file_format not in ("png", "pdf"):
            msg = f"file_format must be 'png' or 'pdf', got {file_format!r}."
            raise ExperimentSetupError(msg)
        super().__init__(
            "Train history plot",
            97,
            epoch_end,
            train_end,
            file_format,
            project_name,
            experiment_name,
            local_model_result_folder_path,
            cloud_save_mode,
            bucket_name,
            cloud_dir_prefix,
        )

    def write(self, prefix: str) -> list[Path]:  # noqa: ARG002 - the newest plots show everything
        """Draw."""
        image: Literal["png", "pdf"] = "pdf" if self.file_format == "pdf" else "png"
        curves = curves_of(self.train_loop_obj.train_history.state_dict())
        return plot_history(curves, self.run.folder.plots, file_format=image)


class ModelTrainHistoryFileWriter(ModelTrainHistoryBaseCB):
    """Write the history as a table to the run's ``results/results.txt``, anew each time.

    What is written at the end is ``train_end_results.txt``.

    Args:
        epoch_end: Write after every epoch.
        train_end: Write at the end.
        file_format: ``'txt'`` with aligned columns, or ``'tsv'`` or ``'csv'`` for programs.
        project_name: This and the rest are those of `AbstractExperimentCallback`.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        cloud_save_mode: ``'s3'`` or ``'gcs'``.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
    """

    def __init__(
        self,
        epoch_end: bool = True,
        train_end: bool = False,
        file_format: Literal["txt", "tsv", "csv"] = "txt",
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
    ) -> None:
        if file_format not in ("txt", "tsv", "csv"):
            msg = f"file_format must be 'txt', 'tsv' or 'csv', got {file_format!r}."
            raise ExperimentSetupError(msg)
        super().__init__(
            "Train history file writer",
            97,
            epoch_end,
            train_end,
            file_format,
            project_name,
            experiment_name,
            local_model_result_folder_path,
            cloud_save_mode,
            bucket_name,
            cloud_dir_prefix,
        )

    def write(self, prefix: str) -> list[Path]:
        """Write the table."""
        path = self.run.folder.results / f"{prefix}results.{self.file_format}"
        history = self.train_loop_obj.train_history.state_dict()
        if self.file_format != "txt":
            history = {_no_formula(name): values for name, values in history.items()}
        make_directories(path.parent)
        replace_file(path, HistoryTextFile(path).text(history).encode("utf-8", "replace"))
        return [path]


class GradDistributionPlot(LoopGradDistributionPlot, AbstractExperimentCallback):
    """Draw the distributions of layers' weight gradients into the run's results after each epoch.

    The gradients are those of the epoch's last update.

    Args:
        model_layers_extract_def: Takes the model and gives the layers to look at.
        grad_plots_dir_name: Folder in the run's results.
        file_format: ``'png'``, one file per layer, or ``'pdf'``, one file with a page for each.
        project_name: This and the rest are those of `AbstractExperimentCallback`.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        cloud_save_mode: ``'s3'`` or ``'gcs'``.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
    """

    may_change_weights = False

    def __init__(
        self,
        model_layers_extract_def: Any,
        grad_plots_dir_name: str = "grad_distribution",
        file_format: Literal["png", "pdf"] = "png",
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
    ) -> None:
        check_format(file_format)
        LoopGradDistributionPlot.__init__(
            self, model_layers_extract_def, grad_plots_dir_name, file_format, output=self
        )
        AbstractExperimentCallback.__init__(
            self,
            self.callback_name,
            project_name,
            experiment_name,
            local_model_result_folder_path,
            cloud_save_mode,
            bucket_name,
            cloud_dir_prefix,
            device_idx_execution=0,
        )

    def on_train_begin(self) -> None:
        """Find the layers and the run."""
        LoopGradDistributionPlot.on_train_begin(self)
        AbstractExperimentCallback.on_train_begin(self)

    def write(
        self,
        gradients: Mapping[str, GradientHistogram],
        directory: str,
        file_format: str,
        epoch: int,
        /,
    ) -> Sequence[str]:
        """Draw; `GradDistributionPlot` is its own output."""
        place = self.run.folder.results / directory / f"epoch_{epoch}"
        paths = draw_gradients(gradients, place, file_format)
        self.offer(paths)
        return [str(path) for path in paths]


def draw_history(loop: TrainLoop, directory: Path, file_format: Literal["png", "pdf"]) -> None:
    """Draw a loop's history; a failure is logged."""
    try:
        plot_history(curves_of(loop.train_history.state_dict()), directory, file_format=file_format)
    except OSError as error:  # a full disk may have room again for what matters
        _log.warning("the plots are not written: %s", error)


def curves_of(history: Mapping[str, Sequence[Any]]) -> dict[str, list[float]]:
    """The numbers of a history."""
    curves = {}
    for name, values in history.items():
        plain = [v.item() if isinstance(v, torch.Tensor) and v.numel() == 1 else v for v in values]
        if all(isinstance(value, int | float) for value in plain):
            curves[name] = [float(value) for value in plain]
    return curves


def _no_formula(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name.startswith(_FORMULA) else name
