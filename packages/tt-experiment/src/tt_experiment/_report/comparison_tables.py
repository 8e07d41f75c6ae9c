"""Tables of a comparison: leaderboard, groups of seeds, and what differs."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tt_experiment._report.comparison_runs import Group, Run, Score
from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.parts import DASH, Cell, Column, badge, card, date, exact, shorten, table
from tt_experiment._report.svg import number
from tt_experiment._runs.seeds import interval, varying

__all__ = ["differences", "groups_table", "leaderboard"]

_MAX_HYPERPARAMS = 8
_SIDE_BY_SIDE = 6
_MAX_DIFFERENCES = 300


def leaderboard(runs: Sequence[Run], scores: Sequence[Score], target: Path) -> Markup | None:
    """All runs, the best first, with their scores and the hyperparameters that differ."""
    names = varying([run.summary.hyperparams for run in runs])[:_MAX_HYPERPARAMS]
    ordered = sorted(runs, key=lambda run: _rank(run, scores))
    best = [score.best() for score in scores]
    rows = [
        [
            Cell(_run_name(run, target), key=run.name),
            Cell(badge(run.summary.status), key=run.summary.status),
            *(
                _score(score.values.get(run.key), top)
                for score, top in zip(scores, best, strict=True)
            ),
            *(_hyperparam(run.summary.hyperparams, name) for name in names),
            Cell(date(run.summary.created), "t", run.summary.created),
        ]
        for run in ordered
    ]
    head = [
        Column("run", None, "up"),
        Column("status", "", "up"),
        *map(_score_column, scores),
        *(Column(name, "", "up") for name in names),
        Column("started", "", "up"),
    ]
    listed = table(head, rows, keys=[run.key for run in ordered], id="leaderboard-table")
    style = "scroll wide-names"
    box = tag("div", listed, class_=style, tabindex=0, role="region", aria_label="Leaderboard")
    field = tag("input", type="search", placeholder="Search runs", data_table="leaderboard-table")
    label = tag("label", tag("span", "Search runs", class_="sr-only"), field)
    return card(tag("div", label, class_="tools"), box, _fairness(runs, scores))


def _score_column(score: Score) -> Column:
    """The name, with what it belongs to above it."""
    over = tag("span", score.over, class_="dim over")
    return Column(join([over, score.name]), "n", "up" if score.mode == "min" else "down")


def _rank(run: Run, scores: Sequence[Score]) -> tuple[bool, float]:
    first = next((score for score in scores if score.mode), None)
    found = first.values.get(run.key, math.nan) if first else math.nan
    if math.isnan(found):
        return True, 0.0
    return False, found if first and first.mode == "min" else -found


def _fairness(runs: Sequence[Run], scores: Sequence[Score]) -> Markup | str:
    if len(runs) < 3 or not scores:
        return ""
    text = (
        f"The first row is the best of {len(runs)}, so part of its lead is luck. Means over seeds, "
        "below, compare settings; a test set that was not looked at tells how good the winner is."
    )
    return tag("p", text, class_="note")


def _run_name(run: Run, target: Path) -> Markup:
    key = tag("span", class_=f"key s{run.colour}")
    facts = {"type": "button", "disabled": "", "aria_pressed": "true"}
    label = f"Show the curves of {run.name}"
    button = tag("button", key, class_="key-toggle", data_key=run.key, aria_label=label, **facts)
    report = run.summary.path / "results" / "report.html"
    name = tag("a", run.name, href=_relative(report, target)) if report.is_file() else run.name
    return tag("span", button, name, class_="one-line" if len(run.name) <= 40 else None)


def _relative(path: Path, target: Path) -> str:
    try:
        return quote(Path(os.path.relpath(path, target.parent)).as_posix(), errors="replace")
    except ValueError:  # on another drive of Windows
        return path.as_uri()


def _score(found: float | None, top: float | None) -> Cell:
    if found is None:
        return Cell("")
    return Cell(number(found), "best" if found == top else None, repr(found))


def _hyperparam(values: Mapping[str, Any], name: str) -> Cell:
    if name not in values:
        return Cell("")
    found = values[name]
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return Cell(exact(found), key=found if is_number else None)


def groups_table(groups: Sequence[Group], scores: Sequence[Score]) -> Markup | None:
    """Mean and interval of each setting over its seeds; None where every setting ran once."""
    if not scores or all(len(group.runs) == 1 for group in groups):
        return None
    rows = [
        [
            Cell(_group_name(group), key=group.name),
            Cell(str(len(group.runs)), key=len(group.runs)),
            *(_mean(score, group) for score in scores),
        ]
        for group in groups
    ]
    head = [
        Column("setting", None, "up"),
        Column("runs", "n", "down"),
        *map(_score_column, scores),
    ]
    text = (
        "Mean \N{PLUS-MINUS SIGN} half of Student's 95 % interval, over runs whose hyperparameters "
        "differ in the seed alone. One run has no interval."
    )
    listed = tag("div", table(head, rows), class_="scroll wide-names", tabindex=0)
    return card(listed, tag("p", text, class_="note"))


def _group_name(group: Group) -> Markup:
    key = tag("span", class_=f"key s{group.runs[0].colour}")
    facts = {"type": "button", "disabled": "", "aria_pressed": "true"}
    name = shorten(group.name, 160)
    return tag("button", key, name, class_="key-toggle", data_key=group.key, **facts)


def _mean(score: Score, group: Group) -> Cell:
    found = [score.values[run.key] for run in group.runs if run.key in score.values]
    mean = interval(found)
    if not mean.n:
        return Cell("")
    half = "" if math.isnan(mean.half) else f" \N{PLUS-MINUS SIGN} {mean.half:.2g}"
    few = f" (n = {mean.n})" if mean.n < len(group.runs) else ""
    shown = join([number(mean.mean), tag("span", half + few, class_="dim")])
    return Cell(shown, key=repr(mean.mean))


def differences(runs: Sequence[Run]) -> Markup | None:
    """Hyperparameters, commits and packages that are not the same in all runs."""
    values = [{**run.summary.hyperparams, **run.facts} for run in runs]
    names = varying(values)[:_MAX_DIFFERENCES]
    if not names:
        return None
    return card(
        _side_by_side(runs, values, names)
        if len(runs) <= _SIDE_BY_SIDE
        else _counted(values, names)
    )


def _side_by_side(
    runs: Sequence[Run], values: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> Markup:
    rows: list[list[Cell | str]] = [
        [name, *(Cell(exact(v[name]) if name in v else DASH) for v in values)] for name in names
    ]
    return table([Column("what differs"), *(Column(run.name, "") for run in runs)], rows)


def _counted(values: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Markup:
    rows: list[list[Cell | str]] = []
    for name in names:
        counts = Counter(_shown(found[name]) if name in found else DASH for found in values)
        told = [f"{text} \N{MULTIPLICATION SIGN}{count}" for text, count in counts.most_common(12)]
        more = [f"and {len(counts) - 12} others"] if len(counts) > 12 else []
        rows.append([name, str(len(counts)), ", ".join(told + more)])
    return table([Column("what differs"), Column("values", "n"), Column("how often", "")], rows)


def _shown(found: Any) -> str:
    return shorten(str(found), 60)
