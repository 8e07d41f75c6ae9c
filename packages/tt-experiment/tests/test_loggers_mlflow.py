"""MLflow's own client is asked what its store has: files, as the small client has no database."""

import json

import pytest

from tt_experiment.errors import ExperimentSetupError, MissingDependency
from tt_experiment.experiment import Experiment
from tt_experiment.loggers import MLflowLogger
from tt_experiment.ports import RunFacts
from tt_experiment.recording import ExperimentRecorder
from tt_experiment.testing import LoggerContract
from tt_loop.api import RunInfo

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(autouse=True)
def files(monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def client(path):
    return mlflow.MlflowClient(tracking_uri=(path / "mlruns").as_uri())


def runs(path, name="project"):
    known = client(path).get_experiment_by_name(name)
    return client(path).search_runs([known.experiment_id]) if known else []


class TestMLflowLogger(LoggerContract):
    def make_logger(self, path):
        return MLflowLogger((path / "mlruns").as_uri())

    def read(self, path):
        (run,) = runs(path)
        return {
            name: [
                (m.step, m.value) for m in client(path).get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        }


def test_a_run_is_what_the_client_shows(tmp_path):
    logger = MLflowLogger((tmp_path / "mlruns").as_uri(), "mine", tags={"team": "a"})
    hyperparams = {"model": {"size": 3}, "lr": 0.1, **{f"p{i}": i for i in range(150)}}
    experiment = Experiment("p", "e", tmp_path, hyperparams=hyperparams, loggers=[logger])
    experiment.start()
    recorder = experiment.recorder
    recorder.open(RunInfo(0, 0, 1, "single"))
    recorder.scalars(5, {"a+b": 1.0, "a*b": 2.0}, epoch=0)
    recorder.event("best", {"step": 5, "metric": "a+b"})
    (run,) = runs(tmp_path, "mine")
    assert run.info.status == "RUNNING"
    recorder.close("interrupted")
    (run,) = runs(tmp_path, "mine")
    assert (run.info.status, run.info.run_name) == ("KILLED", "e")
    assert run.data.params["model.size"] == "3"
    assert len(run.data.params) == 152
    assert sorted(run.data.metrics.values()) == [1.0, 2.0]  # names that clash stay apart
    assert json.loads(run.data.tags["tt.best"]) == {"step": 5, "metric": "a+b"}
    assert run.data.tags["team"] == "a"
    assert run.data.tags["tt.run_id"] == experiment.folder.run()["id"]
    experiment.folder.verify()


def test_a_run_that_was_deleted_is_begun_anew(tmp_path):
    def attempt(number):
        logger = MLflowLogger((tmp_path / "mlruns").as_uri())
        logger.start(RunFacts("id", "project", "e", tmp_path / "run", {"lr": 1}, number, 0))
        logger.finish("completed")

    attempt(1)
    (run,) = runs(tmp_path)
    attempt(2)
    assert [each.info.run_id for each in runs(tmp_path)] == [run.info.run_id]
    for folder in (tmp_path / "mlruns").glob(f"*/{run.info.run_id}"):
        folder.rename(tmp_path / "gone")
    attempt(3)
    (other,) = runs(tmp_path)
    assert other.info.run_id != run.info.run_id


def test_a_store_that_it_cannot_use_is_said_without_its_password(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    for uri in ("sqlite:///x.db", "postgresql://me:hunter2secret@host/db", "what://x"):
        experiment = Experiment("p", "e", tmp_path / "runs", loggers=[MLflowLogger(uri)])
        with pytest.raises(ExperimentSetupError, match="tracking_uri") as raised:
            experiment.start()
        assert "hunter2secret" not in str(raised.value)
    assert not (tmp_path / "runs").exists()


def test_without_the_tool_it_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(MissingDependency, match=r"tt-experiment\[mlflow\]"):
        MLflowLogger().check()


def test_a_server_that_is_down_costs_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    logger = MLflowLogger("http://127.0.0.1:9")
    experiment = Experiment("p", "e", tmp_path, loggers=[logger])
    experiment.start()
    recorder = ExperimentRecorder(experiment)
    recorder.open(RunInfo(0, 0, 1, "single"))
    recorder.scalars(1, {"loss": 1.0}, epoch=0)
    recorder.close("completed")
    assert "MLflowLogger could not start, training goes on" in caplog.text
    assert experiment.folder.run()["status"] == "completed"
