"""Curves of several runs over each other, and the mean and interval of each setting."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_experiment import _json
from tt_experiment._report.chart_data import (
    Axes,
    Points,
    figure,
    points_of,
    series,
    still,
    wants_log,
)
from tt_experiment._report.columns import Columns, of_history, read_columns
from tt_experiment._report.comparison_runs import Group, Run
from tt_experiment._report.curves import Drawn
from tt_experiment._report.html import tag
from tt_experiment._report.metric_names import is_validation
from tt_experiment._report.svg import line_chart
from tt_experiment._report.thin import thinned
from tt_experiment._runs.seeds import t_quantile
from tt_loop.api import known_direction

__all__ = ["overlaid"]

_MAX_POINTS = 9000  # of all curves together
_MAX_CURVES = 600
_CHARTS = range(2, 12)
_MANY = 12
_MAX_ON_PAPER = 40  # runs that a drawing without a script shows


class _Read(NamedTuple):
    """The records of one run."""

    run: Run
    columns: Columns
    epochs: NDArray[np.float64]


def overlaid(runs: Sequence[Run], groups: Sequence[Group]) -> Drawn:
    """A chart for each metric, with a curve for each run."""
    read = [_read(run) for run in runs]
    names = _names(read)[: min(max(_MAX_CURVES // len(runs), _CHARTS.start), _CHARTS.stop)]
    limit = min(max(_MAX_POINTS // max(len(runs) * len(names), 1), 12), 800)
    axes = Axes()
    cards, specs = [], []
    for i, name in enumerate(names):
        having = [r for r in read if name in r.columns.curves]
        lines = {
            r.run.key: points_of(r.columns, r.epochs, r.columns.curves[name], limit) for r in having
        }
        log = wants_log([points.value for points in lines.values()], known_direction(name))
        drawn = [
            still(r.run.name, lines[r.run.key], r.run.colour, len(runs) * len(names))
            for r in having[:_MAX_ON_PAPER]
        ]
        cards.append(figure(f"chart-{i}", name, line_chart(name, drawn, log=log)))
        curves = [
            series(
                lines[r.run.key],
                axes.add(lines[r.run.key]),
                name=r.run.name,
                colour=r.run.colour,
                key=r.run.key,
                kind="run",
            )
            for r in having
        ]
        curves += _means(name, having, groups, axes, limit)
        about = f"curves of {len(having)} runs"
        specs.append(
            {"id": f"chart-{i}", "title": name, "about": about, "log": log, "series": curves}
        )
    together = any(len(group.runs) > 1 for group in groups)
    data: dict[str, Any] = {"axes": axes.data, "charts": specs, "marks": []}
    content = tag("div", *cards, class_="grid-2") if cards else None
    kinds = ["group", "run"] if len(runs) > _MANY else ["run", "group"]  # the first is shown
    return Drawn(content, {**data, "kinds": kinds} if together else data)


def _read(run: Run) -> _Read:
    columns = read_columns(run.summary.path / "metrics")
    if not columns.curves:
        columns = of_history(_kept_history(run.summary.path))
    return _Read(run, columns, columns.epochs_done())


def _kept_history(path: Path) -> dict[str, Any]:
    """What a loop of the user's own handed to a saver."""
    try:
        document = _json.load_object((path / "results" / "results.json").read_bytes())
    except (OSError, ValueError):
        return {}
    found = document.get("training_history")
    return found if isinstance(found, dict) else {}


def _names(read: Sequence[_Read]) -> list[str]:
    """Metrics with curves: validation first, then what most runs have."""
    counts: dict[str, int] = {}
    for entry in read:
        for name, curve in entry.columns.curves.items():
            counts[name] = counts.get(name, 0) + (curve.rows.size > 1)
    drawn = [name for name, count in counts.items() if count]
    return sorted(drawn, key=lambda name: (not is_validation(name), -counts[name]))


def _means(
    name: str, having: Sequence[_Read], groups: Sequence[Group], axes: Axes, limit: int
) -> list[dict[str, Any]]:
    by_key = {entry.run.key: entry for entry in having}
    found = []
    for group in groups:
        members = [by_key[run.key] for run in group.runs if run.key in by_key]
        if not members:
            continue
        mean = _mean_curve([_curve(entry, name) for entry in members])
        if mean is None:
            continue
        kept = thinned(mean.value, limit)
        points = _points(mean, kept)
        facts: dict[str, Any] = {"name": group.name, "key": group.key, "kind": "group"}
        if len(members) > 1:
            facts["low"] = (mean.value - mean.half)[kept].tolist()
            facts["high"] = (mean.value + mean.half)[kept].tolist()
        found.append(series(points, axes.add(points), colour=group.runs[0].colour, **facts))
    return found


class _MeanCurve(NamedTuple):
    step: NDArray[np.int64]
    value: NDArray[np.float64]
    half: NDArray[np.float64]


def _curve(entry: _Read, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps and values where finite; of a step that came twice, the last."""
    curve = entry.columns.curves[name]
    fine = np.isfinite(curve.values)
    steps, last = np.unique(entry.columns.step[curve.rows][fine][::-1], return_index=True)
    return steps, curve.values[fine][::-1][last]


def _mean_curve(
    curves: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]],
) -> _MeanCurve | None:
    """Mean and half interval at the steps that all have; None if those are fewer than two."""
    common = functools.reduce(np.intersect1d, [steps for steps, _ in curves])
    if common.size < 2:
        return None
    values = np.stack([found[np.searchsorted(steps, common)] for steps, found in curves])
    count = len(curves)
    spread = values.std(axis=0, ddof=1) if count > 1 else np.full(common.size, np.nan)
    factor = t_quantile(count - 1) / count**0.5 if count > 1 else np.nan
    return _MeanCurve(common, values.mean(axis=0), spread * factor)


def _points(mean: _MeanCurve, kept: NDArray[np.int64]) -> Points:
    unknown = np.full(kept.size, np.nan)
    return Points(mean.step[kept], unknown, unknown, mean.value[kept], mean.value.size)
