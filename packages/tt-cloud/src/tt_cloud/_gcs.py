"""Google Cloud Storage, through Google's client.

The CRC32C of an upload is sent with it for the server to compare, and compared once more with
what the server then has; the SHA-256 travels as metadata and is compared after a download.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from tt_cloud._base import ClientStore
from tt_cloud._content import CHUNK, Content, Sink, Stored
from tt_cloud._keys import check_endpoint, split_bucket_url
from tt_cloud.api import ObjectInfo
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    ChecksumMismatch,
    MissingDependency,
    NotFound,
    Unavailable,
)

try:
    import google_crc32c
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    from tt_cloud._gcs_errors import translated
except ImportError as error:
    msg = f"gs:// needs google-cloud-storage ({error}): pip install 'tt-cloud[gcs]'"
    raise MissingDependency(msg) from error


class GoogleStore(ClientStore):
    """Objects of a bucket, below the prefix that the address names.

    Args:
        url: ``gs://bucket/prefix``.
        endpoint_url: A server other than Google's, like that of an emulator.
        project: The project to act for, where the environment does not tell.
        anonymous: Go without credentials, for public buckets and emulators.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint_url: str | None = None,
        project: str | None = None,
        anonymous: bool = False,
    ) -> None:
        check_endpoint(endpoint_url)
        self._place = split_bucket_url(url)
        self._endpoint_url = endpoint_url
        self._project = project
        self._anonymous = anonymous
        super().__init__(str(self._place))

    def _connect(self) -> Any:
        options: dict[str, Any] = {"project": self._project}
        if self._endpoint_url is not None:
            options["client_options"] = {"api_endpoint": self._endpoint_url}
        if self._anonymous:
            options["credentials"] = AnonymousCredentials()  # type: ignore[no-untyped-call]  # not annotated
            options["project"] = self._project or "anonymous"  # else it is looked for, and missed
        with translated(self._url):
            return storage.Client(**options)

    def _upload(self, key: str, content: Content, *, if_absent: bool) -> None:
        blob = self._blob(key)
        blob.metadata = {"tt-sha256": content.sha256, "tt-upload": content.token}
        blob.crc32c = crc32c = _crc32c(content)
        try:
            with translated(self._where(key)):
                blob.upload_from_file(
                    content.stream,
                    size=content.size,
                    content_type="application/octet-stream",
                    if_generation_match=0 if if_absent else None,
                    checksum=None,  # sent above, of the bytes that were digested
                )
        except NotFound as error:
            raise self._no_bucket() from error
        if blob.crc32c != crc32c:
            self._withdraw(key, blob)

    def _download(self, key: str, sink: Sink) -> Stored:
        blob = self._find(key)
        if blob is None:
            msg = f"{self._where(key)} must exist to be read: it does not; list() shows what does"
            raise NotFound(msg)
        try:
            with translated(self._where(key)):
                blob.download_to_file(sink, raw_download=True, if_generation_match=blob.generation)
        except (NotFound, AlreadyExists) as error:
            msg = f"{self._where(key)} must stay while it is read: it was replaced; get it again"
            raise Unavailable(msg) from error
        return _stored(blob)

    def _head(self, key: str) -> Stored | None:
        blob = self._find(key)
        return None if blob is None else _stored(blob)

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = self._place.prefix
        try:
            with translated(self._url):
                for blob in self.client.list_blobs(self._place.bucket, prefix=start + prefix):
                    stored = _stored(blob)
                    yield ObjectInfo(blob.name.removeprefix(start), stored.size, stored.sha256)
        except NotFound as error:
            raise self._no_bucket() from error

    def _delete(self, key: str) -> None:
        try:
            with translated(self._where(key)):
                self._blob(key).delete()
        except NotFound:
            self._require_bucket()

    def _blob(self, key: str) -> Any:
        return self.client.bucket(self._place.bucket).blob(self._place.prefix + key)

    def _find(self, key: str) -> Any:
        """The object with its metadata, or ``None``."""
        with translated(self._where(key)):
            blob = self.client.bucket(self._place.bucket).get_blob(self._place.prefix + key)
        if blob is None:
            self._require_bucket()
        return blob

    def _withdraw(self, key: str, blob: Any) -> None:
        """Remove what arrived wrong at a server that did not compare."""
        with translated(self._where(key)):
            blob.delete(if_generation_match=blob.generation)
        msg = f"{self._where(key)} must arrive as it was sent: it did not; store it again"
        raise ChecksumMismatch(msg)

    def _require_bucket(self) -> None:
        """Tell a missing bucket from a missing object: Google answers both with 404."""
        try:
            with translated(self._url):
                exists = self.client.bucket(self._place.bucket).exists()
        except AccessDenied:
            return  # it is there, but may not be looked at
        if not exists:
            raise self._no_bucket()

    def _no_bucket(self) -> BucketNotFound:
        msg = f"the bucket must exist: {self._url} does not; create it or correct the address"
        return BucketNotFound(msg)


def _stored(blob: Any) -> Stored:
    metadata = blob.metadata or {}
    return Stored(blob.size, metadata.get("tt-sha256"), metadata.get("tt-upload"))


def _crc32c(content: Content) -> str:
    checksum: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]  # not annotated
    for chunk in content.chunks(CHUNK):
        checksum.update(chunk)
    content.stream.seek(0)
    return base64.b64encode(checksum.digest()).decode()
