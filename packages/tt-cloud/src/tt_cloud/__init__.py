"""One small object-store interface over folders, S3 and Google Cloud Storage.

`open_store` turns an address into a store. A store puts, gets, lists and deletes objects and whole
folders, verifies every byte on its way, and goes on where it was interrupted. Importing this loads
the standard library only: boto3 and Google's libraries are imported when a store that needs them
is opened.
"""

from tt_cloud._open import StoreOptions, open_store
from tt_cloud._options import Encryption, RetryPolicy, TransferOptions
from tt_cloud.api import (
    Failure,
    ObjectInfo,
    ObjectStore,
    PresignedURL,
    TransferReport,
    TreeStore,
)
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Cancelled,
    Changed,
    ChecksumMismatch,
    CloudError,
    CredentialsExpired,
    InstanceError,
    InvalidURL,
    MailError,
    MissingDependency,
    NotCommitted,
    NotFound,
    ProtocolError,
    SourceChanged,
    Throttled,
    TransferFailed,
    Unavailable,
    UnknownOption,
    UnknownScheme,
    UnsafeArchive,
    UnsafeKey,
    Unsupported,
)
from tt_cloud.names import gcs_available_options, s3_available_options

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "BucketNotFound",
    "Cancelled",
    "Changed",
    "ChecksumMismatch",
    "CloudError",
    "CredentialsExpired",
    "Encryption",
    "Failure",
    "InstanceError",
    "InvalidURL",
    "MailError",
    "MissingDependency",
    "NotCommitted",
    "NotFound",
    "ObjectInfo",
    "ObjectStore",
    "PresignedURL",
    "ProtocolError",
    "RetryPolicy",
    "SourceChanged",
    "StoreOptions",
    "Throttled",
    "TransferFailed",
    "TransferOptions",
    "TransferReport",
    "TreeStore",
    "Unavailable",
    "UnknownOption",
    "UnknownScheme",
    "UnsafeArchive",
    "UnsafeKey",
    "Unsupported",
    "gcs_available_options",
    "open_store",
    "s3_available_options",
]
