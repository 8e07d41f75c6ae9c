"""Line charts as inline SVG; colours come from the page's style, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tt_experiment._html import Markup, join, tag

__all__ = ["COLOURS", "Series", "line_chart", "number"]

COLOURS = 6
"""Classes ``s0`` to ``s5`` of the page's style."""

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 12, 40
_MAX_POINTS = 600
_MAX_MARKS = 60


@dataclass(frozen=True)
class Series:
    """One curve: points in order of their step."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def number(value: float) -> str:
    """A number as people read it: five digits that matter, no trailing zeros."""
    if isinstance(value, bool) or not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.5g}"


def line_chart(label: str, series: Sequence[Series]) -> Markup:
    """A chart with axes, ticks and titles to hover over; None of the curves may be empty."""
    points = [p for curve in series for p in curve.points if math.isfinite(p[1])]
    x = _axis([p[0] for p in points], _LEFT, _WIDTH - _RIGHT, padding=0.0)
    y = _axis([p[1] for p in points], _HEIGHT - _BOTTOM, _TOP, padding=0.06)
    curves = [_curve(curve, x, y) for curve in series]
    return tag(
        "svg",
        tag("title", label),
        _grid(x, y),
        *curves,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
    )


def _axis(values: Sequence[float], start: float, end: float, padding: float) -> _Axis:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * padding
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # all the same: the line goes in the middle
        room = abs(high) * 0.1 or 1.0
    return _Axis(low - room, high + room, start, end)


def _grid(x: _Axis, y: _Axis) -> Markup:
    parts: list[Markup] = []
    for value in _ticks(y.low, y.high, 7):
        place = y.place(value)
        parts.append(tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=place, y2=place))
        parts.append(tag("text", number(value), class_="tick end", x=_LEFT - 8, y=place + 4))
    bottom = _HEIGHT - _BOTTOM
    for value in _ticks(x.low, x.high, 8, whole=True):
        place = x.place(value)
        parts.append(tag("line", class_="axis", x1=place, x2=place, y1=bottom, y2=bottom + 4))
        parts.append(tag("text", number(value), class_="tick middle", x=place, y=bottom + 18))
    parts.append(tag("line", class_="axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=bottom, y2=bottom))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(tag("text", "step", class_="tick middle", x=middle, y=_HEIGHT - 5))
    return join(parts)


def _ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """Round numbers between two bounds: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    if not 1e-300 < rough < 1e300:  # no room for a step between such bounds
        return [low, high]
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    if whole:
        step = max(step, 1.0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _curve(series: Series, x: _Axis, y: _Axis) -> Markup:
    points = _thin(series.points)
    path = " ".join(_path(points, x, y))
    line = tag("path", tag("title", series.name), class_=f"curve s{series.colour}", d=path)
    marks = points if len(points) <= _MAX_MARKS else []
    return join([line, *(_mark(series, point, x, y) for point in marks if math.isfinite(point[1]))])


def _path(points: Sequence[tuple[float, float]], x: _Axis, y: _Axis) -> list[str]:
    commands, pen = [], "M"
    for step, value in points:
        if not math.isfinite(value):
            pen = "M"  # a gap
            continue
        commands.append(f"{pen}{x.place(step)} {y.place(value)}")
        pen = "L"
    return commands


def _mark(series: Series, point: tuple[float, float], x: _Axis, y: _Axis) -> Markup:
    hint = f"{series.name}: {number(point[1])} at step {number(point[0])}"
    cx, cy = x.place(point[0]), y.place(point[1])
    dot = tag("circle", class_=f"dot s{series.colour}", cx=cx, cy=cy, r=2.6)
    return join([dot, tag("circle", tag("title", hint), class_="hover", cx=cx, cy=cy, r=9)])


def _thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most `_MAX_POINTS`: of every stretch its lowest and highest, so that no spike is lost."""
    if len(points) <= _MAX_POINTS:
        return points
    size = math.ceil(2 * len(points) / _MAX_POINTS)
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), size):
        stretch = [p for p in points[start : start + size] if math.isfinite(p[1])]
        if stretch:
            extremes = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
            kept += sorted(extremes)
    return kept
