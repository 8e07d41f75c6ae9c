"""Models to a bucket of Google."""

from __future__ import annotations

from tt_cloud.aws.model_save import BaseModelSaver, KerasS3ModelSaver, PyTorchS3ModelSaver
from tt_cloud.google_cloud.data_access import BaseGoogleStorageDataSaver

__all__ = [
    "BaseModelGoogleStorageSaver",
    "KerasGoogleStorageModelSaver",
    "PyTorchGoogleStorageModelSaver",
]


class BaseModelGoogleStorageSaver(BaseGoogleStorageDataSaver, BaseModelSaver):
    """`tt_cloud.aws.model_save.BaseModelSaver` for a bucket of Google."""


class PyTorchGoogleStorageModelSaver(BaseModelGoogleStorageSaver, PyTorchS3ModelSaver):
    """`tt_cloud.aws.model_save.PyTorchS3ModelSaver` for a bucket of Google."""


class KerasGoogleStorageModelSaver(BaseModelGoogleStorageSaver, KerasS3ModelSaver):
    """`tt_cloud.aws.model_save.KerasS3ModelSaver` for a bucket of Google."""
