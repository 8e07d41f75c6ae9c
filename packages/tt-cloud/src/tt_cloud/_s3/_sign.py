"""AWS Signature Version 4, as S3 wants it: paths are quoted once and left as they are."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from time import gmtime, strftime
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, quote

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"  # for bodies that a checksum among the signed headers vouches for


class Keys(Protocol):
    """Credentials; botocore's frozen ones are such."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class Scope(NamedTuple):
    """What a signature is for."""

    region: str
    service: str


class Message(NamedTuple):
    """What is signed of a request.

    Attributes:
        method: In capitals.
        path: Quoted.
        query: Quoted and in order: see `canonical`.
        headers: All that are sent, in lower case, ``host`` among them.
        digest: Of the body, or `UNSIGNED`.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    digest: str


def canonical(query: Mapping[str, str]) -> str:
    """A query as it is sent and signed."""
    pairs = sorted((quote(name, ""), quote(text, "")) for name, text in query.items())
    return "&".join(f"{name}={text}" for name, text in pairs)


def authorization(message: Message, keys: Keys, scope: Scope, stamp: str) -> str:
    """The ``Authorization`` header for a request whose ``x-amz-date`` is the stamp."""
    names = ";".join(sorted(message.headers))
    signature = _signature(message, names, keys, scope, stamp)
    credential = f"Credential={keys.access_key}/{_where(scope, stamp)}"
    return f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"


def presigned(message: Message, keys: Keys, scope: Scope, stamp: str, seconds: int) -> str:
    """The query that lets anybody make a request with that one header for a while."""
    (name,) = message.headers
    query = dict(parse_qsl(message.query, keep_blank_values=True)) | {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{_where(scope, stamp)}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": name,
    }
    if keys.token:
        query["X-Amz-Security-Token"] = keys.token
    asked = canonical(query)
    signature = _signature(message._replace(query=asked), name, keys, scope, stamp)
    return f"{asked}&X-Amz-Signature={signature}"


def stamp(seconds: float) -> str:
    """A moment as signatures write it."""
    return strftime("%Y%m%dT%H%M%SZ", gmtime(seconds))


def _where(scope: Scope, stamp: str) -> str:
    return f"{stamp[:8]}/{scope.region}/{scope.service}/aws4_request"


def _signature(message: Message, names: str, keys: Keys, scope: Scope, stamp: str) -> str:
    named = sorted(message.headers.items())
    lines = "".join(f"{name}:{' '.join(text.split())}\n" for name, text in named)
    asked = "\n".join((message.method, message.path, message.query, lines, names, message.digest))
    digest = hashlib.sha256(asked.encode()).hexdigest()
    to_sign = "\n".join((ALGORITHM, stamp, _where(scope, stamp), digest))
    key = _derived(keys.secret_key, stamp[:8], scope.region, scope.service)
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


@lru_cache(16)
def _derived(secret: str, day: str, region: str, service: str) -> bytes:
    """The day's key."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
