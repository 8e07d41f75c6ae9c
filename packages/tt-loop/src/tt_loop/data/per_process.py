"""Loaders that read other data in each process: nothing is shared out, only the end is agreed."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Protocol

from tt_loop.data.agreement import Agreement
from tt_loop.data.readers import Reader
from tt_loop.errors import EmptyLoaderError, LoopTypeError

__all__ = ["EveryOwn", "OwnBatches", "PerProcess"]

_END = object()


class PerProcess:
    """Says that a loader reads other data in each process, which is not to be shared out.

    For data that is split already: files listed by rank, ``torch.distributed.get_rank()`` in an
    `IterableDataset`, ``split_dataset_by_node`` of Hugging Face's datasets. Each process reads its
    loader as one process alone would. An epoch ends when it has ended in all of them: a process
    that is at its end repeats its last batch, which counts for nothing. Where every loader has a
    length, the processes agree once per epoch; otherwise each reads one batch ahead, and one number
    per batch goes between the processes.

    Evaluated, it is every process's own data once, in the order of the processes. Each numbers its
    samples from 0, so predictions that the processes keep in files cannot be joined by number.

    Args:
        loader: What this process reads.

    Raises:
        LoopTypeError: When the loader cannot be iterated.

    Example:
        >>> list(PerProcess([[1, 2], [3]]))
        [[1, 2], [3]]
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        if not hasattr(loader, "__iter__"):
            msg = f"loader must be an iterable of batches, got {type(loader).__name__}."
            raise LoopTypeError(msg)
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]  # its TypeError is the answer

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name == "loader" or name.startswith("__"):  # not there yet: it is being unpickled
            raise AttributeError(name)
        return getattr(self.loader, name)


class OwnBatches(Protocol):
    """The batches of a loader that one process reads alone."""

    @property
    def sized(self) -> int | None:
        """Number of batches of an epoch; ``None`` where nobody knows."""
        ...

    def epoch(self, number: int) -> Generator[Any]:
        """The batches of an epoch."""
        ...

    def close(self) -> None:
        """End workers."""
        ...


class EveryOwn(Reader):
    """Reads this process's own batches, as many times as the longest of all processes.

    Args:
        batches: This process's own; ``None`` when there are none.
        name: What to call the loader in errors.
        agreement: The processes; without it none waits for another.
        evaluates: None waits for another anyway.
    """

    def __init__(
        self,
        batches: OwnBatches | None,
        name: str,
        agreement: Agreement | None = None,
        *,
        evaluates: bool = False,
    ) -> None:
        self._batches, self._name = batches, name
        self._agreement = None if evaluates else agreement
        self._read: Generator[Any] | None = None
        self._newest: Any = _END
        self._total: int | None = None
        self._own: int | None = None
        size = 0 if batches is None else batches.sized
        longest = _longest([size] if agreement is None else agreement.of_all(size))
        self._sized = size if evaluates and longest is not None else longest

    def sized(self) -> int | None:
        """Number of batches of the longest; in evaluation of this process."""
        return self._sized

    def extent(self) -> tuple[int | None, int | None]:
        """Known as soon as the processes have agreed."""
        return self._total, self._own

    def read(self, epoch: int, start: int, stop: int | None) -> Iterator[Any]:  # noqa: ARG002  # it begins where the loader begins
        """This process's batches and, behind them, repetitions of the last."""
        self._total = self._own = None
        self._read = None if self._batches is None else self._batches.epoch(epoch)
        first = self._next()
        if self._agreement is None:
            self._total = self._sized
            return itertools.islice(self._alone(first), stop)
        size = None if self._batches is None else self._batches.sized
        said = self._agreement.of_all((first is not _END, size))
        empty = [rank for rank, (any_there, _) in enumerate(said) if not any_there]
        if empty:
            raise EmptyLoaderError(_empty(self._name, empty))
        longest = _longest([size for _, size in said])
        if longest is None:
            return itertools.islice(self._joined(self._agreement), stop)
        self._total = longest
        return itertools.islice(self._filled(first, longest), stop)

    def _next(self) -> Any:
        batch = _END if self._read is None else next(self._read, _END)
        if batch is not _END:
            self._newest = batch
        return batch

    def _alone(self, batch: Any) -> Iterator[Any]:
        while batch is not _END:
            yield batch
            batch = self._next()

    def _filled(self, first: Any, total: int) -> Iterator[Any]:
        """So many batches."""
        yield first
        for number in range(1, total):
            if self._next() is _END and self._own is None:
                self._own = number
            yield self._newest

    def _joined(self, agreement: Agreement) -> Iterator[Any]:
        """Batches until no process has any more."""
        number = 0
        while True:
            given = self._newest
            number, following = number + 1, self._next()
            if following is _END and self._own is None:
                self._own = number
            if not agreement.anybody(following is not _END):
                self._total = number
            yield given
            if self._total is not None:
                return

    def end(self) -> None:
        """End the workers of this epoch."""
        if self._read is not None:
            self._read.close()
            self._read = None

    def close(self) -> None:
        """End workers that were to persist."""
        if self._batches is not None:
            self._batches.close()

    def spare(self) -> Any:
        """The newest batch."""
        return super().spare() if self._newest is _END else self._newest


def _longest(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return max(known) if len(known) == len(sizes) else None


def _empty(name: str, ranks: list[int]) -> str:
    which = ", ".join(map(str, ranks))
    return (
        f"Each process needs at least one batch of its own, but the {name} loader yields none in "
        f"process {which}: give each process a part of the data, or use fewer processes."
    )
