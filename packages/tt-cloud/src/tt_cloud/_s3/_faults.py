"""Answers that say no, as errors of this package."""

from __future__ import annotations

import re
from typing import NamedTuple

from tt_cloud._http import Answer
from tt_cloud._s3 import _xml
from tt_cloud._s3._request import Request
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Changed,
    ChecksumMismatch,
    CloudError,
    CredentialsExpired,
    NotFound,
    ProtocolError,
    Throttled,
    Unavailable,
    Unsupported,
)

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
SKEWED = "RequestTimeTooSkewed"
NO_UPLOAD = "NoSuchUpload"

_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_BY_CODE: dict[str, type[CloudError]] = {
    "AccessDenied": AccessDenied,
    "BadDigest": ChecksumMismatch,
    "ConditionalRequestConflict": Unavailable,  # another write of the key was under way
    "IncompleteBody": Unavailable,
    "InternalError": Unavailable,
    "InvalidDigest": ChecksumMismatch,
    "InvalidToken": AccessDenied,
    "MethodNotAllowed": Unsupported,
    "NoSuchBucket": BucketNotFound,
    "NotImplemented": Unsupported,
    "OperationAborted": Unavailable,
    "RequestTimeout": Unavailable,
    "XAmzContentChecksumMismatch": ChecksumMismatch,
    "XAmzContentSHA256Mismatch": ChecksumMismatch,
}
_BY_STATUS: dict[int, type[CloudError]] = {
    301: ProtocolError,
    302: ProtocolError,
    303: ProtocolError,
    307: ProtocolError,
    308: ProtocolError,
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    405: Unsupported,
    408: Unavailable,
    501: Unsupported,
}
_ADVICE: dict[type[CloudError], str] = {
    AccessDenied: "check the credentials and what they allow",
    AlreadyExists: "with if_absent the key must be free, and it is taken: use another",
    BucketNotFound: "the bucket does not exist: create it or correct the address",
    Changed: "the object is another by now: look at it and decide anew",
    ChecksumMismatch: "the bytes changed on their way: try again",
    CredentialsExpired: "get new credentials",
    NotFound: "there is no such object: list() shows what there is",
    ProtocolError: "check the address, the region and any proxy",
    Throttled: "try again later, with fewer requests at once",
    Unavailable: "try again later",
    Unsupported: "the server cannot do that: look the code up in its manual",
}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REGION = re.compile(r"[a-z0-9-]{1,40}")


class Fault(NamedTuple):
    """What a server says of a request that it did not fulfil.

    Attributes:
        status: Of HTTP.
        code: The server's name for it; empty where none came.
        request: What it was asked.
        request_id: Its name for the request.
        region: Where it says that the bucket is.
        retry_after: Seconds that it wants us to wait.
        date: Its clock.
        known: Whether it is one of S3, rather than of a proxy on the way.
        of_source: Whether it is about the source of a copy.
    """

    status: int
    code: str
    request: Request
    request_id: str | None = None
    region: str | None = None
    retry_after: float | None = None
    date: str = ""
    known: bool = True
    of_source: bool = False

    def error(self, where: str) -> CloudError:
        """What to raise; without texts of the server, which may quote what was signed."""
        kind = self._kind()
        code = self.code or "no code"
        advice = _ADVICE.get(kind, "look the code up in the server's manual")
        if not self.known:
            code, advice = "no answer of S3", "check the address and any proxy"
        error = kind(f"{where} was answered by {code} (status {self.status}); {advice}")
        error.status, error.code, error.request_id = self.status, self.code or None, self.request_id
        if isinstance(error, Throttled):
            error.retry_after = self.retry_after
        return error

    def _kind(self) -> type[CloudError]:
        if self.code in EXPIRED:
            return CredentialsExpired
        if self.code in _THROTTLED or self.status == 429 or (self.status, self.code) == (503, ""):
            return Throttled
        if self.status >= 500 and self.code not in _BY_CODE and self.status != 501:
            return Unavailable if self.retry_after is None else Throttled
        if not self.known:
            return ProtocolError
        return self._refusal() or _BY_CODE.get(self.code) or _BY_STATUS.get(self.status, CloudError)

    def _refusal(self) -> type[CloudError] | None:
        """What depends on the question."""
        asked = self.request
        if self.status == 412:
            create = "if-none-match" in asked.headers and not self.of_source
            return AlreadyExists if create else Changed
        if self.status == 404 and asked.method != "GET" and "if-match" in asked.headers:
            return None if self.code in ("NoSuchBucket", NO_UPLOAD) else Changed
        if "versionId" in asked.query and (self.status == 405 or self.code == "InvalidArgument"):
            return NotFound  # a delete marker, or a name that no version can have
        return None


def fault_of(answer: Answer, request: Request) -> Fault:
    """Read an answer that is not what was asked for."""
    body = b"" if request.method == "HEAD" else answer.read()
    return fault_in(body, answer, request)


def fault_in(body: bytes, answer: Answer, request: Request) -> Fault:
    """The same of a body that was read before."""
    headers = answer.headers
    root = _xml.error(body)
    told = {} if root is None else root
    return Fault(
        answer.status,
        _matching(_NAME, told.get("Code")) or "",
        request,
        _matching(_NAME, headers.get("x-amz-request-id") or told.get("RequestId")),
        _matching(_REGION, headers.get("x-amz-bucket-region") or told.get("Region")),
        _seconds(headers.get("retry-after")),
        headers.get("date", ""),
        root is not None or not body.strip(),
        told.get("Condition", "").startswith("x-amz-copy-source"),
    )


def _matching(pattern: re.Pattern[str], text: str | None) -> str | None:
    return text if text is not None and pattern.fullmatch(text) else None


def _seconds(text: str | None) -> float | None:
    """``Retry-After`` as a number; services do not send dates."""
    return float(text) if text is not None and re.fullmatch(r"\d{1,6}(\.\d+)?", text) else None
