"""Results to a bucket of Google."""

from __future__ import annotations

from tt_cloud.aws.results_save import BaseResultsSaver, S3ResultsSaver
from tt_cloud.google_cloud.data_access import BaseGoogleStorageDataSaver

__all__ = ["BaseResultsGoogleStorageSaver", "GoogleStorageResultsSaver"]


class BaseResultsGoogleStorageSaver(BaseGoogleStorageDataSaver, BaseResultsSaver):
    """`tt_cloud.aws.results_save.BaseResultsSaver` for a bucket of Google."""


class GoogleStorageResultsSaver(BaseResultsGoogleStorageSaver, S3ResultsSaver):
    """`tt_cloud.aws.results_save.S3ResultsSaver` for a bucket of Google."""
