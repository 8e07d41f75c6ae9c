"""A folder as a store: each object is the plain file of that name, and nothing else is kept.

The digest is computed when it is asked for, so that people may look at the files, add some and
correct others. A listing carries none, because it would have to read every file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from urllib.request import url2pathname

from tt_cloud._base import BaseStore
from tt_cloud._content import CHUNK, Content, Sink, Staged, Stored, staged
from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud.api import ObjectInfo
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    CloudError,
    InvalidURL,
    NotFound,
    UnsafeKey,
)


class FolderStore(BaseStore):
    """Files below a root; symbolic links below it are no objects and are never followed."""

    def __init__(self, url: str) -> None:
        self._root = _local_path(url).expanduser().absolute()
        super().__init__(self._root.as_uri())

    def _upload(self, key: str, content: Content, *, if_absent: bool) -> None:
        with self._translated(key):
            path = self._path(key)
            with staged(path.parent) as unfinished:
                unfinished.file.writelines(content.chunks())
                self._path(key)  # a link may have been put in the way meanwhile
                self._publish(unfinished, path, key, if_absent=if_absent)

    def _download(self, key: str, sink: Sink) -> Stored:
        with self._translated(key), self._open(key) as file:
            size = os.fstat(file.fileno()).st_size
            while chunk := file.read(CHUNK):
                sink.write(chunk)
        return Stored(size, None)

    def _head(self, key: str) -> Stored | None:
        try:
            with self._translated(key), self._open(key) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return Stored(file.tell(), digest)
        except NotFound:
            return None

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._translated(prefix):
            yield from _walk(self._root, "", prefix)

    def _delete(self, key: str) -> None:
        with self._translated(key), suppress(FileNotFoundError):
            path = self._path(key)
            if path.is_file():
                path.unlink()
            self._prune(path.parent)

    def _publish(self, unfinished: Staged, path: Path, key: str, *, if_absent: bool) -> None:
        try:
            unfinished.publish(path, if_absent=if_absent)
        except FileExistsError as error:
            msg = f"with if_absent the key must be free: {self._where(key)} is taken; use another"
            raise AlreadyExists(msg) from error

    def _path(self, key: str) -> Path:
        """Where the object lies, after a look at every step on the way there."""
        path = self._root
        for part in key.split("/"):
            path = path / part
            if path.is_symlink() or not path.is_relative_to(self._root):
                came = f"{self._where(key)} goes through the link {part!r}"
                msg = f"a folder store never leaves its folder: {came}; remove the link"
                raise UnsafeKey(msg)
        return path

    def _open(self, key: str) -> BufferedReader:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(path)  # a directory, a pipe or a socket is no object
        no_follow = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
        return open(path, "rb", opener=lambda name, flags: os.open(name, flags | no_follow))

    def _prune(self, directory: Path) -> None:
        """Remove directories that became empty: a key must be free once nothing lies below it."""
        with suppress(OSError):  # not empty, or already gone
            while directory != self._root:
                directory.rmdir()
                directory = directory.parent

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        where = self._where(key)
        try:
            yield
        except CloudError:
            raise
        except PermissionError as error:
            msg = f"a store's files must be accessible: {where} is not; check its owner and mode"
            raise AccessDenied(msg) from error
        except FileNotFoundError as error:
            msg = f"{where} must exist to be read: it does not; list() shows what does"
            raise NotFound(msg) from error
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            msg = f"in a folder no key lies below another: {where} would, or has some; rename one"
            raise UnsafeKey(msg) from error


def _walk(directory: Path, base: str, prefix: str) -> Iterator[ObjectInfo]:
    """The files of a tree, ordered by key: a directory sorts as what its keys begin with."""
    for name, entry in _entries(directory):
        key = base + name
        if name.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _walk(Path(entry.path), key, prefix)
        elif key.startswith(prefix) and entry.is_file(follow_symlinks=False):
            with suppress(FileNotFoundError):  # deleted since the directory was read
                yield ObjectInfo(key, entry.stat(follow_symlinks=False).st_size, None)


def _entries(directory: Path) -> list[tuple[str, os.DirEntry[str]]]:
    """Names in order; those of directories end with ``/``."""
    try:
        with os.scandir(directory) as found:
            entries = [entry for entry in found if not entry.name.startswith(TEMPORARY_PREFIX)]
    except FileNotFoundError:  # the store is still empty, or the directory was just pruned
        return []
    named = [(entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in entries]
    return sorted(named, key=lambda pair: pair[0])


def _local_path(url: str) -> Path:
    if "://" not in url:
        return Path(url)
    path = url.removeprefix("file://").removeprefix("localhost")
    if not path.startswith("/"):
        msg = f"a file address names no other host: got {url!r}; write file:///folder"
        raise InvalidURL(msg)
    return Path(url2pathname(path))
