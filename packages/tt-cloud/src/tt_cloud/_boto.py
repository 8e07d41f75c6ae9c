"""Calls to services of AWS other than S3: clients, and what goes wrong as this package's errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tt_cloud.errors import (
    AccessDenied,
    CloudError,
    CredentialsExpired,
    MissingDependency,
    Throttled,
    Unavailable,
)

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_TRIES = 3
_CONNECT_TIMEOUT = 10
_READ_TIMEOUT = 60

_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
_THROTTLED = frozenset(
    {
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_UNAVAILABLE = frozenset({"InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable"})

_ADVICE: dict[type[CloudError], str] = {
    AccessDenied: "check the credentials, and that their policy allows the call",
    CredentialsExpired: "get new credentials",
    Throttled: "try again later, or ask AWS for a higher quota",
    Unavailable: "try again later",
}


def client(
    service: str, region: str | None, endpoint_url: str | None, other: type[CloudError]
) -> Any:
    """A client of boto3 with timeouts and few retries, out of a session of its own."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        msg = (
            f"{service.upper()} is called through boto3: it is missing; pip install 'tt-cloud[s3]'"
        )
        raise MissingDependency(msg) from error
    config = Config(
        retries={"total_max_attempts": _TRIES, "mode": "standard"},
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
    )
    with translated(service.upper(), other):
        session = boto3.session.Session()
        return session.client(service, region, endpoint_url=endpoint_url, config=config)


@contextmanager
def translated(
    where: str, other: type[CloudError], advice: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Raise what boto3 raises in the body as the package's own; the original stays its cause.

    Args:
        where: What was called, for messages.
        other: The error for answers that are about the request, not about the way there.
        advice: What to do, by the service's code.
    """
    from botocore import exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        raise _answered(error, where, other, advice or {}) from error
    except (
        boto.CredentialRetrievalError,
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.ProfileNotFound,
    ) as error:
        raise _error(AccessDenied, where, type(error).__name__) from error
    except (boto.ConnectionError, boto.HTTPClientError) as error:
        raise _error(Unavailable, where, type(error).__name__) from error
    except boto.BotoCoreError as error:
        raise _error(other, where, type(error).__name__, str(error)) from error


def _answered(
    error: ClientError, where: str, other: type[CloudError], advice: Mapping[str, str]
) -> CloudError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    answer = error.response.get("ResponseMetadata", {})
    status = int(answer.get("HTTPStatusCode", 0))
    kind = _kind(code, status) or other
    raised = _error(kind, where, f"{code} (status {status})", advice.get(code))
    raised.status, raised.code, raised.request_id = status, code, answer.get("RequestId")
    return raised


def _kind(code: str, status: int) -> type[CloudError] | None:
    if code in _EXPIRED:
        return CredentialsExpired
    if code in _DENIED:
        return AccessDenied
    if code in _THROTTLED:
        return Throttled
    return Unavailable if code in _UNAVAILABLE or status >= 500 else None


def _error(kind: type[CloudError], where: str, came: str, advice: str | None = None) -> CloudError:
    """Codes and class names only: a server's text may quote what was signed."""
    do = advice or _ADVICE.get(kind, "look the code up in the service's manual")
    return kind(f"{where} was to accept the call: it answered {came}; {do}")
