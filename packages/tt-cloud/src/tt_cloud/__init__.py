"""One small object-store interface over folders, S3 and Google Cloud Storage.

`open_store` turns an address into a store; a store puts, gets, lists and deletes whole objects,
each with its SHA-256. Importing this loads the standard library only: boto3 and Google's client
are imported when a store that needs them is opened.
"""

from tt_cloud._open import StoreOptions, open_store
from tt_cloud.api import ObjectInfo, ObjectStore
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    ChecksumMismatch,
    CloudError,
    InvalidURL,
    MissingDependency,
    NotFound,
    Unavailable,
    UnknownOption,
    UnknownScheme,
    UnsafeKey,
)

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "BucketNotFound",
    "ChecksumMismatch",
    "CloudError",
    "InvalidURL",
    "MissingDependency",
    "NotFound",
    "ObjectInfo",
    "ObjectStore",
    "StoreOptions",
    "Unavailable",
    "UnknownOption",
    "UnknownScheme",
    "UnsafeKey",
    "open_store",
]
