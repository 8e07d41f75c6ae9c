"""``tt-experiment list`` and ``show``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tt_experiment._command.chosen import all_runs, labels, one_run
from tt_experiment._command.console import Colour, Console, visible
from tt_experiment._command.documents import run_as_json
from tt_experiment._command.status import OK
from tt_experiment._command.tables import Cell, cell, number, write_table
from tt_experiment._runs.values import Name
from tt_experiment.query import check_names, sort_runs
from tt_experiment.runs import RunSummary, Scalar

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments

_COLOURS: dict[str, Colour] = {
    "completed": "green",
    "running": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "died": "red",
    "damaged": "red",
}


def list_runs(arguments: Arguments, console: Console) -> int:
    """Run ``list``."""
    runs = all_runs(arguments)
    if arguments.sort is not None:
        runs = sort_runs(runs, arguments.sort)
    shown = runs[: arguments.limit]
    columns = [Name.parse(text) for text in _columns(arguments)]
    check_names(columns, runs)
    console.document({"runs": [run_as_json(run) for run in shown]} if console.json else None)
    if console.json:
        return OK
    if shown:
        write_table(
            console, ["run", "status", "created", *map(str, columns)], _rows(shown, columns)
        )
    note = f" of {len(runs):,}" if len(shown) < len(runs) else ""
    console.note(f"{len(shown):,}{note} run{'s' * (len(runs) != 1)}")
    return OK


def _columns(arguments: Arguments) -> list[str]:
    """Those that were asked for; by default what the order is by."""
    if arguments.columns is not None:
        return [text.strip() for text in arguments.columns.split(",")]
    return [part.strip().removeprefix("-") for part in (arguments.sort or "").split(",") if part]


def _rows(runs: Sequence[RunSummary], columns: Sequence[Name]) -> list[list[Cell]]:
    return [
        [
            cell(label),
            status_cell(run),
            cell(moment(run.created)),
            *(cell(column.of(run)) for column in columns),
        ]
        for run, label in zip(runs, labels(runs), strict=True)
    ]


def status_cell(run: RunSummary) -> Cell:
    """A run's status in its colour."""
    return cell(run.status, _COLOURS.get(run.status))


def moment(stamp: str | None) -> str:
    """A time stamp without what nobody reads."""
    return (stamp or "")[:19].replace("T", " ")


def show(arguments: Arguments, console: Console) -> int:
    """Run ``show``."""
    from tt_experiment._command.kept import as_json, read_kept, write_kept

    run = one_run(arguments, arguments.name)
    kept = read_kept(run)
    console.document({**run_as_json(run), **as_json(kept)})
    if console.json:
        return OK
    facts: dict[str, Scalar] = {
        "run": run.name,
        "project": run.project,
        "id": run.id,
        "status": run.status,
        "failure": kept.failure,
        "created": moment(run.created),
        "ended": moment(run.ended),
        "attempts": run.attempts,
        "parent": run.parent,
        "folder": str(run.path),
    }
    _pairs(console, "", {name: value for name, value in facts.items() if value not in (None, "")})
    whole = {k: repr(v) if isinstance(v, float) else v for k, v in run.hyperparams.items()}
    _pairs(console, "Hyperparameters", whole)
    _curves(console, run)
    _pairs(console, "Results", run.results)
    write_kept(console, kept)
    for problem in (*run.problems, *kept.problems):
        console.error(problem)
    return OK


def _pairs(console: Console, title: str, values: Mapping[str, Scalar]) -> None:
    if not values:
        return
    if title:
        console.result(f"\n{console.paint(title, 'bold')}")
    width = min(40, max(len(visible(name)) for name in values))
    for name, value in values.items():
        text = number(value) if isinstance(value, float) else cell(value).text
        console.result(f"{visible(name):<{width}}  {text}".rstrip())


def _curves(console: Console, run: RunSummary) -> None:
    if not run.metrics:
        return
    console.result("")
    rows = [
        [
            cell(name),
            cell(metric.last),
            cell(metric.last_step),
            cell(metric.min),
            cell(metric.min_step),
            cell(metric.max),
            cell(metric.max_step),
        ]
        for name, metric in run.metrics.items()
    ]
    write_table(console, ["metric", "last", "step", "min", "step", "max", "step"], rows)
