"""A run that dies inside an epoch goes on from the disk to the same bits, also in processes."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tt_experiment.api import Experiment, ExperimentCheckpoint
from tt_loop.api import EMA, Callback, GradNormClip, LinearWithWarmupScheduler, TrainLoop

SAMPLES = 44


class Augmented(Dataset[tuple[torch.Tensor, int]]):
    def __init__(self) -> None:
        self.x = torch.randn(SAMPLES, 6, generator=torch.Generator().manual_seed(3))

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        noise = random.random() + float(np.random.rand()) + torch.rand(6)
        return self.x[index] + 0.1 * noise, int(self.x[index].sum() > 0)


class Die(Callback):
    """Ends the run after some batches, when everything else has been told of them."""

    def __init__(self, batches: int) -> None:
        super().__init__("die", execution_order=1000)
        self.batches = batches

    def on_batch_end(self) -> None:
        if self.train_loop_obj.total_iteration_idx + 1 == self.batches:
            raise RuntimeError("cut")


def make_loop(processes: int, **options: Any) -> TrainLoop:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
    )
    return TrainLoop(
        model,
        DataLoader(Augmented(), 4 // processes, shuffle=True),
        DataLoader(Augmented(), 8),
        None,
        torch.optim.AdamW(model.parameters(), lr=0.01),
        nn.CrossEntropyLoss(),
        seed=5,
        progress=False,
        **options,
    )


def callbacks() -> list[Callback]:
    return [GradNormClip(1.0), EMA(0.9), LinearWithWarmupScheduler(2, 30)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "mode"), [(1, {}), (1, {"use_amp": True}), (2, {"gpu_mode": "ddp"})]
)
def test_a_run_cut_inside_an_epoch_goes_on(
    tmp_path: Path, processes: int, mode: dict[str, Any]
) -> None:
    fit: dict[str, Any] = {"num_epochs": 2, "grad_accumulation": 2}
    if processes > 1:
        fit["num_gpus"] = processes
    whole = make_loop(processes, **mode)
    whole.fit(callbacks=callbacks(), **fit)

    experiment = Experiment("cut", "inside", tmp_path)
    keep = ExperimentCheckpoint(experiment, every_batches=5)
    broken = make_loop(processes, **mode)
    with pytest.raises(Exception, match="cut"):
        broken.fit(callbacks=[*callbacks(), keep, Die(16)], **fit)

    newest = experiment.latest()
    assert newest is not None
    assert newest.step == 15  # of 11 batches an epoch, inside a window of two
    resumed = make_loop(processes, **mode)
    resumed.load_state_dict(experiment.load(newest))
    resumed.fit(callbacks=callbacks(), **fit)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole.train_history.state_dict() == resumed.train_history.state_dict()
