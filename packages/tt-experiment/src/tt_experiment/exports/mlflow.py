"""A run in MLflow. Needs ``tt-experiment[mlflow]``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from tt_experiment.exports._columns import values_of
from tt_experiment.loggers._common import imported
from tt_experiment.loggers.mlflow import MLflowLogger, mlflow_name
from tt_experiment.runs import RunSummary

__all__ = ["export_mlflow"]

_STATUSES = {"completed": "FINISHED", "failed": "FAILED", "running": "RUNNING"}
_MOST_PARAMS, _MOST_METRICS = 100, 1000  # in one request
_LONGEST_PARAM = 6000
_MARK = "tt.export"  # a tag: "begun", then "complete"
T = TypeVar("T")


def export_mlflow(run: RunSummary, tracking_uri: str | None = None) -> str:
    """Copy hyperparameters, metrics with their times, results and the status; no files.

    A run that was exported before is not exported again; one whose export was cut short is.

    Args:
        run: The run, as `summarise` gives it.
        tracking_uri: Where MLflow is; by default what ``MLFLOW_TRACKING_URI`` says.

    Returns:
        The id of the MLflow run, in the experiment that has the project's name.

    Raises:
        MissingDependency: MLflow is not installed.
        ExperimentSetupError: The installed MLflow cannot use the address.
    """
    entities = imported("mlflow.entities", "mlflow", "export_mlflow")
    client = MLflowLogger(tracking_uri).connect()
    place = _place(client, run.project)
    for earlier in client.search_runs([place], f"tags.`tt.run_id` = '{_quoted(run.id)}'"):
        mark = earlier.data.tags.get(_MARK)
        if mark == "complete":
            return str(earlier.info.run_id)
        if mark == "begun":
            client.delete_run(earlier.info.run_id)
    tags = {"tt.run_id": run.id, "tt.path": str(run.path), _MARK: "begun"}
    made = client.create_run(place, _moment(run.created), tags, run.experiment[:250])
    target = str(made.info.run_id)
    params = [
        entities.Param(mlflow_name(name), str(value)[:_LONGEST_PARAM])
        for name, value in run.hyperparams.items()
    ]
    for some in _in_parts(params, _MOST_PARAMS):
        client.log_batch(target, params=some)
    for some in _in_parts(_metrics(entities, run), _MOST_METRICS):
        client.log_batch(target, metrics=some)
    client.set_tag(target, _MARK, "complete")
    status = _STATUSES.get(run.status, "KILLED")
    client.set_terminated(target, status, _moment(run.ended or run.created))
    return target


def _place(client: Any, project: str) -> str:
    known = client.get_experiment_by_name(project)
    return str(client.create_experiment(project) if known is None else known.experiment_id)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _metrics(entities: Any, run: RunSummary) -> Iterator[Any]:
    start = _moment(run.created)
    for value in values_of(run):
        at = start if value.time is None else round(value.time * 1000)
        yield entities.Metric(mlflow_name(value.metric), value.value, at, value.step)
    for name, result in run.results.items():
        yield entities.Metric(mlflow_name(name), result, _moment(run.ended or run.created), 0)


def _moment(stamp: str) -> int:
    """Milliseconds since 1970; of a run that does not say, now."""
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        moment = datetime.now(UTC)
    return round(moment.timestamp() * 1000)


def _in_parts(items: Sequence[T] | Iterator[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
