"""TensorBoard's own reader is asked what is in the event files."""

import logging

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment.callbacks.checkpoint import ModelCheckpoint
from tt_experiment.callbacks.tensorboard import (
    TensorboardFullTracking,
    TensorboardTrainBatchLoss,
    TensorboardTrainHistoryMetric,
)
from tt_experiment.errors import ExperimentSetupError, MissingDependency
from tt_experiment.experiment import Experiment
from tt_experiment.loggers import TensorBoardLogger
from tt_experiment.ports import RunFacts
from tt_experiment.testing import LoggerContract, MemoryBlobStore
from tt_experiment.train_loops import TrainLoopCheckpoint
from tt_loop.api import Callback, MultiLoss, TrainLoop, TTModel

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def scalars(folder):
    events = read(folder)
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


class TestTensorBoardLogger(LoggerContract):
    def make_logger(self, path):
        return TensorBoardLogger()

    def read(self, path):
        return scalars(path / "run" / "tensorboard" / "project_experiment")


def test_text_is_shown_as_text(tmp_path):
    logger = TensorBoardLogger(tmp_path / "logs")
    hyperparams = {"model": {"size": 3, "name": "<script>|a"}, "lr": 0.1}
    logger.start(RunFacts("id", "p", "e", tmp_path, hyperparams, 1, 0))
    logger.event("note", {"text": "<b>hello"})
    logger.finish("completed")
    events = read(tmp_path / "logs")
    (table,) = events.Tensors("hyperparameters/text_summary")
    text = table.tensor_proto.string_val[0].decode()
    assert "|model.size|3|" in text
    assert "<script" not in text
    (note,) = events.Tensors("events/note/text_summary")
    assert note.tensor_proto.string_val[0].decode().startswith("    ")  # a block of code
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(events.summary_metadata)


def test_without_the_tool_it_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    experiment = Experiment("p", "e", tmp_path / "runs", loggers=[TensorBoardLogger()])
    with pytest.raises(MissingDependency, match=r"tt-experiment\[tensorboard\]"):
        experiment.start()
    assert not (tmp_path / "runs").exists()


def parts():
    torch.manual_seed(0)
    features = torch.randn(40, 4)
    loader = DataLoader(TensorDataset(features, (features.sum(1) > 0).long()), batch_size=8)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, loader, loader, None, optimizer, nn.CrossEntropyLoss()


def tracked(root, **options):
    names = ("project", "run", root, {"lr": 0.1})
    return TrainLoopCheckpoint(*parts(), *names, progress=False, **options)


class Losses(Callback):
    """The batches' losses as they are, for comparison."""

    def __init__(self):
        super().__init__("losses")
        self.found = {}

    def on_batch_end(self):
        loop = self.train_loop_obj
        self.found[loop.total_iteration_idx + 1] = float(loop.last_loss)


def approx(points):
    return [(step, pytest.approx(value, rel=1e-5)) for step, value in points]


def test_full_tracking_shows_losses_and_history(tmp_path):
    loop, losses = tracked(tmp_path), Losses()
    tracking = TensorboardFullTracking(["val_loss"], batch_log_frequency=2)
    loop.fit(num_epochs=2, callbacks=[tracking, losses])
    found = scalars(loop.experiment.folder.path / "tensorboard" / "project_run")
    assert found.keys() == {
        "loss/val_loss",
        "train_loss/last_batch_loss",
        "train_loss/accumulated_batch_loss",
    }
    history = loop.train_history["val_loss"]
    assert found["loss/val_loss"] == approx(zip((5, 10), history, strict=True))
    last = [(step, losses.found[step]) for step in (2, 4, 6, 8, 10)]
    assert found["train_loss/last_batch_loss"] == approx(last)
    means = []
    for step in (2, 4, 6, 8, 10):
        epoch = [losses.found[at] for at in range(1 + 5 * (step > 5), step + 1)]
        means.append((step, sum(epoch) / len(epoch)))
    assert found["train_loss/accumulated_batch_loss"] == approx(means)


def test_the_loggers_of_an_experiment_need_no_callback(tmp_path):
    experiment = Experiment("project", "run", tmp_path, loggers=[TensorBoardLogger()])
    loop = TrainLoop(*parts(), recorder=experiment.recorder, progress=False)
    experiment.start()
    loop.fit(num_epochs=2)
    found = scalars(experiment.folder.path / "tensorboard" / "project_run")
    for name in ("loss", "val_loss"):
        assert found[name] == approx(zip((5, 10), loop.train_history[name], strict=True))
    experiment.folder.verify()  # what was logged is in the seal


class Results(Callback):
    """Puts nested results into the history, and at the end another one."""

    def __init__(self):
        super().__init__("results")

    def on_epoch_end(self):
        result = {"f1": {"macro": 0.25, "micro": torch.tensor(0.5)}, "text": "x", "all": [1, 2]}
        self.train_loop_obj.insert_metric_result_into_history("scores", result)

    def on_train_end(self):
        self.train_loop_obj.insert_metric_result_into_history("last", 2.0)


def test_nested_results_become_curves(tmp_path):
    loop = TrainLoop(*parts(), progress=False)
    metrics = TensorboardTrainHistoryMetric(log_dir=tmp_path, is_project=False)
    loop.fit(num_epochs=2, callbacks=[Results(), metrics])
    found = scalars(tmp_path)
    assert found["metrics/scores/f1/macro"] == [(5, 0.25), (10, 0.25)]
    assert found["metrics/scores/f1/micro"] == [(5, 0.5), (10, 0.5)]
    assert found["metrics/last"] == [(10, 2.0)]
    assert "metrics/scores/text" not in found


def test_a_value_that_is_not_new_is_not_logged_again(tmp_path):
    loop = TrainLoop(*parts(), end_auto_eval=2, progress=False)
    metrics = TensorboardTrainHistoryMetric(["val_loss"], tmp_path, is_project=False)
    loop.fit(num_epochs=4, callbacks=[metrics])
    assert [step for step, _ in scalars(tmp_path)["loss/val_loss"]] == [10, 20]


def test_a_metric_that_never_comes_is_an_error(tmp_path):
    loop = TrainLoop(*parts(), progress=False)
    metrics = TensorboardTrainHistoryMetric(["val_f1"], tmp_path, is_project=False)
    with pytest.raises(ExperimentSetupError, match=r"val_f1.*nobody measures.*val_loss"):
        loop.fit(num_epochs=1, callbacks=[metrics])


def test_without_a_run_it_is_said_what_to_do():
    loop = TrainLoop(*parts(), progress=False)
    with pytest.raises(ExperimentSetupError, match="TrainLoopEndSave"):
        loop.fit(num_epochs=1, callbacks=[TensorboardTrainBatchLoss()])


@pytest.mark.parametrize("every", [0, -1])
def test_a_frequency_is_a_number_of_batches(every):
    with pytest.raises(ExperimentSetupError, match="from 1"):
        TensorboardTrainBatchLoss(every)


def test_a_folder_that_cannot_be_written_is_said_before_the_first_epoch(tmp_path):
    (tmp_path / "file").write_text("")
    loop = TrainLoop(*parts(), progress=False)
    metrics = TensorboardTrainHistoryMetric(log_dir=tmp_path / "file" / "x", is_project=False)
    with pytest.raises(ExperimentSetupError, match="could not start"):
        loop.fit(num_epochs=1, callbacks=[metrics])
    assert loop.total_iteration_idx == -1


@pytest.mark.parametrize("first", ["tracking", "checkpoint"])
def test_it_joins_the_run_of_other_callbacks_in_any_order(tmp_path, first):
    tracking = TensorboardTrainHistoryMetric()
    checkpoint = ModelCheckpoint("project", "run", tmp_path, {"lr": 0.1})
    callbacks = [tracking, checkpoint] if first == "tracking" else [checkpoint, tracking]
    TrainLoop(*parts(), progress=False).fit(num_epochs=1, callbacks=callbacks)
    run = checkpoint.experiment.folder.path
    assert len(scalars(run / "tensorboard" / "project_run")["loss/loss"]) == 1


def test_its_own_names_begin_a_run(tmp_path):
    tracking = TensorboardTrainHistoryMetric(
        project_name="project", experiment_name="own", local_model_result_folder_path=tmp_path
    )
    TrainLoop(*parts(), progress=False).fit(num_epochs=1, callbacks=[tracking])
    assert scalars(tracking.experiment.folder.path / "tensorboard" / "project_own")
    assert tracking.experiment.folder.run()["status"] == "completed"


@pytest.mark.parametrize("mode", ["gcs", "s3"])
@pytest.mark.parametrize("whose", ["callback", "run"])
def test_a_cloud_gets_the_event_files(tmp_path, monkeypatch, mode, whose):
    stores = {}

    def opened(url):
        return stores.setdefault(url, MemoryBlobStore(url))

    monkeypatch.setattr("tt_experiment.callbacks._experiment.open_store", opened)
    monkeypatch.setattr("tt_experiment.experiment.open_store", opened)
    cloud = {"cloud_save_mode": mode, "bucket_name": "b", "cloud_dir_prefix": "c"}
    loop = tracked(tmp_path, **(cloud if whose == "run" else {}))
    tracking = TensorboardTrainHistoryMetric(**(cloud if whose == "callback" else {}))
    loop.fit(num_epochs=2, callbacks=[tracking])
    (store,) = stores.values()
    assert store.url == f"{'gs' if mode == 'gcs' else 's3'}://b/c"
    place = f"project/{loop.experiment.folder.path.name}/tensorboard/project_run/events.out"
    (key,) = [key for key in store.objects if key.startswith(place)]
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "events.out.tfevents.1").write_bytes(store.objects[key])
    assert len(scalars(tmp_path / "copy")["loss/loss"]) == 2


def test_a_cloud_that_is_down_costs_a_warning(tmp_path, monkeypatch, caplog):
    store = MemoryBlobStore()

    def refuse(method, key):
        raise ConnectionError("no network")

    store.before = refuse
    monkeypatch.setattr("tt_experiment.callbacks._experiment.open_store", lambda url: store)
    loop = tracked(tmp_path)
    with caplog.at_level(logging.WARNING):
        loop.fit(num_epochs=1, callbacks=[TensorboardTrainHistoryMetric(cloud_save_mode="s3")])
    assert "no network" in caplog.text


class TwoLosses(TTModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x)

    def get_loss(self, batch_data, criterion, device):
        loss = criterion(self(batch_data[0]), batch_data[1])
        return MultiLoss({"z": loss, "a": 2 * loss})

    def get_predictions(self, batch_data, device):
        raise NotImplementedError


def test_each_of_several_losses_has_its_curve(tmp_path):
    _, loader, _, _, _, criterion = parts()
    model = TwoLosses()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = TrainLoop(model, loader, None, None, optimizer, criterion, progress=False)
    loop.fit(num_epochs=1, callbacks=[TensorboardTrainBatchLoss(5, tmp_path, is_project=False)])
    found = scalars(tmp_path)
    for kind in ("last", "accumulated"):
        (_, z), (_, a) = (found[f"train_loss/{kind}_batch_{n}"][0] for n in "za")
        assert a == pytest.approx(2 * z)


class Stop(Callback):
    """Ends training in the middle of an epoch, as a failure does."""

    def __init__(self, at):
        super().__init__("stop", execution_order=200)
        self.at = at

    def on_batch_end(self):
        if self.train_loop_obj.total_iteration_idx + 1 == self.at:
            raise RuntimeError("power cut")


def test_the_mean_goes_on_inside_an_epoch(tmp_path):
    whole = TrainLoop(*parts(), progress=False)
    whole.fit(num_epochs=2, callbacks=[TensorboardFullTracking(None, 1, tmp_path / "a", False)])

    states = []

    class Keep(Callback):
        def on_batch_end(self):
            if self.train_loop_obj.total_iteration_idx + 1 == 7:
                states.append(torch.save(self.train_loop_obj.state_dict(), tmp_path / "state.pt"))

    def tracking():
        return TensorboardFullTracking(None, 1, tmp_path / "b", False)

    broken = TrainLoop(*parts(), progress=False)
    with pytest.raises(RuntimeError, match="power cut"):
        broken.fit(num_epochs=2, callbacks=[tracking(), Keep("keep", 100), Stop(9)])
    resumed = TrainLoop(*parts(), progress=False)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=False))
    resumed.fit(num_epochs=2, callbacks=[tracking()])
    assert scalars(tmp_path / "b") == scalars(tmp_path / "a")
