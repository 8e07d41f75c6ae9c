"""A cache of run summaries: ``<root>/.tt-cache/runs-1.sqlite``, which can be deleted at any time.

It only ever saves reading: a summary is taken from it while the files that it was made from have
the sizes, times and numbers that they had. What cannot be had from it, for whatever reason, is
read from the run, and where it cannot be written nothing is kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tt_experiment._records.segments import uncollected
from tt_experiment.runs import MetricSummary, RunSummary, run_folders, summarise

if TYPE_CHECKING:
    import sqlite3

__all__ = ["read_summaries"]

_NAME = "runs-1.sqlite"  # the number is that of the rows' form
_FEW = 64  # reading so many runs costs less than a cache is worth
_SETTLED = 2_000_000_000  # ns: a file that is younger may change again within its time stamp
_PATIENCE = 0.5  # seconds that another process may hold the cache
_TABLE = "CREATE TABLE IF NOT EXISTS runs (path BLOB PRIMARY KEY, key BLOB, content BLOB, sum INT)"
_FIELDS = tuple(field.name for field in fields(RunSummary) if field.name not in ("path", "metrics"))
_log = logging.getLogger(__name__)


class _Row(NamedTuple):
    """What the cache has of a run."""

    key: bytes
    content: bytes
    sum: int

    def holds(self, key: bytes) -> bool:
        """Whether it is whole, and of the files as they are."""
        return (
            self.key == key and type(self.content) is bytes and self.sum == _sum(key, self.content)
        )


def read_summaries(root: Path | str) -> list[RunSummary]:
    """Summaries of all runs below a root, ordered by project and name.

    Args:
        root: As for `find_runs`.
    """
    with uncollected():
        return _read_summaries(root)


def _read_summaries(root: Path | str) -> list[RunSummary]:
    keys = {path: key for path in run_folders(root) if (key := _key(path))}
    if len(keys) < _FEW:
        return [run for path in keys if (run := _read(path))]
    cache = _Cache(Path(root).absolute() / ".tt-cache")
    rows = cache.read()
    known = dict(_known(rows, keys))
    fresh = {path: run for path in keys if path not in known and (run := _read(path))}
    cache.write(_rows(fresh, keys), gone=rows.keys() - keys.keys())
    found = known | fresh
    return [found[path] for path in keys if path in found]


def _key(path: str) -> bytes:
    """What changes when a run's facts do; empty for a folder that is no run."""
    try:
        parts = [_stamp(os.stat(f"{path}/run.json"))]  # noqa: PTH116 - ten thousand of them
    except OSError:
        return b""
    for name in ("hyperparams.json", "results/results.json"):
        with contextlib.suppress(OSError):
            parts.append(f"{name}:{_stamp(os.stat(f'{path}/{name}'))}")  # noqa: PTH116 - as above
    with contextlib.suppress(OSError), os.scandir(f"{path}/metrics") as entries:
        parts += sorted(f"{entry.name}:{_stamp(entry.stat())}" for entry in entries)
    return os.fsencode("|".join(parts))


def _stamp(stat: os.stat_result) -> str:
    return f"{stat.st_size},{stat.st_mtime_ns},{stat.st_ino}"


def _read(path: str) -> RunSummary | None:
    try:
        return summarise(Path(path))
    except Exception:  # one that vanishes, or is odd in a new way, must not hide the others
        _log.warning("%s could not be read", path, exc_info=True)
        return None


def _known(rows: Mapping[str, _Row], keys: Mapping[str, bytes]) -> Iterator[tuple[str, RunSummary]]:
    for path, key in keys.items():
        row = rows.get(path)
        if row is not None and row.holds(key):
            yield path, _decode(path, row.content)


def _rows(runs: Mapping[str, RunSummary], keys: Mapping[str, bytes]) -> Iterator[tuple[str, _Row]]:
    """Rows of runs that nobody has written to just before they were read."""
    now = time.time_ns()
    for path, run in runs.items():
        key = keys[path]
        if _newest(key) < now - _SETTLED:
            content = _encode(run)
            yield path, _Row(key, content, _sum(key, content))


def _newest(key: bytes) -> int:
    return max(int(part.rsplit(b",", 2)[1]) for part in key.split(b"|"))


def _sum(key: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(key))


def _encode(run: RunSummary) -> bytes:
    return json.dumps([[getattr(run, name) for name in _FIELDS], run.metrics]).encode()


def _decode(path: str, content: bytes) -> RunSummary:
    values, metrics = json.loads(content)
    facts: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
    facts["problems"] = tuple(facts["problems"])
    curves = {name: MetricSummary(*numbers) for name, numbers in metrics.items()}
    return RunSummary(path=Path(path), metrics=curves, **facts)


class _Cache:
    """The file; whatever is wrong with it, it is as if it were empty."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _NAME

    def read(self) -> dict[str, _Row]:
        """Rows by path."""
        with self._trouble(), contextlib.closing(self._open("ro")) as database:
            rows = database.execute("SELECT path, key, content, sum FROM runs")
            return {os.fsdecode(path): _Row(*row) for path, *row in rows}
        return {}

    def write(self, rows: Iterable[tuple[str, _Row]], gone: Iterable[str]) -> None:
        """Keep new rows, and forget those of runs that are gone."""
        new = [(os.fsencode(path), *row) for path, row in rows]
        old = [(os.fsencode(path),) for path in gone]
        if not new and not old:
            return
        with self._trouble():
            self._file.parent.mkdir(exist_ok=True)
            with contextlib.closing(self._open("rwc")) as database, database:
                database.execute(_TABLE)
                database.executemany("REPLACE INTO runs VALUES (?, ?, ?, ?)", new)
                database.executemany("DELETE FROM runs WHERE path = ?", old)

    def _open(self, mode: str) -> sqlite3.Connection:
        import sqlite3

        if self._file.parent.is_symlink():
            msg = f"{self._file.parent} must not be a link"
            raise OSError(msg)
        return sqlite3.connect(f"{self._file.as_uri()}?mode={mode}", _PATIENCE, uri=True)

    @contextlib.contextmanager
    def _trouble(self) -> Iterator[None]:
        """A file that is missing, held or read-only is left alone; a damaged one is removed."""
        import sqlite3

        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            _log.debug("runs are listed without a cache: %s", error)
        except (sqlite3.Error, TypeError, ValueError) as error:
            _log.debug("%s is damaged and made anew: %s", self._file, error)
            for path in (self._file, Path(f"{self._file}-journal")):
                with contextlib.suppress(OSError):
                    path.unlink()
