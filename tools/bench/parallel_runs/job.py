"""What every loop is given to do on two processes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from loops.job import BATCH, CLASSES, FEATURES, Samples, as_it_is, batched_loader, tensors
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader, DistributedSampler

PROCESSES = 2
CPU = torch.device("cpu")

Contestant = tuple[nn.Module, Callable[[], None]]


@dataclass(frozen=True)
class Job:
    """One turn of a loop: epochs of some steps with a model of some width."""

    steps: int
    epochs: int
    width: int

    @property
    def samples(self) -> int:
        return self.steps * BATCH * PROCESSES

    def loader(self) -> DataLoader[Any]:
        """All samples, for libraries that share them out themselves."""
        return batched_loader(self.samples)

    def own_loader(self) -> DataLoader[Any]:
        """This process's samples."""
        data = Samples(*tensors(self.samples))
        share: DistributedSampler[Any] = DistributedSampler(data, shuffle=False)
        return DataLoader(data, BATCH, sampler=share, collate_fn=as_it_is)

    def parts(self) -> tuple[nn.Module, torch.optim.Optimizer, nn.Module]:
        """Model, optimizer and criterion, always with the same weights."""
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(FEATURES, self.width),
            nn.ReLU(),
            nn.Linear(self.width, self.width),
            nn.ReLU(),
            nn.Linear(self.width, CLASSES),
        )
        return model, SGD(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
