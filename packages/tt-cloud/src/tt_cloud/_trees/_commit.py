"""Storing a folder as one set: its objects, beside those of the set before; then its manifest."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from tt_cloud._keys import check_key
from tt_cloud._stored import Watch
from tt_cloud._trees._apart import address, below, refuse_nested
from tt_cloud._trees._index import index
from tt_cloud._trees._known import Known
from tt_cloud._trees._manifest import (
    FILES,
    MANIFEST,
    CommittedFile,
    Manifest,
    joined,
    object_key,
    parsed,
    read_manifest,
    written,
)
from tt_cloud._trees._sources import send
from tt_cloud._trees._walk import Symlinks, walk
from tt_cloud._trees._work import Outcome, heeding, run
from tt_cloud.api import Cancel, ObjectInfo, ObjectStore, TransferReport
from tt_cloud.errors import AlreadyExists, Changed, CloudError

# A sweep removes objects that no manifest names once they are a day old, by default. One that is
# found half as old is stored again, which makes it new: the commit has as long to come to its end.
_YOUNG = timedelta(hours=12)


def commit(
    store: ObjectStore, folder: Path, prefix: str, *, symlinks: Symlinks, watch: Watch
) -> TransferReport:
    """Store a folder, and say so in the manifest."""
    outcome = Outcome()
    start, folder = below(prefix), Path(folder)
    refuse_nested(folder, store, prefix)
    files = walk(folder, symlinks, watch.cancel)
    for local in files:
        check_key(start + object_key(local.path, "0" * 64))
    before = _Before.of(store, prefix)
    there = _There(store, start, before, watch.cancel)
    with index(str(folder.resolve()), address(store, prefix), [f.path for f in files]) as known:
        tasks = [_Sent(Known(local, known), there) for local in files]
        run(tasks, outcome, store, watch, dry_run=False)
    report = outcome.finished()
    committed = tuple(task.committed for task in tasks)
    _publish(store, prefix, Manifest(uuid.uuid4().hex, datetime.now(UTC), committed), before.etag)
    return report


class _Before(NamedTuple):
    """What was committed before: the etag of its manifest, and its objects' keys."""

    etag: str | None
    keys: frozenset[str]

    @classmethod
    def of(cls, store: ObjectStore, prefix: str) -> _Before:
        key = joined(prefix, MANIFEST)
        info = store.head(key)
        if info is None:
            return cls(None, frozenset())
        data = store.read(key, if_match=info.etag)
        manifest = parsed(data, prefix, joined(store.url, key))
        return cls(info.etag, frozenset(file.key for file in manifest.files))


class _There:
    """What the place holds already."""

    def __init__(
        self, store: ObjectStore, start: str, before: _Before, cancel: Cancel | None
    ) -> None:
        self.store = store
        self.start = start
        self._before = before
        listed = heeding(store.list(f"{start}{FILES}/"), cancel)
        self._objects: Mapping[str, ObjectInfo] = {info.key: info for info in listed}
        self._now = datetime.now(UTC)

    def trusted(self, key: str) -> ObjectInfo | None:
        """The object, if no sweep takes it away before the commit ends."""
        info = self._objects.get(key)
        if info is None or key in self._before.keys or info.modified is None:
            return info
        return info if self._now - info.modified < _YOUNG else None


class _Sent:
    """A `Task`: one file of the set."""

    def __init__(self, known: Known, there: _There) -> None:
        self.size = known.local.info.st_size
        self._known = known
        self._there = there
        self._sha256: str | None = None

    @property
    def key(self) -> str:
        """The object's; the path's where the content is not known yet."""
        path = self._known.local.path
        name = path if self._sha256 is None else object_key(path, self._sha256)
        return self._there.start + name

    @property
    def committed(self) -> CommittedFile:
        """The file's line in the manifest."""
        path, sha256 = self._known.local.path, str(self._sha256)
        return CommittedFile(path, self.size, sha256, object_key(path, sha256))

    def equal(self, stop: Cancel) -> bool:
        self._sha256 = self._known.digest("sha256", stop)
        found = self._there.trusted(self.key)
        return found is not None and self._known.equal(found, self._there.store, stop)

    def move(self, watch: Watch) -> ObjectInfo:
        return send(self._known, self._there.store, self.key, watch)


def _publish(store: ObjectStore, prefix: str, manifest: Manifest, etag: str | None) -> None:
    """Replace the manifest, if it is still the one that the commit began with."""
    key = joined(prefix, MANIFEST)
    try:
        store.put(
            key,
            written(manifest),
            if_absent=etag is None,
            if_match=etag,
            content_type="application/json",
        )
    except CloudError as error:
        if _is_ours(store, prefix, manifest):
            return  # it was the answer that was lost
        if isinstance(error, AlreadyExists | Changed):
            msg = (
                f"a commit follows the one that it found: {joined(store.url, key)} was replaced by "
                "another meanwhile; look at that one, then commit again"
            )
            raise Changed(msg) from error
        raise


def _is_ours(store: ObjectStore, prefix: str, manifest: Manifest) -> bool:
    try:
        return read_manifest(store, prefix).commit == manifest.commit
    except (CloudError, OSError):
        return False
