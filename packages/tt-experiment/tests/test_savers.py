import hashlib
import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from tt_experiment import _durable
from tt_experiment.errors import (
    CheckpointMismatch,
    CorruptCheckpoint,
    ExperimentNameError,
    ExperimentSetupError,
    FormatVersionError,
    NoValidCheckpoint,
    RunFolderError,
    StoreError,
)
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder
from tt_experiment.ports import BlobStore
from tt_experiment.recorder import read_metrics
from tt_experiment.results import read_predictions, read_results, save_model
from tt_experiment.savers import (
    FullPyTorchExperimentLocalSaver,
    FullPyTorchExperimentS3Saver,
    GradientPlotter,
    HyperParamSourceReporter,
    LocalResultsSaver,
    LocalSubOptimalModelRemover,
    PyTorchLocalModelLoader,
    PyTorchLocalModelSaver,
    SaverFolders,
    TrainingHistoryPlotter,
    TrainingHistoryWriter,
    read_model_file,
    results_savers,
    timestamp_of,
    write_model_file,
)
from tt_loop.api import MultiOptimizer, StepLRScheduler, TrainingHistory, TrainLoop

TIME = "2026-11-28_08-00-00"
WHERE = ("project", "exp", TIME)


def trained(seed=0):
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def states(model, optimizer, **more):
    return {
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "schedulers_state_dict": [],
        "epoch": 4,
        "iteration_idx": 99,
        "hyperparams": {"lr": np.float64(0.1), "api_key": "sk-1", "path": Path("/data"), "f": len},
    } | more


def package(**more):
    described = {
        "pkg_name": "Accuracy",
        "get_results": lambda: {"acc": np.float32(0.5), "per_class": np.array([0.25, 0.75])},
        "y_true": np.array([1, 0]),
        "y_predicted": ["a", "bc"],
        "get_hyperparameters": lambda: {"lr": 0.1, "password": "geheim"},
    }
    return SimpleNamespace(**described | more)


# -- the file of a model


def test_a_model_file_is_a_safetensors_file_that_proves_itself(tmp_path):
    tree = {
        "w": torch.arange(4.0),
        "n": [1, math.inf, (None, "x")],
        "t": {'sha256":"': torch.ones(1)},
    }
    path = write_model_file(tmp_path / "deep" / "model.safetensors", tree)
    with safe_open(path, "pt") as file:  # the library's own reader
        assert torch.equal(file.get_tensor("w"), tree["w"])
        metadata = file.metadata()
    content = path.read_bytes()
    signed = content.replace(metadata["sha256"].encode(), b"0" * 64)
    assert hashlib.sha256(signed).hexdigest() == metadata["sha256"]
    found = read_model_file(path)
    assert torch.equal(found["t"]['sha256":"'], torch.ones(1))
    assert found["n"] == tree["n"]
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_no_changed_byte_and_no_cut_is_read(tmp_path):
    path = write_model_file(tmp_path / "m.safetensors", {"w": torch.arange(4.0), "n": "text"})
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        with pytest.raises(CorruptCheckpoint):
            read_model_file(path)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(CorruptCheckpoint):
            read_model_file(path)


def test_a_newer_format_is_told_from_damage(tmp_path, monkeypatch):
    monkeypatch.setattr("tt_experiment.savers.model_file.MODEL_FILE_FORMAT", "tt-model-file/9")
    path = write_model_file(tmp_path / "m.safetensors", {})
    monkeypatch.undo()
    with pytest.raises(FormatVersionError, match="pip install -U"):
        read_model_file(path)
    with pytest.raises(FileNotFoundError):
        read_model_file(tmp_path / "none")


def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_model_file(tmp_path / "m.safetensors", {"n": 1})

    class Failing:
        def __getattr__(self, name):
            return getattr(os, name)

        def write(self, fd, data):
            raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_durable, "os", Failing())
        with pytest.raises(OSError, match="no space"):
            write_model_file(path, {"n": 2})
    assert read_model_file(path) == {"n": 1}
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


# -- models


def test_a_model_is_saved_and_gone_on_with(tmp_path):
    model, optimizer = trained()
    saver = PyTorchLocalModelSaver(tmp_path, checkpoint_model=True)
    name, path = saver.save_model(states(model, optimizer), *WHERE, epoch=4, iteration_idx=99)
    assert name == f"model_exp_{TIME}_E4_ITER99.safetensors"
    assert Path(path) == tmp_path / "project" / f"exp_{TIME}" / "checkpoint_model" / name
    loader = PyTorchLocalModelLoader(tmp_path)
    loaded = loader.load_model(*WHERE, epoch_num=4, iteration_idx=99)
    assert (loaded["epoch"], loaded["iteration_idx"]) == (4, 99)
    assert loaded["hyperparams"] == {
        "lr": 0.1,
        "api_key": "<redacted>",
        "path": "/data",
        "f": "builtins.len",
    }
    other, its_optimizer = trained(seed=1)
    assert loader.init_model(other) is other
    loader.init_optimizer(its_optimizer)
    for each, its in ((model, optimizer), (other, its_optimizer)):
        its.zero_grad()
        each(torch.ones(4, 3)).sum().backward()
        its.step()
    assert torch.equal(model.weight, other.weight)


def test_modules_and_state_dicts_are_models_too(tmp_path):
    model, _ = trained()
    saver, loader = PyTorchLocalModelSaver(tmp_path), PyTorchLocalModelLoader(tmp_path)
    saver.save_model(model, *WHERE)
    saver.save_model(model.state_dict(), "project", "other", TIME)
    for name in ("exp", "other"):
        loaded = loader.load_model("project", name, TIME, "model")["model_state_dict"]
        assert torch.equal(loaded["weight"], model.weight)


def test_what_is_missing_is_listed_and_nothing_written(tmp_path):
    saver = PyTorchLocalModelSaver(tmp_path)
    with pytest.raises(ValueError, match=r"Missing: \['optimizer_state_dict', 'hyperparams'\]"):
        saver.save_model({"model_state_dict": {}, "epoch": 1}, *WHERE)
    with pytest.raises(ExperimentSetupError, match="Got int"):
        saver.save_model(3, *WHERE)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_protected(tmp_path):
    PyTorchLocalModelSaver(tmp_path).save_model({"w": torch.zeros(1)}, *WHERE)
    saver = PyTorchLocalModelSaver(tmp_path)
    with pytest.raises(RunFolderError, match="protect_existing_folder=False"):
        saver.save_model({"w": torch.ones(1)}, *WHERE)
    loader = PyTorchLocalModelLoader(tmp_path)
    assert loader.load_model(*WHERE, "model")["model_state_dict"]["w"] == 0
    saver.save_model({"w": torch.ones(1)}, *WHERE, protect_existing_folder=False)
    assert loader.load_model(*WHERE, "model")["model_state_dict"]["w"] == 1


def test_what_a_saver_wrote_itself_it_may_replace(tmp_path):
    saver = FullPyTorchExperimentLocalSaver("p", "e", tmp_path)
    package = SimpleNamespace(get_results=lambda: {"accuracy": 0.5})
    for value in (0, 1):
        model, _ = saver.save_experiment({"w": torch.full((1,), value)}, package, {}, TIME)
    assert read_model_file(model)["model_state_dict"]["w"] == 1
    folder = ExperimentFolder(Path(model).parent.parent)
    folder.unseal()
    folder.seal()
    with pytest.raises(RunFolderError, match="protect_existing_folder=False"):
        FullPyTorchExperimentLocalSaver("p", "e", tmp_path).save_experiment(
            {"w": torch.zeros(1)}, package, {}, TIME
        )
    assert folder.manifest_file.is_file()


def test_saves_of_one_second_get_folders_of_their_own(tmp_path):
    saver = PyTorchLocalModelSaver(tmp_path)
    paths = {saver.save_model({"w": torch.ones(1)}, "p", "e")[1] for _ in range(5)}
    assert len(paths) == 5
    for path in paths:
        stamp = timestamp_of(Path(path).parent.parent)
        assert PyTorchLocalModelLoader(tmp_path).load_model("p", "e", stamp, "model")


@pytest.mark.parametrize("stamp", ["../..", "now", "2026-11-28", f"{TIME}/x"])
def test_a_time_stamp_is_one(tmp_path, stamp):
    with pytest.raises(ExperimentNameError, match="YYYY"):
        PyTorchLocalModelSaver(tmp_path).save_model({"w": torch.ones(1)}, "p", "e", stamp)
    with pytest.raises(ExperimentNameError, match="YYYY"):
        SaverFolders.create_base_folder("p", "e", stamp, tmp_path)


def test_names_that_no_disk_takes(tmp_path):
    names = ("../p", "e" * 300)
    _, path = PyTorchLocalModelSaver(tmp_path).save_model({"w": torch.ones(1)}, *names, TIME)
    assert Path(path).is_relative_to(tmp_path)
    assert PyTorchLocalModelLoader(tmp_path).load_model(*names, TIME, "model")


def test_the_folders_of_an_experiment(tmp_path):
    made = SaverFolders.create_base_folder(*WHERE, tmp_path / "not there")
    assert Path(made).is_dir()
    project, experiment = SaverFolders.get_base_folder_paths(*WHERE, tmp_path / "not there")
    assert (Path(project), experiment) == (tmp_path / "not there" / "project", made)


# -- loading


def test_a_model_that_is_not_there_tells_what_is(tmp_path):
    PyTorchLocalModelSaver(tmp_path, True).save_model({"w": torch.ones(1)}, *WHERE, epoch=1)
    loader = PyTorchLocalModelLoader(tmp_path)
    with pytest.raises(NoValidCheckpoint, match=r"_E2\.safetensors.*_E1\.safetensors"):
        loader.load_model(*WHERE, epoch_num=2)
    with pytest.raises(ExperimentSetupError, match="comes before"):
        loader.init_model(nn.Linear(1, 1))


def test_another_model_gets_nothing_but_a_table(tmp_path):
    model, _ = trained()
    saver, loader = PyTorchLocalModelSaver(tmp_path), PyTorchLocalModelLoader(tmp_path)
    _, path = saver.save_model(model, *WHERE)
    loader.load_model_from_path(path)
    other = nn.Sequential(nn.Linear(3, 2))
    before = other[0].weight.clone()
    with pytest.raises(CheckpointMismatch, match=r"0\.bias: not in the file, \(2,\) in the model"):
        loader.init_model(other)
    wide = nn.Linear(4, 2)
    bias = wide.bias.clone()
    with pytest.raises(CheckpointMismatch, match=r"weight: \(2, 3\) in the file, \(2, 4\)"):
        loader.init_model(wide)
    assert torch.equal(other[0].weight, before)
    assert torch.equal(wide.bias, bias)


class Wrapped(nn.Module):
    """As DataParallel names its weights."""

    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize("used_data_parallel", [True, False])
def test_the_prefix_of_parallel_models_comes_and_goes(tmp_path, used_data_parallel):
    model, _ = trained()
    saver, loader = PyTorchLocalModelSaver(tmp_path), PyTorchLocalModelLoader(tmp_path)
    for saved in (model, Wrapped(model)):
        _, path = saver.save_model(saved, *WHERE, protect_existing_folder=False)
        loader.load_model_from_path(path)
        for target in (nn.Linear(3, 2), Wrapped(nn.Linear(3, 2))):
            found = loader.init_model(target, used_data_parallel).state_dict()
            pairs = zip(found.values(), model.state_dict().values(), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)


def test_several_optimizers_and_a_scaler(tmp_path):
    one, two = trained(0), trained(1)
    several = MultiOptimizer([one[1], two[1]])
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    _, path = PyTorchLocalModelSaver(tmp_path).save_model(
        states(one[0], several, amp=scaler.state_dict()), *WHERE
    )
    loader = PyTorchLocalModelLoader(tmp_path)
    loader.load_model_from_path(path)
    others = MultiOptimizer([torch.optim.Adam(m.parameters()) for m in (one[0], two[0])])
    loader.init_optimizer(others)
    assert others.optimizer_list[1].state_dict()["state"][0]["step"] == 3
    new = torch.amp.GradScaler("cpu", init_scale=2.0)
    loader.init_amp(new)
    assert new.get_scale() == 256.0
    with pytest.raises(CheckpointMismatch, match="must be one of this SGD"):
        loader.init_optimizer(torch.optim.SGD([torch.ones(1)], lr=1.0))


def test_a_model_without_a_scaler_says_so(tmp_path):
    _, path = PyTorchLocalModelSaver(tmp_path).save_model(nn.Linear(1, 1), *WHERE)
    loader = PyTorchLocalModelLoader(tmp_path)
    loader.load_model_from_path(path)
    with pytest.raises(CheckpointMismatch, match="without 'amp'"):
        loader.init_amp(torch.amp.GradScaler("cpu"))


def test_schedulers_go_on(tmp_path):
    model, optimizer = trained()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    optimizer.step()
    scheduler.step()
    _, path = PyTorchLocalModelSaver(tmp_path).save_model(
        states(model, optimizer, schedulers_state_dict=[scheduler.state_dict()]), *WHERE
    )
    loader = PyTorchLocalModelLoader(tmp_path)
    loader.load_model_from_path(path)
    new = torch.optim.lr_scheduler.StepLR(trained()[1], 5)
    loader.init_scheduler([new])
    assert new.last_epoch == 1
    callback = StepLRScheduler(5)  # AIToolbox saved what a scheduler of torch has
    TrainLoop(model, [0], None, None, optimizer, nn.MSELoss()).callbacks_handler.register_callbacks(
        [callback]
    )
    loader.init_scheduler([callback])
    assert callback.schedulers[0].last_epoch == 1
    with pytest.raises(CheckpointMismatch, match=r"1 schedulers were saved\. Got 2"):
        loader.init_scheduler([new, new])
    with pytest.raises(CheckpointMismatch, match="Got 0"):
        loader.init_scheduler([])
    loader.init_scheduler([new, new], ignore_missing_saved=True)
    assert loader.init_scheduler([], ignore_saved=True) == []


def test_a_model_saved_without_schedulers(tmp_path):
    _, path = PyTorchLocalModelSaver(tmp_path).save_model(nn.Linear(1, 1), *WHERE)
    loader = PyTorchLocalModelLoader(tmp_path)
    loader.load_model_from_path(path)
    scheduler = torch.optim.lr_scheduler.StepLR(trained()[1], 5)
    with pytest.raises(CheckpointMismatch, match="0 schedulers were saved"):
        loader.init_scheduler([scheduler])
    loader.init_scheduler([scheduler], ignore_missing_saved=True)


def test_tensors_go_to_the_device_that_is_named(tmp_path):
    _, path = PyTorchLocalModelSaver(tmp_path).save_model(nn.Linear(1, 1), *WHERE)
    loader = PyTorchLocalModelLoader(tmp_path)
    assert loader.load_model_from_path(path, "meta")["model_state_dict"]["bias"].is_meta
    assert loader.load_model_from_path(path)["model_state_dict"]["bias"].device.type == "cpu"
    with pytest.raises(ExperimentSetupError, match="map_location is a device"):
        loader.load_model_from_path(path, lambda storage, place: storage)


def test_models_and_checkpoints_of_runs_are_read(tmp_path):
    experiment = Experiment("p", "e", tmp_path)
    experiment.start(TIME)
    ticket = experiment.save({"model": {"w": torch.ones(2)}}, step=3, scores={})
    loader = PyTorchLocalModelLoader(tmp_path)
    loaded = loader.load_model_from_path(ticket.wait_committed(60).location)
    assert torch.equal(loaded["model_state_dict"]["w"], torch.ones(2))
    save_model(experiment.folder, {"w": torch.zeros(2)})
    loaded = loader.load_model("p", "e", TIME, "model")
    assert torch.equal(loaded["model_state_dict"]["w"], torch.zeros(2))
    experiment.finish("completed")


# -- the best models only


def kept_after(folder, metric, values, count):
    remover = LocalSubOptimalModelRemover(metric, count)
    history = TrainingHistory()
    for epoch, value in enumerate(values):
        path = folder / f"E{epoch}"
        path.write_bytes(b"")
        history[metric] = value
        remover.decide_if_remove_suboptimal_model(history, [path])
    return sorted(path.name for path in folder.iterdir())


def test_the_best_of_a_metric_stays_with_its_own_epoch(tmp_path):
    assert kept_after(tmp_path, "val_accuracy", [0.9, 0.1, 0.2, 0.3], 1) == ["E0", "E3"]


@pytest.mark.parametrize("metric", ["Mean_absolute_error", "val_loss", "val_Perplexity"])
def test_lower_is_better_for_errors(tmp_path, metric):
    assert kept_after(tmp_path, metric, [5.0, math.nan, 3.0, 4.0, 6.0], 2) == ["E2", "E3", "E4"]


def test_a_model_without_a_value_of_its_own_stays(tmp_path, caplog):
    remover = LocalSubOptimalModelRemover("val_loss", 1)
    history = {"val_loss": [1.0]}
    paths = [tmp_path / name for name in "abcd"]
    for path in paths:
        path.write_bytes(b"")
    remover.decide_if_remove_suboptimal_model(history, [paths[0]])
    remover.decide_if_remove_suboptimal_model(history, [paths[1]])  # nothing new was measured
    history["val_loss"].append(0.5)
    remover.decide_if_remove_suboptimal_model(history, [paths[2]])
    assert "was not measured since" in caplog.text
    assert [path.exists() for path in paths] == [False, True, True, True]
    remover.decide_if_remove_suboptimal_model({"other": [1.0]}, [paths[3]])
    assert paths[3].exists()
    with pytest.raises(ValueError, match="at least 1"):
        LocalSubOptimalModelRemover("val_loss", 0)


# -- results


def test_results_go_into_one_file_with_predictions_beside_it(tmp_path):
    history = {"loss": [0.5, 0.25], "val": [math.nan], "cm": [[[1, 2]]]}
    saved = LocalResultsSaver(tmp_path).save_experiment_results(
        package(), history, *WHERE, save_true_pred_labels=True
    )
    folder = ExperimentFolder(tmp_path / "project" / f"exp_{TIME}")
    assert saved == [
        (name, str(folder.results / name))
        for name in ("plots/loss.png", "predictions.npz", "results.json")
    ]
    document = json.loads(folder.results_file.read_text())
    assert document["results"] == {"Accuracy": {"acc": 0.5, "per_class": [0.25, 0.75]}}
    assert document["training_history"] == {"loss": [0.5, 0.25], "val": [None], "cm": [[[1, 2]]]}
    assert document["hyperparameters"] == {"lr": 0.1, "password": "<redacted>"}
    assert document["experiment_name"] == "exp"
    true, predicted = read_predictions(folder)["Accuracy"]
    assert true.tolist() == [1, 0]
    assert predicted == ["a", "bc"]
    with pytest.raises(RunFolderError, match="protect"):
        LocalResultsSaver(tmp_path).save_experiment_results(package(), history, *WHERE)


def test_results_in_separate_files(tmp_path):
    history = TrainingHistory()
    history["loss"] = torch.tensor(0.5)
    saved = LocalResultsSaver(tmp_path, "json").save_experiment_results_separate_files(
        package(), history, *WHERE
    )
    names = ["hyperparameters.json", "results.json", "training_history.json"]
    assert [name for name, _ in saved] == names
    read = [json.loads(Path(path).read_text()) for _, path in saved]
    assert read[0]["hyperparameters"] == {"lr": 0.1, "password": "<redacted>"}
    assert "hyperparameters" not in read[1]
    assert read[2]["training_history"] == {"loss": [0.5]}


def test_pickle_is_understood_and_not_written(tmp_path, caplog):
    results_savers._warn_of_json.cache_clear()
    LocalResultsSaver(tmp_path, file_format="pickle").save_experiment_results(package(), {}, *WHERE)
    LocalResultsSaver(tmp_path, file_format="pickle")
    assert caplog.text.count("JSON") == 1  # once in a process
    assert not list(tmp_path.rglob("*.p"))
    with pytest.raises(ExperimentSetupError, match="yaml"):
        LocalResultsSaver(tmp_path, file_format="yaml")


def test_packages_side_by_side_and_their_files(tmp_path):
    other = tmp_path / "elsewhere" / "texts.zip"
    other.parent.mkdir()
    other.write_bytes(b"zip")
    both = package(
        pkg_name="Multiple",
        get_results=lambda: {"A": {"x": 1}, "B": {"x": 2}},
        y_true={"A": [1], "B": [2]},
        y_predicted={"A": [3], "B": [4]},
        get_additional_results_dump_paths=lambda: [("texts", str(other))],
    )
    saved = LocalResultsSaver(tmp_path).save_experiment_results(both, None, *WHERE, True)
    folder = ExperimentFolder(tmp_path / "project" / f"exp_{TIME}")
    assert read_results(folder) == {"A": {"x": 1}, "B": {"x": 2}}
    assert {k: (t.tolist(), p.tolist()) for k, (t, p) in read_predictions(folder).items()} == {
        "A": ([1], [3]),
        "B": ([2], [4]),
    }
    assert (folder.results / "texts").read_bytes() == b"zip"
    assert "texts" in [name for name, _ in saved]


@pytest.mark.parametrize("bad", [(object(), {}), (package(), [1, 2])])
def test_what_are_no_results_is_said_before_anything_is_written(tmp_path, bad):
    with pytest.raises(ExperimentSetupError, match=r"Got (object|list)"):
        LocalResultsSaver(tmp_path).save_experiment_results(*bad, *WHERE)
    assert list(tmp_path.iterdir()) == []


# -- whole experiments


def test_an_experiment_of_ones_own_loop_becomes_a_run(tmp_path):
    model, optimizer = trained()
    saver = FullPyTorchExperimentLocalSaver("project", "exp", tmp_path / "new")
    history = {"loss": [3.0, 2.0, 1.0], "val_acc": [0.5]}
    model_path, results_path = saver.save_experiment(
        states(model, optimizer), package(), history, save_true_pred_labels=True
    )
    folder = ExperimentFolder(Path(results_path).parent.parent)
    assert Path(model_path).parent == folder.model
    assert folder.run()["status"] == "completed"
    assert json.loads(folder.hyperparams_file.read_text())["lr"] == 0.1
    assert folder.report_file.exists()
    values = [(record["epoch"], record["values"]) for record in read_metrics(folder.path)]
    assert values == [(0, {"loss": 3.0, "val_acc": 0.5}), (1, {"loss": 2.0}), (2, {"loss": 1.0})]
    folder.verify()


def test_it_joins_the_run_that_kept_its_checkpoints(tmp_path):
    model, _ = trained()
    experiment = Experiment("project", "exp", tmp_path, hyperparams={"lr": 0.5})
    experiment.start()
    experiment.save({"model": model.state_dict()}, step=1, scores={}).wait_committed(60)
    run_id = experiment.folder.run()["id"]
    stamp = timestamp_of(experiment.folder)
    saver = FullPyTorchExperimentLocalSaver("project", "exp", tmp_path)
    saver.save_experiment(model, package(), {"loss": [1.0]}, stamp)
    assert experiment.folder.run()["status"] == "running"
    experiment.finish("completed")
    assert experiment.folder.run()["id"] == run_id
    experiment.folder.verify()
    late = FullPyTorchExperimentLocalSaver("project", "exp", tmp_path)
    late.save_experiment(
        trained(1)[0], package(), {}, stamp, protect_existing_folder=False
    )  # after the end: the seal is made anew
    experiment.folder.verify()


def test_a_save_that_fails_leaves_a_failed_run(tmp_path):
    saver = FullPyTorchExperimentLocalSaver("project", "exp", tmp_path)
    with pytest.raises(ExperimentSetupError, match="Got object"):
        saver.save_experiment(nn.Linear(1, 1), object(), {}, TIME)
    folder = ExperimentFolder(tmp_path / "project" / f"exp_{TIME}")
    assert folder.run()["status"] == "failed"


class Memory:
    """A store."""

    url = "s3://bucket/pre"

    def __init__(self):
        self.content = {}

    def put(self, key, source, /, *, sha256=None, if_absent=False):
        if if_absent and key in self.content:
            raise FileExistsError(key)
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        self.content[key] = data
        return self.head(key)

    def get(self, key, target, /):
        if key not in self.content:
            raise FileNotFoundError(key)
        target.write_bytes(self.content[key])
        return self.head(key)

    def head(self, key, /):
        if key not in self.content:
            return None
        data = self.content[key]
        return SimpleNamespace(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def list(self, prefix="", /):
        return iter([self.head(key) for key in sorted(self.content) if key.startswith(prefix)])

    def delete(self, key, /):
        self.content.pop(key, None)


def test_the_copy_in_the_store_is_whole_and_the_folder_stays(tmp_path):
    store = Memory()
    assert isinstance(store, BlobStore)
    saver = FullPyTorchExperimentS3Saver(
        "project", "exp", local_model_result_folder_path=tmp_path, store=store
    )
    model_path, results_path = saver.save_experiment(trained()[0], package(), {}, TIME)
    base = f"bucket/pre/project/exp_{TIME}"
    assert model_path == f"{base}/model/model_exp_{TIME}.safetensors"
    assert results_path == f"{base}/results/results.json"
    folder = tmp_path / "project" / f"exp_{TIME}"
    here = {
        f"project/exp_{TIME}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }
    assert {k: v for k, v in store.content.items() if k in here} == here


def test_without_a_provider_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr("tt_experiment.stores.entry_points", lambda group: [])
    with pytest.raises(StoreError, match="pip install 'tt-cloud"):
        FullPyTorchExperimentS3Saver("project", "exp")


# -- reporting


def test_hyperparameters_script_and_sources(tmp_path):
    reporter = HyperParamSourceReporter(*WHERE, tmp_path)
    path = reporter.save_hyperparams_to_text_file({"z": 1, "a": 2, "token": "x"}, sort_names=True)
    assert Path(path).read_text() == "a:\t2\ntoken:\t<redacted>\nz:\t1\n"
    script = tmp_path / "train.py"
    script.write_text('key = "AKIAIOSFODNN7EXAMPLE"\nprint(1)\n')
    copy = Path(reporter.save_experiment_python_file({"experiment_file_path": str(script)}))
    assert "print(1)" in copy.read_text()
    assert "AKIAIOSFODNN7EXAMPLE" not in copy.read_text()
    assert reporter.save_experiment_python_file({}) is None
    with pytest.raises(ExperimentSetupError, match="training script"):
        reporter.save_experiment_python_file({"experiment_file_path": "none.py"})
    for name in ("one", "two"):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "src" / "a.py").write_text("a = 1\n")
    dirs = [f"{tmp_path}/one/src/", tmp_path / "two" / "src", script]
    assert Path(reporter.save_experiment_source_files({"source_dirs_paths": dirs})).is_file()
    store = Memory()
    key = reporter.copy_to_cloud_storage(path, store, "list.txt")
    assert key == f"project/exp_{TIME}/list.txt"
    saver = SimpleNamespace(store=store, cloud_dir_prefix="pre/")
    assert reporter.copy_to_cloud_storage(path, saver).startswith("pre/project/")


def test_plots_and_tables_by_their_old_names(tmp_path):
    history = {"loss": [2.0, 1.0], "val": [3.0]}
    plots = TrainingHistoryPlotter(tmp_path).generate_report(history)
    assert plots == [("plots/loss.png", str(tmp_path / "plots" / "loss.png"))]
    tables = TrainingHistoryWriter(tmp_path).generate_report(history, 1, "results.csv")
    assert Path(tables[0][1]).read_text() == "measurement,loss,val\n1,2.0,3.0\n2,1.0,\n"
    drawn = GradientPlotter(tmp_path).generate_report([torch.randn(10), None, torch.zeros(3)])
    assert [name for name, _ in drawn] == ["grad_plots/layer_0.png", "grad_plots/layer_1.png"]
    pdf = GradientPlotter(tmp_path).generate_report({"<a>": torch.randn(4)}, file_format="pdf")
    assert Path(pdf[0][1]).read_bytes().startswith(b"%PDF")


# -- Keras

KERAS = """
import sys, pathlib
import keras, numpy as np
from tt_experiment.errors import ImportFormatError
from tt_experiment.savers import (
    FullKerasExperimentLocalSaver, KerasLocalModelLoader, KerasLocalModelSaver,
)
from types import SimpleNamespace
root = pathlib.Path(sys.argv[1])
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
package = SimpleNamespace(pkg_name="A", get_results=lambda: {"x": 1.0})
path, _ = FullKerasExperimentLocalSaver("p", "e", root).save_experiment(
    model, package, {"loss": [1.0]}, "2026-11-28_08-00-00")
assert path.endswith("model_e_2026-11-28_08-00-00.keras"), path
loader = KerasLocalModelLoader(root)
other = loader.load_model("p", "e", "2026-11-28_08-00-00", "model")
x = np.ones((1, 3), "float32")
assert np.array_equal(model.predict(x, verbose=0), other.predict(x, verbose=0))
evil = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda t: t)])
saver = KerasLocalModelSaver(root, checkpoint_model=True)
saver.save_model(evil, "p", "e", "2026-11-28_08-00-00", epoch=0)
try:
    loader.load_model("p", "e", "2026-11-28_08-00-00", epoch_num=0, safe_mode=False)
except ImportFormatError as error:
    assert "without running code" in str(error)
else:
    raise SystemExit("code was run")
try:
    saver.save_model(object(), "p", "e")
except ValueError:
    pass
names = sorted(p.name for p in (root / "p").rglob("*") if p.suffix in (".keras", ".h5"))
assert names == ["model_e_2026-11-28_08-00-00.keras", "model_e_2026-11-28_08-00-00_E0.keras"], names
assert not [p for p in root.rglob(".tmp-*")]
"""


@pytest.mark.slow
def test_models_of_keras(tmp_path):
    if find_spec("keras") is None:  # importing it needs the backend of the process below
        pytest.skip("keras is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KERAS, str(tmp_path)],
        env=environment,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_keras_that_is_not_installed_is_an_extra(tmp_path, monkeypatch):
    from tt_experiment.errors import MissingDependency
    from tt_experiment.savers import KerasLocalModelSaver

    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tt-experiment\[keras\]'"):
        KerasLocalModelSaver(tmp_path).save_model(object(), *WHERE)
