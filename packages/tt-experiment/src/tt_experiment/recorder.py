"""Metrics and events of a run as JSON Lines: one ``write()`` per record, so a kill loses nothing.

``metrics/0001.jsonl`` is the first attempt, ``0002.jsonl`` the next. The first line of a segment
says from which step it goes on; `read_metrics` cuts what an earlier attempt recorded after it.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec

from tt_experiment import _json
from tt_experiment._durable import LineFile, make_directories
from tt_experiment.folder import ExperimentFolder
from tt_experiment.redact import redact
from tt_loop.api import RunInfo

__all__ = ["METRICS_FORMAT", "JsonLinesRecorder", "history", "read_events", "read_metrics"]

METRICS_FORMAT = "tt-metrics/1"
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
            self._lost(error)

    return guarded


class JsonLinesRecorder:
    """Records a run into its folder; each ``open`` begins an attempt.

    A disk that fails costs records and one warning, never the training: it is tried again with the
    next record, and `close` tells how many were lost.

    Args:
        folder: The folder of the run, after `ExperimentFolder.write_start`.
    """

    def __init__(self, folder: ExperimentFolder) -> None:
        self.folder = folder
        self.lost = 0
        """Records that could not be written in this attempt."""
        self._metrics: LineFile | None = None
        self._events: LineFile | None = None

    @_never_raises
    def open(self, run: RunInfo, /) -> None:
        """Begin an attempt: a new segment, and a ``start`` or ``resume`` event."""
        self._close_files()
        self.lost = 0
        self.folder.unseal()
        self._events = LineFile(self.folder.events_file)
        make_directories(self.folder.metrics)
        number = self._open_segment()
        facts = {"epoch": run.epoch, "world_size": run.world_size, "strategy": run.strategy}
        head = {"format": METRICS_FORMAT, "attempt": number, "resumed_from_step": run.step}
        self._write(self._metrics, {**head, "created": _now(), **facts})
        self.event("resume" if number > 1 else "start", {"step": run.step, **facts})
        self.folder.begin_attempt(number, run.step)

    def _open_segment(self) -> int:
        number = 1 + max((_number(path) for path in _segments(self.folder.metrics)), default=0)
        path = self.folder.metrics / f"{number:04d}.jsonl"
        self._metrics = LineFile(path, exclusive=True)
        return number

    @_never_raises
    def scalars(self, step: int, values: Mapping[str, float], /, *, epoch: int) -> None:
        """Append metric values that are known after ``step`` batches."""
        numbers, nonfinite = _json.finite({name: float(value) for name, value in values.items()})
        record = {"step": step, "epoch": epoch, "time": round(time.time(), 3), "values": numbers}
        self._write(self._metrics, {**record, "nonfinite": nonfinite} if nonfinite else record)

    @_never_raises
    def event(self, kind: str, data: Mapping[str, Any], /) -> None:
        """Append something that happened; values that JSON does not have are described."""
        self._write(self._events, {"time": _now(), "kind": kind, "data": redact(data)})

    @_never_raises
    def close(self, status: Literal["completed", "failed", "interrupted"], /) -> None:
        """End the attempt: an ``end`` event, everything on disk, the status in ``run.json``."""
        self.event("end", {"status": status, "lost_records": self.lost})
        try:
            self._close_files()
        finally:
            self.folder.finish(status)

    def _write(self, file: LineFile | None, record: Mapping[str, Any]) -> None:
        if file is None:
            msg = "a recorder records between open and close"
            raise ValueError(msg)
        file.append(_json.line(record))

    def _close_files(self) -> None:
        files, self._metrics, self._events = (self._metrics, self._events), None, None
        with ExitStack() as stack:  # each is closed, whatever happens to the other
            for file in files:
                if file is not None:
                    stack.callback(file.close)

    def _lost(self, error: Exception) -> None:
        self.lost += 1
        if self.lost == 1:
            _log.warning("recording into %s failed, training goes on: %s", self.folder.path, error)


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Read the metrics of a run as one history.

    Args:
        path: The ``metrics`` folder of a run, or the run's own folder.

    Returns:
        Records with ``step``, ``epoch``, ``time``, ``attempt`` and ``values`` in order. What an
        attempt recorded after the step from which a later one goes on is left out, and so is a
        line that a kill has torn.
    """
    folder = Path(path)
    folder = folder / "metrics" if (folder / "metrics").is_dir() else folder
    records: list[dict[str, Any]] = []
    for segment in _segments(folder):
        lines = _lines(segment)
        if not lines:
            continue  # killed before the first line was whole: nothing was recorded
        resumed = lines[0].get("resumed_from_step", lines[0].get("step", 0) - 1)
        records = [record for record in records if record["step"] <= resumed]
        records += [_record(line, _number(segment)) for line in lines if "values" in line]
    return records


def history(records: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Curves of the metrics in records: by name, pairs of step and value."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, value in record["values"].items():
            curves.setdefault(name, []).append((record["step"], value))
    return curves


def read_events(path: Path | str) -> list[dict[str, Any]]:
    """Read ``events.jsonl``, without a line that a kill has torn; empty if there is no file."""
    return [line for line in _lines(Path(path)) if "kind" in line]


def _record(line: dict[str, Any], attempt: int) -> dict[str, Any]:
    values = _json.restore(line["values"], line.get("nonfinite", {}))
    facts = {key: line.get(key) for key in ("step", "epoch", "time")}
    return {**facts, "attempt": attempt, "values": values}


def _segments(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.glob("*.jsonl") if p.stem.isdigit()), key=_number)


def _number(path: Path) -> int:
    return int(path.stem)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(_json.load_object(line))
        except ValueError:  # torn, or the empty end of the file
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
