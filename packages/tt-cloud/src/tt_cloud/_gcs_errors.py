"""What Google's client raises, as errors of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests.exceptions
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as storage

from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    ChecksumMismatch,
    CloudError,
    NotFound,
    Unavailable,
)

_BY_STATUS: dict[int, type[CloudError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    408: Unavailable,
    412: AlreadyExists,
    429: Unavailable,
}
_ADVICE: dict[type[CloudError], str] = {
    AccessDenied: "check the credentials and what they allow",
    AlreadyExists: "with if_absent the key must be free, and it is taken: use another",
    ChecksumMismatch: "the bytes changed on their way: try again",
    CloudError: "look the status up in the server's manual",
    NotFound: "there is no such object: list() shows what there is",
    Unavailable: "try again later",
}
_NO_ANSWER = (
    api.RetryError,
    auth.TransportError,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    ConnectionError,
)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what the body raises as the package's own; the original stays its cause."""
    try:
        yield
    except storage.DataCorruption as error:
        raise _error(ChecksumMismatch, where, "a wrong checksum") from error
    except _NO_ANSWER as error:
        raise _error(Unavailable, where, type(error).__name__) from error
    except auth.GoogleAuthError as error:
        raise _error(AccessDenied, where, type(error).__name__) from error
    except api.GoogleAPICallError as error:
        raise _error(_kind(error), where, f"status {error.code}") from error
    except storage.InvalidResponse as error:
        status = error.response.status_code
        raise _error(_BY_STATUS.get(status, Unavailable), where, f"status {status}") from error


def _kind(error: api.GoogleAPICallError) -> type[CloudError]:
    status = int(error.code or 0)
    if status == 400 and "crc32c" in str(error).lower():
        return ChecksumMismatch
    return _BY_STATUS.get(status) or (Unavailable if status >= 500 else CloudError)


def _error(kind: type[CloudError], where: str, came: str) -> CloudError:
    """Codes and class names only: a server's text may quote the request's headers."""
    return kind(f"{where} was answered by {came}; {_ADVICE[kind]}")
