"""Stores in memory, for tests and dry runs: one per name and process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from threading import Lock
from typing import NamedTuple

from tt_cloud._base import BaseStore
from tt_cloud._content import Content, Sink, Stored
from tt_cloud._keys import split_bucket_url
from tt_cloud.api import ObjectInfo
from tt_cloud.errors import AlreadyExists, NotFound


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

    @property
    def _objects(self) -> dict[str, _Object]:
        # Looked up on each call: a pickled store must find the bucket of the process it lands in.
        return _buckets[self._place.bucket]

    def _upload(self, key: str, content: Content, *, if_absent: bool) -> None:
        name = self._place.prefix + key
        new = _Object(b"".join(content.chunks()), Stored(content.size, content.sha256))
        with _lock:
            if if_absent and name in self._objects:
                msg = (
                    f"with if_absent the key must be free: {self._where(key)} is taken; use another"
                )
                raise AlreadyExists(msg)
            self._objects[name] = new

    def _download(self, key: str, sink: Sink) -> Stored:
        found = self._objects.get(self._place.prefix + key)
        if found is None:
            msg = f"{self._where(key)} must exist to be read: it does not; list() shows what does"
            raise NotFound(msg)
        sink.write(found.data)
        return found.stored

    def _head(self, key: str) -> Stored | None:
        found = self._objects.get(self._place.prefix + key)
        return None if found is None else found.stored

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = self._place.prefix
        with _lock:
            found = sorted(
                item for item in self._objects.items() if item[0].startswith(start + prefix)
            )
        for name, (_, stored) in found:
            yield ObjectInfo(name.removeprefix(start), stored.size, stored.sha256)

    def _delete(self, key: str) -> None:
        self._objects.pop(self._place.prefix + key, None)
