"""Files and folders to and from a bucket of Google."""

from __future__ import annotations

from pathlib import Path

from tt_cloud.api import TreeStore
from tt_cloud.aws.data_access import BaseDataLoader, BaseDataSaver

__all__ = ["BaseGoogleStorageDataLoader", "BaseGoogleStorageDataSaver"]


class BaseGoogleStorageDataSaver(BaseDataSaver):
    """`tt_cloud.aws.data_access.BaseDataSaver` for a bucket of Google."""

    scheme = "gs"


class BaseGoogleStorageDataLoader(BaseDataLoader):
    """`tt_cloud.aws.data_access.BaseDataLoader` for a bucket of Google.

    Args:
        bucket_name: The bucket.
        local_dataset_folder_path: Folder that holds the folders of datasets.
        store: A store to use instead of the bucket.
    """

    scheme = "gs"

    def __init__(
        self,
        bucket_name: str = "dataset-store",
        local_dataset_folder_path: str | Path = "~/project/data",
        *,
        store: TreeStore | None = None,
    ) -> None:
        BaseDataLoader.__init__(self, bucket_name, local_dataset_folder_path, store=store)
