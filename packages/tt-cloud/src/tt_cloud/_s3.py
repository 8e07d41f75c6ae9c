"""S3 and servers that speak its protocol, through boto3's client.

Each request carries the SHA-256 of its body, which the server compares; the digest of the whole
object travels as metadata and is compared after a download.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

from tt_cloud._base import ClientStore
from tt_cloud._content import CHUNK, Content, Sink, Stored
from tt_cloud._keys import check_endpoint, split_bucket_url
from tt_cloud.api import ObjectInfo
from tt_cloud.errors import AccessDenied, BucketNotFound, MissingDependency, NotFound

try:
    import boto3
    from botocore.config import Config

    from tt_cloud._s3_errors import translated
except ImportError as error:
    msg = f"s3:// needs boto3 ({error}): pip install 'tt-cloud[s3]'"
    raise MissingDependency(msg) from error

MAX_PARTS = 10_000  # S3's limit for one object


class S3Store(ClientStore):
    """Objects of a bucket, below the prefix that the address names.

    Args:
        url: ``s3://bucket/prefix``.
        endpoint_url: A server other than AWS, like ``https://minio.example.org``.
        region: Of the bucket, where the environment does not tell.
        profile: Whose credentials to take from the configuration files of AWS.
    """

    part_size = 64 << 20  # an upload holds one part in memory; up to this, it is one request

    def __init__(
        self,
        url: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
    ) -> None:
        check_endpoint(endpoint_url)
        self._place = split_bucket_url(url)
        self._session = {"profile_name": profile, "region_name": region}
        self._endpoint_url = endpoint_url
        super().__init__(str(self._place))

    def _connect(self) -> Any:
        # Checksums are ours: boto3's own would be sent behind the body, where older servers
        # refuse the request.
        config = Config(request_checksum_calculation="when_required")
        with translated(self._url):
            session = boto3.session.Session(**self._session)
            return session.client("s3", endpoint_url=self._endpoint_url, config=config)

    def _upload(self, key: str, content: Content, *, if_absent: bool) -> None:
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        metadata = {"tt-sha256": content.sha256, "tt-upload": content.token}
        with translated(self._where(key)):
            if content.size > self.part_size:
                _Multipart(self.client, self._address(key), metadata).send(
                    content, max(self.part_size, -(-content.size // MAX_PARTS)), condition
                )
            else:
                checksum = _base64(bytes.fromhex(content.sha256))
                self.client.put_object(
                    **self._address(key),
                    **condition,
                    Body=content.stream,
                    Metadata=metadata,
                    ChecksumSHA256=checksum,
                )

    def _download(self, key: str, sink: Sink) -> Stored:
        with translated(self._where(key)):
            answer = self.client.get_object(**self._address(key))
            with closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(CHUNK):
                    sink.write(chunk)
        return _stored(answer)

    def _head(self, key: str) -> Stored | None:
        try:
            with translated(self._where(key)):
                return _stored(self.client.head_object(**self._address(key)))
        except NotFound:
            self._require_bucket()
            return None

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = self._place.prefix
        found = {}
        with translated(self._url):
            pages = self.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._place.bucket, Prefix=start + prefix):
                for entry in page.get("Contents", ()):
                    found[entry["Key"]] = entry["Size"]
        # Sorted here: AWS promises the order, several other servers keep one of their own.
        for name in sorted(found):
            yield ObjectInfo(name.removeprefix(start), found[name], None)

    def _delete(self, key: str) -> None:
        with translated(self._where(key)):
            self.client.delete_object(**self._address(key))

    def _address(self, key: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._place.prefix + key}

    def _require_bucket(self) -> None:
        """Tell a missing bucket from a missing object: no answer to HEAD says which it is."""
        try:
            with translated(self._url):
                self.client.head_bucket(Bucket=self._place.bucket)
        except NotFound as error:
            msg = f"the bucket must exist: {self._url} does not; create it or correct the address"
            raise BucketNotFound(msg) from error
        except AccessDenied:
            pass  # it is there, but may not be looked at


class _Multipart:
    """One object in parts; the server shows it when the last request is done."""

    def __init__(self, client: Any, address: dict[str, str], metadata: dict[str, str]) -> None:
        self._client = client
        self._address = address
        self._metadata = metadata

    def send(self, content: Content, part_size: int, condition: dict[str, str]) -> None:
        """Upload all parts and join them; what was sent is dropped when anything fails."""
        begun = self._client.create_multipart_upload(
            **self._address, Metadata=self._metadata, ChecksumAlgorithm="SHA256"
        )
        upload = {**self._address, "UploadId": begun["UploadId"]}
        try:
            chunks = enumerate(content.chunks(part_size), 1)
            parts = [self._send_part(upload, number, chunk) for number, chunk in chunks]
            self._client.complete_multipart_upload(
                **upload, **condition, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            with suppress(Exception):  # the first fault is the one to tell
                self._client.abort_multipart_upload(**upload)
            raise

    def _send_part(self, upload: dict[str, str], number: int, chunk: bytes) -> dict[str, Any]:
        checksum = _base64(hashlib.sha256(chunk).digest())
        answer = self._client.upload_part(
            **upload, PartNumber=number, Body=chunk, ChecksumSHA256=checksum
        )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}


def _stored(answer: dict[str, Any]) -> Stored:
    metadata = answer["Metadata"]
    return Stored(answer["ContentLength"], metadata.get("tt-sha256"), metadata.get("tt-upload"))


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
