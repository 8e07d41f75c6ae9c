"""What a report says of the run itself: its header, its numbers, its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tt_experiment._checkpoint.entries import Entry
from tt_experiment._report.columns import Columns
from tt_experiment._report.curves import best_of
from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.metric_names import is_validation
from tt_experiment._report.parts import (
    DASH,
    Cell,
    Column,
    badge,
    card,
    date,
    duration,
    shorten,
    size,
    table,
)
from tt_experiment._report.results import Interval
from tt_experiment._report.story import listed, seconds
from tt_experiment._report.svg import number
from tt_loop.api import known_direction

__all__ = ["checkpoints", "header", "tiles"]

_MAX_CHECKPOINTS = 200
_MAX_TILES = 2


def header(run: Mapping[str, Any], columns: Columns, problems: Sequence[str]) -> Markup:
    """Name, status and dates of a run, and what is wrong with its files."""
    status = str(run.get("status", "unknown"))
    facts = [
        badge(status),
        tag("span", "started ", tag("b", date(run.get("created")))),
        tag("span", "trained for ", tag("b", duration(seconds(run, columns)))),
        tag("span", "run ", tag("code", run.get("id", ""))),
        tag("span", "from run ", tag("code", run["parent"])) if run.get("parent") else "",
    ]
    crumb = tag("p", run.get("project", ""), class_="crumb")
    title = tag("h1", run.get("experiment", "run"))
    told = [*([str(run["reason"])] if run.get("reason") else []), *problems]
    alerts = tag("ul", *(tag("li", shorten(text)) for text in told), class_="alerts")
    return tag("header", crumb, title, tag("p", *facts, class_="facts"), alerts if told else "")


def tiles(
    run: Mapping[str, Any],
    columns: Columns,
    results: Mapping[str, Any],
    intervals: Mapping[str, Mapping[str, Interval]],
) -> Markup:
    """The numbers that matter, large."""
    shown = [*_result_tiles(results, intervals), *_best_tiles(columns)]
    last = int(columns.step.max()) if columns.step.size else None
    epochs = columns.epochs_done()
    known = epochs.size and math.isfinite(epochs[-1])
    done = f"{number(float(epochs[-1]))} epochs" if known else ""
    shown.append(_tile("Steps", f"{last:,}" if last is not None else DASH, done))
    count = len(listed(run))
    under = f"in {count} attempts" if count > 1 else ""
    shown.append(_tile("Training time", duration(seconds(run, columns)), under))
    return tag("dl", *shown, class_="tiles")


def _tile(name: str, content: str, *under: str) -> Markup:
    below = [tag("div", text, class_="under") for text in under if text]
    return tag("div", tag("dt", name), tag("dd", content, *below), class_="tile")


def _result_tiles(
    results: Mapping[str, Any], intervals: Mapping[str, Mapping[str, Interval]]
) -> list[Markup]:
    found = []
    for package, values in results.items():
        for name, content in (values if isinstance(values, dict) else {}).items():
            if isinstance(content, int | float) and not isinstance(content, bool):
                interval = intervals.get(package, {}).get(name)
                under = f"{number(interval.low)} to {number(interval.high)}" if interval else ""
                found.append(_tile(name, number(content), under, package))
                break  # the first number of a package is what it is about
    return found[:_MAX_TILES]


def _best_tiles(columns: Columns) -> list[Markup]:
    names = sorted(columns.curves, key=lambda name: not is_validation(name))
    found = []
    for name in names:
        curve = columns.curves[name]
        best = best_of(name, columns.step[curve.rows], curve.values)
        if best and curve.rows.size > 1:
            word = "lowest" if known_direction(name) == "min" else "highest"
            found.append(_tile(f"{word} {name}", number(best.value), f"at step {best.step:,}"))
    return found[:_MAX_TILES]


def checkpoints(
    entries: Sequence[Entry], pinned: Mapping[str, str], damaged: Sequence[object]
) -> Markup | None:
    """A table of the checkpoints, newest first, with the best of each score marked."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.scores))
    best = {name: _best_entry(name, entries) for name in names}
    rows: list[list[Cell | str]] = [
        [
            Cell(number(entry.step), key=entry.step),
            *(_score(entry, name, entry is best[name]) for name in names),
            Cell(size(entry.bytes), key=entry.bytes),
            Cell(date(entry.created.isoformat()), "t"),
            Cell(join(_marks(entry is entries[0], pinned.get(entry.path.name)))),
        ]
        for entry in entries[:_MAX_CHECKPOINTS]
    ]
    head = [
        Column("step", "n", "down"),
        *(Column(name, "n", "up") for name in names),
        Column("size", "n", "down"),
        Column("saved", None, "up"),
        Column(""),
    ]
    more = len(entries) - len(rows)
    notes = [tag("p", f"and {more} older ones", class_="note")] if more else []
    notes += [tag("p", shorten(str(problem), 400), class_="note") for problem in damaged]
    return card(table(head, rows) if rows else "", *notes)


def _best_entry(name: str, entries: Sequence[Entry]) -> Entry | None:
    scored = [e for e in entries if math.isfinite(e.scores.get(name, math.nan))]
    direction = known_direction(name)
    if direction is None or not scored:
        return None
    pick = min if direction == "min" else max
    return pick(reversed(scored), key=lambda entry: entry.scores[name])  # of equals, the older


def _score(entry: Entry, name: str, best: bool) -> Cell:
    score = entry.scores.get(name)
    if score is None:
        return Cell("")
    return Cell(number(score), "best" if best else None, str(score))


def _marks(latest: bool, pinned: str | None) -> Iterator[Markup]:
    if latest:
        yield badge("latest", "busy")
    if pinned is not None:
        yield badge(f"pinned: {shorten(pinned, 60)}" if pinned else "pinned", "warn")
