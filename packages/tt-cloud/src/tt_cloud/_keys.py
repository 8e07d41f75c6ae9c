"""Keys and addresses: which are safe, and how an address splits into bucket and prefix."""

from __future__ import annotations

from typing import NamedTuple

from tt_cloud.errors import InvalidURL, UnsafeKey

MAX_KEY_BYTES = 1024  # the limit of both S3 and Google Cloud Storage

# Unfinished files carry such a name beside the file they will become. Keys may not, so that a
# folder store can tell them apart.
TEMPORARY_PREFIX = ".tt-cloud-"


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
    if "@" in bucket:
        shown = f"{scheme}://...@{bucket.rpartition('@')[2]}"
        msg = f"an address holds no credentials: {shown} has; leave them to the environment"
        raise InvalidURL(msg)
    if not bucket:
        msg = f"an address needs a bucket: {url!r} has none; write {scheme}://bucket/prefix"
        raise InvalidURL(msg)
    prefix = prefix.strip("/")
    if prefix:
        check_key(prefix)
        prefix += "/"
    return BucketURL(scheme, bucket, prefix)


def check_endpoint(endpoint_url: str | None) -> None:
    """Let pass what can be printed: an http(s) address without user and password."""
    if endpoint_url is None:
        return
    scheme, _, rest = endpoint_url.partition("://")
    if scheme not in ("http", "https") or not rest or "@" in rest:
        shown = "one with credentials" if "@" in endpoint_url else repr(endpoint_url)
        msg = f"endpoint_url is like 'https://host:port': got {shown}; correct it"
        raise InvalidURL(msg)


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
