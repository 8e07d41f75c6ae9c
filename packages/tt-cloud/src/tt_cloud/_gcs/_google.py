"""Google Cloud Storage as a `Remote`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Literal

from tt_cloud._gcs._addresses import endpoint_of
from tt_cloud._gcs._calls import Calls
from tt_cloud._gcs._download import Span
from tt_cloud._gcs._reading import Reading
from tt_cloud._gcs._sessions import Sessions
from tt_cloud._gcs._shared import Shared
from tt_cloud._gcs._writing import Changing
from tt_cloud._keys import BucketURL
from tt_cloud._options import Access, RetryPolicy, Writing
from tt_cloud._presigned import PresignedURL
from tt_cloud._remote import Incoming, Page, Part, Unfinished, Upload
from tt_cloud._stored import Attributes, Condition, Stored
from tt_cloud.errors import CloudError


class GoogleRemote:
    """One bucket of Google Cloud Storage below one prefix.

    Args:
        place: ``gs://bucket/prefix``.
        access: How it is reached; the environment's ``STORAGE_EMULATOR_HOST`` counts too.
        writing: How objects are stored.
        retry: Of this only the timeouts.
        shared: Of another store of the same bucket.
    """

    ordered = True
    parallel = False
    largest_put = 5 << 40

    def __init__(
        self,
        place: BucketURL,
        access: Access,
        writing: Writing,
        retry: RetryPolicy,
        *,
        shared: Shared | None = None,
    ) -> None:
        self.url = str(place)
        self._options = access, writing, retry
        self._shared = shared or Shared(endpoint_of(access), access, retry)
        self._calls = Calls(place, access, self._shared)
        self._reading = Reading(self._calls)
        self._changing = Changing(self._calls, self._reading, writing)
        self._sessions = Sessions(self._calls, self._changing.withdraw)

    def below(self, prefix: str) -> GoogleRemote:
        """The same bucket further down."""
        place = self._calls.place
        further = place._replace(prefix=f"{place.prefix}{prefix}/")
        return GoogleRemote(further, *self._options, shared=self._shared)

    def put(
        self,
        key: str,
        data: memoryview,
        sha256: str,  # noqa: ARG002 - among the attributes; Google compares CRC32C
        attributes: Attributes,
        condition: Condition,
    ) -> Stored:
        """Store an object in one request."""
        return self._changing.put(key, data, attributes, condition)

    def get(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        etag: str | None = None,
        version: str | None = None,
    ) -> AbstractContextManager[Incoming]:
        """Begin a download."""
        return self._reading.get(key, Span(start, end), etag, version)

    def head(self, key: str, *, version: str | None = None) -> Stored | None:
        """What is known of an object."""
        return self._reading.head(key, version)

    def page(self, prefix: str, token: str | None, *, start_after: str | None = None) -> Page:
        """Up to 1000 objects, in the order of their keys."""
        return self._reading.page(prefix, token, start_after)

    def versions(self, key: str) -> tuple[Stored, ...]:
        """The newest first."""
        return self._reading.versions(key)

    def delete(self, keys: Sequence[str]) -> Mapping[str, CloudError]:
        """Remove objects; gives what failed."""
        return self._changing.delete(keys)

    def copy(self, source: str, target: str, condition: Condition) -> Stored | None:
        """Copy inside the service."""
        return self._changing.copy(source, target, condition)

    def presign(self, key: str, method: Literal["GET", "PUT"], expires: timedelta) -> PresignedURL:
        """Sign an address."""
        from tt_cloud._gcs._signing import presigned  # Google's client takes long to import

        return presigned(self._calls, key, method, expires)

    def begin(
        self, key: str, size: int, part_size: int, attributes: Attributes, condition: Condition
    ) -> Upload:
        """Open a session."""
        resource = self._changing.resource(key, attributes)
        query = self._changing.query("resumable", condition, key)
        with self._calls.writing(condition, key):
            return self._sessions.begin(query, resource, key, size, part_size)

    def send(self, upload: Upload, number: int, data: memoryview, crc32: int) -> Part:  # noqa: ARG002 - Google compares CRC32C
        """Send a part."""
        return self._sessions.send(upload, number, data)

    def sent(self, upload: Upload) -> Mapping[int, Part] | None:
        """The parts that the service has."""
        return self._sessions.sent(upload)

    def finish(
        self,
        upload: Upload,
        parts: Sequence[Part],
        crc32: int,  # noqa: ARG002 - Google compares CRC32C
        condition: Condition,
    ) -> Stored:
        """Send the last bytes, with the checksum of all."""
        key = upload.key
        self._changing.require(condition, key)
        with self._calls.writing(condition, key, missing_bucket=False):
            stored, checksum = self._sessions.finish(upload, parts)
        self._sessions.forget(upload)
        return self._changing.checked(key, stored, upload.size, checksum)

    def abandon(self, upload: Upload) -> None:
        """Close a session."""
        self._sessions.abandon(upload)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:  # noqa: ARG002 - sessions cannot be listed
        """Nothing: sessions end by themselves, after a week."""
        return iter(())

    def close(self) -> None:
        """Close the connections."""
        self._shared.line().close()
