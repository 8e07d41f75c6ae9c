"""From a store into a folder: plain objects, or a committed set as of one commit."""

from __future__ import annotations

import errno
import hashlib
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tt_cloud._files import is_link, places, safe_target
from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud._local import refuse_folder
from tt_cloud._stored import Watch
from tt_cloud._transfer.files import flush_directory
from tt_cloud._trees._apart import address, below, refuse_nested
from tt_cloud._trees._index import Index, index
from tt_cloud._trees._known import Known, digest_of, digests_of
from tt_cloud._trees._manifest import Manifest, find_manifest, is_object, unfinished
from tt_cloud._trees._walk import Local
from tt_cloud._trees._work import Outcome, heeding, run
from tt_cloud.api import Cancel, ObjectInfo, ObjectStore, TransferReport
from tt_cloud.errors import ChecksumMismatch, NotFound, SourceChanged


def download(
    store: ObjectStore, prefix: str, folder: Path, *, dry_run: bool, watch: Watch
) -> TransferReport:
    """Write what is below a prefix into a folder."""
    start, folder = below(prefix), Path(folder)
    _check(folder)
    refuse_nested(folder, store, prefix)
    fetch = _Fetch(store, folder, address(store, prefix), watch, dry_run=dry_run)
    manifest = find_manifest(store, prefix)
    if manifest is None:
        listed = heeding(store.list(start), watch.cancel)
        found = {info.key.removeprefix(start): _Object(info) for info in listed}
        if found and all(map(is_object, found)):
            raise unfinished(store, prefix)
        return fetch.all(found).finished()
    outcome = fetch.all(_objects(manifest))
    if any(isinstance(failure.error, NotFound) for failure in outcome.failures):
        later = find_manifest(store, prefix)
        if later is not None and later.commit != manifest.commit:
            outcome = fetch.instead(_objects(manifest), outcome, _objects(later))
    return outcome.finished()


class _Object(NamedTuple):
    """What is to come, and the digest that it must have."""

    info: ObjectInfo
    sha256: str | None = None


def _objects(manifest: Manifest) -> Mapping[str, _Object]:
    """The files of a set by path."""
    return {
        file.path: _Object(ObjectInfo(file.key, file.size, file.sha256), file.sha256)
        for file in manifest.files
    }


class _Place(NamedTuple):
    """A file to be: its path below the folder, as a key and as it is."""

    path: str
    folder: Path
    file: Path


class _Fetched:
    """A `Task`: one object on its way to its file."""

    def __init__(self, store: ObjectStore, wanted: _Object, place: _Place, index: Index) -> None:
        self.key = wanted.info.key
        self.size = wanted.info.size
        self._store = store
        self._wanted = wanted
        self._place = place
        self._index = index

    def equal(self, stop: Cancel) -> bool:
        known = self._known()
        try:
            return known is not None and known.equal(self._wanted.info, self._store, stop)
        except SourceChanged:  # another call writes the same folder: what is there then, who knows
            return False

    def move(self, watch: Watch) -> ObjectInfo:
        safe_target(self._place.folder, self._place.file)
        if self._wanted.sha256 is None:
            info = self._get(self._place.file, watch)
        else:
            info = self._get_as(self._wanted.sha256, watch)
        known = self._known()
        if known is not None:
            known.remember_new(info)
        return info

    def _known(self) -> Known | None:
        """The file, if there is one."""
        with suppress(FileNotFoundError, NotADirectoryError):
            found = self._place.file.lstat()
            if stat.S_ISREG(found.st_mode):
                return Known(Local(self._place.path, self._place.file, found), self._index)
        return None

    def _get(self, file: Path, watch: Watch) -> ObjectInfo:
        return self._store.get(self.key, file, progress=watch.progress, cancel=watch.cancel)

    def _get_as(self, sha256: str, watch: Watch) -> ObjectInfo:
        """Give the file its name only when it is what the manifest promised."""
        target = self._place.file
        # Another call goes on with what it finds under the same name.
        draft = target.with_name(f"{TEMPORARY_PREFIX}{self._digits(sha256)}.set")
        info = self._get(draft, watch)
        self._check(info, draft, sha256, watch)
        refuse_folder(target)
        try:
            draft.replace(target)
        except FileNotFoundError:  # another call had the same draft, and was faster
            if digest_of(target, "sha256", watch.cancel) != sha256:
                raise
        flush_directory(target.parent)
        return info

    def _digits(self, sha256: str) -> str:
        """Another for each place and content."""
        return hashlib.sha256(f"{self._place.path}\0{sha256}".encode()).hexdigest()[:16]

    def _check(self, info: ObjectInfo, file: Path, wanted: str, watch: Watch) -> None:
        came = digests_of(info).get("sha256") or digest_of(file, "sha256", watch.cancel)
        if came != wanted:
            file.unlink()
            msg = (
                f"an object must be what its manifest says: {self.key!r} has sha256 {came} "
                f"instead of {wanted}; verify() tells what else is wrong, commit() cures it"
            )
            raise ChecksumMismatch(msg)


class _Fetch:
    """One call: where from, where to, and how."""

    def __init__(
        self, store: ObjectStore, folder: Path, source: str, watch: Watch, *, dry_run: bool
    ) -> None:
        self._store = store
        self._folder = folder
        self._source = source
        self._watch = watch
        self._dry_run = dry_run

    def all(self, objects: Mapping[str, _Object]) -> Outcome:
        """Look at all places before the first byte is written."""
        outcome = Outcome()
        files = places(list(objects), self._folder)
        self._refuse_links(files.values())
        if not self._dry_run:
            self._folder.mkdir(parents=True, exist_ok=True)
        with index(str(self._folder.resolve()), self._source, objects) as known:
            tasks = [
                _Fetched(self._store, wanted, _Place(path, self._folder, files[path]), known)
                for path, wanted in objects.items()
            ]
            run(tasks, outcome, self._store, self._watch, dry_run=self._dry_run)
        return outcome

    def _refuse_links(self, files: Iterable[Path]) -> None:
        for directory in {file.parent for file in files}:
            safe_target(self._folder, directory)
        for file in files:
            if is_link(file):
                safe_target(self._folder, file)

    def instead(
        self,
        before: Mapping[str, _Object],
        outcome: Outcome,
        objects: Mapping[str, _Object],
    ) -> Outcome:
        """Begin again with another commit; what was written of the one before goes away."""
        done = {info.key: info for info in outcome.done}
        written = [path for path, wanted in before.items() if wanted.info.key in done]
        gone = [path for path in written if path not in objects]
        if not self._dry_run:
            self._unlink(gone)
        again = self.all(objects)
        again.begun = outcome.begun
        kept = [key for key in again.skipped if key in done]
        again.done += [done[key] for key in kept]
        again.skipped = sorted(set(again.skipped) - set(kept))
        return again

    def _unlink(self, paths: Sequence[str]) -> None:
        """Remove files, and the directories that become empty: something may take their names."""
        for file in places(paths, self._folder).values():
            file.unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                for above in file.relative_to(self._folder).parents[:-1]:
                    (self._folder / above).rmdir()


def _check(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        msg = f"objects are written into a folder: {folder} is a file; name a folder"
        raise NotADirectoryError(errno.ENOTDIR, msg)
