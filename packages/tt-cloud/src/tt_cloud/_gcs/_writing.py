"""Calls that store, copy and remove objects."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tt_cloud._gcs._answers import nonsense, parsed
from tt_cloud._gcs._calls import Calls
from tt_cloud._gcs._checksums import crc32c, to_wire
from tt_cloud._gcs._objects import FIELDS, resource_of
from tt_cloud._gcs._reading import Reading
from tt_cloud._local import hold, missing
from tt_cloud._options import Writing
from tt_cloud._stored import Attributes, Condition, Stored
from tt_cloud.errors import ChecksumMismatch, CloudError, NotFound

_AT_ONCE = 16  # deletes, each a request of its own: there is no batch that all servers know
_JSON = {"Content-Type": "application/json; charset=UTF-8"}
_EDITABLE = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "metadata",
)


class Changing:
    """Calls that store, copy and remove objects."""

    def __init__(self, calls: Calls, reading: Reading, writing: Writing) -> None:
        self._calls = calls
        self._reading = reading
        self._writing = writing

    def put(
        self, key: str, data: memoryview, attributes: Attributes, condition: Condition
    ) -> Stored:
        """Description and content in one request."""
        checksum = crc32c(data)
        resource = self.resource(key, attributes) | {"crc32c": to_wire(checksum)}
        boundary = secrets.token_hex(16)
        query = self.query("multipart", condition, key)
        with self._calls.writing(condition, key):
            reply = self._calls.line.call(
                "POST",
                self._calls.to.uploads(query),
                self._calls.where(key),
                headers={"Content-Type": f"multipart/related; boundary={boundary}"},
                body=memoryview(_related(boundary, resource, data)),
            )
        return self.checked(key, self._calls.stored(reply, key), len(data), checksum)

    def resource(self, key: str, attributes: Attributes) -> dict[str, Any]:
        """The description of an object to be."""
        return resource_of(self._calls.name(key), attributes, self._writing)

    def query(self, kind: str, condition: Condition, key: str) -> dict[str, str | None]:
        """Of a request that makes an object."""
        return self._calls.query(
            uploadType=kind,
            fields=FIELDS,
            kmsKeyName=self._key_name,
            **self._calls.condition(condition, key),
        )

    def checked(self, key: str, stored: Stored, size: int, checksum: int) -> Stored:
        """What a server says it stored; what is not what was sent is removed."""
        if (stored.size, stored.checksums.get("crc32c")) == (size, f"{checksum:08x}"):
            return stored
        self.withdraw(key, stored)
        msg = f"{self._calls.where(key)} must arrive as it was sent: it did not; store it again"
        raise ChecksumMismatch(msg)

    def withdraw(self, key: str, stored: Stored) -> None:
        """Remove what should not be there, and nothing that came after it."""
        query = self._calls.query(generation=stored.etag, ifGenerationMatch=stored.etag)
        self._remove(key, query, allowed=(404, 412))

    def delete(self, keys: Sequence[str]) -> Mapping[str, CloudError]:
        """Remove objects; gives what failed."""
        query = self._calls.query()

        def attempt(key: str) -> CloudError | None:
            try:
                self._remove(key, query, allowed=(404,))
            except CloudError as error:
                return error
            return None

        with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(keys)))) as pool:
            failures = dict(zip(keys, pool.map(attempt, keys), strict=True))
        return {key: error for key, error in failures.items() if error is not None}

    def copy(self, source: str, target: str, condition: Condition) -> Stored:
        """Copy, in as many requests as the service wants."""
        self.require(condition, target)
        body = memoryview(self._changes(source))
        query = self._calls.query(
            destinationKmsKeyName=self._key_name,
            fields=f"done,rewriteToken,resource({FIELDS})",
            **self._calls.condition(condition, target),
        )
        try:
            with self._calls.writing(condition, target, missing_bucket=False):
                return self._copied(source, target, query, body)
        except NotFound:
            self._calls.require_bucket()
            raise

    def require(self, condition: Condition, key: str) -> None:
        """Look before much is moved in vain; emulators look at no other time."""
        if condition == Condition():
            return
        stored = self._reading.head(key)
        hold(condition, None if stored is None else stored.etag, self._calls.where(key))

    @property
    def _key_name(self) -> str | None:
        encryption = self._writing.encryption
        return None if encryption is None else encryption.key

    def _copied(
        self, source: str, target: str, query: dict[str, str | None], body: memoryview
    ) -> Stored:
        where = self._calls.where(source)
        while True:
            address = self._calls.to.rewrite(source, target, query)
            reply = self._calls.line.call(
                "POST", address, where, headers=_JSON, body=body, slow=True, once=True
            )
            step = parsed(reply, where)
            if step.get("done"):
                return self._calls.described(step.get("resource"), reply, target)
            if not step.get("rewriteToken"):
                raise nonsense(reply, where)
            query["rewriteToken"] = step["rewriteToken"]

    def _changes(self, source: str) -> bytes:
        """Nothing, to copy all but the class; else all that is copied must be named."""
        if self._writing.storage_class is None:
            return b""
        reply = self._reading.description(source, ",".join(_EDITABLE))
        if reply is None:
            raise missing(self._calls.where(source))
        found = parsed(reply, self._calls.where(source))
        kept = {name: value for name, value in found.items() if name in _EDITABLE}
        return json.dumps(kept | {"storageClass": self._writing.storage_class}).encode()

    def _remove(self, key: str, query: Mapping[str, str | None], allowed: Sequence[int]) -> None:
        target, where = self._calls.to.object(key, query), self._calls.where(key)
        reply = self._calls.line.call("DELETE", target, where, allowed=allowed)
        if reply.status == 404:
            self._calls.require_bucket()


def _related(boundary: str, resource: Mapping[str, Any], data: memoryview) -> bytes:
    """A body of two parts."""
    kind = resource["contentType"]
    head = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
        f"{json.dumps(resource)}\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n"
    )
    return b"".join((head.encode(), data, f"\r\n--{boundary}--\r\n".encode()))
