"""What the service says when it does not do what it was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from tt_cloud.errors import (
    AccessDenied,
    BucketNotFound,
    Changed,
    ChecksumMismatch,
    CloudError,
    NotFound,
    ProtocolError,
    Throttled,
    Unavailable,
)

_BY_STATUS: dict[int, type[CloudError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    408: Unavailable,
    409: Unavailable,  # somebody else changes the same object
    410: NotFound,
    412: Changed,
    429: Throttled,
}
_BY_CODE: dict[str, type[CloudError]] = {
    "BadDigest": ChecksumMismatch,
    "NoSuchBucket": BucketNotFound,
    "rateLimitExceeded": Throttled,
    "userRateLimitExceeded": Throttled,
    "SlowDown": Throttled,
}
_ADVICE: dict[type[CloudError], str] = {
    AccessDenied: "check the credentials and what they allow",
    BucketNotFound: "create the bucket or correct the address",
    Changed: "look at the object again before you replace it",
    ChecksumMismatch: "the bytes changed on their way: send them again",
    CloudError: "look the status up in the service's manual",
    NotFound: "list() shows what there is",
    ProtocolError: "is a proxy or a login page in between? check the address",
    Throttled: "send fewer requests",
    Unavailable: "try again later",
}
_PAYER = ("userProjectMissing", "UserProjectMissing")
_PLAIN = re.compile(r"[\w. -]{1,64}")
_XML_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")


class Reply(NamedTuple):
    """An answer that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def failure(reply: Reply, where: str) -> CloudError:
    """The error for an answer that is none of success."""
    found, message = _reason(reply.body)
    code = found if found and _PLAIN.fullmatch(found) else None
    kind = _kind(reply, code, message)
    advice = _ADVICE[kind]
    if code in _PAYER:
        kind, advice = AccessDenied, "its readers pay: open the store with requester_pays=True"
    came = f"status {reply.status}" + (f" ({code})" if code else "")
    return marked(kind(f"{where} was answered with {came}; {advice}"), reply, code)


def marked(error: CloudError, reply: Reply, code: str | None = None) -> CloudError:
    """An error with what support asks for."""
    error.status = reply.status
    error.code = code
    error.request_id = reply.headers.get("x-guploader-uploadid")
    if isinstance(error, Throttled):
        error.retry_after = _patience(reply.headers.get("retry-after"))
    return error


def parsed(reply: Reply, where: str) -> dict[str, Any]:
    """The JSON of a success."""
    try:
        found = json.loads(reply.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise nonsense(reply, where)
    return found


def nonsense(reply: Reply, where: str) -> CloudError:
    """The error for an answer that no such service gives."""
    kind = reply.headers.get("content-type", "something")
    came = f"status {reply.status} and {kind if _PLAIN.fullmatch(kind) else 'something'}"
    msg = f"{where} was answered with {came} as no store does; {_ADVICE[ProtocolError]}"
    return marked(ProtocolError(msg), reply)


def _kind(reply: Reply, code: str | None, message: str) -> type[CloudError]:
    status = reply.status
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status == 400 and "crc32c" in message.lower():
        return ChecksumMismatch
    if status in (429, 503) and "retry-after" in reply.headers:
        return Throttled
    if status >= 500:
        return Unavailable
    if status < 400 or (status not in (408, 429) and is_page(reply.body)):
        return ProtocolError
    return _BY_STATUS.get(status, CloudError)


def is_page(body: bytes) -> bool:
    """Whether it is meant for people; the service gives its own errors that type too."""
    start = body[:64].lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _reason(body: bytes) -> tuple[str | None, str]:
    """Code and text, as JSON or XML; the text may quote the request and is never shown."""
    if code := _XML_CODE.search(body):
        return code[1].decode(), ""
    try:
        error = json.loads(body)["error"]
        first = (error.get("errors") or [{}])[0]
        return first.get("reason"), str(error.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None, ""


def _patience(header: str | None) -> float | None:
    """Seconds, which may come as a date."""
    if header is None:
        return None
    if header.isdigit():
        return float(header)
    try:
        wait = parsedate_to_datetime(header) - datetime.now(UTC)
    except (ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())
