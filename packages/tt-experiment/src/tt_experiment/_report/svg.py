"""Line charts as inline SVG; colours come from the page's style, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tt_experiment._report.html import Markup, join, tag

__all__ = ["COLOURS", "Mark", "Series", "line_chart", "number", "ticks"]

COLOURS = 8
"""Classes ``s0`` to ``s7`` of the page's style."""

_WIDTH, _HEIGHT = 640, 290
_LABEL = 72  # room of the name of a mark
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 42


class Series(NamedTuple):
    """One curve: points in order of their step."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    best: tuple[float, float] | None = None
    band: Sequence[tuple[float, float, float]] = ()
    """Step, low and high."""


class Mark(NamedTuple):
    """A place on the axis of steps that has a name."""

    step: float
    label: str
    kind: str = "attempt"


class Axis(NamedTuple):
    """Where values are drawn."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Coordinate of a value."""
        low, high, at = (
            (math.log10(v) for v in (self.low, self.high, value))
            if self.log
            else (self.low, self.high, value)
        )
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)


def number(value: float) -> str:
    """A number as people read it: five digits that matter, no trailing zeros; an int as it is."""
    if isinstance(value, bool) or not -1e300 < value < 1e300:  # not finite, or a huge int
        return str(float(value)) if isinstance(value, float) else str(value)[:40]
    if isinstance(value, int) and abs(value) < 1e21:
        return str(value)
    if abs(value) < 1e7 and value == int(value):
        return str(int(value))
    return f"{float(value):.5g}"


def line_chart(
    label: str, series: Sequence[Series], *, log: bool = False, marks: Sequence[Mark] = ()
) -> Markup:
    """A chart that needs no script; on a logarithmic axis, what is not positive leaves a gap."""
    steps = [p[0] for curve in series for p in curve.points]
    heights = [p[1] for curve in series for p in curve.points if _drawable(p[1], log)]
    heights += [v for curve in series for p in curve.band for v in p[1:] if _drawable(v, log)]
    x = axis(steps, _LEFT, _WIDTH - _RIGHT)
    y = axis(heights, _HEIGHT - _BOTTOM, _TOP, padding=0.06, log=log)
    parts = [_grid(x, y), *_marks(marks, x), *(_curve(c, x, y) for c in series)]
    size = f"0 0 {_WIDTH} {_HEIGHT}"
    return tag("svg", tag("title", label), *parts, viewBox=size, role="img", class_="still")


def axis(
    values: Sequence[float], start: float, end: float, *, padding: float = 0.0, log: bool = False
) -> Axis:
    """An axis that holds values, with some room."""
    low, high = (min(values), max(values)) if values else (0.1 if log else 0.0, 1.0)
    if log:
        factor = (high / low) ** padding if high / low > 1 + 1e-9 else 1.5
        if not (low / factor > 0 and high * factor < math.inf):
            factor = 1.0
        return Axis(low / factor, high * factor, start, end, log=True)
    room = (high - low) * padding
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # all the same: the line goes in the middle
        room = (abs(high) * 0.1 or 1.0) if padding else 0.5
    return Axis(low - room, high + room, start, end)


def _drawable(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


def _grid(x: Axis, y: Axis) -> Markup:
    parts: list[Markup] = []
    for value in ticks(y, 6):
        place = y.place(value)
        parts.append(tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=place, y2=place))
        parts.append(tag("text", number(value), class_="tick end", x=_LEFT - 8, y=place + 4))
    bottom = _HEIGHT - _BOTTOM
    for value in ticks(x, 7, whole=True):
        place = x.place(value)
        parts.append(tag("line", class_="axis", x1=place, x2=place, y1=bottom, y2=bottom + 4))
        parts.append(tag("text", number(value), class_="tick middle", x=place, y=bottom + 18))
    parts.append(tag("line", class_="axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=bottom, y2=bottom))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(tag("text", "step", class_="tick middle", x=middle, y=_HEIGHT - 6))
    return join(parts)


def ticks(axis: Axis, count: int, *, whole: bool = False) -> list[float]:
    """Round numbers on an axis: multiples of 1, 2 or 5 times a power of ten, or such powers."""
    if axis.log:
        powers = [10.0**n for n in range(-323, 309) if axis.low <= 10.0**n <= axis.high]
        if len(powers) > 1:
            return powers[:: math.ceil(len(powers) / count)]
    rough = (axis.high - axis.low) / count
    if not 1e-300 < rough < 1e300:  # no room for a step between such bounds
        return [axis.low, axis.high]
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    if whole:
        step = max(step, 1.0)
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    found = [index * step for index in range(first, last + 1)]
    return [value for value in found if value > 0] if axis.log else found


def _marks(marks: Sequence[Mark], x: Axis) -> Iterator[Markup]:
    """Each mark; names that would lie on each other are only told by hovering."""
    named: list[float] = []
    for mark in marks:
        place = x.place(mark.step)
        has_room = all(abs(place - other) >= _LABEL for other in named)
        named += [place] if has_room and mark.kind != "checkpoint" else []
        yield _mark(mark, place, named=has_room)


def _mark(mark: Mark, place: float, *, named: bool) -> Markup:
    bottom = _HEIGHT - _BOTTOM
    title = tag("title", mark.label)
    if mark.kind == "checkpoint":
        return tag("path", title, class_="saved", d=f"M{place - 4:.1f} {bottom}h8l-4 -7z")
    line = tag("line", title, class_="mark", x1=place, x2=place, y1=_TOP - 8, y2=bottom)
    name = tag("text", mark.label, class_="tick", x=place + 4, y=_TOP + 2) if named else ""
    return join([line, name])


def _curve(series: Series, x: Axis, y: Axis) -> Markup:
    style = f"s{series.colour % COLOURS}"
    title = tag("title", series.name)
    parts = [tag("path", title, class_=f"curve {style}", d="".join(_path(series.points, x, y)))]
    if series.band:
        parts.insert(0, tag("path", class_=f"band {style}", d=_band(series.band, x, y)))
    for step, value in _lonely(series.points, y.log):
        parts.append(
            tag("circle", class_=f"dot {style}", cx=x.place(step), cy=y.place(value), r=2.4)
        )
    if series.best and _drawable(series.best[1], y.log):
        cx, cy = x.place(series.best[0]), y.place(series.best[1])
        hint = tag("title", f"best: {number(series.best[1])} at step {number(series.best[0])}")
        parts.append(tag("circle", hint, class_=f"best-ring {style}", cx=cx, cy=cy, r=4.5))
    return join(parts)


def _path(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> list[str]:
    commands, pen = [], "M"
    for step, value in points:
        if not _drawable(value, y.log):
            pen = "M"  # a gap
            continue
        commands.append(f"{pen}{x.place(step)} {y.place(value)}")
        pen = "L"
    return commands


def _lonely(points: Sequence[tuple[float, float]], log: bool) -> list[tuple[float, float]]:
    """Points between two gaps: a line would not show them."""
    shown = [False, *(_drawable(value, log) for _, value in points), False]
    return [
        point
        for i, point in enumerate(points, start=1)
        if shown[i] and not shown[i - 1] and not shown[i + 1]
    ]


def _band(band: Sequence[tuple[float, float, float]], x: Axis, y: Axis) -> str:
    fine = [point for point in band if all(_drawable(value, y.log) for value in point[1:])]
    upper = [f"{x.place(step)} {y.place(high)}" for step, _, high in fine]
    lower = [f"{x.place(step)} {y.place(low)}" for step, low, _ in reversed(fine)]
    return f"M{'L'.join([*upper, *lower])}Z" if len(fine) > 1 else ""
