"""What is known of a set is not computed again, on several processes either."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import TrainLoop
from tt_parallel.api import Spawn


def passes(strategy: Any) -> list[int]:
    """How many forward passes there have been after each question."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    data = TensorDataset(torch.randn(16, 3), torch.randn(16, 1))
    loader = DataLoader(data, batch_size=8 // strategy.comm.world_size)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss, mode = nn.MSELoss(), {"gpu_mode": strategy, "progress": False}
    loop = TrainLoop(model, loader, loader, None, optimizer, loss, **mode)
    loop.fit(num_epochs=1)
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    questions: list[Callable[[], object]] = [
        loop.evaluate_loss_on_validation_set,
        loop.predict_on_validation_set,
        loop.evaluate_loss_on_validation_set,
        loop.predict_on_validation_set,
    ]
    found = []
    for ask in questions:
        ask()
        found.append(len(calls))
    with torch.no_grad():
        next(model.parameters()).add_(1)
    loop.evaluate_loss_on_validation_set()
    return [*found, len(calls)]


@pytest.mark.slow
def test_what_is_known_is_not_computed_again() -> None:
    assert Spawn(2).run(passes) == [[0, 2, 2, 2, 4]] * 2  # fit has computed the loss
