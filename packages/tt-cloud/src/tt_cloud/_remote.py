"""What a bucket's protocol does: each call one attempt, without retries.

`S3Remote` and `GoogleRemote` are such; `BucketStore` makes an `ObjectStore` out of one. Failures
are this package's errors. Those that another attempt may cure are `Unavailable` (`Throttled` with
its ``retry_after``) and `ChecksumMismatch`; everything else is final. A remote refreshes expired
credentials, corrects a skewed clock, follows a bucket to its region, and tries another way of
sending checksums or batches by itself, once per call.

Keys are relative to the prefix that the remote was opened with, and checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Protocol

from tt_cloud._presigned import PresignedURL
from tt_cloud._stored import Attributes, Condition, Stored
from tt_cloud.errors import CloudError


class Part(NamedTuple):
    """One part of an unfinished upload that the service has.

    ``etag`` is whatever finishing needs, and belongs into the journal: where `Remote.parallel` is
    false only `Remote.send` can tell it. ``crc32`` is known where the service computed it.
    """

    number: int
    size: int
    etag: str
    crc32: int | None = None


class Upload(NamedTuple):
    """An unfinished upload in parts.

    ``id`` is the service's name for it, and may be a credential; ``part_size`` that of all parts
    but the last.
    """

    key: str
    id: str
    size: int
    part_size: int

    def __repr__(self) -> str:
        return f"<Upload {self.key!r} of {self.size} bytes>"


class Page(NamedTuple):
    """Some entries of a listing in the service's order, and how to go on; ``None`` at the end."""

    entries: Sequence[tuple[str, Stored]]
    next: str | None


class Unfinished(NamedTuple):
    """An upload in parts that nobody finished."""

    upload: Upload
    begun: datetime


class Incoming(Protocol):
    """The answer to a download: what is known of the object, then its bytes."""

    @property
    def stored(self) -> Stored:
        """Of the *whole* object, also where a part of it was asked for."""
        ...

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the beginning of a buffer with what came, at least one byte; 0 at the end.

        Raises:
            Unavailable: When the connection ends before the length that the answer announced, or
                stalls.
        """
        ...


class Remote(Protocol):
    """One bucket below one prefix, through one attempt per call. Usable from several threads."""

    url: str
    """Without credentials."""

    ordered: bool
    """Whether pages come in the order of the keys' code points."""

    parallel: bool
    """Whether the parts of an upload may be sent in any order and at once."""

    largest_put: int
    """Bytes that one `put` may have."""

    def below(self, prefix: str) -> Remote:
        """The same bucket further down; shares connections."""
        ...

    def put(
        self, key: str, data: memoryview, sha256: str, attributes: Attributes, condition: Condition
    ) -> Stored:
        """Store an object in one request; the service verifies the bytes against a checksum.

        Raises:
            AlreadyExists: When ``condition.absent`` does not hold.
            Changed: When ``condition.etag`` does not hold.
            ChecksumMismatch: When the service found other bytes; nothing is stored.
        """
        ...

    def get(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        etag: str | None = None,
        version: str | None = None,
    ) -> AbstractContextManager[Incoming]:
        """Begin a download of the bytes from ``start`` up to ``end``.

        A range behind the object's end gives no bytes. Leaving the block early drops the rest.

        Raises:
            NotFound: When there is no such object or version.
            Changed: When it does not have that etag.
        """
        ...

    def head(self, key: str, *, version: str | None = None) -> Stored | None:
        """What is known of an object; ``None`` when there is none (`BucketNotFound` if so)."""
        ...

    def page(self, prefix: str, token: str | None, *, start_after: str | None = None) -> Page:
        """One page of the listing below a prefix; keys come without the remote's own prefix."""
        ...

    def versions(self, key: str) -> tuple[Stored, ...]:
        """The newest first."""
        ...

    def delete(self, keys: Sequence[str]) -> Mapping[str, CloudError]:
        """Remove up to 1000 objects; gives those that failed. Not an error when there are none."""
        ...

    def copy(self, source: str, target: str, condition: Condition) -> Stored | None:
        """Copy on the server with all attributes; ``None`` where it cannot."""
        ...

    def presign(self, key: str, method: Literal["GET", "PUT"], expires: timedelta) -> PresignedURL:
        """Sign an address."""
        ...

    def begin(
        self, key: str, size: int, part_size: int, attributes: Attributes, condition: Condition
    ) -> Upload:
        """Begin an upload in parts, whose size may be rounded: the answer tells."""
        ...

    def send(self, upload: Upload, number: int, data: memoryview, crc32: int) -> Part:
        """Send part ``number``, counted from 1; the service verifies the bytes where it can.

        Where ``parallel`` is false, parts are sent in order; sending one again is always right, and
        the bytes that the service has already do not move again.
        """
        ...

    def sent(self, upload: Upload) -> Mapping[int, Part] | None:
        """The parts that the service has whole; ``None`` when it does not know the upload.

        One with an empty ``etag`` counts only together with the `Part` that `send` gave; without
        that it is sent again.
        """
        ...

    def finish(
        self, upload: Upload, parts: Sequence[Part], crc32: int, condition: Condition
    ) -> Stored:
        """Make the object appear.

        Raises:
            AlreadyExists, Changed: When ``condition`` does not hold.
            NotFound: When the service does not know the upload: it may be finished already.
            ChecksumMismatch: When the service found that the whole is not ``crc32``.
        """
        ...

    def abandon(self, upload: Upload) -> None:
        """Drop an upload and its parts; not an error when it is gone."""
        ...

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """The unfinished uploads in parts below a prefix; none where they expire alone."""
        ...

    def close(self) -> None:
        """Close the connections; later calls open new ones."""
        ...
