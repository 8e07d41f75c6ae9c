"""What headers and listings say of objects."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from tt_cloud._attributes import CRC32, SHA256, TOKEN, callers
from tt_cloud._http import Answer
from tt_cloud._options import Writing
from tt_cloud._s3 import _xml
from tt_cloud._stored import Attributes, Condition, Stored
from tt_cloud.errors import ProtocolError, Unavailable

METADATA = "x-amz-meta-"
CHECKSUM = "x-amz-checksum-"

_KINDS = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}  # bytes
_MD5 = re.compile(r"[0-9a-f]{32}")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


def stored_of(headers: Mapping[str, str], size: int, *, whole: bool = True) -> Stored:
    """What the headers of an answer say; checksums of a part are not the object's."""
    metadata = {
        name[len(METADATA) :]: text for name, text in headers.items() if name.startswith(METADATA)
    }
    checksums = _checksums(headers) if whole else {}
    if CRC32 in metadata:
        checksums["crc32"] = metadata[CRC32]  # the uploader's own goes before the server's
    etag = bare(headers.get("etag", ""))
    if _is_md5(etag) and not _is_encrypted(headers):
        checksums["md5"] = etag
    version = headers.get("x-amz-version-id")
    return Stored(
        size,
        etag,
        metadata.get(SHA256),
        metadata.get(TOKEN),
        None if version == "null" else version,
        _moment(headers.get("last-modified", "")),
        headers.get("content-type"),
        callers(metadata),
        checksums,
    )


def received(answer: Answer, where: str) -> Stored:
    """Of an answer that is an object's: one that none of a web page is taken for."""
    if not answer.headers.get("etag"):
        raise unlike(where, "an ETag")
    if answer.status == 206:
        return stored_of(answer.headers, _span(answer, where)[2], whole=False)
    if answer.length is None:
        raise unlike(where, "a Content-Length")
    return stored_of(answer.headers, answer.length)


def check_span(answer: Answer, start: int, end: int | None, where: str) -> None:
    """Refuse other bytes than those that were asked for."""
    if answer.status == 206:
        first, last, whole = _span(answer, where)
        asked = start, (whole if end is None else min(end, whole)) - 1
        size = last - first + 1
        if (first, last) != asked or answer.length is None or answer.length > size:
            raise unlike(where, "the bytes of the range")
        if answer.length < size:  # somebody on the way cut it
            msg = f"{where} was answered with {answer.length} bytes of {size}; try again later"
            raise Unavailable(msg)
    elif start or end is not None:
        raise unlike(where, "a part, although one was asked for")


def listed(entry: Element, where: str) -> Stored:
    """Of an entry of a listing."""
    etag = bare(_xml.text(entry, "ETag"))
    return Stored(
        _xml.number(entry, "Size", where),
        etag,
        version=_xml.text(entry, "VersionId") or None,
        modified=moment(_xml.text(entry, "LastModified")),
        checksums={"md5": etag} if _is_md5(etag) else {},
    )


def headers_of(attributes: Attributes, writing: Writing) -> dict[str, str]:
    """The headers that an upload begins with."""
    headers = {METADATA + name: text for name, text in attributes.metadata.items()}
    headers["content-type"] = attributes.content_type
    return headers | kept(writing)


def kept(writing: Writing) -> dict[str, str]:
    """How an object is to be stored."""
    headers = {}
    if writing.storage_class is not None:
        headers["x-amz-storage-class"] = writing.storage_class
    if (encryption := writing.encryption) is not None:
        by_kms = encryption.mode == "kms"
        headers["x-amz-server-side-encryption"] = "aws:kms" if by_kms else "AES256"
        if by_kms and encryption.key is not None:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = encryption.key
    return headers


def conditional(condition: Condition) -> dict[str, str]:
    """The headers that make a write depend on what is there."""
    headers = {}
    if condition.absent:
        headers["if-none-match"] = "*"
    if condition.etag is not None:
        headers["if-match"] = quoted(condition.etag)
    return headers


def bare(etag: str) -> str:
    """An ETag as callers see it."""
    return etag.strip().strip('"')


def quoted(etag: str) -> str:
    """An ETag as headers have it."""
    return f'"{etag}"'


def encoded(digest: bytes) -> str:
    """A digest as headers have it."""
    return base64.b64encode(digest).decode()


def crc_text(crc32: int) -> str:
    """The same for a CRC."""
    return encoded(crc32.to_bytes(4, "big"))


def crc_of(text: str | None) -> int | None:
    """A CRC out of a header; ``None`` for one of several parts' CRCs, or none."""
    digest = _decoded(text or "")
    return int.from_bytes(digest, "big") if len(digest) == 4 else None


def moment(text: str) -> datetime | None:
    """A time as XML has it."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def unlike(where: str, what: str) -> ProtocolError:
    """What to raise for an answer that is none of S3."""
    return ProtocolError(f"{where} was answered without {what}; check the address and any proxy")


def _span(answer: Answer, where: str) -> tuple[int, int, int]:
    found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if found is None:
        raise unlike(where, "the range that came")
    first, last, size = map(int, found.groups())
    return first, last, size


def _checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the whole content, in hex."""
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return {}
    texts = ((kind, headers.get(CHECKSUM + kind)) for kind in _KINDS)
    found = {kind: _decoded(text) for kind, text in texts if text}
    return {kind: each.hex() for kind, each in found.items() if len(each) == _KINDS[kind]}


def _decoded(text: str) -> bytes:
    """A digest; nothing for one of digests, which has the number of parts behind a ``-``."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_md5(etag: str) -> bool:
    return _MD5.fullmatch(etag) is not None


def _is_encrypted(headers: Mapping[str, str]) -> bool:
    """Whether the ETag is of something else than the content."""
    return (
        headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
        or "x-amz-server-side-encryption-customer-algorithm" in headers
    )


def _moment(text: str) -> datetime | None:
    """A time as headers have it: ``Sat, 28 Nov 2026 06:26:43 GMT``."""
    try:
        month = _MONTHS.index(text[8:11]) // 3 + 1
        day, year = int(text[5:7]), int(text[12:16])
        hour, minute, second = (int(text[start : start + 2]) for start in (17, 20, 23))
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
