"""The order in which a place changes, so that whoever reads it meanwhile is not misled."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import filterfalse

from tt_cloud._stored import Watch
from tt_cloud._trees._delete import remove
from tt_cloud._trees._manifest import is_manifest
from tt_cloud._trees._sources import Goal, Item
from tt_cloud._trees._work import Outcome, run
from tt_cloud.api import Cancel, ObjectInfo, ObjectStore, TransferReport
from tt_cloud.errors import CloudError


class Transfer:
    """A `Task`: one item on its way to its goal."""

    __slots__ = ("_goal", "_item", "key", "size")

    def __init__(self, item: Item, goal: Goal) -> None:
        self.key = goal.key
        self.size = item.size
        self._item = item
        self._goal = goal

    def equal(self, stop: Cancel) -> bool:
        return self._item.equal(self._goal, stop)

    def move(self, watch: Watch) -> ObjectInfo:
        return self._item.move(self._goal, watch)


class Moves:
    """Transfers into one store, and deletions there.

    Manifests of committed sets go after everything that they name. What is left over goes last,
    and only if nothing failed; but objects that may have to make room (a folder store cannot hold
    ``a`` and ``a/b``) go before those that need it.
    """

    def __init__(self, store: ObjectStore, *, dry_run: bool, watch: Watch) -> None:
        self._store = store
        self._dry_run = dry_run
        self._watch = watch
        self._outcome = Outcome()

    def all(self, transfers: Sequence[Transfer], stale: Sequence[str]) -> TransferReport:
        """Do everything, and report."""
        tasks = {transfer.key: transfer for transfer in transfers}
        blocked = _in_the_way(tasks, stale)
        manifests = {key for key in tasks.keys() - blocked if is_manifest(key)}
        self._run(tasks, tasks.keys() - blocked - manifests)
        if self._outcome.failures:
            self._withhold(manifests)
        else:
            self._run(tasks, manifests)
        if not self._outcome.failures:
            self._remove(stale)
        self._run(tasks, blocked)
        return self._outcome.finished()

    def _run(self, tasks: Mapping[str, Transfer], keys: Collection[str]) -> None:
        some = [tasks[key] for key in sorted(keys)]
        run(some, self._outcome, self._store, self._watch, dry_run=self._dry_run)

    def _remove(self, stale: Sequence[str]) -> None:
        """Manifests first: no reader shall find half a set."""
        for some in (filter(is_manifest, stale), filterfalse(is_manifest, stale)):
            if not self._outcome.failures:
                remove(self._store, list(some), self._outcome, self._watch, dry_run=self._dry_run)

    def _withhold(self, manifests: Collection[str]) -> None:
        for key in manifests:
            msg = f"a manifest goes after what it names: {key!r} waits for what failed; do it again"
            self._outcome.fail(key, CloudError(msg))


def _in_the_way(keys: Collection[str], stale: Collection[str]) -> set[str]:
    """The keys that lie below or above one that is to be deleted."""
    gone = set(stale)
    folders = {above for key in stale for above in _above(key)}
    return {key for key in keys if key in folders or not gone.isdisjoint(_above(key))}


def _above(key: str) -> Iterator[str]:
    """What would be the directories on the way to a key."""
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key
