"""Models from a bucket."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from tt_cloud._aitoolbox.bucket import experiment_key
from tt_cloud._aitoolbox.files import expanded
from tt_cloud._aitoolbox.local import local_part
from tt_cloud.api import TreeStore
from tt_cloud.aws.data_access import BaseDataLoader
from tt_cloud.aws.ports import LocalModelLoader, LocalPyTorchModelLoader
from tt_cloud.errors import NotFound

__all__ = ["BaseModelLoader", "PyTorchS3ModelLoader"]


class BaseModelLoader(BaseDataLoader):
    """Fetches models to where a local loader looks for them.

    Args:
        local_model_loader: Reads the files.
        local_model_result_folder_path: Where that is.
        bucket_name: The bucket.
        cloud_dir_prefix: What keys begin with.
        store: A store to use instead of the bucket.

    Attributes:
        file_ending: Of the names of models, where the local loader has no ``file_endings``.
    """

    file_ending: ClassVar[str] = ".pth"

    def __init__(
        self,
        local_model_loader: LocalModelLoader,
        local_model_result_folder_path: str | Path = "~/project/model_result",
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        *,
        store: TreeStore | None = None,
    ) -> None:
        BaseDataLoader.__init__(self, bucket_name, local_model_result_folder_path, store=store)
        self.local_model_loader = local_model_loader
        self.local_model_result_folder_path = expanded(local_model_result_folder_path)
        self.cloud_dir_prefix = cloud_dir_prefix

    def load_model(
        self,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        model_save_dir: str = "checkpoint_model",
        epoch_num: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Fetch a model, unless it is here and equal, and read it.

        Args:
            project_name: Of the experiment.
            experiment_name: Of the experiment.
            experiment_timestamp: Of the experiment.
            model_save_dir: ``"checkpoint_model"`` or ``"model"``.
            epoch_num: Of a checkpoint.
            **kwargs: For the local loader.

        Raises:
            NotFound: When there is no such model in the bucket.
        """
        names = (project_name, experiment_name, experiment_timestamp, model_save_dir)
        number = "" if epoch_num is None else f"_E{epoch_num}"
        stem = f"model_{experiment_name}_{experiment_timestamp}{number}"
        *others, last = getattr(self.local_model_loader, "file_endings", (self.file_ending,))
        for ending in others:
            with suppress(NotFound):
                self._fetch(*names, f"{stem}{ending}")
                break
        else:
            self._fetch(*names, f"{stem}{last}")
        return self.local_model_loader.load_model(*names, epoch_num, **kwargs)

    def _fetch(self, *parts: str) -> None:
        key = experiment_key(self.cloud_dir_prefix, *parts)
        self.load_file(key, self.local_model_result_folder_path / experiment_key("", *parts))


class PyTorchS3ModelLoader(BaseModelLoader):
    """Loads models of PyTorch from S3, and puts what is in them where it belongs.

    Args:
        local_model_result_folder_path: Where files are kept.
        bucket_name: The bucket.
        cloud_dir_prefix: What keys begin with.
        store: A store to use instead of the bucket.
        local_model_loader: Reads the files; else that of tt-experiment.
    """

    local_model_loader: LocalPyTorchModelLoader

    def __init__(
        self,
        local_model_result_folder_path: str | Path = "~/project/model_result",
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        *,
        store: TreeStore | None = None,
        local_model_loader: LocalPyTorchModelLoader | None = None,
    ) -> None:
        folder = str(local_model_result_folder_path)
        loader = local_part(local_model_loader, "pytorch_model_loader", folder)
        BaseModelLoader.__init__(self, loader, folder, bucket_name, cloud_dir_prefix, store=store)

    def init_model(self, model: Any, used_data_parallel: bool = False) -> Any:
        """Give a model the weights that were loaded."""
        return self.local_model_loader.init_model(model, used_data_parallel)

    def init_optimizer(self, optimizer: Any, device: str = "cuda") -> Any:
        """Give an optimizer the state that was loaded."""
        return self.local_model_loader.init_optimizer(optimizer, device)

    def init_scheduler(
        self,
        scheduler_callbacks_list: list[Any],
        ignore_saved: bool = False,
        ignore_missing_saved: bool = False,
    ) -> Any:
        """Give schedulers the states that were loaded."""
        return self.local_model_loader.init_scheduler(
            scheduler_callbacks_list, ignore_saved, ignore_missing_saved
        )

    def init_amp(self, amp_scaler: Any) -> Any:
        """Give a gradient scaler the state that was loaded."""
        return self.local_model_loader.init_amp(amp_scaler)
