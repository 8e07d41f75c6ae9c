"""How a loader is read by one process: the part of `Batches` that depends on the loader's kind."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler

from tt_loop.data.agreement import Agreement
from tt_loop.data.drawn import DrawnOrder
from tt_loop.data.order import Draw, EvaluationOrder, TrainOrder
from tt_loop.data.prefetch import Prefetched
from tt_loop.data.sources import SeededSource, as_collated
from tt_loop.data.tensor_loader import TensorLoader, tensors_of
from tt_loop.data.torch_loader import (
    apart,
    empty_message,
    end_workers,
    length_of,
    like,
    rows_of,
    unwrapped,
)
from tt_loop.data.values import fingerprint
from tt_loop.errors import EmptyLoaderError, LoopValueError
from tt_loop.seeds import mixed_seed

__all__ = [
    "AsItIs",
    "Driven",
    "Reader",
    "order_of",
    "plainly_driven",
    "unlike",
    "unsafe_ahead",
]

_WORKERS = -1  # marks the seed of the workers' own generators, which no sample depends on

Order = TrainOrder | EvaluationOrder | DrawnOrder


class Reader(ABC):
    """Reads the batches of one process.

    Attributes:
        nominal_weight: Samples in a full batch of one process, where that is known.
        driven: Reading may begin at any batch of any epoch.
        settled: What `extent` tells does not change during an epoch.
        repeats: Reading the same epoch again gives the same batches.
        interleaved: The batches of the processes take turns in the loader's order.
        global_batch: Samples of all processes in a training batch, where that is always the same.
    """

    nominal_weight = 1
    global_batch: int | None = None
    driven = repeats = settled = interleaved = False

    @abstractmethod
    def sized(self) -> int | None:
        """Number of batches of an epoch; ``None`` where nobody knows."""

    @abstractmethod
    def read(self, epoch: int, start: int, stop: int | None) -> Iterable[Any]:
        """At most ``stop`` batches of an epoch, from one on where the reader is driven."""

    def extent(self) -> tuple[int | None, int | None]:
        """Number of batches of the present epoch, and how many of them are this process's own.

        Known at the latest when the last one is given; after its own a process repeats samples
        that must count for nothing.
        """
        return self.sized(), None

    def finish(self) -> None:  # noqa: B027  # most have nothing to do
        """The epoch was read to its end."""

    def end(self) -> None:  # noqa: B027  # most have nothing to do
        """End the workers of this epoch."""

    def close(self) -> None:  # noqa: B027  # most have nothing to do
        """End workers that were to persist."""

    def samples_of(self, batch: int) -> list[int] | None:  # noqa: ARG002  # it is not known here
        """Numbers of the samples of a batch of the present epoch, where they are known."""
        return None

    def spare(self) -> Any:
        """A batch for a process that has none, of one sample where that is possible.

        Raises:
            LoopValueError: When there is none.
        """
        msg = "A process without a batch needs one to take part, and its loader gives none."
        raise LoopValueError(msg)


class AsItIs(Reader):
    """Iterates a loader on one process.

    Args:
        loader: The loader.
        evaluates: The loader may train at the same time.
    """

    settled = True

    def __init__(self, loader: Iterable[Any], *, evaluates: bool) -> None:
        self.loader, self._apart = loader, evaluates
        self._iterator: Iterator[Any] | None = None

    def sized(self) -> int | None:
        """The loader's length."""
        return length_of(self.loader)

    def read(self, epoch: int, start: int, stop: int | None) -> Iterable[Any]:  # noqa: ARG002  # it begins where the loader begins
        """The loader's batches."""
        if self._iterator is None:
            self._iterator = iter(apart(self.loader) if self._apart else self.loader)
        return itertools.islice(self._iterator, stop)

    def go_to(self, position: Any) -> None:
        """Have the loader begin the next epoch at a position of its own."""
        self.loader.load_state_dict(position)  # type: ignore[attr-defined]  # it gave the position
        self._iterator = iter(self.loader)  # which may draw, as it did when the epoch began

    def end(self) -> None:
        """End the workers of this epoch."""
        end_workers(self._iterator)
        self._iterator = None


class Driven(Reader):
    """Reads a `DataLoader` or `TensorLoader` by an order of batches that we make or draw.

    Args:
        loader: The loader, which may be a `Prefetched` one.
        name: What to call it in errors.
        order: Gives the batches of this process.
        seed: Seed of the samples' randomness; ``None`` in evaluation.
        tensors: Gathers the loader's batches whole, where that is possible.
        agreement: Tells whether all processes have drawn the same order.
    """

    driven = True

    def __init__(
        self,
        loader: Any,
        name: str,
        order: Order,
        *,
        seed: int | None,
        tensors: TensorLoader | None = None,
        agreement: Agreement | None = None,
    ) -> None:
        self._ahead = loader if type(loader) is Prefetched else None
        self._loader: Any = unwrapped(loader)
        self._name, self._order, self._agreement = name, order, agreement
        self._iterator: Iterator[Any] | None = None
        self._rebuilt: DataLoader[Any] | None = None
        self.nominal_weight = _nominal(self._loader)
        self.global_batch = order.global_batch if isinstance(order, TrainOrder) else None
        self.repeats = self.settled = not isinstance(order, DrawnOrder)
        self.interleaved = isinstance(order, DrawnOrder) and not order.fills
        self._tensors = tensors
        if tensors is None:
            self._prepare(seed)

    def _prepare(self, seed: int | None) -> None:
        loader = self._loader
        if self._ahead is not None and not loader.num_workers:
            raise LoopValueError(unsafe_ahead(self._name))
        self._source = SeededSource(loader.dataset, loader.collate_fn, seed)
        if loader.num_workers or loader.pin_memory:  # else it would only add its own time
            own = torch.Generator()  # iterating must not draw from the global one
            options: Any = {"batch_sampler": self._order, "collate_fn": as_collated}
            if isinstance(self._order, DrawnOrder):
                options["in_order"] = True  # the processes' batches belong together
            self._rebuilt = like(loader, self._source, generator=own, **options)

    def sized(self) -> int | None:
        """Number of batches of an epoch."""
        return length_of(self._order)

    def extent(self) -> tuple[int | None, int | None]:
        """Number of batches, and how many are not fillers."""
        order = self._order
        if isinstance(order, DrawnOrder):
            return order.total, order.own
        return len(order), len(order) - (isinstance(order, TrainOrder) and order.filler)

    def read(self, epoch: int, start: int, stop: int | None) -> Iterable[Any]:
        """The batches from one on."""
        order, ahead = self._order, self._ahead
        order.epoch = epoch
        if not isinstance(order, EvaluationOrder):
            order.start = start
        if isinstance(order, DrawnOrder):
            order.begin(whole=ahead is not None)
            self._check_same()
        found = itertools.islice(self._batches(epoch, stop), stop)
        return found if ahead is None else Prefetched(found, ahead.depth, device=ahead.device)

    def _batches(self, epoch: int, stop: int | None) -> Iterable[Any]:
        order = self._order
        if self._tensors is not None:
            return self._gathered(self._tensors)
        if self._rebuilt is None:
            return self._source.batches(itertools.islice(order, stop))
        seed = 0 if isinstance(order, EvaluationOrder) else order.seed
        own: Any = self._rebuilt.generator
        own.manual_seed(mixed_seed(seed, epoch, _WORKERS))
        self._iterator = iter(self._rebuilt)
        return self._iterator

    def _gathered(self, tensors: TensorLoader) -> Iterable[Any]:
        order = self._order
        if isinstance(order, EvaluationOrder):
            return itertools.starmap(tensors.span, order.spans())
        assert isinstance(order, TrainOrder)  # noqa: S101  # what is drawn is read sample by sample
        return map(tensors.take, order.indices(tensors.device))

    def _check_same(self) -> None:
        order = self._order
        if self._agreement is not None and isinstance(order, DrawnOrder):
            said = (order.print, length_of(order.drawn))
            self._agreement.check_same(said, _different(self._name, type(order.drawn).__name__))

    def finish(self) -> None:
        """Look whether all processes have drawn the same; in evaluation some end before others."""
        if not self.interleaved:
            self._check_same()

    def end(self) -> None:
        """End the workers of this epoch."""
        end_workers(self._iterator)
        self._iterator = None

    def close(self) -> None:
        """End workers that were to persist."""
        if self._rebuilt is not None:
            end_workers(self._rebuilt._iterator, persistent=True)
            self._rebuilt._iterator = None

    def samples_of(self, batch: int) -> list[int] | None:
        """Indices of the samples of a batch."""
        order = self._order
        if isinstance(order, DrawnOrder):
            return order.samples_of(batch)
        return order.samples_of(batch) if batch < len(order) else None

    def spare(self) -> Any:
        """The first sample."""
        if self._tensors is not None:
            return self._tensors.span(0, 1)
        order = self._order
        draw = order.any_sample() if isinstance(order, DrawnOrder) else Draw(0, [0])
        return self._source.__getitems__(draw)


def plainly_driven(
    loader: Any,
    name: str,
    *,
    rank: int,
    world_size: int,
    seed: int | None,
    global_batch: int | None = None,
) -> Driven:
    """Read a loader that is sequential or shuffled; ``seed`` is ``None`` in evaluation."""
    plain = unwrapped(loader)
    tensors = plain if type(plain) is TensorLoader else tensors_of(plain)
    samples = len(plain.dataset) if tensors is None else tensors.samples
    order: Order
    if seed is None:
        order = EvaluationOrder(samples, plain.batch_size, rank=rank, world_size=world_size)
    else:
        order = TrainOrder(
            samples,
            plain.batch_size,
            shuffle=_is_shuffled(plain),
            drop_last=plain.drop_last,
            rank=rank,
            world_size=world_size,
            seed=seed,
            global_batch=global_batch,
        )
        if len(order) == 0:
            raise EmptyLoaderError(empty_message(name))
    return Driven(loader, name, order, seed=seed, tensors=tensors)


def order_of(loader: Any, seed: int | None) -> Hashable:
    """Equal in processes that make the same order of the same samples for a plain loader."""
    plain = unwrapped(loader)
    is_whole = type(plain) is TensorLoader
    samples = plain.samples if is_whole else len(plain.dataset)
    rows = plain.rows if is_whole else rows_of(plain.dataset)[1]
    shuffled = _is_shuffled(plain)
    order = (samples, plain.batch_size, plain.drop_last, seed if shuffled else None)
    return (*order, fingerprint(rows))


def unlike(name: str) -> str:
    """The message about processes whose plain loaders are not the same."""
    return (
        f"Every process must have the same {name} loader, of which each then takes its part, but "
        "they differ in length, batch size, drop_last, the seed of the shuffling generator, or the "
        "samples of a Subset: use the same seeds in all processes, also for random_split; if each "
        "process has other data on purpose, wrap the loader in tt_loop.api.PerProcess."
    )


def unsafe_ahead(name: str) -> str:
    """The message about a loader that a thread must not read."""
    return (
        f"The {name} loader is read ahead by a thread, which must not draw from the random "
        "generators of training as a data set may: give its DataLoader num_workers=1 or more, or "
        "put tensors into a TensorLoader."
    )


def _is_shuffled(loader: Any) -> bool:
    if isinstance(loader, TensorLoader):
        return loader.shuffle
    return isinstance(loader.sampler, RandomSampler)


def _different(name: str, sampler: str) -> str:
    return (
        f"Every process must draw the same indices from the {sampler} of the {name} loader, of "
        "which each then takes its part, but they differ: have it draw from the global random "
        "generators or from a torch.Generator with a fixed seed; if it gives each process other "
        "indices on purpose, wrap the loader in tt_loop.api.PerProcess."
    )


def _nominal(loader: Any) -> int:
    """Samples in a full batch."""
    owners = (loader, getattr(loader, "batch_sampler", None))
    sizes = (getattr(owner, "batch_size", None) for owner in owners)
    return next((size for size in sizes if isinstance(size, int)), 1)
