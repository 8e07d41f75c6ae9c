"""Copies that go through this machine, and copies that replace nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tt_cloud._attributes import portable
from tt_cloud._command.places import Place
from tt_cloud._command.stores import Opener
from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud._stored import Watch
from tt_cloud._trees._apart import refuse_nested
from tt_cloud._trees._manifest import find_manifest
from tt_cloud._trees._walk import Local, Symlinks, walk
from tt_cloud._trees._work import Outcome, run
from tt_cloud.api import Cancel, ObjectInfo, TransferReport, TreeStore
from tt_cloud.errors import AlreadyExists


@dataclass(frozen=True, slots=True)
class Relay:
    """Copies objects from one store to another through files that were verified.

    Attributes:
        came: Where from.
        goes: Where to.
        attributes: Whether metadata and types come along; a folder holds plain files.
        if_absent: Whether nothing is replaced.
    """

    came: TreeStore
    goes: TreeStore
    attributes: bool
    if_absent: bool

    def __call__(
        self, key: str, target: str, watch: Watch, sha256: str | None = None
    ) -> ObjectInfo:
        """Copy one, which must have the digest if that is known."""
        with TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
            file = Path(folder) / "object"
            info = self.came.get(key, file, **watch._asdict())
            keywords: dict[str, Any] = {"if_absent": self.if_absent, "cancel": watch.cancel}
            if self.attributes:
                keywords |= portable(info)
            return self.goes.put(target, file, sha256=sha256 or info.sha256, **keywords)


def copy_missing(
    opener: Opener,
    source: Place,
    target: Place,
    watch: Watch,
    *,
    symlinks: Symlinks,
    dry_run: bool,
) -> TransferReport:
    """Copy a tree, but nothing to where something is; that is left alone."""
    store = opener.inside(target)
    if source.path is not None:
        plan = _files(source.path, store, symlinks)
    else:
        plan = _objects(opener.inside(source), store, target.path)
    taken = {info.key for info in store.list()}
    outcome = Outcome()
    run([_Missing(each, taken) for each in plan], outcome, store, watch, dry_run=dry_run)
    late = [each for each in outcome.failures if isinstance(each.error, AlreadyExists)]
    outcome.failures = [each for each in outcome.failures if each not in late]
    outcome.skipped += [each.key for each in late]  # somebody else was faster
    return outcome.finished()


class _Planned(NamedTuple):
    """What is to be copied, to which key, and how."""

    key: str
    size: int
    copy: Callable[[Watch], ObjectInfo]


class _Missing:
    """A `Task`: one object, unless there is one of its name."""

    def __init__(self, planned: _Planned, taken: Collection[str]) -> None:
        self.key = planned.key
        self.size = planned.size
        self._copy = planned.copy
        self._taken = taken

    def equal(self, stop: Cancel) -> bool:  # noqa: ARG002 - nothing is read
        return self.key in self._taken

    def move(self, watch: Watch) -> ObjectInfo:
        return self._copy(watch)


def _files(folder: Path, store: TreeStore, symlinks: Symlinks) -> list[_Planned]:
    refuse_nested(folder, store, "")

    def planned(local: Local) -> _Planned:
        def copy(watch: Watch) -> ObjectInfo:
            return store.put(local.path, local.file, if_absent=True, **watch._asdict())

        return _Planned(local.path, local.info.st_size, copy)

    return [planned(local) for local in walk(folder, symlinks)]


def _objects(came: TreeStore, store: TreeStore, folder: Path | None) -> list[_Planned]:
    """Objects; for a folder, the files of a committed set."""
    if folder is None:
        refuse_nested(came, store, "")
    else:
        came.download_tree("", folder, dry_run=True)  # for all that it refuses
    relay = Relay(came, store, attributes=folder is None, if_absent=True)

    def planned(key: str, size: int, name: str, sha256: str | None = None) -> _Planned:
        return _Planned(name, size, lambda watch: relay(key, name, watch, sha256))

    manifest = None if folder is None else find_manifest(came, "")
    if manifest is None:
        return [planned(info.key, info.size, info.key) for info in came.list()]
    return [planned(file.key, file.size, file.path, file.sha256) for file in manifest.files]
