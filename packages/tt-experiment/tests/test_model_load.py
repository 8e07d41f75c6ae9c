"""A new run from a checkpoint of an earlier one, of ours or of AIToolbox."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment.api import (
    BestPolicy,
    CheckpointMismatch,
    ExperimentSetupError,
    ModelCheckpoint,
    NoValidCheckpoint,
    TrainLoopCheckpoint,
)
from tt_experiment.callbacks import ModelIterationCheckpoint, ModelLoadContinueTraining
from tt_loop.api import Callback, LoopStateError, StepLRScheduler, TrainLoop

STAMP = "2026-01-01_00-00-00"


@pytest.fixture(autouse=True)
def _without_surroundings(monkeypatch) -> None:
    monkeypatch.setattr("tt_experiment.folder.environment", dict)
    monkeypatch.setattr("tt_experiment.folder.git_state", lambda *_, **__: None)


def parts(width: int = 5):
    torch.manual_seed(0)
    x = torch.randn(40, 4)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=8, shuffle=True)
    model = nn.Sequential(nn.Linear(4, width), nn.Dropout(0.3), nn.Linear(width, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, loader, loader, None, optimizer, nn.CrossEntropyLoss()


def loop_of(root: Path, *, width: int = 5, **options) -> TrainLoopCheckpoint:
    return TrainLoopCheckpoint(
        *parts(width), "project", "run", root, {}, **{"progress": False, "seed": 1, **options}
    )


def earlier(root: Path, epochs: int = 2, **options) -> TrainLoopCheckpoint:
    loop = loop_of(root, **options)
    loop.experiment_timestamp = STAMP
    loop.fit(num_epochs=epochs, callbacks=[StepLRScheduler(1, gamma=0.5)])
    return loop


def assert_same(one, other) -> None:
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name])
    assert one.train_history.state_dict() == other.train_history.state_dict()


@pytest.mark.parametrize("epoch_num", [None, 0, 1])
def test_a_new_run_goes_on_exactly_and_names_its_parent(tmp_path, epoch_num) -> None:
    first = earlier(tmp_path / "runs")
    whole = earlier(tmp_path / "whole", epochs=4)
    loop = loop_of(tmp_path / "runs")
    load = ModelLoadContinueTraining(STAMP, epoch_num=epoch_num)
    loop.fit(num_epochs=4, callbacks=[load, StepLRScheduler(1, gamma=0.5)])
    assert loop.epochs_done == 4
    assert loop.experiment.folder.path != first.experiment.folder.path
    run = loop.experiment.folder.run()
    assert run["parent"] == first.experiment.folder.run()["id"]
    assert run["attempts"][0]["from_step"] == (5 if epoch_num == 0 else 10)
    assert_same(whole, loop)


def test_schedulers_are_compared_unless_told_otherwise(tmp_path) -> None:
    earlier(tmp_path)
    for given, callbacks, fails in (
        ({}, [], True),
        ({"ignore_saved_schedulers": True}, [], False),
        ({"ignore_saved_schedulers": True}, [StepLRScheduler(3)], False),
        ({"ignore_missing_saved_schedulers": True}, [], True),
    ):
        loop = loop_of(tmp_path)
        fit = {
            "num_epochs": 3,
            "callbacks": [ModelLoadContinueTraining(STAMP, **given), *callbacks],
        }
        if fails:
            with pytest.raises(LoopStateError, match="scheduler 0"):
                loop.fit(**fit)
        else:
            loop.fit(**fit)
            assert loop.epochs_done == 3


def test_another_model_or_no_checkpoint_is_told(tmp_path) -> None:
    earlier(tmp_path)
    for loop, load, error, rule in (
        (
            loop_of(tmp_path, width=6),
            ModelLoadContinueTraining(STAMP),
            CheckpointMismatch,
            "0.weight",
        ),
        (
            loop_of(tmp_path),
            ModelLoadContinueTraining(STAMP, epoch_num=7),
            NoValidCheckpoint,
            "after epoch 7, but after",
        ),
        (
            loop_of(tmp_path),
            ModelLoadContinueTraining("2020-01-01_00-00-00"),
            NoValidCheckpoint,
            "2020-01-01",
        ),
    ):
        with pytest.raises(error, match=rule):
            loop.fit(num_epochs=3, callbacks=[load])
    plain = TrainLoop(*parts(), progress=False)
    with pytest.raises(ExperimentSetupError, match="which run"):
        plain.fit(num_epochs=1, callbacks=[ModelLoadContinueTraining(STAMP)])


@pytest.mark.parametrize("prefix", ["", "module."])
def test_an_old_file_gives_weights_optimizer_and_schedule(tmp_path, prefix: str) -> None:
    model, _, _, _, optimizer, criterion = parts()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for _ in range(3):
        criterion(model(torch.randn(8, 4)), torch.zeros(8, dtype=torch.long)).backward()
        optimizer.step()
    schedule.step()
    folder = tmp_path / "project" / f"run_{STAMP}" / "checkpoint_model"
    folder.mkdir(parents=True)
    for epoch in (0, 1):
        torch.save(
            {
                "model_state_dict": {prefix + k: v for k, v in model.state_dict().items()},
                "optimizer_state_dict": optimizer.state_dict(),
                "schedulers_state_dict": [schedule.state_dict()],
                "epoch": epoch,
                "iteration_idx": 5 * epoch + 4,
                "hyperparams": {},
            },
            folder / f"model_run_{STAMP}_E{epoch}.pth",
        )

    class Look(Callback):
        def on_train_begin(self) -> None:
            loop = self.train_loop_obj
            self.found = (
                {name: value.clone() for name, value in loop.model.state_dict().items()},
                copy.deepcopy(loop.optimizer.state_dict()),
                loop.epochs_done,
                loop.total_iteration_idx,
            )

    look, loop = Look("look"), loop_of(tmp_path)
    load = ModelLoadContinueTraining(STAMP)  # the newest
    loop.fit(num_epochs=3, callbacks=[load, StepLRScheduler(1, gamma=0.5), look])
    weights, state, epochs, step = look.found
    assert (epochs, step) == (2, 9)
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])
    buffers = [entry["momentum_buffer"] for entry in optimizer.state_dict()["state"].values()]
    for mine, theirs in zip(buffers, state["state"].values(), strict=True):
        assert torch.equal(mine, theirs["momentum_buffer"])
    assert math.isclose(state["param_groups"][0]["lr"], 0.05)
    assert loop.epochs_done == 3  # in all

    other = loop_of(tmp_path)
    other.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    before = {name: value.clone() for name, value in other.model.state_dict().items()}
    with pytest.raises(CheckpointMismatch, match="by optimizer and group"):
        other.fit(num_epochs=3, callbacks=[ModelLoadContinueTraining(STAMP)])
    for name, value in other.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_loader_of_the_users_own(tmp_path) -> None:
    states = parts()[0].state_dict()

    class Mine:
        def __init__(self, root: Path) -> None:
            self.model_representation = {}

        def load_model(self, project, experiment, timestamp, folder, epoch, *, special):
            self.model_representation = {
                "model_state_dict": {name: value + 1 for name, value in states.items()},
                "optimizer_state_dict": parts()[4].state_dict(),
                "epoch": special,
            }
            return self.model_representation

        def init_model(self, model, used_data_parallel=False):
            model.load_state_dict(self.model_representation["model_state_dict"])
            return model

        def init_scheduler(self, schedulers, ignore_saved, ignore_missing):
            return schedulers

    loop = loop_of(tmp_path)
    load = ModelLoadContinueTraining(STAMP, custom_local_loader_class=Mine, special=4)
    loop.fit(num_epochs=5, callbacks=[load])
    assert torch.equal(loop.model[0].bias, states["0.bias"] + 1)
    assert loop.epochs_done == 5


def test_checkpoints_by_iteration_come_when_they_should(tmp_path) -> None:
    """The first after so many batches; the rule for the best holds for them, too."""
    names = ("project", "run", tmp_path, {"lr": 1})
    for frequency in (0, -1, True, 1.5):
        with pytest.raises(ExperimentSetupError, match="save_frequency"):
            ModelIterationCheckpoint(frequency, *names)
    loop = TrainLoop(*parts(), seed=1, progress=False)
    every = ModelIterationCheckpoint(2, *names)
    loop.fit(num_epochs=1, callbacks=[every])
    assert [entry.step for entry in every.experiment.checkpoints.entries()] == [5, 4, 2]

    loop = TrainLoop(*parts(), seed=1, progress=False)
    best = ModelIterationCheckpoint(
        2, *names, rm_subopt_local_models=BestPolicy("val_loss", "max", 1)
    )
    loop.fit(num_epochs=3, callbacks=[best], eval_every=1)
    kept = best.experiment.checkpoints.entries()
    assert len(kept) <= 2
    after_two = loop.train_history["val_loss"][1]  # it falls from there
    assert max(entry.scores["val_loss"] for entry in kept) == after_two


def test_the_metric_of_the_best_is_paired_with_its_own_epoch(tmp_path) -> None:
    """And whether more is better is told by the metric's name."""

    class Measure(Callback):
        def on_epoch_end(self) -> None:
            value = [0.9, 0.1, 0.2, 0.3][self.train_loop_obj.epoch]
            for name in ("val_Accuracy", "val_Mean_absolute_error"):
                self.train_loop_obj.insert_metric_result_into_history(name, value)

    for metric, best in (("val_Accuracy", 5), ("val_Mean_absolute_error", 10)):
        loop = TrainLoop(*parts(), seed=1, progress=False)
        keep = ModelCheckpoint(
            "project", metric, tmp_path, {}, rm_subopt_local_models=metric,
            num_best_checkpoints_kept=1,
        )  # fmt: skip
        loop.fit(num_epochs=4, callbacks=[Measure("measure"), keep])
        assert {entry.step for entry in keep.experiment.checkpoints.entries()} == {best, 20}
