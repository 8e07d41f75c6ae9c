"""Batches: those of a loader for one process, their size, their way to the device.

A `torch.utils.data.DataLoader` with sequential or shuffled order and a `TensorLoader` are driven by
an order of our own (`tt_loop.data.order`) with samples of their own randomness
(`tt_loop.data.sources`): reading may begin at any batch of any epoch and gives the same bits, with
any number of workers. Any other loader is iterated as it is, on one process only; to begin inside
an epoch, it is read from the epoch's beginning, unless it can be told its position.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from tt_loop.data.copying import map_tensors
from tt_loop.data.order import EvaluationOrder, TrainOrder
from tt_loop.data.prefetch import Prefetched
from tt_loop.data.sources import SeededSource, as_collated
from tt_loop.data.tensor_loader import TensorLoader, tensors_of
from tt_loop.data.torch_loader import apart, draws_each_once, end_workers, like
from tt_loop.errors import EmptyLoaderError, LoopTypeError, LoopValueError
from tt_loop.protocols import Tree
from tt_loop.seeds import mixed_seed

__all__ = [
    "Batches",
    "batch_weight",
    "check_shareable",
    "empty_message",
    "is_driven",
    "length_of",
    "tensors_in",
    "to_device",
]

_WORKERS = -1  # marks the seed of the workers' own generators, which no sample depends on


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a nested batch to a device; what is there already is not copied."""
    kind = type(batch)
    if kind is list or kind is tuple:
        moved = [
            value if type(value) is Tensor and value.device == device else to_device(value, device)
            for value in batch
        ]
        return moved if kind is list else tuple(moved)
    return map_tensors(
        batch, lambda t: t if t.device == device else t.to(device, non_blocking=True)
    )


def batch_weight(batch: Any) -> int:
    """Number of samples in a batch: the length of its first tensor, else of its first column.

    Columns without tensors are the values of a mapping and the lists in a tuple; a list without
    tensors is one of samples.
    """
    first = _first_tensor(batch)
    if first is not None:
        return first.shape[0] if first.ndim else 1
    columns = list(batch.values()) if isinstance(batch, Mapping) else batch
    is_nested = isinstance(columns, list | tuple) and columns and type(columns[0]) is tuple
    if isinstance(batch, Mapping | tuple) or is_nested:
        sized = [column for column in columns if isinstance(column, list | tuple)]
        if sized:
            return len(sized[0])
    return len(batch) if isinstance(batch, Sized) else 1


def tensors_in(batch: Any) -> Iterator[Tensor]:
    """The tensors of a nested batch."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping | list | tuple):
        for item in batch.values() if isinstance(batch, Mapping) else batch:
            yield from tensors_in(item)


def _first_tensor(batch: Any) -> Tensor | np.ndarray[Any, Any] | None:
    if isinstance(batch, Tensor | np.ndarray):
        return batch
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif not isinstance(batch, list | tuple):
        return None
    return next((found for item in batch if (found := _first_tensor(item)) is not None), None)


def _is_plain(loader: object) -> bool:
    """Whether the loader's order is one of the two that we know how to make ourselves."""
    return type(loader) is TensorLoader or (type(loader) is DataLoader and draws_each_once(loader))


def is_driven(loader: Any) -> bool:
    """Whether a loop makes the order of a loader's batches itself."""
    return _is_plain(loader.loader if type(loader) is Prefetched else loader)


def _rebuilt(
    loader: DataLoader[Any], order: TrainOrder | EvaluationOrder, source: SeededSource
) -> DataLoader[Any]:
    """The user's loader with another order and seeded samples, everything else kept."""
    own = torch.Generator()  # iterating must not draw from the global one
    return like(loader, source, batch_sampler=order, collate_fn=as_collated, generator=own)


class Batches:
    """The batches of a loader for one process.

    Args:
        loader: A `DataLoader`, a `TensorLoader` or any iterable of batches.
        name: What to call the loader in errors.
        rank: Number of this process.
        world_size: Number of processes.
        seed: Seed of the training order; ``None`` for evaluation in the dataset's order.
        limit: Read at most so many batches of an epoch.
        repeat: Read the same epoch again and again.

    Attributes:
        nominal_weight: Samples in a full batch of this process, where that is known.
        driven: The order is of our own making.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        name: str,
        *,
        rank: int,
        world_size: int,
        seed: int | None,
        limit: int | None = None,
        repeat: bool = False,
    ) -> None:
        if length_of(loader) == 0:
            raise EmptyLoaderError(empty_message(name))
        self.name, self.loader, self._limit, self._repeat = name, loader, limit, repeat
        self._order: TrainOrder | EvaluationOrder | None = None
        self._tensors: TensorLoader | None = None
        self._kept: list[Any] | None = None
        self._iterator: Iterator[Any] | None = None
        self._read: Any = loader  # or a DataLoader of ours, with workers or page-locked memory
        self.nominal_weight = 1
        self._apart = seed is None  # an evaluation may come while the same loader trains
        self._ahead = loader if type(loader) is Prefetched else None
        self.driven = is_driven(loader)
        if self.driven:
            plain = loader.loader if type(loader) is Prefetched else loader
            self._drive(plain, rank, world_size, seed)
        elif world_size > 1:
            check_shareable(loader, name)

    def _drive(self, loader: Any, rank: int, world_size: int, seed: int | None) -> None:
        self.nominal_weight = loader.batch_size
        tensors = loader if type(loader) is TensorLoader else tensors_of(loader)
        samples = len(loader.dataset) if tensors is None else tensors.samples
        if seed is None:
            order: TrainOrder | EvaluationOrder = EvaluationOrder(
                samples, loader.batch_size, rank=rank, world_size=world_size
            )
        else:
            generator = _generator_of(loader)
            seed = seed if generator is None else generator.initial_seed()
            order = TrainOrder(
                samples,
                loader.batch_size,
                shuffle=_is_shuffled(loader),
                drop_last=loader.drop_last,
                rank=rank,
                world_size=world_size,
                seed=seed,
            )
            if len(order) == 0:
                raise EmptyLoaderError(empty_message(self.name))
        self._order, self._tensors = order, tensors
        if tensors is None:
            if self._ahead is not None and not loader.num_workers:
                raise LoopValueError(_unsafe_ahead(self.name))
            self._source = SeededSource(loader.dataset, loader.collate_fn, seed)
            if loader.num_workers or loader.pin_memory:
                self._read = _rebuilt(loader, order, self._source)

    @property
    def sized(self) -> int | None:
        """Number of batches of an epoch for this process; ``None`` where nobody knows."""
        own = length_of(self.loader if self._order is None else self._order)
        known = [count for count in (own, self._limit) if count is not None]
        return min(known) if own is not None else None

    @property
    def filler(self) -> bool:
        """The last training batch of this process repeats a sample and must count for nothing."""
        return (
            isinstance(self._order, TrainOrder)
            and self._order.filler
            and self.sized == len(self._order)
        )

    def epoch(self, number: int, start: int = 0) -> Generator[Any]:
        """The batches of one epoch; if the order is of our making, from one of them on.

        An error while one is read tells which batch and, where they are known, which samples.
        """
        number = 0 if self._repeat else number
        stop = None if self._limit is None else self._limit - start
        next_one = start
        try:
            for batch in self._from(number, start, stop):
                yield batch
                next_one += 1
        except Exception as error:
            error.add_note(self._where(number, next_one))
            raise
        finally:
            end_workers(self._iterator)
            self._iterator = None

    def _from(self, number: int, start: int, stop: int | None) -> Iterable[Any]:
        if self._order is None:
            return self._as_it_is(stop)
        read = self._driven(number, start, stop)
        ahead = self._ahead
        return read if ahead is None else Prefetched(read, ahead.depth, device=ahead.device)

    def _as_it_is(self, stop: int | None) -> Iterable[Any]:
        if not self._repeat:
            loader = apart(self.loader) if self._apart else self.loader
            return itertools.islice(self._iterator_of(loader), stop)
        if self._kept is None:  # nobody knows how to have the same ones again
            self._kept = [*itertools.islice(self._iterator_of(self.loader), stop)]
        return self._kept

    def _iterator_of(self, loader: Iterable[Any]) -> Iterator[Any]:
        if self._iterator is None:
            self._iterator = iter(loader)
        return self._iterator

    def _driven(self, number: int, start: int, stop: int | None) -> Iterable[Any]:
        assert self._order is not None  # noqa: S101  # the caller has looked
        self._order.epoch = number
        if isinstance(self._order, TrainOrder):
            self._order.start = start
        if self._tensors is not None:
            return itertools.islice(self._gathered(self._tensors), stop)
        if self._read is self.loader:  # no workers: a DataLoader would only add its own time
            return self._source.batches(itertools.islice(self._order, stop))
        seed = self._order.seed if isinstance(self._order, TrainOrder) else 0
        self._read.generator.manual_seed(mixed_seed(seed, number, _WORKERS))
        return itertools.islice(self._iterator_of(self._read), stop)

    def _gathered(self, tensors: TensorLoader) -> Iterable[Any]:
        if isinstance(self._order, EvaluationOrder):
            return itertools.starmap(tensors.span, self._order.spans())
        assert self._order is not None  # noqa: S101  # the caller has looked
        return map(tensors.take, self._order.indices(tensors.device))

    def _where(self, number: int, batch: int) -> str:
        text = f"Raised while batch {batch} of epoch {number} of the {self.name} loader was read"
        if self._order is None or batch >= len(self._order):
            return f"{text}."
        return f"{text}; its samples are {self._order.samples_of(batch)}."

    def close(self) -> None:
        """End workers that were to persist."""
        if self._read is not self.loader:
            end_workers(self._read._iterator, persistent=True)
            self._read._iterator = None

    def samples_of(self, batch: int) -> list[int] | None:
        """Indices of the samples of a batch of the present epoch, where they are known."""
        return None if self._order is None else self._order.samples_of(batch)

    def position(self) -> Tree | None:
        """The loader's own state, where it has one (as torchdata's ``StatefulDataLoader``)."""
        get = getattr(self.loader, "state_dict", None)
        return get() if self._order is None and callable(get) else None

    def go_to(self, position: Tree) -> None:
        """Have the loader begin the next epoch at a position of its own."""
        self.loader.load_state_dict(position)  # type: ignore[attr-defined]  # it gave the position
        self._iterator = iter(self.loader)  # which may draw, as it did when the epoch began


def _unsafe_ahead(name: str) -> str:
    return (
        f"The {name} loader is read ahead by a thread, which must not draw from the random "
        "generators of training as a data set may: give its DataLoader num_workers=1 or more, or "
        "put tensors into a TensorLoader."
    )


def _generator_of(loader: Any) -> torch.Generator | None:
    """The user's own generator of the order."""
    own = getattr(getattr(loader, "sampler", None), "generator", None)
    generator: torch.Generator | None = own or loader.generator
    return generator


def _is_shuffled(loader: Any) -> bool:
    if isinstance(loader, TensorLoader):
        return loader.shuffle
    return isinstance(loader.sampler, RandomSampler)


def length_of(loader: object) -> int | None:
    """Number of batches of a loader; ``None`` where nobody knows."""
    try:
        return len(loader)  # type: ignore[arg-type]  # that it may have no length is the question
    except TypeError:
        return None


def empty_message(name: str, loader: object = None) -> str:
    """The message about a loader without batches."""
    text = f"A loader must yield at least one batch, but the {name} loader yields none: "
    if isinstance(loader, Iterator):
        return (
            f"{text}it is an iterator, which can be read only once. Pass a list, a DataLoader, or "
            "an object whose __iter__ begins anew."
        )
    return f"{text}check the length of its dataset, and drop_last with a batch size above it."


def check_shareable(loader: object, name: str) -> None:
    """Look whether several processes can share a loader.

    Raises:
        LoopTypeError: When its order is not one that we know how to make ourselves.
    """
    if not is_driven(loader):
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
