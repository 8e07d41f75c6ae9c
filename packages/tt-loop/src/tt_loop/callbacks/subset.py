"""Try a training job out on a few batches."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from torch.utils.data import RandomSampler, Subset

from tt_loop.callbacks.base import Callback
from tt_loop.data.batches import is_driven
from tt_loop.data.per_process import PerProcess
from tt_loop.data.prefetch import Prefetched
from tt_loop.data.tensor_loader import TensorLoader
from tt_loop.data.torch_loader import kept_generators, like
from tt_loop.errors import LoopValueError
from tt_loop.rng import preserved_rng

__all__ = ["DataSubsetTestRun"]

_SETS = ("train", "validation", "test")

_FIRST, _LAST = -1_000_000, 1_000_000


class DataSubsetTestRun(Callback):
    """Fit on the first few batches of each set, to see quickly whether a job runs through.

    The loop has its own loaders back when the fit ends, also by an exception; they are not read
    where their order is plain: a `DataLoader` with ``batch_size`` and ``shuffle``, or a
    `TensorLoader`, is replaced by one over the first samples of its data set (shuffled if it was),
    so many that each process gets that number of batches. Of any other loader the first batches
    are read and kept in a list.

    ``TrainLoop.fit(dry_run=n)`` reads n batches of every set, without a callback.

    Args:
        num_train_batches: Batches of the training set, at least 1.
        num_val_batches: Batches of the validation set; 0 leaves the set out of the fit, and a
            callback that evaluates on it will not find it.
        num_test_batches: The same of the test set.

    Raises:
        LoopValueError: For numbers below these.
    """

    def __init__(
        self, num_train_batches: int = 1, num_val_batches: int = 0, num_test_batches: int = 0
    ) -> None:
        super().__init__("Data subset test run", execution_order=_FIRST)
        if num_train_batches < 1 or num_val_batches < 0 or num_test_batches < 0:
            msg = (
                "A test run needs at least 1 training batch, and no negative number of others, got "
                f"{num_train_batches}, {num_val_batches} and {num_test_batches}."
            )
            raise LoopValueError(msg)
        self.num_batches = dict(
            zip(_SETS, (num_train_batches, num_val_batches, num_test_batches), strict=True)
        )
        self._originals: dict[str, Any] = {}

    def on_train_loop_registration(self) -> None:
        """Add the part that comes last when this one comes first."""
        self.train_loop_obj.callbacks_handler.register_callbacks([_PutBack(self)])

    def on_train_begin(self) -> None:
        """Replace the loaders."""
        loop = self.train_loop_obj
        for part in _SETS:
            name = f"{part}_loader"
            loader = getattr(loop, name)
            self._originals[name] = loader
            if loader is not None:
                setattr(loop, name, self.subset_data_loader(loader, self.num_batches[part]))

    def subset_data_loader(self, data_loader: Any, num_batches: int) -> Any:
        """The first batches of a loader as a loader; ``None`` for 0 of them."""
        if num_batches == 0:
            return None
        strategy, _ = self.train_loop_obj.ready()
        if _has_plain_order(data_loader):
            samples = num_batches * strategy.comm.world_size * data_loader.batch_size
            return _first_samples(data_loader, samples)
        with preserved_rng(strategy.device), kept_generators(data_loader):
            if isinstance(data_loader, PerProcess):
                return PerProcess([*itertools.islice(data_loader, num_batches)])
            return [*itertools.islice(data_loader, num_batches * strategy.comm.world_size)]

    def put_back(self) -> None:
        """Give the loop its own loaders."""
        for name, loader in self._originals.items():
            setattr(self.train_loop_obj, name, loader)
        self._originals = {}


class _PutBack(Callback):
    """Ends a test run after all other callbacks, which may still evaluate."""

    def __init__(self, test_run: DataSubsetTestRun) -> None:
        super().__init__("Data subset test run: put back", execution_order=_LAST)
        self.test_run = test_run

    def on_train_end(self) -> None:
        self.test_run.put_back()

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002  # whichever it is
        self.test_run.put_back()


def _has_plain_order(loader: Any) -> bool:
    return is_driven(loader) and not isinstance(loader, Prefetched)


def _first_samples(loader: Any, samples: int) -> Any:
    """The loader, with the first samples of its data set only."""
    if isinstance(loader, TensorLoader):
        return _first_rows(loader, samples)
    if samples >= len(loader.dataset):
        return loader
    return like(
        loader,
        Subset(loader.dataset, range(samples)),
        batch_size=loader.batch_size,
        shuffle=isinstance(loader.sampler, RandomSampler),
    )


def _first_rows(loader: TensorLoader, samples: int) -> TensorLoader:
    first = copy.copy(loader)
    first.samples = min(samples, loader.samples)
    rows = (
        torch.arange(loader.samples, device=loader.device) if loader.rows is None else loader.rows
    )
    first.rows = rows[: first.samples]
    return first
