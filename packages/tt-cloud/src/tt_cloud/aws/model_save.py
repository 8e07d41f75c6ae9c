"""Models to a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from tt_cloud._aitoolbox.bucket import experiment_key, joined, timestamp_or_now
from tt_cloud._aitoolbox.local import local_part
from tt_cloud.api import TreeStore
from tt_cloud.aws.data_access import BaseDataSaver
from tt_cloud.aws.ports import LocalModelSaver

__all__ = ["AbstractModelSaver", "BaseModelSaver", "KerasS3ModelSaver", "PyTorchS3ModelSaver"]


class AbstractModelSaver(ABC):
    """Saves models."""

    @abstractmethod
    def save_model(
        self,
        model: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        epoch: int | None = None,
        iteration_idx: int | None = None,
        protect_existing_folder: bool = True,
    ) -> tuple[str, str, str]:
        """Save a model.

        Returns:
            Bucket and key, the experiment's timestamp, and the path of the local file.
        """


class BaseModelSaver(BaseDataSaver):
    """Knows where models are stored.

    Args:
        bucket_name: The bucket.
        cloud_dir_prefix: What keys begin with.
        checkpoint_model: Whether models are checkpoints, which have a folder of their own.
        store: A store to use instead of the bucket.
    """

    def __init__(
        self,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        checkpoint_model: bool = False,
        *,
        store: TreeStore | None = None,
    ) -> None:
        BaseDataSaver.__init__(self, bucket_name, store=store)
        self.cloud_dir_prefix = cloud_dir_prefix
        self.checkpoint_model = checkpoint_model

    def create_experiment_cloud_storage_folder_structure(
        self, project_name: str, experiment_name: str, experiment_timestamp: str
    ) -> str:
        """What the keys of an experiment's models begin with; buckets have no folders to make."""
        kind = "checkpoint_model" if self.checkpoint_model else "model"
        return experiment_key(
            self.cloud_dir_prefix, project_name, experiment_name, experiment_timestamp, kind
        )


class _LocalThenCloud(AbstractModelSaver, BaseModelSaver):
    """Writes a file and stores it."""

    local_name: ClassVar[str]

    def __init__(
        self,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        local_model_result_folder_path: str | Path = "~/project/model_result",
        checkpoint_model: bool = False,
        *,
        store: TreeStore | None = None,
        local_saver: LocalModelSaver | None = None,
    ) -> None:
        BaseModelSaver.__init__(self, bucket_name, cloud_dir_prefix, checkpoint_model, store=store)
        self.local_saver: LocalModelSaver = local_part(
            local_saver,
            self.local_name,
            str(local_model_result_folder_path),
            checkpoint_model=checkpoint_model,
        )

    def save_model(
        self,
        model: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        epoch: int | None = None,
        iteration_idx: int | None = None,
        protect_existing_folder: bool = True,
    ) -> tuple[str, str, str]:
        """Write the model to a file and store that; see `AbstractModelSaver.save_model`."""
        timestamp = timestamp_or_now(experiment_timestamp)
        name, path = self.local_saver.save_model(
            model=model,
            project_name=project_name,
            experiment_name=experiment_name,
            experiment_timestamp=timestamp,
            epoch=epoch,
            iteration_idx=iteration_idx,
            protect_existing_folder=protect_existing_folder,
        )
        folder = self.create_experiment_cloud_storage_folder_structure(
            project_name, experiment_name, timestamp
        )
        key = joined(folder, name)
        self.save_file(path, key)
        return self._path(key), timestamp, str(path)


class PyTorchS3ModelSaver(_LocalThenCloud):
    """Saves models of PyTorch to S3.

    Args:
        bucket_name: The bucket.
        cloud_dir_prefix: What keys begin with.
        local_model_result_folder_path: Where the files are written first.
        checkpoint_model: Whether models are checkpoints.
        store: A store to use instead of the bucket.
        local_saver: Writes the files; else that of tt-experiment.
    """

    local_name = "pytorch_model_saver"


class KerasS3ModelSaver(_LocalThenCloud):
    """Saves models of Keras to S3; has the arguments of `PyTorchS3ModelSaver`."""

    local_name = "keras_model_saver"
