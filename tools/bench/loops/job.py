"""What every loop is given to do: the same model, batches, criterion and optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset, TensorDataset

Run = Callable[[], float | None]  # trains once more; returns the last validation's accuracy
Contestant = tuple[nn.Module, Run]

FEATURES, CLASSES, BATCH = 32, 10, 32


@dataclass(frozen=True)
class Job:
    """One turn of a loop."""

    loader: DataLoader[Any]
    epochs: int
    validation: DataLoader[Any] | None = None  # once per epoch, for the accuracy
    accumulation: int = 1
    max_norm: float | None = None


class Samples(Dataset[Any]):
    """Samples that a `DataLoader` fetches a batch at a time."""

    def __init__(self, inputs: Tensor, target: Tensor) -> None:
        self.inputs, self.target = inputs, target

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.target[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        rows = torch.tensor(indices)
        return self.inputs[rows], self.target[rows]


def as_it_is(batch: Any) -> Any:
    return batch


def tensors(samples: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, FEATURES, generator=draw)
    return inputs, torch.randint(CLASSES, (samples,), generator=draw)


def batched_loader(samples: int, batch: int = BATCH, *, shuffle: bool = False) -> DataLoader[Any]:
    """The fetching of a batch costs one indexing of each tensor."""
    data = Samples(*tensors(samples))
    order = torch.Generator().manual_seed(0)
    return DataLoader(data, batch, shuffle=shuffle, generator=order, collate_fn=as_it_is)


def sample_loader(samples: int) -> DataLoader[Any]:
    """As in most programs: samples are fetched one by one and collated."""
    order = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(*tensors(samples)), BATCH, shuffle=True, generator=order)


def parts(*, fused: bool = False) -> tuple[nn.Module, torch.optim.Optimizer, nn.Module]:
    """Model, optimizer and criterion, always with the same weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    return model, SGD(model.parameters(), lr=0.01, fused=fused), nn.CrossEntropyLoss()


class Hits:
    """Counts right predictions; nothing is read from a tensor before the end."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.right: Any = 0
        self.seen = 0

    def update(self, target: Tensor, scores: Tensor) -> None:
        self.right += (scores.argmax(1) == target).sum()
        self.seen += len(target)

    @property
    def accuracy(self) -> float:
        return int(self.right) / self.seen
