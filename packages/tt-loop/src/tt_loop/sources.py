"""Data sets whose random samples are functions of the seed, the epoch and the sample's index.

Augmentation draws from the global generators of Python, NumPy and torch. Here these are seeded
before each sample by ``(seed, epoch, index)`` and put back after the batch: a sample is the same
whichever worker reads it, whatever was read before, and training's own generators never notice.
Seeding takes about 25 microseconds a sample, so it is done only for data sets that draw: whether
one does is watched at every batch.

A generator that a data set holds itself (``numpy.random.default_rng()``) is not seen from outside;
have such a data set draw from the global ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tt_loop.order import Draw
from tt_loop.rng import preserved_host_rng
from tt_loop.seeds import mixed_seed, seed_host

__all__ = ["SeededSource", "as_collated"]

_COLLATING = 1

_OWN = {"_dataset", "_collate", "_seed", "_draws", "_checked"}


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

    def __getitems__(self, draw: Draw) -> Any:
        """The batch of these samples."""
        if not self._draws:
            before = _Generators()
            batch = self._collate(_read(self._dataset, draw.indices))
            if before.unchanged():
                return batch
            before.restore()
            self._draws = True
        with preserved_host_rng():
            return self._seeded(draw)

    def _seeded(self, draw: Draw) -> Any:
        """Read with seeds; the first batch of all shows whether they are needed."""
        watch = _Watch(active=not self._checked)
        samples: Any = []
        for index in draw.indices:
            with watch.seeded(mixed_seed(self._seed, draw.epoch, index)):
                found = _read(self._dataset, [index])
            if not isinstance(found, list):  # its own batched reading, which makes no list
                with watch.seeded(mixed_seed(self._seed, draw.epoch, draw.indices[0])):
                    samples = _read(self._dataset, draw.indices)
                break
            samples += found
        with watch.seeded(mixed_seed(self._seed, draw.epoch, draw.indices[0], _COLLATING)):
            batch = self._collate(samples)
        if not self._checked:
            self._draws, self._checked = watch.drew, True
        return batch


class _Watch:
    """Seeds the generators and, while it is active, notes whether anything draws from them."""

    def __init__(self, *, active: bool) -> None:
        self.active = active
        self.drew = False

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        seed_host(seed)
        before = _Generators() if self.active else None
        yield
        self.drew = self.drew or (before is not None and not before.unchanged())


def as_collated(batch: Any) -> Any:
    """The collate function of a loader whose data set gives whole batches."""
    return batch


def _read(dataset: Any, indices: Sequence[int]) -> Any:
    """Samples of a data set; an error tells which of them it came from."""
    whole = getattr(dataset, "__getitems__", None)
    if whole is not None:
        return whole(indices)
    samples = []
    for index in indices:
        try:
            samples.append(dataset[index])
        except Exception as error:
            error.add_note(f"Raised by the data set's sample {index}.")
            raise
    return samples


class _Generators:
    """States of the three global generators."""

    def __init__(self) -> None:
        self.python = random.getstate()
        self.numpy: Any = np.random.get_state()
        self.torch: Tensor = torch.default_generator.get_state()

    def unchanged(self) -> bool:
        """Nothing has been drawn since."""
        now = _Generators()
        return (
            self.numpy[2:] == now.numpy[2:]
            and self.python == now.python
            and torch.equal(self.torch, now.torch)
            and np.array_equal(self.numpy[1], now.numpy[1])
        )

    def restore(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.default_generator.set_state(self.torch)
