"""What boto3 raises, as errors of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as boto

from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    ChecksumMismatch,
    CloudError,
    NotFound,
    Unavailable,
)

_BY_CODE: dict[str, type[CloudError]] = {
    "BadDigest": ChecksumMismatch,
    "ConditionalRequestConflict": Unavailable,  # another create of the key was under way
    "ExpiredToken": AccessDenied,
    "InvalidDigest": ChecksumMismatch,
    "InvalidToken": AccessDenied,
    "NoSuchBucket": BucketNotFound,
    "NoSuchUpload": Unavailable,  # parts were dropped, or joined by a request whose answer got lost
    "RequestTimeout": Unavailable,
    "XAmzContentChecksumMismatch": ChecksumMismatch,
    "XAmzContentSHA256Mismatch": ChecksumMismatch,
}
_BY_STATUS: dict[int, type[CloudError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    412: AlreadyExists,
    429: Unavailable,
}
_ADVICE: dict[type[CloudError], str] = {
    AccessDenied: "check the credentials and what they allow",
    AlreadyExists: "with if_absent the key must be free, and it is taken: use another",
    BucketNotFound: "the bucket does not exist: create it or correct the address",
    ChecksumMismatch: "the bytes changed on their way: try again",
    CloudError: "look the code up in the server's manual",
    NotFound: "there is no such object: list() shows what there is",
    Unavailable: "try again later",
}
_NO_CREDENTIALS = (
    boto.CredentialRetrievalError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
)
_NO_ANSWER = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what the body raises as the package's own; the original stays its cause."""
    try:
        yield
    except boto.ClientError as error:
        raise _answered(error, where) from error
    except boto.FlexibleChecksumError as error:
        raise _error(ChecksumMismatch, where, "a wrong checksum") from error
    except _NO_CREDENTIALS as error:
        raise _error(AccessDenied, where, type(error).__name__) from error
    except _NO_ANSWER as error:
        raise _error(Unavailable, where, type(error).__name__) from error
    except boto.BotoCoreError as error:
        raise _error(CloudError, where, type(error).__name__) from error


def _answered(error: boto.ClientError, where: str) -> CloudError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = Unavailable if status >= 500 else CloudError
    return _error(kind, where, f"{code} (status {status})")


def _error(kind: type[CloudError], where: str, came: str) -> CloudError:
    """Codes and class names only: a server's text may quote what was signed."""
    return kind(f"{where} was answered by {came}; {_ADVICE[kind]}")
