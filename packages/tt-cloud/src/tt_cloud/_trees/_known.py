"""Whether a file, or an object, is equal to another object."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tt_cloud._transfer.prepass import CHUNK
from tt_cloud._trees._index import Index, stamp_of
from tt_cloud._trees._walk import Local
from tt_cloud.api import Cancel, ObjectInfo, ObjectStore
from tt_cloud.errors import Cancelled, SourceChanged

_ALGORITHMS = ("sha256", "md5")  # that are quick to compute here, the one to trust first
_ENOUGH = (*_ALGORITHMS, "crc64nvme", "crc32c")  # together with the size, between two services


class Known:
    """A local file with what the index remembers of it."""

    __slots__ = ("_digests", "_index", "_since", "_stamp", "local")

    def __init__(self, local: Local, index: Index) -> None:
        self.local = local
        self._index = index
        self._stamp = stamp_of(local.info)
        self._digests: dict[str, str] = {}
        self._since: int | None = None

    def equal(self, found: ObjectInfo, store: ObjectStore, stop: Cancel) -> bool:
        """Whether the object, as a listing has it, holds what the file does."""
        if found.size != self.local.info.st_size:
            return False
        if self._index.equal(self.local.path, self._stamp, found.etag):
            return True
        if not self._has(found, stop):
            asked = None if _sha256(found) else store.head(found.key)
            if asked is None or asked.size != found.size or not self._has(asked, stop):
                return False
            found = asked
        self.remember(found)
        return True

    def digest(self, algorithm: str, stop: Cancel) -> str:
        """Of the file, which is read once."""
        if algorithm not in self._digests:
            path = self.local.path
            known = self._index.digest(path, self._stamp, algorithm)
            self._digests[algorithm] = known or self._read(algorithm, stop)
        return self._digests[algorithm]

    def begin(self) -> str | None:
        """Say that the file is about to be read; gives its sha256 if that is known."""
        self._since = self._since or time.time_ns()
        self.check()
        return self._digests.get("sha256")

    def check(self) -> None:
        """Fail when the file is not the one that was found."""
        if not self._is_same():
            msg = f"a file must not change while it is sent: {self.local.file} did; send it again"
            raise SourceChanged(msg)

    def remember(self, info: ObjectInfo) -> None:
        """Note that file and object are equal, unless the file may change without a trace."""
        since = self._since or time.time_ns()
        if self._stamp.until < since and info.etag:
            digests = self._digests | ({"sha256": info.sha256} if info.sha256 else {})
            self._index.learn(self.local.path, self._stamp, info.etag, digests)

    def remember_new(self, info: ObjectInfo) -> None:
        """Note that they are equal, of a file that this process has just written."""
        if info.etag:
            digests = {} if info.sha256 is None else {"sha256": info.sha256}
            self._index.learn(self.local.path, self._stamp, info.etag, digests)

    def _has(self, info: ObjectInfo, stop: Cancel) -> bool:
        known = digests_of(info)
        algorithm = next((name for name in _ALGORITHMS if name in known), None)
        return algorithm is not None and self.digest(algorithm, stop) == known[algorithm]

    def _read(self, algorithm: str, stop: Cancel) -> str:
        self.begin()
        digest = digest_of(self.local.file, algorithm, stop)
        self.check()
        return digest

    def _is_same(self) -> bool:
        try:
            return _content(self.local.file.lstat()) == _content(self.local.info)
        except OSError:
            return False


def _content(info: os.stat_result) -> tuple[int, int, int]:
    """What changes with a file's content; other names and rights may come and go."""
    return info.st_size, info.st_mtime_ns, info.st_ino


def agree(one: ObjectInfo, other: ObjectInfo) -> bool | None:
    """Whether two objects are equal; `None` where they have no digest in common."""
    if one.size != other.size:
        return False
    ours, theirs = digests_of(one), digests_of(other)
    common = next((name for name in _ENOUGH if name in ours and name in theirs), None)
    return None if common is None else ours[common] == theirs[common]


def digests_of(info: ObjectInfo) -> Mapping[str, str]:
    """All that is known, in lower case."""
    known = dict(info.checksums)
    if info.sha256 is not None:
        known["sha256"] = info.sha256
    return {name: text.lower() for name, text in known.items()}


def digest_of(file: Path, algorithm: str, stop: Cancel | None) -> str:
    """Of a file, until the caller wants to stop."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            if stop is not None and stop.is_set():
                msg = f"reading goes on until the call is stopped: that of {file} was"
                raise Cancelled(msg)
    return digest.hexdigest()


def _sha256(info: ObjectInfo) -> str | None:
    return digests_of(info).get("sha256")
