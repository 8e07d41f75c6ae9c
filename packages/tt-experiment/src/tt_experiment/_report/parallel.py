"""Parallel coordinates: a line for each run, from its hyperparameters to its results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tt_experiment._report.comparison_runs import Run, Score
from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.svg import Axis, number, ticks
from tt_experiment._runs.seeds import is_seed, varying

__all__ = ["parallel"]

_WIDTH, _HEIGHT, _TOP, _BOTTOM, _SIDE = 1120, 380, 52, 356, 90
_MAX_RAILS = 8
_MAX_CLASSES = 24
_SHADES = 5
_KEYS = "up and down move the upper end of the range, with Shift the lower, Escape clears"


class _Rail(NamedTuple):
    """One vertical axis, and where each run meets it."""

    name: str
    places: Sequence[float | None]
    labels: Sequence[tuple[float, str]]


def parallel(runs: Sequence[Run], scores: Sequence[Score]) -> Markup | None:
    """The drawing, to be brushed by the page's script; None if there is nothing to set apart."""
    names = [name for name in varying([r.summary.hyperparams for r in runs]) if not is_seed(name)]
    told = [score for score in scores if score.mode]
    if len(runs) < 3 or not names or not told:
        return None
    last = [told[0], *told[1:2]][::-1]  # the first score goes to the right edge
    given = [[run.summary.hyperparams.get(name) for run in runs] for name in names]
    found = [_rail(name, values) for name, values in zip(names, given, strict=True)]
    shown = [rail for rail in found if rail][: _MAX_RAILS - len(last)]
    ends = [_rail(score.label, [score.values.get(run.key) for run in runs]) for score in last]
    shown += [rail for rail in ends if rail]
    step = (_WIDTH - 2 * _SIDE) / max(len(shown) - 1, 1)
    xs = [round(_SIDE + i * step, 1) for i in range(len(shown))]
    lines = [_line(run, i, shown, xs, told[0]) for i, run in enumerate(runs)]
    lines.sort(key=lambda line: "curve q0" in line)  # the best lie on top
    drawn = [
        _drawn(rail, column, x) for column, (rail, x) in enumerate(zip(shown, xs, strict=True))
    ]
    label = "Runs as lines over their hyperparameters and results; the leaderboard has the numbers."
    drawing = tag(
        "svg", *lines, *drawn, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="group", aria_label=label
    )
    return tag("div", _tools(told[0]), drawing, class_="card parallel")


def _tools(score: Score) -> Markup:
    hint = (
        "Drag along an axis to pick a range; the other runs fade here, in the table and the curves."
    )
    status = tag("span", class_="brush-status", role="status")
    tools = tag("div", tag("span", hint), tag("span", class_="push"), status, class_="tools")
    ends = ("best", "worst")
    keys = [tag("span", class_=f"key q{i}") for i in range(_SHADES)]
    scale = tag("p", f"{score.label}: {ends[0]} ", *keys, f" {ends[1]}", class_="note")
    return join([tools, scale])


def _rail(name: str, values: Sequence[Any]) -> _Rail | None:
    numbers = [v for v in values if _is_number(v) and math.isfinite(v)]
    known = [v for v in values if v is not None]
    if not known:
        return None
    if len(numbers) == len(known):
        return _number_rail(name, values, numbers)
    classes = list(dict.fromkeys(str(v) for v in values))
    if len(classes) > _MAX_CLASSES:
        return None  # texts that are all different set nothing apart
    gap = (_BOTTOM - _TOP) / max(len(classes) - 1, 1)
    at = {text: round(_TOP + i * gap, 1) for i, text in enumerate(classes)}
    return _Rail(name, [at[str(v)] for v in values], [(place, text) for text, place in at.items()])


def _number_rail(name: str, values: Sequence[Any], numbers: Sequence[float]) -> _Rail:
    low, high = float(min(numbers)), float(max(numbers))
    log = low > 0 and high / low >= 20
    if high == low:
        low, high = low - 0.5, high + 0.5
    axis = Axis(low, high, _BOTTOM, _TOP, log)
    distinct = sorted(set(numbers))
    marked = distinct if len(distinct) <= 6 else ticks(axis, 5)
    places = [
        axis.place(float(value)) if _is_number(value) and math.isfinite(value) else None
        for value in values
    ]
    return _Rail(name, places, [(axis.place(mark), number(mark)) for mark in marked])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line(run: Run, i: int, rails: Sequence[_Rail], xs: Sequence[float], score: Score) -> Markup:
    places = [rail.places[i] for rail in rails]
    points = [(x, y) for x, y in zip(xs, places, strict=True) if y is not None]
    path = "".join(f"{'L' if k else 'M'}{x} {y}" for k, (x, y) in enumerate(points))
    found = score.values.get(run.key)
    said = f"{run.name}: {score.label} {number(found) if found is not None else 'unknown'}"
    return tag(
        "path",
        tag("title", said),
        class_=f"curve {_shade(found, score)}",
        d=path,
        data_key=run.key,
        data_places=" ".join("" if place is None else str(place) for place in places),
    )


def _shade(found: float | None, score: Score) -> str:
    """By rank, the best first: values of metrics crowd at one end."""
    finite = sorted(value for value in score.values.values() if math.isfinite(value))
    if found is None or not math.isfinite(found):
        return "s7"
    rank = finite.index(found) / max(len(finite) - 1, 1)
    share = rank if score.mode == "min" else 1 - rank
    return f"q{min(int(share * _SHADES), _SHADES - 1)}"


def _drawn(rail: _Rail, column: int, x: float) -> Markup:
    package, _, short = rail.name.rpartition(" ")
    above = tag("text", _cut(package, 26), class_="over", x=x, y=10) if package else ""
    title = tag("text", tag("title", rail.name), _cut(short, 20), class_="title", x=x, y=24)
    line = tag("line", class_="axis", x1=x, x2=x, y1=_TOP, y2=_BOTTOM)
    hit = tag("rect", class_="hit", x=x - 14, y=_TOP - 8, width=28, height=_BOTTOM - _TOP + 16)
    labels = [
        tag("text", text[:16], class_="tick", x=x + 7, y=round(place + 4, 1))
        for place, text in rail.labels
    ]
    return tag(
        "g",
        above,
        title,
        line,
        *labels,
        hit,
        class_="rail",
        tabindex=0,
        role="application",
        aria_label=f"{rail.name}: {_KEYS}",
        data_column=column,
        data_x=x,
        data_top=_TOP,
        data_bottom=_BOTTOM,
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
