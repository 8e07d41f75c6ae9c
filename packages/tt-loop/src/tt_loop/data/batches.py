"""Batches: those of a loader for one process.

A `torch.utils.data.DataLoader` with sequential or shuffled order and a `TensorLoader` are driven by
an order of our own (`tt_loop.data.order`) with samples of their own randomness
(`tt_loop.data.sources`): reading may begin at any batch of any epoch and gives the same bits, with
any number of workers. Any other loader is iterated as it is on one process, and shared out as
`tt_loop.data.sharing` says on several; to begin inside an epoch, it is read from the epoch's
beginning, unless it can be told its position.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeVar

from tt_loop.data.agreement import Agreement
from tt_loop.data.per_process import EveryOwn, PerProcess
from tt_loop.data.readers import AsItIs, Reader, order_of, plainly_driven, unlike
from tt_loop.data.sharing import (
    check_shard,
    check_shareable,
    is_driven,
    sharding_sampler,
    shared_reader,
)
from tt_loop.data.torch_loader import empty_message, generator_of, length_of, set_epoch
from tt_loop.data.values import batch_weight, tensors_in, to_device
from tt_loop.errors import EmptyLoaderError, LoopValueError
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

T = TypeVar("T")

_NONE = object()


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
        agreement: The processes, which look whether they read the same, and in training end
            together and may keep a global batch; without it each reads for itself.

    Attributes:
        nominal_weight: Samples in a full batch of this process, where that is known.
        driven: Reading may begin at any batch of an epoch.
        interleaved: In evaluation, the batches of the processes take turns in the loader's order;
            otherwise each process has a part of it, in the order of their numbers.
        is_last: The batch given last is the epoch's last for this process. Always known on several
            processes; on one, where the loader has a length.
        is_filler: The batch given last repeats a sample and must count for nothing.
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
        agreement: Agreement | None = None,
    ) -> None:
        self.name, self.loader = name, loader
        self._limit, self._repeat, self._seed = limit, repeat, seed
        self._rank, self._world_size, self._agreement = rank, world_size, agreement
        self._kept: list[Any] | None = None
        self.is_last = self.is_filler = False
        self._reader = self._made()
        self.nominal_weight = self._reader.nominal_weight
        self.driven, self.interleaved = self._reader.driven, self._reader.interleaved

    def _made(self) -> Reader:
        """The reader for this kind of loader and number of processes."""
        loader: Any = self.loader
        together = self._world_size > 1
        if isinstance(loader, PerProcess):
            if together:
                return self._every_own(loader.loader)
            loader = loader.loader
        if together and self._seed is not None and is_driven(loader):
            self._check_alike(loader)
        if length_of(loader) == 0:
            raise EmptyLoaderError(empty_message(self.name))
        share: Any = {"rank": self._rank, "world_size": self._world_size}
        if is_driven(loader):
            kept = None if self._agreement is None else self._agreement.global_batch
            share.update(seed=self._own_seed(loader), global_batch=kept)
            return plainly_driven(loader, self.name, **share)
        if not together:
            return AsItIs(loader, evaluates=self._seed is None)
        if self._seed is not None and sharding_sampler(loader) is not None:
            self._check_shard(loader)
            return self._every_own(loader)
        seed = self._own_seed(loader)
        return shared_reader(loader, self.name, seed=seed, agreement=self._agreement, **share)

    def _own_seed(self, loader: Any) -> int | None:
        """The seed of the loader's own generator, if it has one, else that of training."""
        generator = None if self._seed is None else generator_of(loader)
        return self._seed if generator is None else generator.initial_seed()

    def _check_alike(self, loader: Any) -> None:
        """Look whether all processes share out the same loader.

        Raises:
            LoopValueError: In every process, when one has another order, length or part of a set.
        """
        if self._agreement is not None:
            self._agreement.check_same(order_of(loader, self._own_seed(loader)), unlike(self.name))

    def _every_own(self, loader: Any) -> EveryOwn:
        seed = None if self._seed is None else mixed_seed(self._seed, self._rank)
        try:
            own = Batches(loader, self.name, rank=0, world_size=1, seed=seed)
        except EmptyLoaderError:  # to be said by all processes together
            own = None
        return EveryOwn(own, self.name, self._agreement, evaluates=seed is None)

    def _check_shard(self, loader: Any) -> None:
        """Look whether the loader's sampler shards for the processes that there are.

        Raises:
            LoopValueError: In every process, when that of one does not.
        """
        wrong = check_shard(loader, self.name, rank=self._rank, world_size=self._world_size)
        said = [wrong] if self._agreement is None else self._agreement.of_all(wrong)
        for msg in filter(None, said):
            raise LoopValueError(msg)

    @property
    def global_batch(self) -> int | None:
        """Samples of all processes in a training batch, where that is always the same."""
        return self._reader.global_batch

    @property
    def sized(self) -> int | None:
        """Number of batches of an epoch for this process; ``None`` where nobody knows."""
        own = self._reader.sized()
        known = [count for count in (own, self._limit) if count is not None]
        return min(known) if own is not None else None

    def filler_batch(self) -> Any:
        """A batch for a process that has none but must take part; of one sample if possible.

        Raises:
            LoopValueError: When the loader gives this process none to repeat.
        """
        return self._reader.spare()

    def epoch(self, number: int, start: int = 0) -> Generator[Any]:
        """The batches of one epoch, from one of them on where reading may begin there.

        An error while one is read tells which batch and, where they are known, which samples.
        """
        number = 0 if self._repeat else number
        if self._seed is not None:
            set_epoch(self.loader, number)
        at, end, own, settled = start - 1, None, math.inf, self._reader.settled
        try:
            for at, batch in enumerate(self._from(number, start), start):
                if at == start or not settled:
                    end, own = self._extent()
                self.is_last, self.is_filler = at + 1 == end, at >= own
                yield batch
            self._reader.finish()
        except Exception as error:
            error.add_note(self._where(number, at + 1))
            raise
        finally:
            self._reader.end()

    def _extent(self) -> tuple[int | None, float]:
        """Number of batches, as far as known, and of those before the fillers."""
        end, own = self._reader.extent()
        if self._limit is not None and (end is not None or self._world_size > 1):
            end = self._limit if end is None else min(end, self._limit)
        return end, math.inf if own is None else own

    def _from(self, number: int, start: int) -> Iterable[Any]:
        if not self._repeat or self._reader.repeats:
            stop = None if self._limit is None else self._limit - start
            return self._reader.read(number, start, stop)
        if self._kept is None:  # nobody knows how to have the same ones again
            self._kept = [*self._reader.read(number, 0, self._limit)]
        return self._kept[start:]

    def _where(self, number: int, batch: int) -> str:
        text = f"Raised while batch {batch} of epoch {number} of the {self.name} loader was read"
        samples = self._reader.samples_of(batch)
        return f"{text}." if samples is None else f"{text}; its samples are {samples}."

    def close(self) -> None:
        """End workers that were to persist."""
        self._reader.close()

    def samples_of(self, batch: int) -> list[int] | None:
        """Numbers of the samples of a batch of the present epoch, where they are known.

        Indices in the data set; of interleaved batches, places in the loader's order.
        """
        return self._reader.samples_of(batch)

    def in_order(self, parts: Sequence[Sequence[T]]) -> list[T]:
        """What the processes found for each of their batches, in the loader's order."""
        if not self.interleaved:
            return [each for part in parts for each in part]
        turns = itertools.zip_longest(*parts, fillvalue=_NONE)
        return [each for turn in turns for each in turn if each is not _NONE]  # type: ignore[misc]  # what is none has been left out

    def position(self) -> Tree | None:
        """The loader's own state, where it has one (as torchdata's ``StatefulDataLoader``)."""
        get = getattr(self.loader, "state_dict", None)
        return get() if isinstance(self._reader, AsItIs) and callable(get) else None

    def go_to(self, position: Tree) -> None:
        """Have the loader begin the next epoch at a position of its own."""
        assert isinstance(self._reader, AsItIs)  # noqa: S101  # no other gives its position
        self._reader.go_to(position)
