"""The log of a training in its run, and so in the run's store."""

from __future__ import annotations

import logging
from pathlib import Path

from tt_experiment._durable import make_directories, replace_file
from tt_experiment.callbacks._experiment import AbstractExperimentCallback
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.redact import redact_text

__all__ = ["LogUpload"]

_log = logging.getLogger(__name__)


class LogUpload(AbstractExperimentCallback):
    """Copy a log to the run's ``logs/`` and to the store, after each epoch and at the end.

    What has the form of a secret is left out. A copy that fails is logged and does not end
    training.

    Args:
        log_file_path: The log.
        fail_if_cloud_missing: Refuse to train when there is no store to copy it to.
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
        log_file_path: Path | str = "~/project/training.log",
        fail_if_cloud_missing: bool = True,
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
    ) -> None:
        super().__init__(
            "Log upload",
            project_name,
            experiment_name,
            local_model_result_folder_path,
            cloud_save_mode,
            bucket_name,
            cloud_dir_prefix,
            execution_order=1500,
            device_idx_execution=0,
        )
        self.log_file_path = Path(log_file_path).expanduser()
        self.fail_if_cloud_missing = fail_if_cloud_missing

    def on_train_begin(self) -> None:
        """Find the run and its store.

        Raises:
            ExperimentSetupError: There is no run, or no store where one is wanted.
        """
        super().on_train_begin()
        if self.fail_if_cloud_missing and self.store is None:
            msg = (
                "LogUpload copies the log to a store, and the run has none: give the run a store, "
                "give cloud_save_mode here, or fail_if_cloud_missing=False to keep it in the run."
            )
            raise ExperimentSetupError(msg)

    def on_epoch_end(self) -> None:
        """Copy the log."""
        self.upload_log_file()

    def on_train_end(self) -> None:
        """Copy the log."""
        self.upload_log_file()

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002 - it is in the log
        """Copy the log, which may tell why."""
        self.upload_log_file()

    def upload_log_file(self) -> None:
        """Copy the log as it is now."""
        try:
            folder = self.run.folder
            text = self.log_file_path.read_bytes().decode("utf-8", "surrogateescape")
            make_directories(folder.logs)
            path = folder.logs / self.log_file_path.name
            replace_file(path, redact_text(text).encode("utf-8", "surrogateescape"))
        except Exception as error:  # a log is not worth a training
            _log.warning("the log is not copied: %s", redact_text(str(error)))
            return
        self.offer([path])
