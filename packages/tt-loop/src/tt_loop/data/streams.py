"""Loaders without an order of indices, shared out among processes batch by batch.

Every process reads the same stream: under global random states that are a function of the seed and
the epoch, and that training never notices. Of each round of batches, one for each process, it keeps
its own. Whether the streams are the same is looked at when an epoch begins and ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch.utils.data import DataLoader

from tt_loop.data.agreement import Agreement
from tt_loop.data.drawn import PrivateDraws
from tt_loop.data.prefetch import Prefetched
from tt_loop.data.readers import Reader, unsafe_ahead
from tt_loop.data.torch_loader import apart, end_workers, length_of, unwrapped
from tt_loop.data.values import batch_weight, fingerprint
from tt_loop.errors import LoopValueError

__all__ = ["SharedStream"]

_END = object()
_REMEMBERED = 1024  # batches whose places can still be told


class SharedStream(Reader):
    """Reads every batch of a loader and takes every so many-th.

    Args:
        loader: The loader, which may be a `Prefetched` one.
        name: What to call it in errors.
        rank: Number of this process.
        world_size: Number of processes.
        seed: Seed of what is drawn from the global generators; ``None`` in evaluation.
        agreement: Tells whether the streams of all processes are the same.
    """

    def __init__(
        self,
        loader: Any,
        name: str,
        *,
        rank: int,
        world_size: int,
        seed: int | None,
        agreement: Agreement | None = None,
    ) -> None:
        self._ahead = loader if type(loader) is Prefetched else None
        self._loader: Any = unwrapped(loader)
        self._name, self._seed, self._agreement = name, seed or 0, agreement
        self._rank, self._world_size = rank, world_size
        self.interleaved = seed is None
        self._draws_here = not isinstance(self._loader, Sequence) and not _has_workers(self._loader)
        if self._ahead is not None and self._draws_here:
            raise LoopValueError(unsafe_ahead(name))
        size = getattr(self._loader, "batch_size", None)
        self.nominal_weight = size if isinstance(size, int) else 1
        self._iterator: Iterator[Any] | None = None
        self._first: Any = _END  # of the newest round
        self._forget()

    def _forget(self) -> None:
        self._total: int | None = None
        self._own: int | None = None
        self._batches_read = self._place = 0
        self._newest: Any = None
        self._told: dict[int, list[int]] = {}

    def sized(self) -> int | None:
        """Number of rounds; in evaluation of this process's own batches."""
        batches = length_of(self._loader)
        if batches is None:
            return None
        return len(range(self._rank if self.interleaved else 0, batches, self._world_size))

    def extent(self) -> tuple[int | None, int | None]:
        """Known when the round after the last has been asked for."""
        return self._total, self._own

    def read(self, epoch: int, start: int, stop: int | None) -> Iterable[Any]:  # noqa: ARG002  # it begins where the loader begins
        """This process's batches."""
        self._forget()
        draws = PrivateDraws(self._seed, epoch)
        with draws.drawing():
            self._iterator = iter(apart(self._loader) if self.interleaved else self._loader)
            self._first = self._next()
        self._check_same()
        reading = draws.drawing if self._draws_here else nullcontext
        found = itertools.islice(self._batches(self._first, reading), stop)
        ahead = self._ahead
        return found if ahead is None else Prefetched(found, ahead.depth, device=ahead.device)

    def _batches(
        self, first: Any, reading: Callable[[], AbstractContextManager[None]]
    ) -> Iterator[Any]:
        for number in itertools.count():
            if first is _END:
                return
            self._first = first
            with reading():
                own, following = self._round(number, first)
            if following is _END:
                self._total, self._own = number + 1, number + (own is not _END)
            if own is not _END:
                yield own
            elif not self.interleaved:
                yield first  # of another process: it counts for nothing here
            first = following

    def _round(self, number: int, batch: Any) -> tuple[Any, Any]:
        """This process's batch of a round, and the first one of the next."""
        own = _END
        for place in range(self._world_size):
            if place == self._rank:
                own = batch
            if batch is _END:
                return own, _END
            self._note(number, place, batch)
            batch = self._next()
        return own, batch

    def _note(self, number: int, place: int, batch: Any) -> None:
        """In evaluation, count samples: their numbers are their places in the stream."""
        if self.interleaved:
            first, self._place = self._place, self._place + batch_weight(batch)
            if place == self._rank:
                self._told[number] = list(range(first, self._place))
                self._told.pop(number - _REMEMBERED, None)

    def _next(self) -> Any:
        assert self._iterator is not None  # noqa: S101  # `read` has made it
        batch = next(self._iterator, _END)
        if batch is not _END:
            self._newest, self._batches_read = batch, self._batches_read + 1
        return batch

    def _check_same(self) -> None:
        if self._agreement is not None:
            said = (self._batches_read, fingerprint(self._newest), length_of(self._loader))
            self._agreement.check_same(said, _different(self._name))

    def finish(self) -> None:
        """Look whether all processes have read the same; in evaluation some end before others."""
        if not self.interleaved:
            self._check_same()

    def end(self) -> None:
        """End the workers of this epoch."""
        end_workers(self._iterator)
        self._iterator = None

    def samples_of(self, batch: int) -> list[int] | None:
        """In evaluation, places of the samples in the stream."""
        return self._told.get(batch)

    def spare(self) -> Any:
        """The first batch of a round: no other is at hand."""
        return super().spare() if self._first is _END else self._first


def _has_workers(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and loader.num_workers > 0


def _different(name: str) -> str:
    return (
        f"Every process must read the same batches from the {name} loader, of which each then "
        "takes every so many-th, but they differ: have it draw from the global random generators, "
        "or from generators with a fixed seed; if it reads other data in each process on purpose, "
        "wrap it in tt_loop.api.PerProcess."
    )
