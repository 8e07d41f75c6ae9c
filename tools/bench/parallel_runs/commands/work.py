"""What every program has: a model, its data, and a note of when the first batch comes."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset


class Model(nn.Module):
    """Writes down when rank 0 calls it first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 10)
        self.called = False

    def forward(self, inputs: Tensor) -> Any:
        if not self.called and torch.distributed.get_rank() == 0:
            Path(os.environ["BENCH_ARRIVED"]).write_text(str(time.monotonic()))
        self.called = True
        return self.layer(inputs)


def data() -> TensorDataset:
    return TensorDataset(torch.randn(128, 32), torch.randint(10, (128,)))


def parts() -> tuple[nn.Module, torch.optim.Optimizer, nn.Module]:
    model = Model()
    return model, torch.optim.SGD(model.parameters(), lr=0.01), nn.CrossEntropyLoss()


def train(
    model: Any,
    optimizer: Any,
    criterion: Any,
    batches: Iterable[Any],
    backward: Callable[[Tensor], object] = Tensor.backward,
) -> None:
    for inputs, target in batches:
        loss = criterion(model(inputs), target)
        backward(loss)
        optimizer.step()
        optimizer.zero_grad()


def free_port() -> str:
    """That which the command was given."""
    return sys.argv[1]
