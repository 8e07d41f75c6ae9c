"""The store itself: from keys to files, and from files to objects."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn, Self

from tt_cloud._base import BaseStore
from tt_cloud._content import Content, Sink, staged
from tt_cloud._files import check_names, folder_of
from tt_cloud._folder import _beside
from tt_cloud._folder._beside import NOTHING, Beside
from tt_cloud._folder._clone import clone
from tt_cloud._folder._directory import Directory, entered
from tt_cloud._folder._draft import drafted, plain, prune
from tt_cloud._folder._faults import reading, writing
from tt_cloud._folder._leftovers import Leftover, leftovers, remove
from tt_cloud._folder._lock import locked
from tt_cloud._folder._walk import walk
from tt_cloud._keys import check_key
from tt_cloud._local import CHUNK, Stream, current_only, expect, hold, landing, watched
from tt_cloud._stored import Attributes, Condition, Stored, Watch
from tt_cloud.api import Failure, TransferReport
from tt_cloud.errors import Changed, CloudError, NotFound, TransferFailed, Unsupported


class FolderStore(BaseStore):
    """Files below a root; symbolic links below it are no objects and are never followed."""

    def __init__(self, url: str) -> None:
        self._root = (folder_of(url) or Path(url)).expanduser().absolute()
        self._parts: tuple[str, ...] = ()  # of a prefix: there, too, links are not followed
        super().__init__(self._root.as_uri())

    def exists(self, key: str, /) -> bool:
        check_key(key)
        return self._etag(key) is not None  # quicker than head(), which digests the file

    def _below(self, prefix: str) -> Self:
        below = copy.copy(self)
        below._parts = (*self._parts, *prefix.split("/"))
        below._url = self._root.joinpath(*below._parts).as_uri()
        return below

    def _put(
        self,
        key: str,
        content: Content,
        attributes: Attributes,
        condition: Condition,
        watch: Watch,
    ) -> Stored:
        def fill(file: BufferedRandom) -> str:
            file.writelines(watched(content.chunks(), key, content.size, watch))
            return content.sha256

        return self._write(key, fill, Beside.of(key, attributes), condition)

    def _get(
        self, key: str, target: Path, version: str | None, etag: str | None, watch: Watch
    ) -> Stored:
        with (
            self._opened(key, version, etag) as (file, stored),
            staged(target.parent) as unfinished,
        ):
            sink = Sink(unfinished.file)
            for chunk in watched(self._chunks(file, stored, key), key, stored.size, watch):
                sink.write(chunk)
            unfinished.publish(target)
        return replace(stored, sha256=sink.sha256)

    def _read(
        self, key: str, start: int, end: int | None, version: str | None, etag: str | None
    ) -> bytes:
        with self._opened(key, version, etag) as (file, stored):
            stop = stored.size if end is None else min(end, stored.size)
            file.seek(min(start, stored.size))
            data = file.read(max(stop - start, 0))
            self._check_unchanged(file, stored, key)
        return data

    def _open(self, key: str, version: str | None) -> BinaryIO:
        with self._opened(key, version, None) as (_, stored):
            read = partial(self._read, key, version=None, etag=stored.etag)
        return BufferedReader(Stream(read, stored.size), CHUNK)

    def _head(self, key: str, version: str | None) -> Stored | None:
        try:
            with self._opened(key, version, None) as (file, stored):
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                self._check_unchanged(file, stored, key)
        except NotFound:
            return None
        return replace(stored, sha256=digest)

    def _list(self, prefix: str, start_after: str | None) -> Iterator[tuple[str, Stored]]:
        with reading(self._where(prefix)):
            for key, info in walk(self._root, self._parts, prefix, start_after or ""):
                yield key, _beside.known(key, info)

    def _versions(self, key: str) -> Sequence[Stored]:
        stored = self._head(key, None)
        return () if stored is None else (stored,)

    def _delete(self, keys: Sequence[str]) -> None:
        if len(keys) == 1:
            self._remove(keys[0])
            return
        failures = []
        for key in keys:
            try:
                self._remove(key)
            except (CloudError, OSError) as error:
                failures.append(Failure(key, error))
        if failures:
            msg = (
                f"{len(failures)} of {len(keys)} objects could not be removed: {failures[0].error}"
            )
            done = sorted(set(keys) - {failure.key for failure in failures})
            raise TransferFailed(msg, TransferReport(deleted=tuple(done), failures=tuple(failures)))

    def _copy(self, source: str, target: str, condition: Condition) -> Stored:
        with self._opened(source, None, None) as (file, stored):

            def fill(new: BufferedRandom) -> str:
                clone(file, new)
                self._check_unchanged(file, stored, source)
                return hashlib.file_digest(new, "sha256").hexdigest()

            kept = Attributes(stored.metadata, stored.content_type or "")
            return self._write(target, fill, Beside.of(target, kept), condition)

    def _presign(
        self,
        key: str,
        method: Literal["GET", "PUT"],  # noqa: ARG002 - there is no address for any
        expires: timedelta,  # noqa: ARG002 - there is no address for any
    ) -> NoReturn:
        msg = f"only this machine sees its files: {self._where(key)} has no URL; use another store"
        raise Unsupported(msg)

    def _unfinished(self, prefix: str, before: datetime) -> Sequence[str]:
        return sorted(key for key, _ in self._leftovers(prefix, before))

    def _abandon(self, prefix: str, before: datetime) -> None:
        for _, leftover in list(self._leftovers(prefix, before)):
            remove(self._root, leftover)

    def _leftovers(self, prefix: str, before: datetime) -> Iterator[tuple[str, Leftover]]:
        """Hidden files, under keys that no object can have."""
        with reading(self._where(prefix)):
            for found in leftovers(self._root, self._parts, before.timestamp()):
                key = "/".join((*found.parts[len(self._parts) :], found.name))
                if key.startswith(prefix):
                    yield key, found

    def _write(
        self, key: str, fill: Callable[[BufferedRandom], str], beside: Beside, condition: Condition
    ) -> Stored:
        """Write an object, if the condition holds before and after; `fill` gives its digest."""
        where = self._where(key)
        *parts, name = self._way(key)
        if condition != Condition():
            hold(condition, self._etag(key), where)
        with landing(where), ExitStack() as stack:
            with writing(where):
                draft = stack.enter_context(drafted(self._root, parts))
            sha256 = fill(draft.file)
            with writing(where):
                info = draft.publish(name, beside, condition, where)
        return replace(_beside.known(key, info, beside), sha256=sha256)

    def _remove(self, key: str) -> None:
        *parts, name = self._way(key)
        with suppress(NotFound), reading(self._where(key)):
            with entered(self._root, parts) as directory:
                if plain(directory, name) is None:
                    return
                with locked(directory, needed=False):
                    info = plain(directory, name)
                    if info is not None:
                        directory.unlink(name)
                        _beside.forget(directory, info)
            prune(self._root, parts)

    def _etag(self, key: str) -> str | None:
        """Of the object, if there is one."""
        *parts, name = self._way(key)
        with suppress(NotFound), reading(self._where(key)), entered(self._root, parts) as directory:
            info = plain(directory, name)
            return None if info is None else _beside.identity(info)
        return None

    @contextmanager
    def _opened(
        self, key: str, version: str | None, etag: str | None
    ) -> Iterator[tuple[BufferedReader, Stored]]:
        """The object, if it is the one that is wanted."""
        where = self._where(key)
        current_only(version, where)
        *parts, name = self._way(key)
        with reading(where), entered(self._root, parts) as directory:
            file, info, beside = _pair(directory, name)
        with file:
            stored = _beside.known(key, info, beside)
            expect(etag, stored.etag, where)
            yield file, stored

    def _chunks(self, file: BinaryIO, stored: Stored, key: str) -> Iterator[bytes]:
        """The whole file, which must not change meanwhile."""
        while chunk := file.read(CHUNK):
            yield chunk
        self._check_unchanged(file, stored, key)

    def _check_unchanged(self, file: BinaryIO, stored: Stored, key: str) -> None:
        if _beside.identity(os.fstat(file.fileno())) != stored.etag:
            msg = f"a file must not change while it is read: {self._where(key)} did; read it again"
            raise Changed(msg)

    def _way(self, key: str) -> tuple[str, ...]:
        """The directories below the root, and the file's name."""
        check_names(key)
        return (*self._parts, *key.split("/"))


def _pair(directory: Directory, name: str) -> tuple[BufferedReader, os.stat_result, Beside]:
    """A file and what belongs to it: again, when another file took its place in between."""
    while True:
        with ExitStack() as stack:
            file = stack.enter_context(directory.file(name))
            info = os.fstat(file.fileno())
            beside = _beside.find(directory, info)
            now = directory.find(name)
            if beside is not None or (now and _beside.identity(now) == _beside.identity(info)):
                stack.pop_all()
                return file, info, beside or NOTHING
