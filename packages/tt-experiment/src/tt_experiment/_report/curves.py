"""Learning curves of a report: which metrics belong in one chart, and what is said of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_experiment._report.chart_data import (
    Axes,
    Points,
    figure,
    per_curve,
    place_of,
    points_of,
    series,
    still,
    wants_log,
)
from tt_experiment._report.columns import Columns, Curve
from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.metric_names import groups, stem
from tt_experiment._report.parts import DASH, Cell, Column, card, table
from tt_experiment._report.svg import COLOURS, Mark, line_chart, number
from tt_loop.api import known_direction

__all__ = ["Best", "Drawn", "best_of", "curves"]

_MAX_CURVES = 150
_MAX_MARKS = 150


class Best(NamedTuple):
    """The best value of a curve."""

    step: int
    value: float
    row: int
    """Where it stands among the curve's values."""


class Drawn(NamedTuple):
    """Charts as markup, and what the page's script needs to make them alive."""

    content: Markup | None
    data: dict[str, Any]


def best_of(name: str, steps: NDArray[np.int64], values: NDArray[np.float64]) -> Best | None:
    """Lowest of what is called a loss or error, highest of a score; the first of equals.

    None where the name does not tell what is better, or no value is finite.
    """
    direction, finite = known_direction(name), np.flatnonzero(np.isfinite(values))
    if direction is None or not finite.size:
        return None
    pick = np.argmin if direction == "min" else np.argmax
    row = int(finite[pick(values[finite])])
    return Best(int(steps[row]), float(values[row]), row)


def curves(columns: Columns, checkpoints: Sequence[int], prefix: str = "chart") -> Drawn:
    """A card with a chart for each group of metrics.

    Args:
        columns: The records.
        checkpoints: Steps at which there is a checkpoint.
        prefix: What the names of the charts in the page begin with.
    """
    drawn = {name: c for name, c in columns.curves.items() if c.rows.size > 1}
    names, left = list(drawn)[:_MAX_CURVES], list(drawn)[_MAX_CURVES:]
    epochs, limit = columns.epochs_done(), per_curve(len(names))
    points = {name: points_of(columns, epochs, drawn[name], limit) for name in names}
    marks = _marks(columns, checkpoints)
    axes, cards, specs = Axes(), [], []
    for number_of_chart, group in enumerate(groups(names)):
        chart = _Chart(f"{prefix}-{number_of_chart}", group, points)
        cards.append(chart.card(marks, len(names)))
        specs.append(chart.spec(axes))
    singles = {name: c for name, c in columns.curves.items() if c.rows.size == 1}
    cards += [part for part in (_singles(singles, columns), _left_out(left)) if part]
    places = [
        {**place_of(columns, epochs, m.step), "label": m.label, "kind": m.kind} for m in marks
    ]
    content = tag("div", *cards, class_="grid-2") if cards else None
    return Drawn(content, {"axes": axes.data, "charts": specs, "marks": places})


def _marks(columns: Columns, checkpoints: Sequence[int]) -> list[Mark]:
    resumed = [Mark(a.from_step, f"attempt {a.number}") for a in columns.attempts[1:]]
    saved = [Mark(step, f"checkpoint of step {step}", "checkpoint") for step in checkpoints]
    if not columns.step.size:
        return []
    first, last = columns.step.min(), columns.step.max()
    both = [*resumed[-_MAX_MARKS:], *saved[-_MAX_MARKS:]]
    return [mark for mark in both if first <= mark.step <= last]


class _Chart:
    """One group of metrics."""

    def __init__(self, chart_id: str, names: Sequence[str], points: Mapping[str, Points]) -> None:
        self.id, self.names = chart_id, names
        self.title = " and ".join(names) if len(names) < 3 else stem(names[0])
        self.points = [points[name] for name in names]
        self.best = [
            best_of(name, p.step, p.value) for name, p in zip(names, self.points, strict=True)
        ]
        self.log = wants_log([p.value for p in self.points], known_direction(names[0]))

    def card(self, marks: Sequence[Mark], count: int) -> Markup:
        """The chart as it is without a script, with its legend."""
        drawn = [
            still(name, points, colour, count, best.row if best else None)
            for colour, (name, points, best) in enumerate(self._parts())
        ]
        drawing = line_chart(self.title, drawn, log=self.log, marks=marks)
        rows = [self._legend(i, *part) for i, part in enumerate(self._parts())]
        return figure(
            self.id,
            self.title,
            drawing,
            join([table(_LEGEND if any(self.best) else _RANGE, rows), self._note()]),
        )

    def _parts(self) -> list[tuple[str, Points, Best | None]]:
        return list(zip(self.names, self.points, self.best, strict=True))

    def _note(self) -> Markup:
        shown = sum(len(p.value) for p in self.points)
        total = sum(p.total for p in self.points)
        thin = f"{shown:,} of {total:,} points shown: the lowest and highest of every stretch."
        return tag("p", thin, class_="note") if shown < total else Markup("")

    def _legend(self, i: int, name: str, points: Points, best: Best | None) -> list[Cell | str]:
        key = tag("span", class_=f"key s{i % COLOURS}")
        facts = {"type": "button", "disabled": "", "aria_pressed": "true"}
        button = tag("button", key, name, class_="key-toggle", data_key=f"{self.id}/{i}", **facts)
        last = number(float(points.value[-1]))
        if not any(self.best):  # nobody knows what is better
            finite = points.value[np.isfinite(points.value)]
            low, high = (finite.min(), finite.max()) if finite.size else (math.nan, math.nan)
            return [Cell(button), last, number(float(low)), number(float(high))]
        if best is None:
            return [Cell(button), last, DASH, DASH]
        return [Cell(button), last, number(best.value), number(best.step)]

    def spec(self, axes: Axes) -> dict[str, Any]:
        """The chart for the page's script."""
        lines = [
            series(
                points,
                axes.add(points),
                name=name,
                colour=colour % COLOURS,
                key=f"{self.id}/{colour}",
                best=best.row if best else None,
            )
            for colour, (name, points, best) in enumerate(self._parts())
        ]
        about = f"{len(lines)} curves" if len(lines) > 1 else "1 curve"
        return {
            "id": self.id,
            "title": self.title,
            "about": about,
            "log": self.log,
            "series": lines,
        }


_LEGEND = (Column("curve"), Column("last", "n"), Column("best", "n"), Column("at step", "n"))
_RANGE = (Column("curve"), Column("last", "n"), Column("lowest", "n"), Column("highest", "n"))


def _singles(values: Mapping[str, Curve], columns: Columns) -> Markup | None:
    rows: list[list[Cell | str]] = [
        [name, number(float(curve.values[0])), number(int(columns.step[curve.rows[0]]))]
        for name, curve in list(values.items())[:_MAX_CURVES]
    ]
    head = (Column("metric"), Column("value", "n"), Column("at step", "n"))
    return card(table(head, rows), title="Recorded once") if rows else None


def _left_out(names: Sequence[str]) -> Markup | None:
    if not names:
        return None
    text = f"{len(names)} more metrics are in the metrics file and not drawn here."
    return card(tag("p", text, class_="note"))
