"""``tt-experiment compare`` and ``leaderboard``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tt_experiment._command.chosen import all_runs, labels, named_runs
from tt_experiment._command.console import shown
from tt_experiment._command.documents import run_as_json
from tt_experiment._command.listing import moment
from tt_experiment._command.status import OK
from tt_experiment._command.tables import Cell, cell, cells, number, write_table
from tt_experiment._runs.seeds import Interval, groups_of_seeds, interval, varying
from tt_experiment._runs.values import FACTS, Name
from tt_experiment.errors import QueryError
from tt_experiment.query import check_names
from tt_experiment.runs import RunSummary, Scalar, direction

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments
    from tt_experiment._command.console import Console

_KINDS = {"hyperparams": "param", "metrics": "last", "results": "result"}


def compare(arguments: Arguments, console: Console) -> int:
    """Run ``compare``."""
    runs = named_runs(arguments)
    if not runs:
        msg = "no run passes the filter, so there is nothing to compare"
        raise QueryError(msg)
    rows = _values(runs)
    if arguments.diff_only:
        rows = {name: values for name, values in rows.items() if len(set(map(repr, values))) > 1}
    console.document(
        {
            "runs": [run_as_json(run) for run in runs],
            "differs": [name for name, values in rows.items() if len(set(map(repr, values))) > 1],
        }
    )
    if arguments.html is not None:
        return _page(arguments, console, runs)
    table = [[cell(name), *cells(values)] for name, values in rows.items()]
    write_table(console, ["", *labels(runs)], table)
    return OK


def _page(arguments: Arguments, console: Console, runs: Sequence[RunSummary]) -> int:
    from tt_experiment.comparison import write_comparison

    path = write_comparison([run.path for run in runs], Path(str(arguments.html)))
    console.note(f"written: {shown(path)}")
    return OK


def _values(runs: Sequence[RunSummary]) -> dict[str, list[Scalar]]:
    """Values by name, one for each run: facts, hyperparameters, last values, results."""
    rows: dict[str, list[Scalar]] = {
        "status": [run.status for run in runs],
        "created": [moment(run.created) for run in runs],
        "attempts": [run.attempts for run in runs],
    }
    for kind in _KINDS:
        for text in dict.fromkeys(text for run in runs for text in getattr(run, kind)):
            name = Name(
                text, {"hyperparams": "param", "metrics": "last", "results": "result"}[kind]
            )
            row = text if text not in rows and text not in FACTS else str(name)
            rows[row] = [name.of(run) for run in runs]
    return rows


class Place(NamedTuple):
    """Runs that share a place of the leaderboard."""

    common: Mapping[str, Scalar]
    runs: Sequence[RunSummary]
    value: Interval


def leaderboard(arguments: Arguments, console: Console) -> int:
    """Run ``leaderboard``."""
    metric = Name.parse(arguments.metric)
    runs = all_runs(arguments)
    check_names([metric], runs)
    mode = arguments.mode or direction(metric.text)
    by = _names(arguments.group_by)
    check_names(by or [], runs)
    places = [
        Place(common, members, interval(_numbers(metric, members)))
        for common, members in groups_of_seeds(runs, by)
    ]
    sign = 1 if mode == "min" else -1
    ranked = sorted(
        (place for place in places if place.value.n), key=lambda place: sign * place.value.mean
    )[: arguments.limit]
    console.document(
        {"metric": str(metric), "mode": mode, "places": [_as_json(place) for place in ranked]}
    )
    if ranked and not console.json:
        _board(console, metric, ranked)
    without = sum(1 for place in places if not place.value.n)
    more = f"; {without} without a value" if without else ""
    console.note(f"{metric}: {'smaller' if mode == 'min' else 'larger'} is better{more}")
    return OK


def _names(text: str | None) -> list[Name] | None:
    return None if text is None else [Name.parse(part.strip()) for part in text.split(",")]


def _numbers(metric: Name, runs: Sequence[RunSummary]) -> list[float]:
    values = (metric.of(run) for run in runs)
    return [value for value in values if isinstance(value, int | float)]


def _board(console: Console, metric: Name, places: Sequence[Place]) -> None:
    names = varying([place.common for place in places])
    head = ["", str(metric), "± 95 %", "n", *names, "run"]
    columns = [cells([place.common.get(name) for place in places]) for name in names]
    rows = []
    for rank, (place, *common) in enumerate(zip(places, *columns, strict=True), 1):
        half = "" if math.isnan(place.value.half) else number(place.value.half)
        rows.append(
            [
                cell(rank),
                cell(place.value.mean),
                Cell(half, is_number=True),
                cell(place.value.n),
                *common,
                cell(_members(place.runs)),
            ]
        )
    write_table(console, head, rows)


def _members(runs: Sequence[RunSummary]) -> str:
    return runs[0].name if len(runs) == 1 else f"{runs[0].name} and {len(runs) - 1} more"


def _as_json(place: Place) -> dict[str, Any]:
    mean, half, n = place.value
    return {
        "mean": mean,
        "half_interval_95": half,
        "n": n,
        "group": dict(place.common),
        "runs": [str(run.path) for run in place.runs],
    }
