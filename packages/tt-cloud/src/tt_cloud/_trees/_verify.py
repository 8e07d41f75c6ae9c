"""Whether a committed set is there, whole and as it was committed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from tt_cloud._stored import Watch
from tt_cloud._transfer.prepass import CHUNK
from tt_cloud._trees._apart import below
from tt_cloud._trees._known import digests_of
from tt_cloud._trees._manifest import CommittedFile, read_manifest
from tt_cloud._trees._work import Outcome, run
from tt_cloud.api import Cancel, ObjectInfo, ObjectStore, TransferReport
from tt_cloud.errors import Cancelled, ChecksumMismatch, NotFound


def verify(store: ObjectStore, prefix: str, *, read_back: bool) -> TransferReport:
    """Check every object that the manifest names."""
    below(prefix)
    outcome = Outcome()
    tasks = [_Check(store, file, read_back) for file in read_manifest(store, prefix).files]
    run(tasks, outcome, store, Watch(), dry_run=False)
    return outcome.finished()


class _Check:
    """A `Task`: one object; what is checked counts as done."""

    def __init__(self, store: ObjectStore, file: CommittedFile, read_back: bool) -> None:
        self.key = file.key
        self.size = file.size
        self._store = store
        self._file = file
        self._read_back = read_back

    def equal(self, stop: Cancel) -> bool:  # noqa: ARG002 - nothing is read
        return False

    def move(self, watch: Watch) -> ObjectInfo:
        info = self._store.head(self.key)
        if info is None:
            msg = f"a set's objects must be there: {self.key!r} is not; commit it again"
            raise NotFound(msg)
        if info.size != self.size:
            raise self._other(f"{info.size} bytes instead of {self.size}")
        sha256 = digests_of(info).get("sha256")
        if self._read_back or sha256 is None:
            sha256 = self._digest(watch.cancel)
        if sha256 != self._file.sha256:
            raise self._other(f"sha256 {sha256} instead of {self._file.sha256}")
        return replace(info, sha256=sha256)

    def _digest(self, stop: Cancel | None) -> str:
        digest = hashlib.sha256()
        with self._store.open(self.key) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                if stop is not None and stop.is_set():
                    msg = f"reading goes on until the call is stopped: that of {self.key!r} was"
                    raise Cancelled(msg)
        return digest.hexdigest()

    def _other(self, fault: str) -> ChecksumMismatch:
        msg = f"a set's objects must be as committed: {self.key!r} has {fault}; commit it again"
        return ChecksumMismatch(msg)
