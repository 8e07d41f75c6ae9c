"""Removing objects: many at once where the server can."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tt_cloud._s3 import _xml
from tt_cloud._s3._bucket import Bucket
from tt_cloud._s3._faults import Fault, fault_in
from tt_cloud._s3._objects import CHECKSUM, encoded, unlike
from tt_cloud._s3._request import Request
from tt_cloud.errors import BucketNotFound, CloudError, NotFound

_AT_ONCE = 8
_REFUSED = frozenset(
    {
        "",
        "InvalidRequest",
        "MalformedXML",
        "MethodNotAllowed",
        "MissingContentMD5",
        "NotImplemented",
    }
)
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

_log = logging.getLogger(__name__)


def delete(bucket: Bucket, keys: Sequence[str]) -> Mapping[str, CloudError]:
    """Remove objects; gives those that failed. A single one that fails is raised."""
    if len(keys) == 1:
        drop(bucket, keys[0], {})
        return {}
    if bucket.way.learnt.batches and not any(map(_NOT_IN_XML.search, keys)):
        failed = _together(bucket, keys)
        if failed is not None:
            return failed
        _log.debug("%s takes no batches: its objects are removed one by one", bucket.where(None))
    return _singly(bucket, keys)


def drop(bucket: Bucket, key: str, query: Mapping[str, str]) -> None:
    """Remove an object, or what of it the query names; not an error when it is not there."""
    try:
        _, content = bucket.done(Request("DELETE", key, query))
    except BucketNotFound:
        raise
    except NotFound:  # most servers do not even say so
        return
    if content.strip():
        raise unlike(bucket.where(key), "having removed it")


def _singly(bucket: Bucket, keys: Sequence[str]) -> dict[str, CloudError]:
    def tried(key: str) -> CloudError | None:
        try:
            drop(bucket, key, {})
        except CloudError as error:
            return error
        return None

    errors = zip(keys, _at_once(tried, keys), strict=True)
    return {key: error for key, error in errors if error is not None}


def _at_once(
    call: Callable[[str], CloudError | None], keys: Sequence[str]
) -> Iterable[CloudError | None]:
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return tuple(pool.map(call, keys))
    except RuntimeError:  # the program ends, and no thread can be had any more
        return map(call, keys)


def _together(bucket: Bucket, keys: Sequence[str]) -> dict[str, CloudError] | None:
    """In one request; ``None`` where the server has no such, which is remembered."""
    entries = (_xml.element("Object", Key=key) for key in keys)
    body = _xml.document("Delete", [*entries, "<Quiet>true</Quiet>"])
    digest = hashlib.sha256(body)
    md5 = hashlib.md5(body, usedforsecurity=False).digest()
    request = Request(
        "POST",
        None,
        {"delete": ""},
        {"content-md5": encoded(md5), "content-type": "application/xml"},
        memoryview(body),
        digest.hexdigest(),
        {CHECKSUM + "sha256": encoded(digest.digest())},
        (400, 404, 405, 411, 501),
    )
    with bucket.ask(request) as answer:
        content = answer.read(_xml.MAX_LISTING)
    if answer.status >= 300:
        fault = fault_in(content, answer, request)
        if fault.code not in _REFUSED or answer.status == 404:
            raise fault.error(bucket.where(None))
        bucket.way.learnt.batches = False
        return None
    return _failures(bucket, request, content)


def _failures(bucket: Bucket, request: Request, content: bytes) -> dict[str, CloudError]:
    root = _xml.parsed(content, "DeleteResult", bucket.where(None))
    failed = {}
    for entry in root.iterfind("Error"):
        key, code = _xml.text(entry, "Key"), _xml.text(entry, "Code")
        if code != "NoSuchKey":
            failed[key] = Fault(200, code, request).error(bucket.where(key))
    return failed
