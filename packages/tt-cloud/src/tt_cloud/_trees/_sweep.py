"""Removing what commits and uploads left behind that never came to their end.

An object goes when it lies where commits store their files, has the digest that its key says, is
older than asked for, and is not named by the manifest: that is read before the listing and again
after it. One commit can still lose: one that takes longer than ``older_than`` from its first
object to its manifest, or that stores an old object anew in the moment between the last look and
the removal. The manifest is read once more at the end, so that this does not pass unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from tt_cloud._stored import Watch
from tt_cloud._trees._apart import below
from tt_cloud._trees._delete import remove
from tt_cloud._trees._known import digests_of
from tt_cloud._trees._manifest import FILES, is_object, object_key, read_manifest
from tt_cloud._trees._work import Outcome, each
from tt_cloud.api import Cancel, ObjectInfo, ObjectStore, TransferReport
from tt_cloud.errors import Changed, NotCommitted


@runtime_checkable
class _Uploading(Protocol):
    """A store that knows of unfinished uploads."""

    def _unfinished(self, prefix: str, before: datetime) -> Sequence[str]: ...

    def _abandon(self, prefix: str, before: datetime) -> None: ...


def sweep(
    store: ObjectStore, prefix: str, *, older_than: timedelta, dry_run: bool
) -> TransferReport:
    """Remove the leftovers of one place."""
    if older_than < timedelta(0):
        msg = f"leftovers are older than some time: got {older_than}; give none below 0"
        raise ValueError(msg)
    outcome = Outcome()
    sweeping = _Sweep(store, prefix, datetime.now(UTC) - older_than)
    orphans = sweeping.orphans(outcome)
    remove(store, orphans, outcome, Watch(), dry_run=dry_run)
    if not dry_run:
        sweeping.look_again(outcome)
    sweeping.uploads(outcome, dry_run=dry_run)
    return outcome.finished()


class _Sweep:
    """One place, and the time before which things are old."""

    def __init__(self, store: ObjectStore, prefix: str, before: datetime) -> None:
        self._store = store
        self._prefix = prefix
        self._start = below(prefix)
        self._before = before

    def orphans(self, outcome: Outcome) -> Sequence[str]:
        """Keys of the objects that no commit needs."""
        named = self._named()
        listed = self._store.list(f"{self._start}{FILES}/")
        old = [info.key for info in listed if self._is_old(info) and info.key not in named]
        if not old:
            return ()
        found: list[str] = []

        def look(key: str, stop: Cancel) -> None:  # noqa: ARG001 - it is short
            try:
                if self._is_leftover(key):
                    found.append(key)
            except Exception as error:
                outcome.fail(key, error)

        each(old, look, self._store)
        return sorted(frozenset(found) - self._named())

    def look_again(self, outcome: Outcome) -> None:
        """Report it when a commit came that needs what was removed."""
        for key in self._named().intersection(outcome.deleted):
            msg = f"a sweep must not meet a commit: one names {key!r} since; commit it again"
            outcome.fail(key, Changed(msg))

    def uploads(self, outcome: Outcome, *, dry_run: bool) -> None:
        """Drop uploads in parts."""
        if isinstance(self._store, _Uploading):
            outcome.deleted += self._store._unfinished(self._start, self._before)
            if not dry_run:
                self._store._abandon(self._start, self._before)

    def _named(self) -> frozenset[str]:
        try:
            return frozenset(file.key for file in read_manifest(self._store, self._prefix).files)
        except NotCommitted:
            return frozenset()

    def _is_old(self, info: ObjectInfo) -> bool:
        return info.modified is not None and info.modified < self._before

    def _is_leftover(self, key: str) -> bool:
        """Whether a commit stored it; it may have done so again since it was listed."""
        name = key.removeprefix(self._start)
        info = self._store.head(key) if is_object(name) else None
        if info is None or not self._is_old(info):
            return False
        path = name.split("/", 2)[2]
        return name == object_key(path, digests_of(info).get("sha256", ""))
