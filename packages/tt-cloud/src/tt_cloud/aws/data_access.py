"""Files and folders to and from a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from tt_cloud._aitoolbox.bucket import BucketUser, joined
from tt_cloud._aitoolbox.files import expanded, is_equal
from tt_cloud.api import ObjectInfo, TransferReport, TreeStore
from tt_cloud.errors import NotFound

__all__ = ["AbstractDatasetFetcher", "BaseDataLoader", "BaseDataSaver"]


class BaseDataSaver(BucketUser):
    """Stores files in a bucket.

    Args:
        bucket_name: The bucket.
        store: A store to use instead of the bucket.
    """

    def __init__(
        self, bucket_name: str = "model-result", *, store: TreeStore | None = None
    ) -> None:
        super().__init__(bucket_name, store)

    def save_file(self, local_file_path: str | Path, cloud_file_path: str) -> ObjectInfo:
        """Store a file."""
        return self.store.put(joined(cloud_file_path), expanded(local_file_path))

    def save_folder(self, local_folder_path: str | Path, cloud_folder_path: str) -> TransferReport:
        """Store all files of a folder.

        Raises:
            NotADirectoryError: When there is no such folder.
            TransferFailed: When some files could not be stored.
        """
        folder = expanded(local_folder_path)
        if not folder.is_dir():
            msg = f"a folder must be there to be saved: {folder} is not; correct the path"
            raise NotADirectoryError(msg)
        return self.store.upload_tree(folder, joined(cloud_folder_path))


class BaseDataLoader(BucketUser):
    """Fetches files from a bucket.

    Args:
        bucket_name: The bucket.
        local_base_data_folder_path: Folder that holds the folders of datasets.
        store: A store to use instead of the bucket.

    Attributes:
        available_preprocessed_datasets: Names that `preproc_dataset_available` knows; for
            subclasses.
    """

    available_preprocessed_datasets: tuple[str, ...] = ()

    def __init__(
        self,
        bucket_name: str = "dataset-store",
        local_base_data_folder_path: str | Path = "~/project/data",
        *,
        store: TreeStore | None = None,
    ) -> None:
        super().__init__(bucket_name, store)
        self.local_base_data_folder_path = expanded(local_base_data_folder_path)

    def load_file(self, cloud_file_path: str, local_file_path: str | Path) -> ObjectInfo:
        """Fetch an object, unless the file is there and equal to it.

        Raises:
            NotFound: When there is no such object, whatever there is on this machine.
        """
        key, target = joined(cloud_file_path), expanded(local_file_path)
        info = self.store.head(key)
        if info is None:
            msg = f"an object must exist to be loaded: {self._path(key)} does not; save it first"
            raise NotFound(msg)
        if is_equal(target, info):
            return info
        return self.store.get(key, target)

    def exists_local_data_folder(
        self, data_folder_name: str, protect_local_folder: bool = True
    ) -> bool:
        """Whether a dataset's folder is there and is to be used as it is.

        Nothing is deleted: without ``protect_local_folder`` the answer is no, and files that are
        then loaded replace those that differ.
        """
        folder = self.local_base_data_folder_path / data_folder_name
        return protect_local_folder and folder.is_dir()

    def preproc_dataset_available(self, preproc_dataset_name: str) -> bool:
        """Whether there is such a preprocessed variant."""
        return preproc_dataset_name in self.available_preprocessed_datasets


class AbstractDatasetFetcher(ABC):
    """Fetches one dataset."""

    @abstractmethod
    def fetch_dataset(
        self, dataset_name: str | None = None, protect_local_folder: bool = True
    ) -> Path:
        """Have the dataset, or one part of it, in a local folder.

        Args:
            dataset_name: Which part, where it has some.
            protect_local_folder: Leave a folder that is there as it is.
        """
