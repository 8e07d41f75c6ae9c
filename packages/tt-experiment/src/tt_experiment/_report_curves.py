"""Learning curves of a report: which metrics belong in one chart, and what is said of each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tt_experiment._html import Markup, join, tag
from tt_experiment._svg import COLOURS, Series, line_chart, number
from tt_loop.api import known_direction

__all__ = ["Best", "best_of", "curve_cards", "groups"]

_NONE = "\N{EN DASH}"
Points = Sequence[tuple[int, float]]

_ROLE = re.compile(
    r"^(?P<first>accumulated|train|training|val|valid|validation|test)[_/. -](?P<rest>.+)$"
    r"|^(?P<stem>.+)[_/. -](?P<last>train|training|val|valid|validation|test)$",
    re.IGNORECASE,
)
_VALIDATION = frozenset(("val", "valid", "validation"))


class Best(NamedTuple):
    """The best value of a curve, or None where the metric's name does not tell what is better."""

    step: int
    value: float


def groups(names: Sequence[str]) -> list[list[str]]:
    """Names that share a chart: training and validation of the same metric, training first."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_split(name)[0], []).append(name)
    return [sorted(group, key=lambda name: _split(name)[1]) for group in found.values()]


def _split(name: str) -> tuple[str, bool]:
    """A name without its role, and whether the role is validation."""
    match = _ROLE.match(name)
    if match is None:
        return name.lower(), False
    role = (match["first"] or match["last"]).lower()
    return (match["rest"] or match["stem"]).lower(), role in _VALIDATION


def best_of(name: str, points: Points) -> Best | None:
    """Best value so far: lowest of what is called a loss or error, highest of a score."""
    finite = [point for point in points if math.isfinite(point[1])]
    if not finite:
        return None
    better = {"min": min, "max": max}.get(known_direction(name) or "")
    return Best(*better(finite, key=lambda point: point[1])) if better else None


def curve_cards(curves: Mapping[str, Points]) -> Markup | None:
    """A card with a chart for each group of metrics; None if there is nothing to draw."""
    drawn = [name for name, points in curves.items() if len(points) > 1]
    cards = [_card(group, curves) for group in groups(drawn)]
    singles = {name: points[-1] for name, points in curves.items() if len(points) == 1}
    if singles:
        cards.append(_singles(singles))
    return tag("div", *cards, class_="grid-2") if cards else None


def _card(names: Sequence[str], curves: Mapping[str, Points]) -> Markup:
    series = [Series(name, curves[name], i % COLOURS) for i, name in enumerate(names)]
    title = " and ".join(names) if len(names) < 3 else _split(names[0])[0]
    head = tag("tr", *(tag("th", word, class_=c) for word, c in _HEAD))
    table = tag(
        "table", tag("thead", head), tag("tbody", *(_legend(curve, curves) for curve in series))
    )
    return tag("section", tag("h3", title), line_chart(title, series), table, class_="card")


_HEAD = (("curve", None), ("last", "n"), ("best", "n"), ("at step", "n"))


def _legend(series: Series, curves: Mapping[str, Points]) -> Markup:
    points = curves[series.name]
    best = best_of(series.name, points)
    key = tag("span", class_=f"key s{series.colour}")
    return tag(
        "tr",
        tag("td", key, series.name),
        tag("td", number(points[-1][1]), class_="n"),
        tag("td", number(best.value) if best else _NONE, class_="n"),
        tag("td", number(best.step) if best else _NONE, class_="n"),
    )


def _singles(values: Mapping[str, tuple[int, float]]) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", name),
            tag("td", number(value), class_="n"),
            tag("td", number(step), class_="n"),
        )
        for name, (step, value) in values.items()
    ]
    head = join(
        [tag("th", "metric"), tag("th", "value", class_="n"), tag("th", "at step", class_="n")]
    )
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", *rows))
    return tag("section", tag("h3", "Recorded once"), table, class_="card")
