"""Synchronised batch norm: four processes train as one, also where a batch is too small for all."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import TrainLoop
from tt_parallel.api import DistributedStrategy, Spawn

SAMPLES = 19  # global batches of 8 leave 3: the fourth process has no sample


def train(strategy: Any = "single") -> tuple[torch.Tensor, list[Any]]:
    torch.manual_seed(0)
    processes = 1 if strategy == "single" else strategy.comm.world_size
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 1))
    model = model.double()
    data = TensorDataset(torch.randn(SAMPLES, 2, 3, 3).double(), torch.randn(SAMPLES, 1).double())
    loader = DataLoader(data, batch_size=8 // processes, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loss, mode = nn.MSELoss(), {"gpu_mode": strategy, "progress": False}
    loop = TrainLoop(model, loader, loader, None, optimizer, loss, **mode)
    loop.fit(num_epochs=3)
    tensors = [*model.parameters(), *(each.double() for each in model.buffers())]
    return torch.cat([each.detach().reshape(-1) for each in tensors]), loop.train_history[
        "val_loss"
    ]


@pytest.mark.slow
def test_four_processes_equal_one() -> None:
    weights, losses = train()
    spawn = Spawn(4, make_strategy=partial(DistributedStrategy, sync_batchnorm=True))
    for found, history in spawn.run(train):
        torch.testing.assert_close(found, weights, rtol=0, atol=1e-12)
        assert history == pytest.approx(losses, rel=1e-10)
