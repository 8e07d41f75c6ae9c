"""What a sync copies from: a folder of this machine, or another store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from tt_cloud._attributes import portable
from tt_cloud._stored import Watch
from tt_cloud._trees._index import Index, Stamp
from tt_cloud._trees._known import Known, agree, digests_of
from tt_cloud._trees._walk import Local
from tt_cloud._trees._work import heeding
from tt_cloud.api import Cancel, ObjectInfo, ObjectStore
from tt_cloud.errors import ChecksumMismatch


class Goal(NamedTuple):
    """An object to be: its store, its key, and what is there now."""

    store: ObjectStore
    key: str
    found: ObjectInfo | None


class Item(Protocol):
    """One thing to copy."""

    @property
    def path(self) -> str:
        """Its name below the source, as a key."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def equal(self, goal: Goal, stop: Cancel) -> bool:
        """Whether it is there already."""
        ...

    def move(self, goal: Goal, watch: Watch) -> ObjectInfo:
        """Store it there."""
        ...


class FileItem:
    """A file of a folder."""

    __slots__ = ("_known", "path", "size")

    def __init__(self, local: Local, index: Index) -> None:
        self.path = local.path
        self.size = local.info.st_size
        self._known = Known(local, index)

    def equal(self, goal: Goal, stop: Cancel) -> bool:
        return goal.found is not None and self._known.equal(goal.found, goal.store, stop)

    def move(self, goal: Goal, watch: Watch) -> ObjectInfo:
        return send(self._known, goal.store, goal.key, watch)


class ObjectItem:
    """An object of another store."""

    __slots__ = ("_index", "_info", "_source", "path", "size")

    def __init__(self, source: ObjectStore, info: ObjectInfo, index: Index) -> None:
        self.path = info.key
        self.size = info.size
        self._source = source
        self._info = info
        self._index = index

    def equal(self, goal: Goal, stop: Cancel) -> bool:  # noqa: ARG002 - nothing is read
        found = goal.found
        if found is None or found.size != self.size:
            return False
        if self._index.equal(self.path, Stamp(self._info.etag), found.etag):
            return bool(self._info.etag)
        if not self._agree(goal, found):
            return False
        self._remember(self._info, found)
        return True

    def move(self, goal: Goal, watch: Watch) -> ObjectInfo:
        with tempfile.TemporaryDirectory(prefix="tt-cloud-") as folder:
            file = Path(folder, "object")
            came = self._source.get(self.path, file, cancel=watch.cancel)
            stored = goal.store.put(
                goal.key,
                file,
                sha256=came.sha256,
                progress=watch.progress,
                cancel=watch.cancel,
                **portable(came),
            )
        self._remember(came, stored)
        return stored

    def _agree(self, goal: Goal, found: ObjectInfo) -> bool:
        """Ask for more than listings tell, unless these are certain."""
        same = agree(self._info, found)
        if same or "sha256" in digests_of(self._info).keys() & digests_of(found).keys():
            return bool(same)
        ours, theirs = self._source.head(self.path), goal.store.head(goal.key)
        return ours is not None and theirs is not None and bool(agree(ours, theirs))

    def _remember(self, ours: ObjectInfo, theirs: ObjectInfo) -> None:
        if ours.etag and theirs.etag:
            self._index.learn(self.path, Stamp(ours.etag), theirs.etag, {})


def send(known: Known, store: ObjectStore, key: str, watch: Watch) -> ObjectInfo:
    """Store a file as it was found, or fail when it is another by now."""
    sha256 = known.begin()
    try:
        info = store.put(
            key, known.local.file, sha256=sha256, progress=watch.progress, cancel=watch.cancel
        )
    except (ChecksumMismatch, FileNotFoundError):
        known.check()  # which tells better what happened, if it was that
        raise
    known.check()
    known.remember(info)
    return info


def listed(store: ObjectStore, cancel: Cancel | None) -> Sequence[ObjectInfo]:
    """All objects of a store; consoles create empty ones like ``a/`` to show folders."""
    return [info for info in heeding(store.list(""), cancel) if not info.key.endswith("/")]
