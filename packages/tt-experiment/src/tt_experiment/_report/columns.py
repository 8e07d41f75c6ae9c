"""The records of a run as columns: a million of them in little memory, without what was rewound.

The same numbers as `recorder.read_metrics` gives, for readers that draw them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_experiment._records.segments import (
    is_record,
    number_of,
    read_lines,
    resumed_from,
    segments,
)

__all__ = ["Attempt", "Columns", "Curve", "of_history", "read_columns", "read_samples"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Curve(NamedTuple):
    """One metric: its values, and the records that they stand in."""

    rows: Ints
    values: Floats


class Attempt(NamedTuple):
    """What one attempt recorded."""

    number: int
    from_step: int
    last_step: int | None
    """None if it recorded nothing."""
    records: int
    rewound: int
    """Records that are left out, because a later attempt went on from an earlier step."""
    last_time: float | None
    """Seconds since 1970 of the last record."""


@dataclass
class Columns:
    """All records, in order."""

    step: Ints
    epoch: Floats
    time: Floats
    attempts: list[Attempt]
    curves: dict[str, Curve]

    def epochs_done(self) -> Floats:
        """Epochs that were over at each record, with the part of the one that was under way."""
        known = np.isfinite(self.epoch)
        if not known.any():
            return self.epoch
        epochs, place = np.unique(self.epoch[known], return_inverse=True)
        steps = self.step[known].astype(np.float64)
        ends = np.full(len(epochs), -np.inf)
        np.maximum.at(ends, place, steps)
        starts = np.concatenate([[min(0.0, ends[0])], ends[:-1]])
        if len(ends) > 1:  # the last one may be under way: it is taken to be as long as the others
            ends[-1] = max(ends[-1], starts[-1] + ends[-2] - starts[-2])
        length = np.maximum(ends - starts, 1e-9)[place]
        done = np.full(len(self.epoch), np.nan)
        done[known] = epochs[place] + np.clip((steps - starts[place]) / length, 0.0, 1.0)
        rounded: Floats = done.round(4)
        return rounded


def read_columns(folder: Path) -> Columns:
    """Read a folder of segments (``metrics/``); torn and foreign lines are left out."""
    return _assembled([part for path in segments(folder) if (part := _read(path)) is not None])


def read_samples(folder: Path, training: Columns) -> Columns:
    """Read ``system/``, whose samples have a time and no step: they get that of the training."""
    parts = [part for path in segments(folder) if (part := _read(path, stepless=True)) is not None]
    for part in parts:
        part.resumed = None  # a sample of the machine is never rewound
    samples = _assembled(parts)
    known = np.isfinite(training.time)
    if known.any() and np.isfinite(samples.time).all():
        times, steps = training.time[known], training.step[known]
        samples.step = np.interp(samples.time, times, steps).astype(np.int64)
    samples.attempts.clear()
    return samples


def of_history(history: Mapping[str, Any]) -> Columns:
    """Columns of lists of values by name, each over the number of its record."""
    part = _Part(1)
    lists = {name: values for name, values in history.items() if isinstance(values, list)}
    for i in range(max(map(len, lists.values()), default=0)):
        values = {name: column[i] for name, column in lists.items() if i < len(column)}
        _add(part, {"step": i + 1, "values": values})
    return _assembled([part])


def _assembled(parts: Sequence[_Part]) -> Columns:
    kept = _rewound(parts)
    attempts = [
        Attempt(
            part.number,
            part.resumed[0] if part.resumed else 0,
            max(part.step, default=None),
            len(part.step),
            len(part.step) - int(keep.sum()),
            part.time[-1] if part.time and math.isfinite(part.time[-1]) else None,
        )
        for part, keep in zip(parts, kept, strict=True)
    ]
    return Columns(
        np.concatenate([_ints(), *(_ints(p.step)[k] for p, k in zip(parts, kept, strict=True))]),
        _put_together((p.epoch, k) for p, k in zip(parts, kept, strict=True)),
        _put_together((p.time, k) for p, k in zip(parts, kept, strict=True)),
        attempts,
        _joined(parts, kept),
    )


def _put_together(pieces: Iterable[tuple[array[float], NDArray[np.bool_]]]) -> Floats:
    return np.concatenate([_floats(), *(_floats(values)[keep] for values, keep in pieces)])


@dataclass
class _Part:
    """One segment as it was written."""

    number: int
    resumed: tuple[int, int | None] | None = None
    """The step that it goes on from, and how many records of that very step count; None: all."""
    step: array[int] = field(default_factory=lambda: array("q"))
    epoch: array[float] = field(default_factory=lambda: array("d"))
    time: array[float] = field(default_factory=lambda: array("d"))
    curves: dict[str, tuple[array[int], array[float]]] = field(default_factory=dict)


def _read(path: Path, *, stepless: bool = False) -> _Part | None:
    part = _Part(number_of(path))
    is_empty = True
    for _, line in read_lines(path):
        if line is None:
            continue
        is_empty = False
        if part.resumed is None:
            part.resumed = resumed_from(line)
        _add(part, {"step": len(part.step), **line} if stepless else line)
    return None if is_empty else part  # killed before the first line was whole


def _add(part: _Part, record: Mapping[str, Any]) -> None:
    if not is_record(record):
        return
    values, flags = record["values"], record.get("nonfinite") or {}
    row = len(part.step)
    part.step.append(record["step"])
    part.epoch.append(_number(record.get("epoch")))
    part.time.append(_number(record.get("time")))
    for name, value in values.items():
        if value is None:
            if name not in flags:
                continue
            value = flags[name]
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):  # not written by us
            continue
        rows, column = part.curves.setdefault(name, (array("q"), array("d")))
        rows.append(row)
        column.append(number)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _rewound(parts: Sequence[_Part]) -> list[NDArray[np.bool_]]:
    """Which records of each part count: those up to where every later attempt went on."""
    kept: list[NDArray[np.bool_]] = []
    for i, part in enumerate(parts):
        if part.resumed is not None:
            _cut(parts[:i], kept, *part.resumed)
        kept.append(np.ones(len(part.step), np.bool_))
    return kept


def _cut(
    parts: Sequence[_Part], kept: Sequence[NDArray[np.bool_]], last: int, of_it: int | None
) -> None:
    """Leave out what comes after a step, and of that very step all but so many records."""
    left = math.inf if of_it is None else of_it
    for part, keep in zip(parts, kept, strict=True):
        steps = _ints(part.step)
        keep &= steps <= last
        at_it = np.flatnonzero(keep & (steps == last))
        if len(at_it) > left:
            keep[at_it[int(left) :]] = False
        left = max(left - len(at_it), 0)


def _joined(parts: Sequence[_Part], kept: Sequence[NDArray[np.bool_]]) -> dict[str, Curve]:
    found: dict[str, list[tuple[Ints, Floats]]] = {}
    offset = 0
    for part, keep in zip(parts, kept, strict=True):
        places = np.cumsum(keep) - 1 + offset
        for name, (rows, values) in part.curves.items():
            index = _ints(rows)
            counted = keep[index]
            found.setdefault(name, []).append((places[index[counted]], _floats(values)[counted]))
        offset += int(keep.sum())
    curves = {
        name: Curve(np.concatenate([r for r, _ in pieces]), np.concatenate([v for _, v in pieces]))
        for name, pieces in found.items()
    }
    return {name: curve for name, curve in curves.items() if curve.rows.size}


def _ints(values: Sequence[int] = ()) -> Ints:
    return np.asarray(values, np.int64)


def _floats(values: Sequence[float] = ()) -> Floats:
    return np.asarray(values, np.float64)
