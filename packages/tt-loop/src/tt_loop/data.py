"""Batches: their order, their share for each process, their size, their way to the device.

The order of a training epoch is a function of a seed and the epoch's number alone, drawn from a
private generator: nothing that happens elsewhere in the program can change it, and every process
computes the same one. Training shares out each global batch, so that many processes see together
what one process would see in one batch. Evaluation runs over the data in the dataset's order, each
sample once; each process takes one contiguous part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from tt_loop.errors import EmptyLoaderError, LoopTypeError

__all__ = [
    "Batches",
    "batch_weight",
    "check_shareable",
    "empty_message",
    "length_of",
    "to_device",
]


_SEQUENCES = (list, tuple)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a nested batch to a device; what is there already is not copied."""
    if isinstance(batch, Tensor):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    kind = type(batch)
    if kind is list or kind is tuple:
        return kind([to_device(value, device) for value in batch])
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return kind(*(to_device(value, device) for value in batch))
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    return batch


def batch_weight(batch: Any) -> int:
    """Number of samples in a batch: the length of its first tensor, else of the batch itself."""
    first = batch[0] if type(batch) in _SEQUENCES and batch else None
    if type(first) is not Tensor:  # most batches are lists that begin with one
        first = _first_tensor(batch)
    if first is not None:
        return first.shape[0] if first.ndim else 1
    return len(batch) if isinstance(batch, Sized) else 1


def _first_tensor(batch: Any) -> Tensor | np.ndarray[Any, Any] | None:
    if isinstance(batch, Tensor | np.ndarray):
        return batch
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif not isinstance(batch, list | tuple):
        return None
    return next((found for item in batch if (found := _first_tensor(item)) is not None), None)


def _mixed_seed(*parts: int) -> int:
    """One well-mixed 64-bit seed from several numbers."""
    words = np.random.SeedSequence([part % 2**64 for part in parts])
    return int(words.generate_state(1, np.uint64)[0])


class _TrainOrder:
    """Index lists of one process for one training epoch; the batch sampler of a `DataLoader`."""

    def __init__(self, loader: DataLoader[Any], rank: int, world_size: int, seed: int) -> None:
        self.samples = len(loader.dataset)  # type: ignore[arg-type]  # a map-style dataset is sized
        self.shuffled = isinstance(loader.sampler, RandomSampler)
        self.rank, self.world_size, self.seed, self.epoch = rank, world_size, seed, 0
        assert loader.batch_size is not None  # noqa: S101  # `_is_plain` has looked
        self.global_batch = loader.batch_size * world_size
        self.batches = self.samples // self.global_batch
        self.rest = self.samples % self.global_batch
        if self.rest and not loader.drop_last:
            self.batches += 1
        else:
            self.rest = 0

    @property
    def filler(self) -> bool:
        """This process has no sample of the last global batch and repeats one without weight."""
        return 0 < self.rest <= self.rank

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        if self.shuffled:
            generator = torch.Generator().manual_seed(_mixed_seed(self.seed, self.epoch))
            order = torch.randperm(self.samples, generator=generator)
        else:
            order = torch.arange(self.samples)
        for start in range(0, self.batches * self.global_batch, self.global_batch):
            together = order[start : start + self.global_batch]
            yield (together[self.rank :: self.world_size].tolist()) or together[:1].tolist()


class _DatasetOrder:
    """Index lists of one process's contiguous part of a dataset, for evaluation."""

    def __init__(self, loader: DataLoader[Any], rank: int, world_size: int) -> None:
        samples = len(loader.dataset)  # type: ignore[arg-type]  # a map-style dataset is sized
        self.part = range(samples * rank // world_size, samples * (rank + 1) // world_size)
        self.batch_size = loader.batch_size or 1

    def __len__(self) -> int:
        return -(-len(self.part) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.part), self.batch_size):
            yield list(self.part[start : start + self.batch_size])


def _is_plain(loader: object) -> bool:
    """Whether the loader's order is one of the two that we know how to make ourselves."""
    return (
        type(loader) is DataLoader
        and loader.batch_size is not None
        and type(loader.batch_sampler) is BatchSampler
        and (
            (type(loader.sampler) is SequentialSampler and _covers_all(loader))
            or (type(loader.sampler) is RandomSampler and _draws_each_sample_once(loader))
        )
    )


def _covers_all(loader: DataLoader[Any]) -> bool:
    return len(loader.sampler) == len(loader.dataset)  # type: ignore[arg-type]  # both are sized


def _draws_each_sample_once(loader: DataLoader[Any]) -> bool:
    sampler = loader.sampler
    assert isinstance(sampler, RandomSampler)  # noqa: S101  # the caller has looked
    return not sampler.replacement and sampler.num_samples == len(loader.dataset)  # type: ignore[arg-type]  # a sampled dataset is sized


def _rebuilt(loader: DataLoader[Any], order: Any, generator: torch.Generator) -> DataLoader[Any]:
    """The user's loader with another order and a private generator, everything else kept."""
    return DataLoader(
        loader.dataset,
        batch_sampler=order,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
        in_order=loader.in_order,
    )


class Batches:
    """The batches of a loader for one process.

    A `torch.utils.data.DataLoader` with sequential or shuffled order is driven by an order of our
    own (see the module); any other loader is iterated as it is, on one process only.

    Args:
        loader: A `DataLoader` or any iterable of batches.
        name: What to call the loader in errors.
        rank: Number of this process.
        world_size: Number of processes.
        seed: Seed of the training order; ``None`` for evaluation in the dataset's order.
    """

    def __init__(
        self, loader: Iterable[Any], name: str, *, rank: int, world_size: int, seed: int | None
    ) -> None:
        self.name = name
        self.nominal_weight = 1
        self._order: _TrainOrder | None = None
        self._workers_generator = torch.Generator()  # iterating must not draw from the global one
        if length_of(loader) == 0:
            raise EmptyLoaderError(empty_message(name))
        if _is_plain(loader):
            assert isinstance(loader, DataLoader)  # noqa: S101  # `_is_plain` has looked
            loader = self._driven(loader, rank, world_size, seed)
        elif world_size > 1:
            check_shareable(loader, name)
        self._loader = loader

    def _driven(
        self, loader: DataLoader[Any], rank: int, world_size: int, seed: int | None
    ) -> DataLoader[Any]:
        self.nominal_weight = loader.batch_size or 1
        if seed is None:
            order = _DatasetOrder(loader, rank, world_size)
            return _rebuilt(loader, order, self._workers_generator)
        if loader.generator is not None:
            seed = loader.generator.initial_seed()
        self._order = _TrainOrder(loader, rank, world_size, seed)
        if len(self._order) == 0:
            raise EmptyLoaderError(empty_message(self.name))
        return _rebuilt(loader, self._order, self._workers_generator)

    @property
    def sized(self) -> int | None:
        """Number of batches of an epoch for this process; ``None`` where nobody knows."""
        return length_of(self._loader)

    @property
    def filler(self) -> bool:
        """The last training batch of this process repeats a sample and must count for nothing."""
        return self._order is not None and self._order.filler

    def epoch(self, number: int) -> Iterable[Any]:
        """The batches of one epoch."""
        if self._order is not None:
            self._order.epoch = number
            self._workers_generator.manual_seed(_mixed_seed(self._order.seed, number, 1))
        return self._loader


def length_of(loader: object) -> int | None:
    """Number of batches of a loader; ``None`` where nobody knows."""
    try:
        return len(loader)  # type: ignore[arg-type]  # that it may have no length is the question
    except TypeError:
        return None


def empty_message(name: str) -> str:
    """The message about a loader without batches."""
    return (
        f"A loader must yield at least one batch, but the {name} loader yields none: check the "
        "length of its dataset, and drop_last with a batch size above it."
    )


def check_shareable(loader: object, name: str) -> None:
    """Look whether several processes can share a loader.

    Raises:
        LoopTypeError: When its order is not one that we know how to make ourselves.
    """
    if not _is_plain(loader):
        raise LoopTypeError(_cannot_share(loader, name))


def _cannot_share(loader: object, name: str) -> str:
    kind = type(loader).__name__
    if isinstance(loader, DataLoader):
        sampler = (
            loader.batch_sampler if type(loader.sampler) is SequentialSampler else loader.sampler
        )
        kind = f"{kind} with {type(sampler).__name__}"
    elif isinstance(loader, Sequence):
        kind = f"{kind} of batches"
    return (
        "On several processes a loader must be a torch.utils.data.DataLoader over a map-style "
        f"dataset with sequential or shuffled order; the {name} loader is a {kind}. Build the "
        "DataLoader with batch_size and shuffle, or train on one process (gpu_mode='single')."
    )
