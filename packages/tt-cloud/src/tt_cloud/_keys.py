"""Keys and addresses: which are safe, and how an address splits into bucket and prefix."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from tt_cloud.errors import InvalidURL, UnsafeKey

MAX_KEY_BYTES = 1024  # the limit of both S3 and Google Cloud Storage

# Unfinished files carry such a name beside the file they will become. Keys may not, so that a
# folder store can tell them apart.
TEMPORARY_PREFIX = ".tt-cloud-"

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LOOPBACK = re.compile(r"(.+\.)?localhost|127(\.\d{1,3}){3}|::1", re.IGNORECASE)


class BucketURL(NamedTuple):
    """``scheme://bucket/prefix``, where the prefix ends with ``/`` unless it is empty."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def check_key(key: str) -> None:
    """Let only plain relative paths pass."""
    if fault := _fault(key, key.split("/")):
        msg = f"a key is a plain relative path like 'runs/1/model.bin': {key!r} {fault}; rename it"
        raise UnsafeKey(msg)


def check_prefix(prefix: str) -> None:
    """Like `check_key`, but the last part may be the beginning of a name, or empty."""
    if fault := _fault(prefix, prefix.split("/")[:-1]):
        msg = f"a prefix is the beginning of a key: {prefix!r} {fault}; leave that out"
        raise UnsafeKey(msg)


def split_bucket_url(url: str) -> BucketURL:
    """Take ``s3://bucket/some/prefix`` apart; nothing in it is percent-decoded."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        msg = f"an address has no user, password or port: one with {scheme}:// does; leave them out"
        raise InvalidURL(msg)
    if not _BUCKET.fullmatch(bucket):
        came = f"{bucket!r} is none" if bucket else f"{url!r} has none"
        msg = f"an address needs the name of a bucket: {came}; write {scheme}://bucket/prefix"
        raise InvalidURL(msg)
    prefix = prefix.strip("/")
    if prefix:
        check_key(prefix)
        prefix += "/"
    return BucketURL(scheme, bucket, prefix)


def check_endpoint(endpoint_url: str | None, *, allow_http: bool = False) -> None:
    """Let pass an http(s) address that can be printed; warn of one that anybody can listen to."""
    if endpoint_url is None:
        return
    parts = _parts(endpoint_url)
    if parts is None:
        shown = "one with more" if set("@?#") & set(endpoint_url) else repr(endpoint_url)
        msg = f"endpoint_url is like 'https://host:port': got {shown}; correct it"
        raise InvalidURL(msg)
    if parts.scheme == "http" and not allow_http and not _LOOPBACK.fullmatch(parts.hostname or ""):
        _warn(parts.netloc)


def _parts(endpoint_url: str) -> SplitResult | None:
    """The address, if it is one of a server and nothing else."""
    try:
        parts = urlsplit(endpoint_url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    odd = "@" in endpoint_url or "?" in endpoint_url or "#" in endpoint_url
    plain = endpoint_url.isascii() and endpoint_url.isprintable() and " " not in endpoint_url
    return parts if parts.scheme in ("http", "https") and usable and plain and not odd else None


@cache
def _warn(place: str) -> None:
    """Once for each server."""
    import logging  # here, as `import tt_cloud` does without

    rule = "http://%s is not encrypted: use https, or allow_http=True to be quiet"
    logging.getLogger(__name__).warning(rule, place)


def _fault(text: str, parts: list[str]) -> str | None:
    """What is wrong with a key or prefix whose complete parts are these."""
    if any(char == "\\" or ord(char) < 32 or ord(char) == 127 for char in text):
        return "has a backslash or a control character"
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return "cannot be written as UTF-8"
    if len(text.encode()) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    for part in parts:
        if part in ("", ".", ".."):
            return f"has the part {part!r}"
        if part.startswith(TEMPORARY_PREFIX):
            return f"has a part that begins with {TEMPORARY_PREFIX!r} (kept for unfinished files)"
    return None
