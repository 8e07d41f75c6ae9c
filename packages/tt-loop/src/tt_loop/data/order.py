"""Which samples make which batch of which process.

The order of a training epoch is a function of a seed and the epoch's number alone, drawn from a
private generator: nothing that happens elsewhere in the program can change it, every process
computes the same one, and reading may begin at any batch. Training shares out each global batch, so
that many processes see together what one process would see in one batch. Evaluation runs over the
data in the dataset's order, each sample once; each process takes one contiguous part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tt_loop.seeds import mixed_seed

__all__ = ["Draw", "EvaluationOrder", "TrainOrder"]

_CPU = torch.device("cpu")


class Draw(NamedTuple):
    """The samples of one batch, and what their randomness belongs to.

    Attributes:
        epoch: Number of the epoch.
        indices: The samples.
        keys: Other numbers of the samples, where a sample may come more than once.
    """

    epoch: int
    indices: list[int]
    keys: Sequence[int] | None = None


class TrainOrder:
    """The batches of one process in one training epoch; the batch sampler of a `DataLoader`.

    Args:
        samples: Size of the data set.
        batch_size: Samples in a batch of one process.
        shuffle: A new permutation each epoch; otherwise the data set's order.
        drop_last: Leave out a last global batch that is not full.
        rank: Number of this process.
        world_size: Number of processes.
        seed: Seed of the permutations.
        global_batch: Samples of all processes in a batch, where that is another number than
            ``batch_size`` for each.

    Attributes:
        epoch: Number of the epoch to read next.
        start: Number of the batch to begin with.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        *,
        shuffle: bool,
        drop_last: bool,
        rank: int,
        world_size: int,
        seed: int,
        global_batch: int | None = None,
    ) -> None:
        self.samples, self.shuffle, self.seed = samples, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.start = 0
        self.global_batch = global_batch or batch_size * world_size
        full, rest = divmod(samples, self.global_batch)
        self.rest = 0 if drop_last else rest
        self.batches = full + (self.rest > 0)

    @property
    def filler(self) -> bool:
        """This process has no sample of the last global batch and repeats one without weight."""
        return 0 < self.rest <= self.rank

    def __len__(self) -> int:
        return self.batches

    def indices(self, device: torch.device = _CPU) -> Iterator[Tensor]:
        """Indices of this process's samples, batch by batch, on a device."""
        order = self._permutation().to(device)
        size, rank, world_size = self.global_batch, self.rank, self.world_size
        for start in range(self.start * size, self.batches * size, size):
            together = order[start : start + size]
            if world_size == 1:
                yield together
            else:
                own = together[rank::world_size]
                yield own if len(own) else together[:1]

    def samples_of(self, batch: int) -> list[int]:
        """Indices of the samples of all processes in one batch of the present epoch."""
        start = batch * self.global_batch
        return self._permutation()[start : start + self.global_batch].tolist()

    def __iter__(self) -> Iterator[Draw]:
        for own in self.indices():
            yield Draw(self.epoch, own.tolist())

    def _permutation(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.samples)
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
        return torch.randperm(self.samples, generator=generator)


class EvaluationOrder:
    """The batches of one process's contiguous part of a data set, in its order.

    Args:
        samples: Size of the data set.
        batch_size: Samples in a batch.
        rank: Number of this process.
        world_size: Number of processes.
    """

    epoch = 0

    def __init__(self, samples: int, batch_size: int, *, rank: int, world_size: int) -> None:
        self.part = range(samples * rank // world_size, samples * (rank + 1) // world_size)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.part) // self.batch_size)

    def spans(self) -> Iterator[tuple[int, int]]:
        """First index of each batch, and the one after its last."""
        for start in range(self.part.start, self.part.stop, self.batch_size):
            yield start, min(start + self.batch_size, self.part.stop)

    def samples_of(self, batch: int) -> list[int]:
        """Indices of the samples of one batch."""
        return list(self.part[batch * self.batch_size : (batch + 1) * self.batch_size])

    def __iter__(self) -> Iterator[Draw]:
        for number in range(len(self)):
            yield Draw(self.epoch, self.samples_of(number))
