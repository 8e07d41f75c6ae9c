"""Stores in memory, for tests and dry runs: one per name and process."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BufferedReader, BytesIO
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Literal, NamedTuple, NoReturn, Self

from tt_cloud._attributes import callers
from tt_cloud._base import BaseStore
from tt_cloud._content import Content, Sink, staged
from tt_cloud._keys import split_bucket_url
from tt_cloud._local import (
    CHUNK,
    Stream,
    current_only,
    expect,
    hold,
    missing,
    watched,
)
from tt_cloud._stored import Attributes, Condition, Stored, Watch
from tt_cloud.errors import Unsupported


class _Object(NamedTuple):
    data: bytes
    stored: Stored


_buckets: defaultdict[str, dict[str, _Object]] = defaultdict(dict)
_lock = Lock()


class MemoryStore(BaseStore):
    """Objects of this process; every store opened with the same name sees the same ones."""

    def __init__(self, url: str) -> None:
        self._place = split_bucket_url(url)
        super().__init__(str(self._place))

    def _below(self, prefix: str) -> Self:
        return type(self)(f"{self._url}/{prefix}")

    def _put(
        self,
        key: str,
        content: Content,
        attributes: Attributes,
        condition: Condition,
        watch: Watch,
    ) -> Stored:
        data = b"".join(watched(content.chunks(), key, content.size, watch))
        new = Stored(
            content.size,
            sha256=content.sha256,
            content_type=attributes.content_type,
            metadata=callers(attributes.metadata),
        )
        return self._keep(key, _Object(data, new), condition)

    def _get(
        self, key: str, target: Path, version: str | None, etag: str | None, watch: Watch
    ) -> Stored:
        data, stored = self._find(key, version, etag)
        with staged(target.parent) as unfinished:
            sink = Sink(unfinished.file)
            for chunk in watched(_chunks(data), key, stored.size, watch):
                sink.write(chunk)
            sink.verify(stored, self._where(key))
            unfinished.publish(target)
        return stored

    def _read(
        self, key: str, start: int, end: int | None, version: str | None, etag: str | None
    ) -> bytes:
        data, stored = self._find(key, version, etag)
        if start == 0 and end is None:
            sink = Sink(BytesIO())
            sink.write(data)
            sink.verify(stored, self._where(key))
        return data[start:end]

    def _open(self, key: str, version: str | None) -> BinaryIO:
        _, stored = self._find(key, version, None)
        read = partial(self._read, key, version=None, etag=stored.etag)
        return BufferedReader(Stream(read, stored.size), CHUNK)

    def _head(self, key: str, version: str | None) -> Stored | None:
        current_only(version, self._where(key))
        found = self._objects.get(self._place.prefix + key)
        return None if found is None else found.stored

    def _list(self, prefix: str, start_after: str | None) -> Iterator[tuple[str, Stored]]:
        start = self._place.prefix
        with _lock:
            found = sorted(self._objects.items())
        for name, (_, stored) in found:
            key = name.removeprefix(start)
            if name.startswith(start + prefix) and (start_after is None or key > start_after):
                yield key, replace(stored, metadata={})

    def _versions(self, key: str) -> Sequence[Stored]:
        stored = self._head(key, None)
        return () if stored is None else (stored,)

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            with _lock:
                self._objects.pop(self._place.prefix + key, None)

    def _copy(self, source: str, target: str, condition: Condition) -> Stored:
        return self._keep(target, self._find(source, None, None), condition)

    def _presign(
        self,
        key: str,
        method: Literal["GET", "PUT"],  # noqa: ARG002 - there is no address for any
        expires: timedelta,  # noqa: ARG002 - there is no address for any
    ) -> NoReturn:
        msg = f"no URL leads into this process: {self._where(key)} has none; use another store"
        raise Unsupported(msg)

    @property
    def _objects(self) -> dict[str, _Object]:
        # Looked up on each call: a pickled store must find the bucket of the process it lands in.
        return _buckets[self._place.bucket]

    def _find(self, key: str, version: str | None, etag: str | None) -> _Object:
        """The object, if it is the one that is wanted."""
        current_only(version, self._where(key))
        found = self._objects.get(self._place.prefix + key)
        if found is None:
            raise missing(self._where(key))
        expect(etag, found.stored.etag, self._where(key))
        return found

    def _keep(self, key: str, new: _Object, condition: Condition) -> Stored:
        """Store an object as a new one, unless the condition forbids it."""
        name = self._place.prefix + key
        stored = replace(new.stored, etag=secrets.token_hex(16), modified=datetime.now(UTC))
        with _lock:
            before = self._objects.get(name)
            hold(condition, before and before.stored.etag, self._where(key))
            self._objects[name] = _Object(new.data, stored)
        return stored


def _chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]
