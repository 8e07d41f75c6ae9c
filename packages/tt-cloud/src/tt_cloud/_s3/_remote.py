"""`S3Remote`: what a bucket store asks for, in S3's words."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote

from tt_cloud._http import Answer
from tt_cloud._keys import BucketURL, check_endpoint
from tt_cloud._options import Access, RetryPolicy, Writing
from tt_cloud._presigned import PresignedURL
from tt_cloud._remote import Page, Part, Unfinished, Upload
from tt_cloud._s3 import _deletion, _listing, _parts, _xml
from tt_cloud._s3._bucket import Bucket
from tt_cloud._s3._faults import fault_in
from tt_cloud._s3._learnt import COPY, FINISH, PUT
from tt_cloud._s3._objects import (
    CHECKSUM,
    bare,
    check_span,
    conditional,
    encoded,
    headers_of,
    kept,
    moment,
    quoted,
    received,
    stored_of,
    unlike,
)
from tt_cloud._s3._request import Request
from tt_cloud._stored import Attributes, Condition, Stored
from tt_cloud.errors import (
    AlreadyExists,
    BucketNotFound,
    Changed,
    CloudError,
    NotFound,
    Unsupported,
)

MAX_PUT = 5 << 30  # bytes, also of what a server copies

_DIGESTS = {CHECKSUM + "mode": "ENABLED"}  # asks for those that the server has


class Download:
    """An object on its way."""

    __slots__ = ("_answer", "stored")

    def __init__(self, stored: Stored, answer: Answer | None) -> None:
        self.stored = stored
        self._answer = answer

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the beginning of a buffer with what came; 0 at the end."""
        return 0 if self._answer is None else self._answer.readinto(buffer)


class S3Remote:
    """Objects of a bucket, below the prefix that the address names.

    Args:
        place: The address.
        access: How the bucket is reached.
        writing: How objects are stored.
        retry: For its timeouts; every call is one attempt.
    """

    parallel = True
    largest_put = MAX_PUT

    def __init__(
        self, place: BucketURL, access: Access, writing: Writing, retry: RetryPolicy
    ) -> None:
        check_endpoint(access.endpoint_url, allow_http=True)
        self.url = str(place)
        self._place = place
        self._writing = writing
        self._bucket = Bucket(place.bucket, access, retry)

    @property
    def ordered(self) -> bool:
        """AWS promises the order; several other servers keep one of their own."""
        return self._bucket.way.location.official

    def below(self, prefix: str) -> S3Remote:
        """The same bucket further down."""
        found = copy.copy(self)
        found._place = self._place._replace(prefix=f"{self._place.prefix}{prefix}/")
        found.url = str(found._place)
        return found

    def put(
        self, key: str, data: memoryview, sha256: str, attributes: Attributes, condition: Condition
    ) -> Stored:
        """Store an object in one request; the body's digest is signed, so any server checks it."""
        name = self._name(key)
        self._foresee(name, condition, PUT)
        headers = headers_of(attributes, self._writing)
        checks = {CHECKSUM + "sha256": encoded(bytes.fromhex(sha256))}
        request = Request("PUT", name, {}, headers | conditional(condition), data, sha256, checks)
        answer, _ = self._bucket.done(request)
        if not answer.headers.get("etag"):
            raise unlike(self._bucket.where(name), "an ETag")
        return stored_of({**answer.headers, **headers, **checks}, len(data))

    @contextmanager
    def get(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        etag: str | None = None,
        version: str | None = None,
    ) -> Iterator[Download]:
        """Begin a download of the bytes from ``start`` up to ``end``."""
        name = self._name(key)
        if end is not None and end <= start:
            yield self._nothing(key, etag, version)
            return
        headers = {} if etag is None else {"if-match": quoted(etag)}
        if start or end is not None:
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
        else:
            headers |= _DIGESTS
        with self._bucket.ask(Request("GET", name, _of(version), headers, fine=(416,))) as answer:
            if answer.status != 416:
                where = self._bucket.where(name)
                check_span(answer, start, end, where)
                yield Download(received(answer, where), answer)
                return
        found = self._nothing(key, etag, version)
        if start < found.stored.size:
            raise unlike(self._bucket.where(name), "the bytes of the range")
        yield found

    def head(self, key: str, *, version: str | None = None) -> Stored | None:
        """What is known of an object; ``None`` when there is none."""
        stored = self._look(self._name(key), version)
        if stored is None:
            self._require_bucket()
        return stored

    def page(self, prefix: str, token: str | None, *, start_after: str | None = None) -> Page:
        """One page of a listing."""
        own = self._place.prefix
        after = None if start_after is None else own + start_after
        entries, following = _listing.objects(self._bucket, own + prefix, token, after)
        return Page([(key.removeprefix(own), stored) for key, stored in entries], following)

    def versions(self, key: str) -> tuple[Stored, ...]:
        """The newest first."""
        try:
            return tuple(_listing.versions(self._bucket, self._name(key)))
        except Unsupported:
            stored = self.head(key)
            return () if stored is None else (stored,)

    def delete(self, keys: Sequence[str]) -> Mapping[str, CloudError]:
        """Remove objects; gives those that failed."""
        failed = _deletion.delete(self._bucket, [self._name(key) for key in keys])
        return {name.removeprefix(self._place.prefix): error for name, error in failed.items()}

    def copy(self, source: str, target: str, condition: Condition) -> Stored | None:
        """Copy with all attributes, up to the size that servers copy in one request."""
        before = self.head(source)
        if before is None:
            where = self._bucket.where(self._name(source))
            msg = f"there must be an object to copy: {where} is none; list() shows what there is"
            raise NotFound(msg)
        if before.size > MAX_PUT:
            return None
        self._foresee(self._name(target), condition, COPY)
        try:
            return self._copied(before, self._name(source), self._name(target), condition)
        except Unsupported:
            return None

    def presign(self, key: str, method: Literal["GET", "PUT"], expires: timedelta) -> PresignedURL:
        """Sign an address."""
        url = self._bucket.presigned(self._name(key), method, int(expires.total_seconds()))
        return PresignedURL(url, method, datetime.now(UTC) + expires)

    def begin(
        self,
        key: str,
        size: int,
        part_size: int,
        attributes: Attributes,
        condition: Condition,
    ) -> Upload:
        """Begin an upload in parts; fails at once where the condition fails already."""
        name = self._name(key)
        self._foresee(name, condition, FINISH)
        headers = headers_of(attributes, self._writing)
        return Upload(key, _parts.begin(self._bucket, name, headers), size, part_size)

    def send(self, upload: Upload, number: int, data: memoryview, crc32: int) -> Part:
        """Send one part."""
        name = self._name(upload.key)
        return _parts.send(self._bucket, name, upload.id, number, data, crc32)

    def sent(self, upload: Upload) -> Mapping[int, Part] | None:
        """The parts that the server has; ``None`` when it does not know the upload."""
        return _parts.sent(self._bucket, self._name(upload.key), upload.id)

    def finish(
        self, upload: Upload, parts: Sequence[Part], crc32: int, condition: Condition
    ) -> Stored:
        """Join the parts."""
        name = self._name(upload.key)
        self._foresee(name, condition, FINISH)
        headers = conditional(condition)
        return _parts.finish(self._bucket, name, upload.id, parts, crc32, headers)

    def abandon(self, upload: Upload) -> None:
        """Drop an upload and its parts."""
        _deletion.drop(self._bucket, self._name(upload.key), {"uploadId": upload.id})

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """The uploads in parts below a prefix; their sizes are not known."""
        own = self._place.prefix
        for key, name, begun in _listing.uploads(self._bucket, own + prefix):
            yield Unfinished(Upload(key.removeprefix(own), name, 0, 0), begun)

    def close(self) -> None:
        """Close the connections."""
        self._bucket.close()

    def _name(self, key: str) -> str:
        return self._place.prefix + key

    def _nothing(self, key: str, etag: str | None, version: str | None) -> Download:
        """No bytes of an object that must be there."""
        where = self._bucket.where(self._name(key))
        stored = self.head(key, version=version)
        if stored is None:
            raise NotFound(f"{where} does not exist; list() shows what there is")
        if etag not in (None, stored.etag):
            raise Changed(f"{where} is another by now; read it anew")
        return Download(stored, None)

    def _look(self, name: str, version: str | None = None) -> Stored | None:
        request = Request("HEAD", name, _of(version), _DIGESTS, fine=(404,))
        try:
            answer, _ = self._bucket.done(request)
        except NotFound:  # a name that no version has
            return None
        if answer.status == 404:
            return None
        return received(answer, self._bucket.where(name))

    def _require_bucket(self) -> None:
        """Tell a missing bucket from a missing object: no answer to HEAD says which it is."""
        answer, _ = self._bucket.done(Request("HEAD", None, fine=(403, 404)))
        if answer.status == 404:  # 403: it is there, but may not be looked at
            where = self._bucket.where(None)
            msg = f"the bucket must exist: {where} does not; create it or correct the address"
            raise BucketNotFound(msg)

    def _foresee(self, name: str, condition: Condition, kind: str) -> None:
        """Look whether a condition holds, for servers that may not heed it in such a write."""
        if condition == Condition() or kind in self._bucket.way.learnt.conditions:
            return
        stored = self._look(name)
        where = self._bucket.where(name)
        if condition.absent and stored is not None:
            raise AlreadyExists(f"the key must be free: {where} is taken; use another")
        if condition.etag is not None and (stored is None or stored.etag != condition.etag):
            raise Changed(f"{where} is another by now, or gone; look at it and decide anew")

    def _copied(self, before: Stored, source: str, target: str, condition: Condition) -> Stored:
        joint = "/object/" if ":" in self._place.bucket else "/"  # of an access point's name
        headers = {
            "x-amz-copy-source": quote(f"{self._place.bucket}{joint}{source}", "/~"),
            "x-amz-copy-source-if-match": quoted(before.etag),
        }
        headers |= conditional(condition) | kept(self._writing)
        request = Request("PUT", target, {}, headers, slow=True, once=True)
        answer, content = self._bucket.done(request)
        where = self._bucket.where(target)
        if _xml.error(content) is not None:  # known only after the status was sent
            raise fault_in(content, answer, request).error(where)
        root = _xml.parsed(content, "CopyObjectResult", where)
        return replace(
            before,
            etag=bare(_xml.text(root, "ETag")),
            version=answer.headers.get("x-amz-version-id"),
            modified=moment(_xml.text(root, "LastModified")),
        )


def _of(version: str | None) -> dict[str, str]:
    return {} if version is None else {"versionId": version}
