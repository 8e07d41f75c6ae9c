"""Models from a bucket of Google."""

from __future__ import annotations

from pathlib import Path

from tt_cloud.api import TreeStore
from tt_cloud.aws.model_load import BaseModelLoader, PyTorchS3ModelLoader
from tt_cloud.aws.ports import LocalModelLoader, LocalPyTorchModelLoader
from tt_cloud.google_cloud.data_access import BaseGoogleStorageDataLoader

__all__ = ["BaseModelGoogleStorageLoader", "PyTorchGoogleStorageModelLoader"]


class BaseModelGoogleStorageLoader(BaseGoogleStorageDataLoader, BaseModelLoader):
    """`tt_cloud.aws.model_load.BaseModelLoader` for a bucket of Google."""

    def __init__(
        self,
        local_model_loader: LocalModelLoader,
        local_model_result_folder_path: str | Path = "~/project/model_result",
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        *,
        store: TreeStore | None = None,
    ) -> None:
        BaseModelLoader.__init__(
            self,
            local_model_loader,
            local_model_result_folder_path,
            bucket_name,
            cloud_dir_prefix,
            store=store,
        )


class PyTorchGoogleStorageModelLoader(BaseModelGoogleStorageLoader, PyTorchS3ModelLoader):
    """`tt_cloud.aws.model_load.PyTorchS3ModelLoader` for a bucket of Google."""

    def __init__(
        self,
        local_model_result_folder_path: str | Path = "~/project/model_result",
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        *,
        store: TreeStore | None = None,
        local_model_loader: LocalPyTorchModelLoader | None = None,
    ) -> None:
        PyTorchS3ModelLoader.__init__(
            self,
            local_model_result_folder_path,
            bucket_name,
            cloud_dir_prefix,
            store=store,
            local_model_loader=local_model_loader,
        )
