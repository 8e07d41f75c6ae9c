"""Listings: of objects, of their versions, and of uploads that were not finished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from tt_cloud._s3 import _xml
from tt_cloud._s3._bucket import Bucket
from tt_cloud._s3._objects import listed, moment, unlike
from tt_cloud._s3._request import Request
from tt_cloud._stored import Stored

_QUOTED = {"encoding-type": "url"}  # XML cannot hold every key


def objects(
    bucket: Bucket, prefix: str, token: str | None, start_after: str | None
) -> tuple[list[tuple[str, Stored]], str | None]:
    """One page of entries, and how to go on."""
    query = {"list-type": "2", "prefix": prefix, **_QUOTED}
    if token is not None:
        query["continuation-token"] = token
    elif start_after is not None:
        query["start-after"] = start_after
    root = _asked(bucket, query, "ListBucketResult")
    where = bucket.where(None)
    found = [(_key(root, entry), listed(entry, where)) for entry in root.iterfind("Contents")]
    if any(not key.startswith(prefix) for key, _ in found):
        raise unlike(where, "keys of the prefix")
    if not _is_truncated(root):
        return found, None
    return found, _behind(_xml.text(root, "NextContinuationToken"), token, where)


def versions(bucket: Bucket, key: str) -> list[Stored]:
    """All of one object, as the server orders them; without those that say it was deleted."""
    query = {"versions": "", "prefix": key, **_QUOTED}
    found: list[Stored] = []
    for root in _pages(bucket, query, "ListVersionsResult", ("key-marker", "version-id-marker")):
        entries = list(root.iterfind("Version"))
        found += [listed(each, bucket.where(key)) for each in entries if _key(root, each) == key]
        if bucket.way.location.official and any(_key(root, each) != key for each in entries):
            break  # the key itself comes before all that it is the beginning of
    if len(found) == 1 and found[0].version == "null":
        return [replace(found[0], version=None)]
    return found


def uploads(bucket: Bucket, prefix: str) -> Iterator[tuple[str, str, datetime]]:
    """Key, name and beginning of each upload in parts."""
    query = {"uploads": "", "prefix": prefix, **_QUOTED}
    markers = ("key-marker", "upload-id-marker")
    for root in _pages(bucket, query, "ListMultipartUploadsResult", markers):
        for entry in root.iterfind("Upload"):
            key = _key(root, entry)
            begun = moment(_xml.text(entry, "Initiated")) or datetime.now(UTC)
            if key.startswith(prefix):
                yield key, _xml.text(entry, "UploadId"), begun


def _pages(
    bucket: Bucket, query: dict[str, str], name: str, markers: tuple[str, str]
) -> Iterator[Element]:
    """All answers to a query that goes on behind two markers."""
    place = ""
    while True:
        root = _asked(bucket, query, name)
        yield root
        if not _is_truncated(root):
            return
        key = _unquoted(root, _xml.text(root, "NextKeyMarker"))
        second = _xml.text(root, f"Next{''.join(map(str.title, markers[1].split('-')))}")
        place = _behind(f"{key}\n{second}", place, bucket.where(None))
        query = {**query, markers[0]: key} | ({markers[1]: second} if second else {})


def _asked(bucket: Bucket, query: dict[str, str], name: str) -> Element:
    _, body = bucket.done(Request("GET", None, query), _xml.MAX_LISTING)
    return _xml.parsed(body, name, bucket.where(None))


def _is_truncated(root: Element) -> bool:
    return _xml.text(root, "IsTruncated").strip().lower() == "true"


def _behind(token: str, before: str | None, where: str) -> str:
    """Where the next page begins; a server that repeats itself would never end."""
    if not token.strip() or token == before:
        raise unlike(where, "a way to go on")
    return token


def _key(root: Element, entry: Element) -> str:
    return _unquoted(root, _xml.text(entry, "Key"))


def _unquoted(root: Element, text: str) -> str:
    """A key, from a server that did or did not quote it."""
    return unquote_plus(text) if _xml.text(root, "EncodingType") == "url" else text
