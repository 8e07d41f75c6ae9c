"""AIToolbox's TensorBoard callbacks, which feed a `TensorBoardLogger`.

Steps are batches. The event files lie in the run's folder under
``tensorboard/<project>_<experiment>``. An `Experiment` whose ``loggers`` have a `TensorBoardLogger`
needs none of these callbacks: what it records is logged anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tt_experiment.callbacks._logging import LoggingCallback, check_frequency
from tt_experiment.loggers.tensorboard import TensorBoardLogger
from tt_experiment.redact import redact_text
from tt_loop.api import Tree

__all__ = [
    "TensorboardFullTracking",
    "TensorboardReporterBaseCB",
    "TensorboardTrainBatchLoss",
    "TensorboardTrainHistoryMetric",
]

_log = logging.getLogger(__name__)


class TensorboardReporterBaseCB(LoggingCallback):
    """Base of what logs a fit into TensorBoard.

    Args:
        callback_name: What the callback is called in lists and errors.
        log_dir: Folder of the event files; by default in the run's folder.
        is_project: Log a run; otherwise there need be none.
        project_name: Folder of the project; by default that of the loop's run.
        experiment_name: Name of the run; by default that of the loop's run.
        local_model_result_folder_path: Folder of all projects; by default that of the loop's run.
        cloud_save_mode: ``'s3'`` or ``'gcs'`` copies the files there; by default as the run.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
        **kwargs: Arguments of ``torch.utils.tensorboard.SummaryWriter``.
    """

    def __init__(
        self,
        callback_name: str,
        log_dir: Path | str | None = None,
        is_project: bool = True,
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        names = {
            "project_name": project_name,
            "experiment_name": experiment_name,
            "local_model_result_folder_path": local_model_result_folder_path,
            "cloud_save_mode": cloud_save_mode,
            "bucket_name": bucket_name,
            "cloud_dir_prefix": cloud_dir_prefix,
        }
        logger = TensorBoardLogger(log_dir, **kwargs)
        super().__init__(callback_name, logger, log_dir, is_project, names)

    def on_train_end(self) -> None:
        """Close the event file, and copy it if a cloud was asked for."""
        super().on_train_end()
        if self.is_project:
            self.upload_to_cloud()

    def upload_to_cloud(self) -> None:
        """Copy the event files to the store; a run that has one copies all of its files itself."""
        store, run = self.store, self.run
        if store is None or store is run.store:
            return
        try:
            for path in sorted((run.folder.path / "tensorboard").rglob("events.out.tfevents.*")):
                inside = path.relative_to(run.folder.path).as_posix()
                store.put(f"{run.prefix(run.folder)}/{inside}", path)
        except Exception as error:  # whatever a store raises; the files are here
            _log.warning(
                "TensorBoard's files did not reach %s: %s", store.url, redact_text(str(error))
            )


class _BatchLoss(TensorboardReporterBaseCB):
    """Logs losses every so many batches.

    Attributes:
        batch_log_frequency: After how many batches.
    """

    batch_log_frequency: int

    def on_epoch_begin(self) -> None:
        """Begin a new mean."""
        self.losses.begin_epoch()

    def on_batch_end(self) -> None:
        """Log, if it is this batch's turn."""
        self.keep_loss(self.batch_log_frequency)

    def state_dict(self) -> Tree:
        """The mean of an epoch that is under way."""
        return self.losses.state_dict()

    def load_state_dict(self, state: Tree) -> None:
        """Go on with it."""
        self.losses.load_state_dict(state, self.train_loop_obj.device)


class _HistoryMetric(TensorboardReporterBaseCB):
    """Logs the history.

    Attributes:
        metric_names: Which metrics; ``None`` logs all.
    """

    metric_names: Sequence[str] | None

    def on_epoch_end(self) -> None:
        """Log what is new."""
        self.log_train_history_metrics(self.metric_names)

    def on_train_end(self) -> None:
        """Log what was measured at the very end, too."""
        self.log_train_history_metrics(self.metric_names)
        super().on_train_end()


class TensorboardTrainBatchLoss(_BatchLoss):
    """Log ``train_loss/last_batch_loss`` and ``train_loss/accumulated_batch_loss``.

    The second is the mean over the epoch's batches so far. Both are those of the first process.
    Each time they are logged, an accelerator is waited for.

    Args:
        batch_log_frequency: Log after every so many batches.
        log_dir: As for `TensorboardReporterBaseCB`, and so are the next seven.
        is_project: As above.
        project_name: As above.
        experiment_name: As above.
        local_model_result_folder_path: As above.
        cloud_save_mode: As above.
        bucket_name: As above.
        cloud_dir_prefix: As above.
        **kwargs: As above.

    Raises:
        ExperimentSetupError: ``batch_log_frequency`` is below 1.
    """

    def __init__(
        self,
        batch_log_frequency: int = 1,
        log_dir: Path | str | None = None,
        is_project: bool = True,
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        run = (project_name, experiment_name, local_model_result_folder_path)
        cloud = (cloud_save_mode, bucket_name, cloud_dir_prefix)
        super().__init__("TensorBoard batch loss", log_dir, is_project, *run, *cloud, **kwargs)
        check_frequency(batch_log_frequency)
        self.batch_log_frequency = batch_log_frequency


class TensorboardTrainHistoryMetric(_HistoryMetric):
    """Log the history's numbers as ``loss/<name>`` and ``metrics/<name>`` after each epoch.

    Results that are dicts become one curve per number.

    Args:
        metric_names: Which metrics; ``None`` logs all.
        log_dir: As for `TensorboardReporterBaseCB`, and so are the next seven.
        is_project: As above.
        project_name: As above.
        experiment_name: As above.
        local_model_result_folder_path: As above.
        cloud_save_mode: As above.
        bucket_name: As above.
        cloud_dir_prefix: As above.
        **kwargs: As above.
    """

    def __init__(
        self,
        metric_names: Sequence[str] | None = None,
        log_dir: Path | str | None = None,
        is_project: bool = True,
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        run = (project_name, experiment_name, local_model_result_folder_path)
        cloud = (cloud_save_mode, bucket_name, cloud_dir_prefix)
        super().__init__("TensorBoard history", log_dir, is_project, *run, *cloud, **kwargs)
        self.metric_names = metric_names


class TensorboardFullTracking(_BatchLoss, _HistoryMetric):
    """Log what `TensorboardTrainBatchLoss` and `TensorboardTrainHistoryMetric` log.

    Args:
        metric_names: Which metrics of the history; ``None`` logs all.
        batch_log_frequency: Log losses after every so many batches.
        log_dir: As for `TensorboardReporterBaseCB`, and so are the next seven.
        is_project: As above.
        project_name: As above.
        experiment_name: As above.
        local_model_result_folder_path: As above.
        cloud_save_mode: As above.
        bucket_name: As above.
        cloud_dir_prefix: As above.
        **kwargs: As above.

    Raises:
        ExperimentSetupError: ``batch_log_frequency`` is below 1.
    """

    def __init__(
        self,
        metric_names: Sequence[str] | None = None,
        batch_log_frequency: int = 1,
        log_dir: Path | str | None = None,
        is_project: bool = True,
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        run = (project_name, experiment_name, local_model_result_folder_path)
        cloud = (cloud_save_mode, bucket_name, cloud_dir_prefix)
        super().__init__("TensorBoard full tracking", log_dir, is_project, *run, *cloud, **kwargs)
        check_frequency(batch_log_frequency)
        self.metric_names = metric_names
        self.batch_log_frequency = batch_log_frequency
