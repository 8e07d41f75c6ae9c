"""Curves as the charts of a page take them: few points, each as it was recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_experiment._report.columns import Columns, Curve
from tt_experiment._report.html import Markup, tag
from tt_experiment._report.svg import Series
from tt_experiment._report.thin import thinned

__all__ = [
    "Axes",
    "Points",
    "figure",
    "per_curve",
    "place_of",
    "points_of",
    "series",
    "still",
    "wants_log",
]

_MAX_POINTS = 9000  # of a page: some 40 bytes each
_MAX_STILL = 9000  # in its drawings for paper: some 12 bytes each
_PER_CURVE = range(24, 1500)


class Points(NamedTuple):
    """What a chart draws of a curve."""

    step: NDArray[np.int64]
    epoch: NDArray[np.float64]
    time: NDArray[np.float64]
    value: NDArray[np.float64]
    total: int


class Axes:
    """Places on the horizontal axes, kept once for all curves that share them."""

    def __init__(self) -> None:
        self.data: list[dict[str, list[float]]] = []
        self._known: dict[bytes, int] = {}

    def add(self, points: Points) -> int:
        """Number of the axes of some points."""
        key = b"".join(part.tobytes() for part in points[:3])
        if key not in self._known:
            self._known[key] = len(self.data)
            self.data.append(_places(points))
        return self._known[key]


def _places(points: Points) -> dict[str, list[float]]:
    places: dict[str, list[float]] = {"step": points.step.tolist()}
    for name in ("epoch", "time"):
        values: NDArray[np.float64] = getattr(points, name)
        if values.size and np.isfinite(values).all() and (np.diff(values) >= 0).all():
            places[name] = values.tolist()
    return places


def per_curve(count: int) -> int:
    """How many points each of so many curves may have."""
    return min(max(_MAX_POINTS // max(count, 1), _PER_CURVE.start), _PER_CURVE.stop)


def points_of(columns: Columns, epochs: NDArray[np.float64], curve: Curve, limit: int) -> Points:
    """The points of a curve, thinned; time counts from the first record of the run."""
    order = np.argsort(columns.step[curve.rows], kind="stable")
    kept = order[thinned(curve.values[order], limit)]
    rows = curve.rows[kept]
    start = columns.time[np.isfinite(columns.time)][:1]
    since = columns.time[rows] - (float(start[0]) if start.size else 0.0)
    time = since.round(3)
    return Points(columns.step[rows], epochs[rows], time, curve.values[kept], len(curve.values))


def _numbers(values: NDArray[np.float64]) -> list[float | str]:
    """Values for JSON, which has no NaN and no infinities: they are texts."""
    return [value if math.isfinite(value) else str(value) for value in values.tolist()]


def series(points: Points, axis: int, **facts: Any) -> dict[str, Any]:
    """A curve for the page's script."""
    return {"axis": axis, "value": _numbers(points.value), "total": points.total, **facts}


def still(name: str, points: Points, colour: int, count: int, best: int | None = None) -> Series:
    """A curve for paper, one of so many on the page."""
    kept = thinned(points.value, min(max(_MAX_STILL // max(count, 1), 24), 400))
    pairs = [(float(points.step[i]), float(points.value[i])) for i in kept]
    at = None if best is None else (float(points.step[best]), float(points.value[best]))
    return Series(name, pairs, colour, at)


def wants_log(values: Sequence[NDArray[np.float64]], direction: str | None) -> bool:
    """Whether a logarithmic scale shows more: a loss or error over two powers of ten."""
    together = np.concatenate(values)
    finite = together[np.isfinite(together)]
    if direction != "min" or not finite.size or finite.min() <= 0:
        return False
    return bool(finite.max() / finite.min() > 100)


def figure(chart_id: str, title: str, drawing: Markup, legend: object = "") -> Markup:
    """A card with a chart: drawn for paper, to be made alive by the page's script."""
    head = tag("div", tag("h3", title), class_="chart-head")
    table = tag("details", tag("summary", "Numbers"), class_="numbers needs-js")
    chart = tag("figure", head, drawing, id=chart_id, class_="chart", aria_label=title)
    return tag("div", chart, legend, table, class_="card chart-card")


def place_of(columns: Columns, epochs: NDArray[np.float64], step: float) -> Mapping[str, float]:
    """Where a step lies on the other axes."""
    places = {"step": float(step)}
    start = columns.time[np.isfinite(columns.time)][:1]
    for name, values in (("epoch", epochs), ("time", columns.time)):
        fine = np.isfinite(values)
        if fine.any():
            places[name] = float(np.interp(step, columns.step[fine], values[fine]))
    if start.size and "time" in places:
        places["time"] -= float(start[0])
    return places
