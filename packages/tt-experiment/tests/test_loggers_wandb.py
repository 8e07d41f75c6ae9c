"""W&B's offline files are read with its own message types."""

import json
import logging
import struct
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment.callbacks.wandb import AlertConfig, WandBTracking
from tt_experiment.errors import ExperimentSetupError, MissingDependency
from tt_experiment.experiment import Experiment
from tt_experiment.loggers import WandbLogger
from tt_experiment.ports import RunFacts
from tt_experiment.testing import LoggerContract
from tt_experiment.train_loops import TrainLoopCheckpoint
from tt_loop.api import Callback, TrainLoop

wandb = pytest.importorskip("wandb")
messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
pytestmark = pytest.mark.slow  # each begins and ends W&B's own process


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    yield
    wandb.teardown()


def records(path):
    """The messages of a .wandb file: records in blocks of 32 KiB, as LevelDB's log has them."""
    data, position, parts = path.read_bytes(), 7, []
    assert data[:4] == b":W&B"
    while position < len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", data, position)
        parts.append(data[position + 7 : position + 7 + size])
        position += 7 + size
        if kind in (1, 4):  # whole, or the last part
            message = messages.Record()
            message.ParseFromString(b"".join(parts))
            parts = []
            yield message


def offline_runs(folder):
    wandb.teardown()  # its process writes behind, and is waited for here
    files = sorted(Path(folder, ".wandb").glob("offline-run-*/*.wandb"))
    return [list(records(file)) for file in files]


def rows(run):
    """What was logged, step by step."""
    for message in run:
        if message.HasField("history"):
            items = message.history.item
            row = {item.key or "/".join(item.nested_key): item.value_json for item in items}
            yield message.history.step.num, {key: json.loads(text) for key, text in row.items()}


def curves(runs):
    found = {}
    for run in runs:
        for step, row in rows(run):
            for name, value in row.items():
                found.setdefault(name, {})[step] = value  # a later one replaces it, as on a server
    return {name: sorted(points.items()) for name, points in found.items()}


class TestWandbLogger(LoggerContract):
    def make_logger(self, path):
        return WandbLogger(mode="offline")

    def read(self, path):
        return curves(offline_runs(path / "run"))


def parts():
    torch.manual_seed(0)
    features = torch.randn(40, 4)
    loader = DataLoader(TensorDataset(features, (features.sum(1) > 0).long()), batch_size=8)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, loader, loader, None, optimizer, nn.CrossEntropyLoss()


def tracked(root):
    hyperparams = {"lr": 0.1, "model": {"size": 3}, "api_key": "sk-1234567890abcdefghij"}
    return TrainLoopCheckpoint(*parts(), "project", "run", root, hyperparams, progress=False)


class Score(Callback):
    """Puts given values into the history, one per epoch."""

    def __init__(self, name, values):
        super().__init__("score")
        self.name, self.values = name, list(values)

    def on_epoch_end(self):
        self.train_loop_obj.insert_metric_result_into_history(self.name, self.values.pop(0))


def test_tracking_logs_history_losses_and_hyperparameters(tmp_path):
    loop = tracked(tmp_path)
    tracking = WandBTracking(batch_log_frequency=5, tags=["a"], mode="offline")
    nested = Score("scores", [{"f1": {"macro": 0.25}}, {"f1": {"macro": 0.5}}])
    loop.fit(num_epochs=2, callbacks=[tracking, nested])
    run = loop.experiment.folder
    (found,) = offline_runs(run.path)
    points = curves([found])
    for name in ("loss", "val_loss"):
        values = loop.train_history[name]
        assert points[f"loss/{name}"] == list(zip((5, 10), values, strict=True))
    assert points["metrics/scores/f1/macro"] == [(5, 0.25), (10, 0.5)]
    assert {"train_loss/last_batch_loss", "train_loss/accumulated_batch_loss"} <= points.keys()
    assert points["epoch"] == [(5, 0), (10, 1)]
    (message,) = [message.run for message in found if message.HasField("run")]
    config = {item.key: json.loads(item.value_json) for item in message.config.update}
    assert (message.project, message.display_name, list(message.tags)) == ("project", "run", ["a"])
    assert message.run_id == run.run()["id"]
    assert config["model"] == {"size": 3}
    assert config["api_key"] == "<redacted>"
    (end,) = [message.exit for message in found if message.HasField("exit")]
    assert end.exit_code == 0
    run.verify()
    assert json.loads((run.path / "logs" / "wandb.json").read_text())["id"] == message.run_id


def test_a_failed_fit_ends_the_run_as_failed(tmp_path):
    loop = tracked(tmp_path)

    class Fail(Callback):
        def on_batch_end(self):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        loop.fit(num_epochs=1, callbacks=[WandBTracking(mode="offline"), Fail("fail")])
    (found,) = offline_runs(loop.experiment.folder.path)
    (end,) = [message.exit for message in found if message.HasField("exit")]
    assert end.exit_code == 1


def alerts_of(found):
    return [message.alert for message in found if message.HasField("alert")]


def test_an_alert_goes_by_the_plain_name_and_comes_once(tmp_path):
    loop = tracked(tmp_path)
    alerts = [
        AlertConfig("acc", 0.5, "maximize", "WARN"),
        AlertConfig("metrics/acc", 0.1, "minimize"),  # as AIToolbox wanted it
    ]
    tracking = WandBTracking(alerts=alerts, mode="offline")
    loop.fit(num_epochs=5, callbacks=[tracking, Score("acc", [0.4, 0.6, 0.7, 0.05, 0.9])])
    (found,) = offline_runs(loop.experiment.folder.path)
    told = [(alert.text, alert.level) for alert in alerts_of(found)]
    assert told == [
        ("acc is 0.6, above 0.5.", "WARN"),
        ("acc is 0.05, below 0.1.", "INFO"),
        ("acc is 0.9, above 0.5.", "WARN"),
    ]


def test_an_alert_on_what_never_comes_is_an_error(tmp_path):
    loop = tracked(tmp_path)
    tracking = WandBTracking(alerts=[AlertConfig("val_f1", 0.5)], mode="offline")
    with pytest.raises(ExperimentSetupError, match=r"val_f1.*nobody measures.*val_loss"):
        loop.fit(num_epochs=2, callbacks=[tracking])
    with pytest.raises(ExperimentSetupError, match="objective"):
        AlertConfig("a", 0.5, "max")


def test_a_second_fit_goes_on_in_the_same_run(tmp_path):
    loop = tracked(tmp_path)
    loop.fit(num_epochs=1, callbacks=[WandBTracking(mode="offline")])
    loop.fit(num_epochs=1)
    runs = offline_runs(loop.experiment.folder.path)
    ids = {message.run.run_id for run in runs for message in run if message.HasField("run")}
    assert ids == {loop.experiment.folder.run()["id"]}
    assert [step for step, _ in curves(runs)["loss/loss"]] == [5, 10]


def test_online_without_a_login_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(wandb, "login", lambda **options: False)
    with pytest.raises(ExperimentSetupError, match="mode='offline'"):
        tracked(tmp_path / "runs").fit(num_epochs=1, callbacks=[WandBTracking()])
    experiment = Experiment("p", "e", tmp_path / "other", loggers=[WandbLogger()])
    with pytest.raises(ExperimentSetupError, match="wandb login"):
        experiment.start()
    assert not (tmp_path / "other").exists()


def test_a_key_that_is_none_is_said(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(ExperimentSetupError, match="API key"):
        WandbLogger(mode="online").check()


def test_without_the_tool_it_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(MissingDependency, match=r"tt-experiment\[wandb\]"):
        WandbLogger().check()


def test_a_run_of_ones_own_stays_open(tmp_path):
    loop = TrainLoop(*parts(), progress=False)
    tracking = WandBTracking(
        hyperparams={"lr": 0.5}, wandb_pre_initialized=True, is_project=False, log_dir=tmp_path
    )
    with pytest.raises(ExperimentSetupError, match=r"wandb\.init"):
        loop.fit(num_epochs=1, callbacks=[tracking])
    (tmp_path / ".wandb").mkdir()
    run = wandb.init(dir=tmp_path, mode="offline")
    loop.fit(num_epochs=1, callbacks=[tracking])
    run.log({"mine": 1.0})
    run.finish()
    (found,) = offline_runs(tmp_path)
    assert {"mine", "loss/loss"} <= curves([found]).keys()


def test_sources_are_logged_without_secrets(tmp_path):
    sources = tmp_path / "src"
    sources.mkdir()
    (sources / "train.py").write_text("print(1)\n")
    (sources / "keys.py").write_text('KEY = "AKIAIOSFODNN7EXAMPLE"\n')
    loop = tracked(tmp_path / "runs")
    loop.fit(num_epochs=1, callbacks=[WandBTracking(source_dirs=[sources], mode="offline")])
    (found,) = offline_runs(loop.experiment.folder.path)
    (code,) = [message.artifact for message in found if message.HasField("artifact")]
    assert [Path(entry.path).name for entry in code.manifest.contents] == ["train.py"]


class FakeRun:
    """An online run that has the steps up to one already."""

    id, entity, project, url, starting_step = "x", "team", "p", "https://wandb.test/x", 21

    def __init__(self):
        self.logged = []

    def log(self, row, step):
        self.logged.append(step)

    def finish(self, exit_code):
        self.exit_code = exit_code


def test_what_the_server_has_is_not_logged_again(tmp_path, monkeypatch, caplog):
    run, said = FakeRun(), {}
    monkeypatch.setattr(wandb, "init", lambda **options: said.update(options) or run)
    monkeypatch.setattr(wandb, "run", None)
    monkeypatch.setattr(wandb, "login", lambda **options: True)
    experiment = Experiment("p", "e", tmp_path)
    loop = TrainLoop(*parts(), recorder=experiment.recorder, progress=False)
    experiment.start()
    loop.fit(num_epochs=1)
    experiment.loggers.append(WandbLogger(mode="online"))
    with caplog.at_level(logging.WARNING):
        loop.fit(num_epochs=5)
    assert run.logged == [25, 30]
    assert run.exit_code == 0
    assert (said["resume"], said["id"]) == ("allow", experiment.folder.run()["id"])
    assert caplog.text == ""


def test_a_secret_of_the_command_line_stays_here(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.orig_argv", ["python", "train.py", "--token=abc"])
    options = WandbLogger()._options(wandb, facts_in(tmp_path))
    assert options["settings"] == {"x_disable_meta": True}
    assert wandb.Settings(**options["settings"]).x_disable_meta
    monkeypatch.setattr("sys.orig_argv", ["python", "train.py", "--lr=1"])
    assert "settings" not in WandbLogger()._options(wandb, facts_in(tmp_path))


def facts_in(folder):
    return RunFacts("id", "p", "e", folder, {}, attempt=1, step=0)
