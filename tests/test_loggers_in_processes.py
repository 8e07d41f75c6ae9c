"""Loggers and their callbacks in a fit on two processes: the first one logs, and nobody waits."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment.callbacks import StepMetrics, TensorboardFullTracking, WandBTracking
from tt_experiment.experiment import Experiment
from tt_experiment.loggers import TensorBoardLogger, read_system
from tt_experiment.recorder import history, metrics_problems, read_metrics
from tt_experiment.train_loops import TrainLoopCheckpoint
from tt_loop.api import Callback

reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
pytest.importorskip("wandb")


def tracked(root: Path) -> tuple[TrainLoopCheckpoint, Path]:
    torch.manual_seed(0)
    x = torch.randn(24, 3)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=3)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    names: Any = ("project", "run", root, {"lr": 0.1})
    parts: Any = (model, loader, loader, None, optimizer, nn.MSELoss())
    loop = TrainLoopCheckpoint(*parts, *names, gpu_mode="ddp", progress=False)
    loop.experiment.loggers.append(TensorBoardLogger())
    callbacks: list[Callback] = [
        TensorboardFullTracking(batch_log_frequency=1),
        WandBTracking(batch_log_frequency=1, mode="offline"),
        StepMetrics(every=1),
    ]
    loop.fit(num_epochs=2, callbacks=callbacks, num_gpus=2, on_gpu=False)
    (run,) = (root / "project").iterdir()
    return loop, run


@pytest.mark.slow
def test_the_first_process_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    made, run = tracked(tmp_path)
    (attempt,) = Experiment.open(run).folder.run()["attempts"]
    assert attempt["status"] == "completed"
    assert metrics_problems(run) == []
    curves = history(read_metrics(run))
    assert [step for step, _ in curves["step/loss"]] == [*range(1, 9)]
    assert [value for _, value in curves["loss"]] == made.train_history["loss"]
    assert len(read_system(run)) >= 2

    events = reader.EventAccumulator(str(run / "tensorboard" / "project_run"))
    events.Reload()
    batches = events.Scalars("train_loss/last_batch_loss")
    assert [(event.step, event.value) for event in batches] == [
        (step, pytest.approx(value)) for step, value in curves["step/loss"]
    ]
    losses = {event.step: event.value for event in events.Scalars("loss/val_loss")}
    assert all(math.isclose(losses[s], v, rel_tol=1e-6) for s, v in curves["val_loss"])
    assert len(list(run.glob(".wandb/offline-run-*/*.wandb"))) == 1
    Experiment.open(run).folder.verify()
