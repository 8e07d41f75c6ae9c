"""Data sets whose random samples are functions of the seed, the epoch and the sample's index.

Augmentation draws from the global generators of Python, NumPy and torch. Here these are seeded
before each sample by ``(seed, epoch, index)`` and put back after the batch: a sample is the same
whichever worker reads it, whatever was read before, and training's own generators never notice.
Seeding takes about ten microseconds a sample, so it is done only for data sets that draw: whether
one does is watched at every batch.

Where an order of the user's may draw a sample more than once in an epoch, it is seeded by its place
in the order instead of its index, so that it is another one each time.

A generator that a data set holds itself (``numpy.random.default_rng()``) is not seen from outside;
have such a data set draw from the global ones. A data set that reads whole batches in a way of its
own (``__getitems__``) is seeded once a batch, by the batch's first index.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.utils.data import Dataset, Subset

from tt_loop.data.draws import Generators
from tt_loop.data.order import Draw
from tt_loop.rng import preserved_host_rng
from tt_loop.seeds import mixed_seed, seed_host

__all__ = ["SeededSource", "as_collated"]

_COLLATING = 1
_MOST_AT_ONCE = 64  # batches
_WATCHED_TIME = 2e-3  # seconds of reading between two looks at the generators

_OWN = {"_dataset", "_collate", "_seed", "_whole", "_draws", "_checked"}


class SeededSource(Dataset[Any]):
    """A data set that reads and collates whole batches, each sample with randomness of its own.

    Anything else that is asked of it, or set, is the data set's, as in a ``worker_init_fn``.

    Args:
        dataset: A map-style data set.
        collate: Makes a batch of samples.
        seed: Seed of the samples' randomness; ``None`` keys it by the index alone, for evaluation.
    """

    def __init__(self, dataset: Any, collate: Callable[[Any], Any], seed: int | None) -> None:
        self._dataset, self._collate = dataset, collate
        self._seed = 0 if seed is None else seed
        self._whole = _reads_whole(dataset)
        self._draws = True  # until a batch has shown that it does not
        self._checked = False

    def __len__(self) -> int:
        return len(self._dataset)

    def __getattr__(self, name: str) -> Any:
        if name in _OWN or name.startswith("__"):  # not there yet: the object is being unpickled
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self._dataset, name, value)

    def batches(self, draws: Iterable[Draw]) -> Iterator[Any]:
        """The batches of these draws in turn.

        Those that are read quickly are read some at once and watched together: watching takes
        about a tenth of a millisecond.
        """
        draws, at_once = iter(draws), 1
        for first in draws:
            together = [first, *itertools.islice(draws, at_once - 1)]
            began = time.perf_counter()
            found = None if self._draws else self._watched(together)
            if found is None:
                yield from map(self.__getitems__, together)
                at_once = 1
            else:
                each = (time.perf_counter() - began) / len(together)
                yield from found
                at_once = max(1, min(_MOST_AT_ONCE, int(_WATCHED_TIME / each)))

    def _watched(self, draws: Sequence[Draw]) -> list[Any] | None:
        """Batches that nothing random went into; ``None`` when they have to be read one by one."""
        before = Generators.now()
        try:
            found = [self._collate(self._read(draw.indices)) for draw in draws]
        except Exception:  # it will come again in its place
            found = None
        if Generators.now() == before:
            return found
        before.restore()
        return None

    def __getitems__(self, draw: Draw) -> Any:
        """The batch of these samples."""
        if not self._draws:
            before = Generators.now()
            batch = self._collate(self._read(draw.indices))
            if Generators.now() == before:
                return batch
            before.restore()
            self._draws = True
        with preserved_host_rng():
            return self._seeded(draw)

    def _seeded(self, draw: Draw) -> Any:
        """Read with seeds; the first batch of all shows whether they are needed."""
        watch = _Watch(active=not self._checked)
        samples: Any = []
        keys = draw.indices if draw.keys is None else draw.keys
        if self._whole:
            with watch.seeded(mixed_seed(self._seed, draw.epoch, keys[0])):
                samples = self._read(draw.indices)
        else:
            for index, key in zip(draw.indices, keys, strict=True):
                with watch.seeded(mixed_seed(self._seed, draw.epoch, key)):
                    samples += self._read([index])
        with watch.seeded(mixed_seed(self._seed, draw.epoch, keys[0], _COLLATING)):
            batch = self._collate(samples)
        if not self._checked:
            self._draws, self._checked = watch.drew, True
        return batch

    def _read(self, indices: Sequence[int]) -> Any:
        """Samples of the data set; an error tells which of them it came from."""
        if self._whole:
            return self._dataset.__getitems__(indices)
        samples = []
        for index in indices:
            try:
                samples.append(self._dataset[index])
            except Exception as error:
                error.add_note(f"Raised by the data set's sample {index}.")
                raise
        return samples


class _Watch:
    """Seeds the generators and, while it is active, notes whether anything draws from them."""

    def __init__(self, *, active: bool) -> None:
        self.active = active
        self.drew = False

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        seed_host(seed)
        before = Generators.now() if self.active else None
        yield
        self.drew = self.drew or (before is not None and Generators.now() != before)


def as_collated(batch: Any) -> Any:
    """The collate function of a loader whose data set gives whole batches."""
    return batch


def _reads_whole(dataset: Any) -> bool:
    """Whether a data set reads batches in a way of its own; torch's `Subset` only passes it on."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return callable(getattr(dataset, "__getitems__", None))
