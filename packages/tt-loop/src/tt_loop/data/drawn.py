"""Orders that a sampler of the user's draws, shared out among processes.

Every process draws the same sequence: from global random generators whose states are a function of
the seed and the epoch, and are put back, or from a generator of the sampler's own, which goes on as
it does on one process. Of what is drawn each process reads its own part only.
"""

from __future__ import annotations

import itertools
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from tt_loop.data.order import Draw
from tt_loop.rng import OwnDraws, preserved_host_rng
from tt_loop.seeds import mixed_seed, seed_host

__all__ = ["BatchedOrder", "DrawnOrder", "PrivateDraws", "SampledOrder"]

_CPU = torch.device("cpu")
_AT_ONCE = 64  # batches of each process: exchanging the generators' states takes time
_REMEMBERED = 1024  # batches behind those drawn whose samples can still be told
_DRAWING = 2  # marks the seed of what samplers and streams draw


class PrivateDraws(OwnDraws):
    """Draws from the global generators that begin at a seed's states; outside they leave no trace.

    Args:
        parts: What the seed is made of.
    """

    def __init__(self, *parts: int) -> None:
        with preserved_host_rng():
            seed_host(mixed_seed(*parts, _DRAWING))
            super().__init__(_CPU)


class _Share(NamedTuple):
    """What a process has of a global batch."""

    own: list[Any]
    """Indices of its samples; empty when there are none left for it."""
    places: Sequence[int]
    """Their places in the sequence of the epoch."""
    told: list[Any]
    """Indices to name when a batch cannot be read; in evaluation the places."""


class DrawnOrder(ABC):
    """The batches of one process from a sequence that is drawn in all alike.

    Args:
        drawn: The sampler, or what gives batches of indices; iterated anew for each epoch.
        rank: Number of this process.
        world_size: Number of processes.
        seed: Seed of what is drawn from the global generators.
        loader_generator: The loader's own generator, from which reading draws a seed of its own.

    Attributes:
        epoch: Number of the epoch to read next.
        start: Number of the batch to begin with.
        total: Batches of the epoch, as soon as the end has been drawn.
        own: How many of them are this process's own; one after them repeats a sample.
        print: Equal in processes that have drawn the same.
    """

    fills = True  # a process whose own batches are over repeats a sample

    def __init__(
        self,
        drawn: Iterable[Any],
        *,
        rank: int,
        world_size: int,
        seed: int,
        loader_generator: torch.Generator | None = None,
    ) -> None:
        self.drawn, self.seed = drawn, seed
        self.rank, self.world_size = rank, world_size
        self.loader_generator = loader_generator
        self.epoch = self.start = 0
        self._forget()

    def _forget(self) -> None:
        self.total: int | None = None
        self.own: int | None = None
        self.print: Hashable = None
        self._ready: deque[_Share] = deque()
        self._told: dict[int, list[Any]] = {}
        self._groups = self._place = 0

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def _group_size(self) -> int:
        """How much of the sequence makes one batch of each process."""

    @abstractmethod
    def _share(self, group: list[Any]) -> _Share | None:
        """What this process has of a group; ``None`` when it is left out."""

    def begin(self, *, whole: bool) -> None:
        """Begin the epoch: draw its first batches, or all of as many as there are to be."""
        self._forget()
        if self.loader_generator is not None:  # a DataLoader draws it before anything else
            torch.empty((), dtype=torch.int64).random_(generator=self.loader_generator)
        self._draws = PrivateDraws(self.seed, self.epoch)
        with self._draws.drawing():
            self._source = iter(self.drawn)
        at_once = len(self) if whole else _AT_ONCE
        self._told_at_most = at_once + _REMEMBERED
        self._draw(at_once)

    def _draw(self, groups: int) -> None:
        size = self._group_size
        with self._draws.drawing() if groups else nullcontext():
            found = list(itertools.islice(self._source, groups * size))
        self.print = zlib.crc32(repr((self.print, _numbers(found))).encode())
        for first in range(0, len(found), size):
            self._add(found[first : first + size])
        if len(found) < groups * size:
            self.total = self._groups

    def _add(self, group: list[Any]) -> None:
        share = self._share(group)
        if share is None:
            return
        number, self._groups = self._groups, self._groups + 1
        self._told[number] = share.told
        self._told.pop(number - self._told_at_most, None)
        if share.own:
            self._ready.append(share)
        elif self.own is None:
            self.own = number
            if self.fills:
                self._ready.append(self._filler(group))

    @abstractmethod
    def _filler(self, group: list[Any]) -> _Share:
        """One sample that is another process's."""

    def __iter__(self) -> Iterator[Draw]:
        for number in itertools.count():
            if len(self._ready) < 2 and self.total is None:
                self._draw(_AT_ONCE)  # so that the last is known to be the last
            if not self._ready:
                return
            share = self._ready.popleft()
            if number >= self.start:
                yield Draw(self.epoch, share.own, share.places)

    def samples_of(self, batch: int) -> list[Any] | None:
        """Indices of the samples of a batch, while they are remembered."""
        return self._told.get(batch)

    def any_sample(self) -> Draw:
        """A batch of one sample, for a process that has none."""
        with PrivateDraws(self.seed, self.epoch).drawing():
            first = next(iter(self.drawn))
        return Draw(self.epoch, self._one(first), [0])

    @abstractmethod
    def _one(self, drawn: Any) -> list[Any]:
        """One index of what was drawn first."""


class SampledOrder(DrawnOrder):
    """Global batches cut from a sampler's sequence; each process takes every so many-th sample.

    Args:
        drawn: The sampler.
        batch_size: Samples in a batch of one process.
        drop_last: Leave out a last global batch that is not full.
        **share: As in `DrawnOrder`.
    """

    def __init__(
        self, drawn: Iterable[Any], batch_size: int, *, drop_last: bool, **share: Any
    ) -> None:
        super().__init__(drawn, **share)
        self.batch_size, self.drop_last = batch_size, drop_last

    @property
    def _group_size(self) -> int:
        return self.batch_size * self.world_size

    def __len__(self) -> int:
        full, rest = divmod(len(self.drawn), self._group_size)  # type: ignore[arg-type]  # its TypeError is the answer
        return full + (rest > 0 and not self.drop_last)

    def _share(self, group: list[Any]) -> _Share | None:
        if self.drop_last and len(group) < self._group_size:
            return None
        first, self._place = self._place, self._place + len(group)
        places = range(first + self.rank, self._place, self.world_size)
        return _Share(group[self.rank :: self.world_size], places, group)

    def _filler(self, group: list[Any]) -> _Share:
        return _Share(group[:1], [self._place - len(group)], group)

    def _one(self, drawn: Any) -> list[Any]:
        return [drawn]


class BatchedOrder(DrawnOrder):
    """Batches of indices that are the user's; each process takes every so many-th of them.

    Args:
        drawn: Gives the batches of all processes.
        fills: A process without a batch in the last round repeats a sample; not in evaluation.
        **share: As in `DrawnOrder`.
    """

    def __init__(self, drawn: Iterable[Any], *, fills: bool, **share: Any) -> None:
        super().__init__(drawn, **share)
        self.fills = fills

    @property
    def _group_size(self) -> int:
        return self.world_size

    def __len__(self) -> int:
        batches = len(self.drawn)  # type: ignore[arg-type]  # its TypeError is the answer
        first = 0 if self.fills else self.rank
        return len(range(first, batches, self.world_size))

    def _share(self, group: list[Any]) -> _Share | None:
        ends = list(itertools.accumulate(map(len, group), initial=self._place))
        self._place = ends[-1]
        if self.rank >= len(group):
            return _Share([], [], [])
        places = range(ends[self.rank], ends[self.rank + 1])
        own = list(group[self.rank])
        return _Share(own, places, own if self.fills else list(places))

    def _filler(self, group: list[Any]) -> _Share:
        first = self._place - sum(map(len, group))
        return _Share(list(group[0][:1]), [first], [])

    def _one(self, drawn: Any) -> list[Any]:
        return list(drawn[:1])


def _numbers(drawn: Any) -> Any:
    """Indices, also those in tensors, as what can be written down quickly."""
    if isinstance(drawn, torch.Tensor):
        return drawn.tolist()
    return [_numbers(each) for each in drawn] if isinstance(drawn, list | tuple) else drawn
