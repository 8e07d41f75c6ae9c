"""Several processes keep one run: asked to end, all stop at one step, and it goes on exactly."""

import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment.api import ExperimentFolder, Preempted, TrainLoopCheckpoint, read_metrics
from tt_experiment.recorder import read_events
from tt_loop.api import Callback
from tt_parallel.api import Spawn

SAMPLES = 43
pytestmark = pytest.mark.slow


def loop_of(root: Path, processes: int = 1, **options: Any) -> TrainLoopCheckpoint:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x = torch.randn(SAMPLES, 5).double()
    data = TensorDataset(x, x.sum(1, keepdim=True))
    loader = DataLoader(data, batch_size=8 // processes, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return TrainLoopCheckpoint(
        model,
        loader,
        DataLoader(data, batch_size=16),
        None,
        optimizer,
        nn.MSELoss(),
        "project",
        "run",
        root,
        {},
        **{"seed": 5, "progress": False, **options},
    )


class Signal(Callback):
    """Sends a signal to a process when a batch of the second epoch is done: once in a run."""

    may_change_weights = False

    def __init__(self, number: int, rank: int | None) -> None:
        super().__init__("signal", device_idx_execution=0 if rank is None else rank)
        self.number, self.to_parent = number, rank is None

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        if self.train_loop_obj.total_iteration_idx == 8:
            os.kill(os.getppid() if self.to_parent else os.getpid(), self.number)
            if self.to_parent:
                time.sleep(0.2)  # it comes back to all of them, some steps later


def curves(root: Path) -> list[Any]:
    (run,) = (root / "project").iterdir()
    return [(r["step"], r["epoch"], r["values"]) for r in read_metrics(run)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    root = tmp_path_factory.mktemp("whole")
    loop = loop_of(root, 2, gpu_mode="ddp")
    loop.fit(num_epochs=3, num_gpus=2, on_gpu=False)
    return loop, root


def stopped(root: Path, number: int, rank: int | None) -> ExperimentFolder:
    """A run whose processes were asked to end."""
    loop = loop_of(root, 2, gpu_mode="ddp")
    with pytest.raises(Preempted) as caught:
        loop.fit(num_epochs=3, num_gpus=2, on_gpu=False, callbacks=[Signal(number, rank)])
    assert caught.value.code == 75
    folder = loop.experiment.folder
    assert folder.run()["status"] == "interrupted"
    latest = loop.experiment.latest()
    assert latest is not None
    assert latest.step == loop.total_iteration_idx + 1 >= 9
    assert not loop.experiment.lock.held  # nobody writes any more
    return folder


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("interrupted")
    stopped(root, signal.SIGTERM, 1)
    return root


@pytest.mark.parametrize(("number", "rank"), [(signal.SIGINT, 0), (signal.SIGTERM, None)])
def test_a_signal_to_one_process_or_to_the_parent_ends_all(
    tmp_path: Path, number: int, rank: int | None
) -> None:
    events = read_events(stopped(tmp_path, number, rank).events_file)
    told = [event["data"]["signal"] for event in events if event["kind"] == "preempt"]
    assert told == [signal.Signals(number).name]


def test_the_processes_go_on_to_the_same_bits(
    tmp_path: Path, whole: tuple[Any, Path], interrupted: Path
) -> None:
    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    resumed = loop_of(tmp_path, 2, gpu_mode="ddp")
    resumed.fit(num_epochs=3, num_gpus=2, on_gpu=False, resume="auto")
    attempts = resumed.experiment.folder.run()["attempts"]
    assert [each["status"] for each in attempts] == ["interrupted", "completed"]
    for name, value in whole[0].model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole[0].train_history.state_dict() == resumed.train_history.state_dict()
    assert curves(whole[1]) == curves(tmp_path)


def test_one_process_goes_on_with_what_two_began(
    tmp_path: Path, whole: tuple[Any, Path], interrupted: Path
) -> None:
    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    alone = loop_of(tmp_path)
    alone.fit(num_epochs=3, resume="auto")
    for name, value in whole[0].model.state_dict().items():
        assert torch.allclose(value, alone.model.state_dict()[name], rtol=0, atol=1e-12), name
    assert [step for step, *_ in curves(tmp_path)] == [step for step, *_ in curves(whole[1])]


def in_each(strategy: Any, *, root: Path) -> tuple[int, list[int]]:
    """A whole script in each of the processes, as under torchrun."""
    loop = loop_of(root, 2, gpu_mode=strategy)
    (checkpoint,) = loop._tracking
    checkpoint.every_epochs = None  # type: ignore[attr-defined]  # it is an ExperimentCheckpoint
    checkpoint.every_minutes = 1e-9 if strategy.comm.rank == 0 else 1e9  # type: ignore[attr-defined]  # clocks differ
    loop.fit(num_epochs=3, resume="auto")
    steps = [entry.step for entry in loop.experiment.checkpoints.entries()]
    return loop.total_iteration_idx, steps


def test_processes_that_run_the_script_resume_together_and_save_by_one_clock(
    tmp_path: Path, interrupted: Path
) -> None:
    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    (one, steps), (other, _) = Spawn(2).run(partial(in_each, root=tmp_path))
    assert one == other == 17
    (run,) = (tmp_path / "project").iterdir()
    assert len(ExperimentFolder(run).run()["attempts"]) == 2
    assert steps[0] == 18
    assert len(steps) > 5  # after nearly every batch
