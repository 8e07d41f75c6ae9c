"""What was equal when it was last looked at, so that the next call need not look again.

Like git's index: a file that still has its size, times and inode has the content that it had, and
an object with the same etag, too. It lies in the user's cache directory, one file for each pair of
folder and place. Nothing depends on it: without it, files are digested and objects asked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tt_cloud._cache_dir import cache_dir
from tt_cloud._transfer.files import is_own

logger = logging.getLogger(__name__)

_VERSION = 1
_KEPT = 90 * 86_400  # seconds after which an index that nobody used is dropped
_TICK = 50_000_000  # nanoseconds in which two writes may leave the same time on a file
_COARSE = 2_000_000_000  # the same, where times are whole seconds
_SECOND = 1_000_000_000


class Stamp(NamedTuple):
    """What tells one content from the next, without reading it.

    ``until`` is the moment (ns) up to which another write may leave the same stamp: git calls
    a file racy until then.
    """

    text: str
    until: int = 0


class _Entry(NamedTuple):
    stamp: str
    etag: str
    digests: dict[str, str]


def stamp_of(info: os.stat_result) -> Stamp:
    """Of a file."""
    times = (info.st_mtime_ns, info.st_ctime_ns)
    coarse = info.st_mtime_ns % _SECOND == 0
    text = f"{info.st_size:x}-{times[0]:x}-{times[1]:x}-{info.st_ino:x}"
    return Stamp(text, max(times) + (_COARSE if coarse else _TICK))


class Index:
    """Which file and which object were found to be equal, by path. Usable from several threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._entries = _loaded(file)
        self._fresh: dict[str, int] = {}

    def equal(self, path: str, stamp: Stamp, etag: str) -> bool:
        """Whether these two are known to be equal."""
        entry = self._entries.get(path)
        return entry is not None and bool(etag) and entry[:2] == (stamp.text, etag)

    def digest(self, path: str, stamp: Stamp, algorithm: str) -> str | None:
        """The digest of a file with that stamp, if it is known."""
        entry = self._entries.get(path)
        if entry is None or entry.stamp != stamp.text:
            return None
        return entry.digests.get(algorithm)

    def learn(self, path: str, stamp: Stamp, etag: str, digests: Mapping[str, str]) -> None:
        """Note that they are equal."""
        self._entries[path] = _Entry(stamp.text, etag, dict(digests))
        self._fresh[path] = stamp.until

    def save(self, paths: Collection[str]) -> None:
        """Keep what is known of these paths, for the next call."""
        if not self._fresh:
            with suppress(OSError):
                os.utime(self._file)  # it was of use
            return
        now = time.time_ns()
        racy = {path for path, until in self._fresh.items() if until >= now}
        kept = {
            path: self._entries[path]
            for path in paths
            if path in self._entries and path not in racy
        }
        try:
            _replace(self._file, json.dumps({"version": _VERSION, "entries": kept}))
            _prune(self._file.parent, now / _SECOND)
        except OSError as error:
            logger.debug("no index is kept in %s: %s", self._file.parent, error)


@contextmanager
def index(source: str, target: str, paths: Collection[str]) -> Iterator[Index]:
    """The index for what lies at two places; it is saved after the block, whatever happened."""
    name = hashlib.sha256(f"{source}\0{target}".encode(errors="surrogatepass")).hexdigest()
    known = Index(_directory() / f"{name[:32]}.json")
    try:
        yield known
    finally:
        known.save(paths)


def _directory() -> Path:
    try:
        return cache_dir("index")
    except RuntimeError:  # a user without a home
        return Path(os.devnull)  # where nothing can be kept


def _loaded(file: Path) -> dict[str, _Entry]:
    """What was kept; nothing where that cannot be read."""
    try:
        with file.open("rb") as stream:
            if not is_own(os.fstat(stream.fileno())):
                return {}  # it would be somebody else who says what is equal
            found = json.load(stream)
        if found["version"] != _VERSION:
            return {}
        return {
            str(path): _Entry(str(stamp), str(etag), dict(digests))
            for path, (stamp, etag, digests) in found["entries"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _replace(file: Path, text: str) -> None:
    """Write the file in one step; who is interrupted leaves the one before."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as unfinished:
            unfinished.write(text)
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _prune(directory: Path, now: float) -> None:
    """Drop what nobody used for long: folders of experiments come and go."""
    for file in list(directory.iterdir()):
        with suppress(OSError):
            if file.stat().st_mtime < now - _KEPT:
                file.unlink()
