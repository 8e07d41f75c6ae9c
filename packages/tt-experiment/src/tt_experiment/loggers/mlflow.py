"""A run in MLflow."""

from __future__ import annotations

import json
import posixpath
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tt_experiment import _json
from tt_experiment._durable import make_directories, replace_file
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.loggers._common import flattened, imported, safe_name
from tt_experiment.ports import RunFacts
from tt_experiment.redact import redact_text

__all__ = ["MLflowLogger", "mlflow_name"]

_STATUSES = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_REFUSED = re.compile(r"[^\w.\- /]")
_NO_PATH = re.compile(r"[^\w\- ]")
_LONGEST_NAME = 250
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_MOST_PARAMS = 100  # in one request


class MLflowLogger:
    """Logs into an MLflow tracking server. Needs ``tt-experiment[mlflow]``.

    An attempt that goes on goes on in the same MLflow run, which ``logs/mlflow.json`` names; steps
    that the server has already are not sent again. Files of the run are not copied.

    Args:
        tracking_uri: Where MLflow is; by default what ``MLFLOW_TRACKING_URI`` says.
        experiment: Name of the MLflow experiment; by default the run's project.
        tags: Further tags of the MLflow run.

    Example:
        >>> from tt_experiment.experiment import Experiment
        >>> logger = MLflowLogger("http://127.0.0.1:5000")
        >>> experiment = Experiment("digits", "linear", "runs", loggers=[logger])
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.tracking_uri = tracking_uri
        self.experiment = experiment
        self.tags = dict(tags or {})
        self._client: Any = None
        self._run_id = ""
        self._is_resumed = False
        self._known_steps: dict[str, int] = {}

    def check(self) -> None:
        """Find out now whether it can work; the server is not asked.

        Raises:
            MissingDependency: MLflow is not installed.
            ExperimentSetupError: The installed MLflow cannot use the address.
        """
        self.connect()

    def connect(self) -> Any:
        """MLflow's client for the address.

        Raises:
            MissingDependency: MLflow is not installed.
            ExperimentSetupError: The installed MLflow cannot use the address.
        """
        mlflow = imported("mlflow", "mlflow", "MLflowLogger")
        try:
            return mlflow.MlflowClient(tracking_uri=self.tracking_uri)
        except mlflow.MlflowException as error:
            msg = (
                f"MLflow cannot use {redact_text(str(self.tracking_uri or 'its default store'))}: "
                f"{redact_text(str(error))} Give tracking_uri the address of a server "
                "(http://...), or install all of mlflow for stores in databases."
            )
            raise ExperimentSetupError(msg) from error

    def start(self, run: RunFacts, /) -> None:
        """Begin the MLflow run, or go on with the one of the earlier attempts."""
        self._client, self._known_steps = self.connect(), {}
        note = run.folder / "logs" / "mlflow.json"
        found = self._find(note) if run.attempt > 1 else None
        self._is_resumed = found is not None
        if found is not None:
            self._run_id = found
            self._client.update_run(found, status="RUNNING")
            return
        self._run_id = self._create(run)
        make_directories(note.parent)
        replace_file(note, _json.dumps({"run_id": self._run_id}))
        self._log_params(run.hyperparams)

    def _find(self, note: Path) -> str | None:
        """The run that an earlier attempt noted, if the server has it still."""
        mlflow = imported("mlflow", "mlflow", "MLflowLogger")
        try:
            found = str(_json.load_object(note.read_bytes())["run_id"])
            self._client.get_run(found)
        except (OSError, ValueError, KeyError):
            return None
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return found

    def _create(self, run: RunFacts) -> str:
        client, name = self._client, self.experiment or run.project
        known = client.get_experiment_by_name(name)
        place = client.create_experiment(name) if known is None else known.experiment_id
        tags = {"tt.run_id": run.id, **self.tags}
        created = client.create_run(place, run_name=run.experiment[:_LONGEST_NAME], tags=tags)
        return str(created.info.run_id)

    def _log_params(self, hyperparams: Mapping[str, Any]) -> None:
        entities = imported("mlflow.entities", "mlflow", "MLflowLogger")
        params = [
            entities.Param(mlflow_name(name), str(value)[:_LONGEST_PARAM])
            for name, value in flattened(hyperparams)
        ]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._run_id, params=params[start : start + _MOST_PARAMS])

    def scalars(self, step: int, values: Mapping[str, float], /, *, epoch: int) -> None:  # noqa: ARG002 - MLflow has steps only
        """Log values, but for those that an earlier attempt logged."""
        entities = imported("mlflow.entities", "mlflow", "MLflowLogger")
        now = round(time.time() * 1000)
        named = [(mlflow_name(name), value) for name, value in values.items()]
        metrics = [
            entities.Metric(name, value, now, step)
            for name, value in named
            if not self._is_known(name, step)
        ]
        if metrics:
            self._client.log_batch(self._run_id, metrics=metrics)

    def _is_known(self, name: str, step: int) -> bool:
        if not self._is_resumed:
            return False
        if name not in self._known_steps:
            logged = self._client.get_metric_history(self._run_id, name)
            self._known_steps[name] = max((metric.step for metric in logged), default=-1)
        return step <= self._known_steps[name]

    def event(self, kind: str, data: Mapping[str, Any], /) -> None:
        """Keep the newest event of each kind as a tag."""
        text = json.dumps(data, ensure_ascii=False)
        self._client.set_tag(self._run_id, f"tt.{mlflow_name(kind)}", text[:_LONGEST_TAG])

    def finish(self, status: Literal["completed", "failed", "interrupted"], /) -> None:
        """End the MLflow run."""
        client, self._client = self._client, None
        if client is not None and self._run_id:
            client.set_terminated(self._run_id, status=_STATUSES[status])


def mlflow_name(name: str) -> str:
    """A name that MLflow takes; one with slashes has to be a plain relative path."""
    is_path = posixpath.normpath(name) == name and not name.startswith((".", "/"))
    return safe_name(name, _REFUSED if is_path else _NO_PATH, _LONGEST_NAME)
