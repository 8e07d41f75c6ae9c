"""Results to a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from tt_cloud._aitoolbox.bucket import experiment_key, joined, timestamp_or_now
from tt_cloud._aitoolbox.local import local_part
from tt_cloud.api import TreeStore
from tt_cloud.aws.data_access import BaseDataSaver
from tt_cloud.aws.ports import LocalResultsSaver

__all__ = ["AbstractResultsSaver", "BaseResultsSaver", "S3ResultsSaver"]


class AbstractResultsSaver(ABC):
    """Saves results."""

    @abstractmethod
    def save_experiment_results(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        separate_files: bool = False,
        protect_existing_folder: bool = True,
    ) -> tuple[str, str]:
        """Save what an experiment gave.

        Returns:
            Bucket and what the keys begin with, and the experiment's timestamp.
        """


class BaseResultsSaver(BaseDataSaver):
    """Knows where results are stored.

    Args:
        bucket_name: The bucket.
        cloud_dir_prefix: What keys begin with.
        store: A store to use instead of the bucket.
    """

    def __init__(
        self,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        *,
        store: TreeStore | None = None,
    ) -> None:
        BaseDataSaver.__init__(self, bucket_name, store=store)
        self.cloud_dir_prefix = cloud_dir_prefix

    def create_experiment_cloud_storage_folder_structure(
        self, project_name: str, experiment_name: str, experiment_timestamp: str
    ) -> str:
        """What the keys of an experiment's results begin with; buckets have no folders to make."""
        return experiment_key(
            self.cloud_dir_prefix, project_name, experiment_name, experiment_timestamp, "results"
        )


class S3ResultsSaver(AbstractResultsSaver, BaseResultsSaver):
    """Saves results to S3.

    Args:
        bucket_name: The bucket.
        cloud_dir_prefix: What keys begin with.
        local_model_result_folder_path: Where the files are written first.
        store: A store to use instead of the bucket.
        local_saver: Writes the files; else that of tt-experiment.
    """

    def __init__(
        self,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        local_model_result_folder_path: str | Path = "~/project/model_result",
        *,
        store: TreeStore | None = None,
        local_saver: LocalResultsSaver | None = None,
    ) -> None:
        BaseResultsSaver.__init__(self, bucket_name, cloud_dir_prefix, store=store)
        folder = str(local_model_result_folder_path)
        self.local_saver: LocalResultsSaver = local_part(local_saver, "results_saver", folder)

    def save_experiment_results(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        separate_files: bool = False,
        protect_existing_folder: bool = True,
    ) -> tuple[str, str]:
        """Write the results to files and store these."""
        timestamp = timestamp_or_now(experiment_timestamp)
        local = self.local_saver
        save = (
            local.save_experiment_results_separate_files
            if separate_files
            else local.save_experiment_results
        )
        saved = save(
            result_package=result_package,
            training_history=training_history,
            project_name=project_name,
            experiment_name=experiment_name,
            experiment_timestamp=timestamp,
            save_true_pred_labels=save_true_pred_labels,
            protect_existing_folder=protect_existing_folder,
        )
        folder = self.create_experiment_cloud_storage_folder_structure(
            project_name, experiment_name, timestamp
        )
        for name, path in saved:
            self.save_file(path, joined(folder, name))
        return self._path(folder), timestamp
