"""From a folder or a store into a store: what is not there yet, and away with the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from os import PathLike
from pathlib import Path

from tt_cloud._files import folder_of, places
from tt_cloud._keys import check_key
from tt_cloud._stored import Watch
from tt_cloud._trees._apart import address, below, refuse_nested
from tt_cloud._trees._index import index
from tt_cloud._trees._moves import Moves, Transfer
from tt_cloud._trees._sources import FileItem, Goal, Item, ObjectItem, listed
from tt_cloud._trees._walk import Symlinks, walk
from tt_cloud._trees._work import heeding
from tt_cloud.api import ObjectInfo, ObjectStore, TransferReport
from tt_cloud.errors import NotFound


def upload(
    store: ObjectStore,
    folder: Path,
    prefix: str,
    *,
    symlinks: Symlinks,
    dry_run: bool,
    watch: Watch,
) -> TransferReport:
    """Store the files of a folder."""
    mirror = _Mirror(store, prefix, delete=False, dry_run=dry_run, watch=watch)
    return mirror.folder(Path(folder), symlinks)


def sync(
    store: ObjectStore,
    source: Path | ObjectStore,
    prefix: str,
    *,
    delete: bool,
    dry_run: bool,
    watch: Watch,
) -> TransferReport:
    """Make a place equal to a folder or a store."""
    mirror = _Mirror(store, prefix, delete=delete, dry_run=dry_run, watch=watch)
    if isinstance(source, str | PathLike):
        return mirror.folder(Path(source), "error")
    return mirror.store(source)


class _Mirror:
    """One call: the place that is written to, and how."""

    def __init__(
        self, store: ObjectStore, prefix: str, *, delete: bool, dry_run: bool, watch: Watch
    ) -> None:
        self._start = below(prefix)
        self._store = store
        self._prefix = prefix
        self._delete = delete
        self._cancel = watch.cancel
        self._moves = Moves(store, dry_run=dry_run, watch=watch)

    def folder(self, folder: Path, symlinks: Symlinks) -> TransferReport:
        refuse_nested(folder, self._store, self._prefix)
        files = walk(folder, symlinks, self._cancel)
        self._check(files, str(folder))
        paths = [local.path for local in files]
        with index(str(folder.resolve()), self._address(), paths) as known:
            return self._all([FileItem(local, known) for local in files])

    def store(self, source: ObjectStore) -> TransferReport:
        refuse_nested(source, self._store, self._prefix)
        found = listed(source, self._cancel)
        self._check(found, source.url)
        with index(source.url, self._address(), [info.key for info in found]) as known:
            return self._all([ObjectItem(source, info, known) for info in found])

    def _check(self, found: Sequence[object], source: str) -> None:
        """Refuse to empty the place: a wrong name, or a disk that is not mounted, has nothing."""
        if self._delete and not found:
            msg = (
                f"with delete=True the source must hold something: {source} does not, perhaps its "
                "name is wrong; delete_tree() removes everything"
            )
            raise NotFound(msg)

    def _address(self) -> str:
        return address(self._store, self._prefix)

    def _all(self, items: Sequence[Item]) -> TransferReport:
        """Look at everything before anything is moved."""
        keys = [self._start + item.path for item in items]
        for key in keys:
            check_key(key)
        if (root := folder_of(self._store.url)) is not None:
            places(keys, root)
        there = self._there(keys)
        goals = [Goal(self._store, key, there.get(key)) for key in keys]
        stale = sorted(there.keys() - set(keys)) if self._delete else []
        return self._moves.all([Transfer(*pair) for pair in zip(items, goals, strict=True)], stale)

    def _there(self, keys: Sequence[str]) -> Mapping[str, ObjectInfo]:
        """What the place holds: all of it, or only what matters."""
        if self._delete:
            all_of_it = heeding(self._store.list(self._start), self._cancel)
            return {info.key: info for info in all_of_it}
        wanted, last = set(keys), max(keys, default="")
        found = self._store.list(_beginning(keys)) if keys else iter(())
        until = takewhile(lambda info: info.key <= last, heeding(found, self._cancel))
        return {info.key: info for info in until if info.key in wanted}


def _beginning(keys: Sequence[str]) -> str:
    """What all keys begin with."""
    low, high = min(keys), max(keys)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False))
    return "".join(char for char, _ in same)
