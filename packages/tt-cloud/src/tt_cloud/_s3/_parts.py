"""Uploads in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from tt_cloud._remote import Part
from tt_cloud._s3 import _xml
from tt_cloud._s3._bucket import Bucket
from tt_cloud._s3._faults import NO_UPLOAD, fault_in
from tt_cloud._s3._objects import CHECKSUM, bare, crc_of, crc_text, quoted, stored_of, unlike
from tt_cloud._s3._request import Request
from tt_cloud._s3._sign import UNSIGNED
from tt_cloud._stored import Stored
from tt_cloud.errors import ChecksumMismatch

_CRC = CHECKSUM + "crc32"
_TYPE = CHECKSUM + "type"
_WHOLE = "FULL_OBJECT"


def begin(bucket: Bucket, key: str, headers: Mapping[str, str]) -> str:
    """Begin an upload; gives the server's name for it."""
    checks = {CHECKSUM + "algorithm": "CRC32", _TYPE: _WHOLE}
    answer, body = bucket.done(Request("POST", key, {"uploads": ""}, headers, checks=checks))
    bucket.way.learnt.full = answer.headers.get(_TYPE) == _WHOLE
    where = bucket.where(key)
    upload = _xml.text(_xml.parsed(body, "InitiateMultipartUploadResult", where), "UploadId")
    if not upload:
        raise unlike(where, "an UploadId")
    return upload


def send(bucket: Bucket, key: str, upload: str, number: int, data: memoryview, crc32: int) -> Part:
    """Send one part, in a way in which the server notices other bytes.

    Where it is known to compute the CRC that goes with them, that does; else the body is signed,
    which every server verifies, for ten times the time.
    """
    way = bucket.way
    trusted = way.learnt.crc and way.location.private
    digest = UNSIGNED if trusted else hashlib.sha256(data).hexdigest()
    query = {"partNumber": str(number), "uploadId": upload}
    checks = {_CRC: crc_text(crc32)}
    answer, _ = bucket.done(Request("PUT", key, query, {}, data, digest, checks))
    etag, computed = bare(answer.headers.get("etag", "")), crc_of(answer.headers.get(_CRC))
    if not etag:
        raise unlike(bucket.where(key), "an ETag")
    way.learnt.crc = computed is not None
    if computed not in (None, crc32):
        raise _other(bucket, key)
    if trusted and computed is None:
        msg = f"{bucket.where(key)} arrived without a CRC from a server that computed some before"
        raise ChecksumMismatch(f"{msg}; send it again, which signs it")
    return Part(number, len(data), etag, computed)


def sent(bucket: Bucket, key: str, upload: str) -> dict[int, Part] | None:
    """The parts that the server has; ``None`` when it does not know the upload."""
    found: dict[int, Part] = {}
    query = {"uploadId": upload}
    while True:
        request = Request("GET", key, query, fine=(404,))
        answer, body = bucket.done(request, _xml.MAX_LISTING)
        if answer.status == 404:
            fault = fault_in(body, answer, request)
            if fault.code == NO_UPLOAD:
                return None
            raise fault.error(bucket.where(key))
        where = bucket.where(key)
        root = _xml.parsed(body, "ListPartsResult", where)
        bucket.way.learnt.full |= _xml.text(root, "ChecksumType") == _WHOLE
        for entry in root.iterfind("Part"):
            number, size = (
                _xml.number(entry, "PartNumber", where),
                _xml.number(entry, "Size", where),
            )
            crc32 = crc_of(_xml.text(entry, "ChecksumCRC32"))
            found[number] = Part(number, size, bare(_xml.text(entry, "ETag")), crc32)
        if _xml.text(root, "IsTruncated").strip().lower() != "true":
            return found
        behind = _xml.text(root, "NextPartNumberMarker")
        if not behind or behind == query.get("part-number-marker"):
            raise unlike(where, "a way to go on")
        query = {**query, "part-number-marker": behind}


def finish(
    bucket: Bucket,
    key: str,
    upload: str,
    parts: Sequence[Part],
    crc32: int,
    headers: Mapping[str, str],
) -> Stored:
    """Join the parts."""
    learnt = bucket.way.learnt
    body = _xml.document("CompleteMultipartUpload", (_entry(part, learnt.checks) for part in parts))
    checks = {_CRC: crc_text(crc32), _TYPE: _WHOLE} if learnt.full else {}
    digest = hashlib.sha256(body).hexdigest()
    request = Request(
        "POST", key, {"uploadId": upload}, headers, memoryview(body), digest, checks, slow=True
    )
    answer, content = bucket.done(request)
    where = bucket.where(key)
    if _xml.error(content) is not None:  # known only after the status was sent
        raise fault_in(content, answer, request).error(where)
    root = _xml.parsed(content, "CompleteMultipartUploadResult", where)
    etag = bare(_xml.text(root, "ETag"))
    if not etag:
        raise unlike(where, "an ETag")
    told = {_CRC: _xml.text(root, "ChecksumCRC32"), _TYPE: _xml.text(root, "ChecksumType", _WHOLE)}
    about = {name: text for name, text in answer.headers.items() if name.startswith("x-amz-")}
    stored = stored_of({**about, **told, "etag": etag}, sum(part.size for part in parts))
    if stored.checksums.get("crc32", f"{crc32:08x}") != f"{crc32:08x}":
        raise _other(bucket, key)
    return stored


def _entry(part: Part, checks: bool) -> str:
    crc = {} if part.crc32 is None or not checks else {"ChecksumCRC32": crc_text(part.crc32)}
    return _xml.element("Part", PartNumber=part.number, ETag=quoted(part.etag), **crc)


def _other(bucket: Bucket, key: str) -> ChecksumMismatch:
    msg = f"{bucket.where(key)} arrived with another CRC than it was sent with; send it again"
    return ChecksumMismatch(msg)
