"""Runs and their metrics as two tables: a row for each run, and a row for each value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tt_experiment._records.reading import read_metrics
from tt_experiment.runs import RunSummary, Scalar

__all__ = ["FACTS", "Value", "run_columns", "values_of"]

FACTS = (
    "project",
    "experiment",
    "name",
    "id",
    "status",
    "created",
    "ended",
    "attempts",
    "parent",
    "path",
)


class Value(NamedTuple):
    """A row of the table of metrics."""

    run: str
    id: str
    step: int
    epoch: int | None
    time: float | None
    attempt: int
    metric: str
    value: float


def run_columns(runs: Sequence[RunSummary]) -> dict[str, list[Scalar]]:
    """The table of runs: facts, ``param.*``, ``metric.*`` (the last value), ``result.*``."""
    columns: dict[str, list[Scalar]] = {name: [_fact(run, name) for run in runs] for name in FACTS}
    for name in dict.fromkeys(name for run in runs for name in run.hyperparams):
        columns[f"param.{name}"] = [run.hyperparams.get(name) for run in runs]
    for name in dict.fromkeys(name for run in runs for name in run.metrics):
        columns[f"metric.{name}"] = [
            run.metrics[name].last if name in run.metrics else None for run in runs
        ]
    for name in dict.fromkeys(name for run in runs for name in run.results):
        columns[f"result.{name}"] = [run.results.get(name) for run in runs]
    return columns


def _fact(run: RunSummary, name: str) -> Scalar:
    value: Scalar | Path = getattr(run, name)
    return str(value) if isinstance(value, Path) else value


def values_of(run: RunSummary) -> Iterator[Value]:
    """The rows of a run in the table of metrics, as they were recorded."""
    for record in read_metrics(run.path):
        epoch, time = record["epoch"], record["time"]
        facts = (
            record["step"],
            epoch if type(epoch) is int else None,
            float(time) if isinstance(time, int | float) else None,
            record["attempt"],
        )
        for metric, value in record["values"].items():
            if isinstance(value, int | float):
                yield Value(run.name, run.id, *facts, metric, float(value))
