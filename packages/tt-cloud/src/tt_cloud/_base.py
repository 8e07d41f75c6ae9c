"""What all backends share: checks before, verification after, five primitives in between."""

from __future__ import annotations

import io
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tt_cloud._content import Content, Sink, Stored, opened, staged
from tt_cloud._keys import check_key, check_prefix
from tt_cloud.api import ObjectInfo
from tt_cloud.errors import AlreadyExists


class BaseStore(ABC):
    """An `ObjectStore` out of five primitives, which see checked keys only."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url}>"

    def put(
        self,
        key: str,
        source: Path | bytes,
        /,
        *,
        sha256: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        check_key(key)
        with opened(source, sha256) as content:
            try:
                self._upload(key, content, if_absent=if_absent)
            except AlreadyExists:
                if not self._is_ours(key, content):
                    raise
        return ObjectInfo(key, content.size, content.sha256)

    def get(self, key: str, target: Path, /) -> ObjectInfo:
        check_key(key)
        with staged(target.parent) as unfinished:
            info = self._fetch(key, Sink(unfinished.file))
            unfinished.publish(target)
        return info

    def read(self, key: str, /) -> bytes:
        check_key(key)
        buffer = io.BytesIO()
        self._fetch(key, Sink(buffer))
        return buffer.getvalue()

    def head(self, key: str, /) -> ObjectInfo | None:
        check_key(key)
        stored = self._head(key)
        return None if stored is None else ObjectInfo(key, stored.size, stored.sha256)

    def list(self, prefix: str = "", /) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        return self._checked(self._list(prefix))

    def delete(self, key: str, /) -> None:
        check_key(key)
        self._delete(key)

    @abstractmethod
    def _upload(self, key: str, content: Content, *, if_absent: bool) -> None:
        """Store all of it or nothing, with its digest and token; `AlreadyExists` when taken."""

    @abstractmethod
    def _download(self, key: str, sink: Sink) -> Stored:
        """Write the object to the sink and return what is known of it; `NotFound` if nothing is."""

    @abstractmethod
    def _head(self, key: str) -> Stored | None:
        """What is known of the object."""

    @abstractmethod
    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects below the prefix in the order of their keys."""

    @abstractmethod
    def _delete(self, key: str) -> None:
        """Remove the object if it is there."""

    def _where(self, key: str) -> str:
        """The object's full address, for messages."""
        return f"{self._url}/{key}"

    def _fetch(self, key: str, sink: Sink) -> ObjectInfo:
        stored = self._download(key, sink)
        sink.verify(stored, self._where(key))
        return ObjectInfo(key, sink.size, sink.sha256)

    def _is_ours(self, key: str, content: Content) -> bool:  # noqa: ARG002 - ClientStore reads them
        """Whether a refused create had gone through before; never where no answer can get lost."""
        return False

    @staticmethod
    def _checked(infos: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
        """Pass on what has a safe key: callers make file names of them."""
        for info in infos:
            if not info.key.endswith("/"):  # consoles create such empty objects to show folders
                check_key(info.key)
                yield info


class ClientStore(BaseStore):
    """A store behind a client library: connects on first use, once per process.

    A client is shared by threads but neither copied into a forked process nor pickled.
    """

    _client: Any
    _owner: int | None  # the process that the client belongs to
    _lock: threading.Lock

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._disconnect()

    @property
    def client(self) -> Any:
        """The library's own client object."""
        with self._lock:
            if self._owner != os.getpid():
                self._client, self._owner = self._connect(), os.getpid()
            return self._client

    def __getstate__(self) -> dict[str, Any]:
        live = ("_client", "_owner", "_lock")
        return {name: value for name, value in vars(self).items() if name not in live}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._disconnect()

    def _is_ours(self, key: str, content: Content) -> bool:
        # A library resends a request whose answer got lost; the second answer is then a refusal.
        stored = self._head(key)
        return stored is not None and stored.token == content.token

    @abstractmethod
    def _connect(self) -> Any:
        """Make the client."""

    def _disconnect(self) -> None:
        self._client = None
        self._owner = None
        self._lock = threading.Lock()
