"""What all backends share: checks before, primitives in between, and folders on top."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal, Self

from tt_cloud import _trees
from tt_cloud._attributes import attributes_of
from tt_cloud._content import Content, opened
from tt_cloud._glob import matcher, narrowed
from tt_cloud._keys import check_key, check_prefix
from tt_cloud._local import landing, refuse_folder
from tt_cloud._presigned import PresignedURL
from tt_cloud._stored import Attributes, Condition, Stored, Watch
from tt_cloud.api import (
    Cancel,
    ObjectInfo,
    ObjectStore,
    Progress,
    Source,
    TransferReport,
    TreeStore,
)


class BaseStore(ABC, TreeStore):
    """A `TreeStore` out of primitives, which see checked keys only."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url}>"

    def __truediv__(self, prefix: str, /) -> Self:
        check_key(prefix)
        return self._below(prefix)

    def put(
        self,
        key: str,
        source: Source,
        /,
        *,
        sha256: str | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> ObjectInfo:
        check_key(key)
        if if_absent and if_match is not None:
            msg = f"a key is free or has an etag: got if_absent and if_match {if_match!r}; give one"
            raise ValueError(msg)
        condition = Condition(if_absent, if_match)
        with opened(source, sha256, self._part_size) as content:
            attributes = attributes_of(key, content, metadata, content_type)
            watch = Watch(progress, cancel)
            return self._put(key, content, attributes, condition, watch).info(key)

    def get(
        self,
        key: str,
        target: Path,
        /,
        *,
        version: str | None = None,
        if_match: str | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> ObjectInfo:
        check_key(key)
        refuse_folder(target)
        with landing(target):
            return self._get(key, target, version, if_match, Watch(progress, cancel)).info(key)

    def read(
        self,
        key: str,
        /,
        *,
        start: int = 0,
        end: int | None = None,
        version: str | None = None,
        if_match: str | None = None,
    ) -> bytes:
        check_key(key)
        if start < 0 or (end is not None and end < 0):
            came = f"got {start} to {end}"
            msg = f"positions are counted from the beginning: {came}; head() has the size"
            raise ValueError(msg)
        return self._read(key, start, end, version, if_match)

    def open(self, key: str, /, *, version: str | None = None) -> BinaryIO:
        check_key(key)
        return self._open(key, version)

    def head(self, key: str, /, *, version: str | None = None) -> ObjectInfo | None:
        check_key(key)
        stored = self._head(key, version)
        return None if stored is None else stored.info(key)

    def exists(self, key: str, /) -> bool:
        return self.head(key) is not None

    def list(
        self, prefix: str = "", /, *, glob: str | None = None, start_after: str | None = None
    ) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        if start_after is not None:
            check_prefix(start_after)
        wanted = matcher(glob)
        narrow = narrowed(prefix, glob)
        check_prefix(narrow)
        return self._checked(self._list(narrow, start_after), wanted)

    def versions(self, key: str, /) -> tuple[ObjectInfo, ...]:
        check_key(key)
        return tuple(stored.info(key) for stored in self._versions(key))

    def delete(self, key: str, /, *keys: str) -> None:
        for each in (key, *keys):
            check_key(each)
        self._delete((key, *keys))

    def copy(self, source: str, target: str, /, *, if_absent: bool = False) -> ObjectInfo:
        check_key(source)
        check_key(target)
        if source == target:
            msg = f"an object is copied to another key: {source!r} is the same; leave that out"
            raise ValueError(msg)
        return self._copy(source, target, Condition(absent=if_absent)).info(target)

    def move(self, source: str, target: str, /, *, if_absent: bool = False) -> ObjectInfo:
        info = self.copy(source, target, if_absent=if_absent)
        self.delete(source)
        return info

    def presign(
        self,
        key: str,
        /,
        *,
        method: Literal["GET", "PUT"] = "GET",
        expires: timedelta = timedelta(minutes=15),
    ) -> PresignedURL:
        check_key(key)
        if not timedelta(seconds=1) <= expires <= timedelta(days=7):
            msg = f"a presigned address works for 1 s to 7 days: got {expires}; give another time"
            raise ValueError(msg)
        return self._presign(key, method, expires)

    def upload_tree(
        self,
        folder: Path,
        prefix: str = "",
        /,
        *,
        symlinks: Literal["error", "skip", "inside"] = "error",
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> TransferReport:
        watch = Watch(progress, cancel)
        return _trees.upload(self, folder, prefix, symlinks=symlinks, dry_run=dry_run, watch=watch)

    def download_tree(
        self,
        prefix: str,
        folder: Path,
        /,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> TransferReport:
        watch = Watch(progress, cancel)
        return _trees.download(self, prefix, folder, dry_run=dry_run, watch=watch)

    def sync(
        self,
        source: Path | ObjectStore,
        prefix: str = "",
        /,
        *,
        delete: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> TransferReport:
        watch = Watch(progress, cancel)
        return _trees.sync(self, source, prefix, delete=delete, dry_run=dry_run, watch=watch)

    def delete_tree(
        self, prefix: str, /, *, everything: bool = False, dry_run: bool = False
    ) -> TransferReport:
        return _trees.delete(self, prefix, everything=everything, dry_run=dry_run)

    def commit(
        self,
        folder: Path,
        prefix: str = "",
        /,
        *,
        symlinks: Literal["error", "skip", "inside"] = "error",
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> TransferReport:
        watch = Watch(progress, cancel)
        return _trees.commit(self, folder, prefix, symlinks=symlinks, watch=watch)

    def verify(self, prefix: str = "", /, *, read_back: bool = False) -> TransferReport:
        return _trees.verify(self, prefix, read_back=read_back)

    def sweep(
        self,
        prefix: str = "",
        /,
        *,
        older_than: timedelta = timedelta(days=1),
        dry_run: bool = False,
    ) -> TransferReport:
        return _trees.sweep(self, prefix, older_than=older_than, dry_run=dry_run)

    @property
    def concurrency(self) -> int:
        """How many objects to move at once."""
        return 4

    @property
    def service(self) -> str:
        """Whose addresses `url` is one of: two servers may have buckets of the same name."""
        return ""

    def _part_size(self, size: int) -> int | None:  # noqa: ARG002 - bucket stores read it
        """Bytes of the parts that a large content is sent in; ``None`` where there are none."""
        return None

    @abstractmethod
    def _below(self, prefix: str) -> Self:
        """The store below a prefix."""

    @abstractmethod
    def _put(
        self,
        key: str,
        content: Content,
        attributes: Attributes,
        condition: Condition,
        watch: Watch,
    ) -> Stored:
        """Store all of it or nothing; `AlreadyExists` or `Changed` where the condition fails."""

    @abstractmethod
    def _get(
        self, key: str, target: Path, version: str | None, etag: str | None, watch: Watch
    ) -> Stored:
        """Write the object to a file, verified, whole or not at all."""

    @abstractmethod
    def _read(
        self, key: str, start: int, end: int | None, version: str | None, etag: str | None
    ) -> bytes:
        """The bytes from start up to end; verified if that is all."""

    @abstractmethod
    def _open(self, key: str, version: str | None) -> BinaryIO:
        """A stream of one version of the object."""

    @abstractmethod
    def _head(self, key: str, version: str | None) -> Stored | None:
        """What is known of the object."""

    @abstractmethod
    def _list(self, prefix: str, start_after: str | None) -> Iterator[tuple[str, Stored]]:
        """Objects below the prefix in the order of their keys."""

    @abstractmethod
    def _versions(self, key: str) -> Sequence[Stored]:
        """All that is kept of the object, the newest first."""

    @abstractmethod
    def _delete(self, keys: Sequence[str]) -> None:
        """Remove the objects that are there."""

    @abstractmethod
    def _copy(self, source: str, target: str, condition: Condition) -> Stored:
        """Copy with all attributes; `NotFound` when there is nothing to copy."""

    @abstractmethod
    def _presign(self, key: str, method: Literal["GET", "PUT"], expires: timedelta) -> PresignedURL:
        """Sign an address, or raise `Unsupported`."""

    def _unfinished(self, prefix: str, before: datetime) -> Sequence[str]:  # noqa: ARG002 - bucket stores read them
        """Keys of uploads below the prefix that began before then and were never finished."""
        return ()

    def _abandon(self, prefix: str, before: datetime) -> None:
        """Drop those uploads."""

    def _where(self, key: str) -> str:
        """The object's full address, for messages."""
        return f"{self._url}/{key}"

    @staticmethod
    def _checked(
        entries: Iterator[tuple[str, Stored]], wanted: Callable[[str], bool] | None
    ) -> Iterator[ObjectInfo]:
        """Pass on what has a safe key: callers make file names of them."""
        for key, stored in entries:
            if key.endswith("/"):  # consoles create such empty objects to show folders
                continue
            check_key(key)
            if wanted is None or wanted(key):
                yield stored.info(key)
