"""Metrics and events of a run as JSON Lines: one ``write()`` per record, so a kill loses nothing.

``metrics/0001.jsonl`` is the first attempt, ``0002.jsonl`` the next. The first line of a segment
says from which step it goes on; `read_metrics` cuts what an earlier attempt recorded after it. A
line of metrics::

    {"step":20,"epoch":1,"time":1764322345.118,"values":{"loss":0.25,"acc":null},"nonfinite":{"acc":"nan"}}

``events.jsonl`` has one line for each thing that happened (`EVENTS`), in all attempts::

    {"time":"2026-11-28T09:32:25.118+00:00","kind":"checkpoint","data":{"step":20}}
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Concatenate, Literal, ParamSpec

from tt_experiment import _json
from tt_experiment._clock import now
from tt_experiment._durable import LineFile, make_directories
from tt_experiment._records.reading import (
    LineProblem,
    history,
    metrics_problems,
    read_events,
    read_metrics,
)
from tt_experiment._records.segments import number_of, segments
from tt_experiment.folder import ExperimentFolder
from tt_experiment.redact import redact
from tt_loop.api import RunInfo

__all__ = [
    "EVENTS",
    "METRICS_FORMAT",
    "JsonLinesRecorder",
    "LineProblem",
    "history",
    "metrics_problems",
    "read_events",
    "read_metrics",
]

METRICS_FORMAT = "tt-metrics/1"
EVENTS = ("start", "resume", "checkpoint", "best", "preempt", "exception", "end", "note")
"""Kinds of events: an attempt began, from the start or from a step; a checkpoint is committed; it
is the best so far by a metric; a signal or notice asked the run to end; training failed; the
attempt ended; anything else, with its ``text``."""

_log = logging.getLogger(__name__)
P = ParamSpec("P")


def _never_raises(
    method: Callable[Concatenate[JsonLinesRecorder, P], None],
) -> Callable[Concatenate[JsonLinesRecorder, P], None]:
    """Training goes on when recording fails; the first failure is told, the rest is counted."""

    @functools.wraps(method)
    def guarded(self: JsonLinesRecorder, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # the interface says so: a recorder must not raise
            self._failed(error)

    return guarded


class _Keys(dict[str, str]):
    """Metric names as JSON writes them before a value; each is encoded once."""

    def __missing__(self, name: str) -> str:
        key = f"{json.dumps(str(name))}:"
        if len(self) < 10_000:
            self[name] = key
        return key


class JsonLinesRecorder:
    """Records a run into its folder; each ``open`` begins an attempt.

    A full disk costs one warning, never the training: what it does not take is kept, up to 1 MiB,
    and written when there is room again. `close` tells how many records were lost.

    Args:
        folder: The folder of the run, after `ExperimentFolder.write_start`.

    Attributes:
        attempt: Number of the attempt, from 1.
    """

    def __init__(self, folder: ExperimentFolder) -> None:
        self.folder = folder
        self.attempt = 0
        self._metrics: LineFile | None = None
        self._events: LineFile | None = None
        self._keys = _Keys()
        self._begin()

    def _begin(self) -> None:
        self._refused, self._is_told = 0, False
        self._owner = os.getpid()  # a forked process must not write into its parent's files

    @property
    def lost(self) -> int:
        """Records of this attempt that could not be written."""
        files = (self._metrics, self._events)
        return self._refused + sum(file.lost for file in files if file is not None)

    @_never_raises
    def open(self, run: RunInfo, /) -> None:
        """Begin an attempt: a new segment, and a ``start`` or ``resume`` event."""
        self._close_files()
        self._begin()
        self.folder.unseal()
        self._events = LineFile(self.folder.events_file)
        make_directories(self.folder.metrics)
        self._metrics = self._open_segment()
        facts = {"epoch": run.epoch, "world_size": run.world_size, "strategy": run.strategy}
        head = {"format": METRICS_FORMAT, "attempt": self.attempt, "resumed_from_step": run.step}
        head["records_of_that_step"] = run.records
        line = _json.line({**head, "created": now("milliseconds"), **facts})
        self._write(self._metrics, f"{line}\n")
        self.event("resume" if self.attempt > 1 else "start", {"step": run.step, **facts})
        self.folder.begin_attempt(self.attempt, run.step)

    def _open_segment(self) -> LineFile:
        self.attempt = 1 + max(map(number_of, segments(self.folder.metrics)), default=0)
        return LineFile(self.folder.metrics / f"{self.attempt:04d}.jsonl", exclusive=True)

    def scalars(self, step: int, values: Mapping[str, float], /, *, epoch: int) -> None:
        """Append metric values that are known after ``step`` batches."""
        try:  # no decorator: this is called at every logged step
            keys, parts, nonfinite = self._keys, [], {}
            for name, value in values.items():
                number = float(value)
                if number - number == 0.0:
                    parts.append(f"{keys[name]}{number!r}")
                else:
                    parts.append(f"{keys[name]}null")
                    nonfinite[str(name)] = str(number)
            rest = f',"nonfinite":{_json.line(nonfinite)}' if nonfinite else ""
            self._write(
                self._metrics,
                f'{{"step":{int(step)},"epoch":{int(epoch)},"time":{time.time():.3f},'
                f'"values":{{{",".join(parts)}}}{rest}}}\n',
            )
        except Exception as error:  # the interface says so: a recorder must not raise
            self._failed(error)

    @_never_raises
    def event(self, kind: str, data: Mapping[str, Any], /) -> None:
        """Append something that happened; values that JSON does not have are described.

        Args:
            kind: One of `EVENTS`; readers ignore others.
            data: What is known of it.
        """
        line = _json.line({"time": now("milliseconds"), "kind": kind, "data": redact(data)})
        self._write(self._events, f"{line}\n")

    @_never_raises
    def sync(self) -> None:
        """Have on the disk what was recorded: it survives a power cut from now on."""
        for file in (self._metrics, self._events):
            if file is not None:
                file.flush()

    @_never_raises
    def close(self, status: Literal["completed", "failed", "interrupted"], /) -> None:
        """End the attempt: an ``end`` event, everything on disk, the status in ``run.json``."""
        if os.getpid() != self._owner:
            return
        lost = self._close_metrics()
        if lost:
            _log.warning("%d records of %s could not be written", lost, self.folder.path)
        self.event("end", {"status": status, "lost_records": lost})
        try:
            self._close_files()
        finally:
            self.folder.finish(status)

    def _close_metrics(self) -> int:
        """Close the metrics, which may lose some, and tell how many records are lost in all."""
        file = self._metrics
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._failed(error)
        return self.lost

    def _write(self, file: LineFile | None, line: str) -> None:
        if os.getpid() != self._owner:
            return
        if file is None:
            msg = "a recorder records between open and close"
            raise ValueError(msg)
        file.append(line.encode())

    def _close_files(self) -> None:
        files = [file for file in (self._metrics, self._events) if file is not None]
        try:
            with ExitStack() as stack:  # each is closed, whatever happens to the other
                for file in files:
                    stack.callback(file.close)
        finally:
            self._refused, self._metrics, self._events = self.lost, None, None

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, OSError):  # what a disk does not take is kept by its file
            self._refused += 1
        if not self._is_told:
            self._is_told = True
            _log.warning("recording into %s failed, training goes on: %s", self.folder.path, error)
