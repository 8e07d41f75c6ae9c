"""Find the largest batch size that memory holds."""

from __future__ import annotations

import copy
import gc
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import BatchSampler, DataLoader

from tt_loop.callbacks._untouched import check_can_be_tried, trial, untouched
from tt_loop.data.tensor_loader import TensorLoader
from tt_loop.data.torch_loader import like
from tt_loop.errors import LoopTypeError, LoopValueError

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["BatchSizeFinder"]

_log = logging.getLogger(__name__)

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class BatchSizeFinder:
    """Double the batch size of the training loader until memory runs out.

    A method beside training, not a callback: each size trains the loop's model for some steps, with
    its device, precision and optimizer, and everything is put back afterwards bit for bit, as
    `LRFinder` does. Copies for that are kept on the CPU, so a size that fits here fits in ``fit``;
    leave some room all the same where samples differ in size, or where evaluation keeps more.

    Args:
        start_size: The first size; by default the loader's. If it does not fit, it is halved.
        max_size: No larger one is tried, nor one above the number of samples.
        steps_per_trial: Optimizer steps with each size: the second shows what the optimizer's
            state takes.
        bisect: Look between the last size that fits and the first that does not; otherwise the
            answer is ``start_size`` times a power of two.

    Raises:
        LoopValueError: For a setting that cannot work.

    Example:
        >>> from torch import nn
        >>> from torch.utils.data import TensorDataset
        >>> from tt_loop.api import TrainLoop
        >>> model, data = nn.Linear(2, 1), TensorDataset(torch.ones(100, 2), torch.ones(100, 1))
        >>> loader = DataLoader(data, batch_size=4, shuffle=True)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = TrainLoop(model, loader, None, None, optimizer, nn.MSELoss(), progress=False)
        >>> BatchSizeFinder(max_size=64).run(loop, apply=True), loop.train_loader.batch_size
        (64, 64)
    """

    def __init__(
        self,
        start_size: int | None = None,
        *,
        max_size: int = 65536,
        steps_per_trial: int = 3,
        bisect: bool = True,
    ) -> None:
        if min(max_size, steps_per_trial, 1 if start_size is None else start_size) < 1:
            msg = (
                "start_size, max_size and steps_per_trial must be at least 1, got "
                f"{start_size}, {max_size} and {steps_per_trial}."
            )
            raise LoopValueError(msg)
        self.start_size = start_size
        self.max_size = max_size
        self.steps_per_trial = steps_per_trial
        self.bisect = bisect

    def run(self, loop: TrainLoop, *, apply: bool = False) -> int:
        """Find the size for a loop, which is afterwards as it was.

        Args:
            loop: The loop whose training loader is tried.
            apply: Give the loop a training loader of the size that was found.

        Raises:
            LoopTypeError: For a training loader whose batch size cannot be changed.
            LoopStateError: For a loop that trains in several processes.
            LoopValueError: For a loop without training data or optimizer.
            Exception: The memory error, when not even one sample fits.
        """
        check_can_be_tried(loop, "BatchSizeFinder")
        loader = loop.train_loader
        _check_resizable(loader)
        limit = min(self.max_size, _samples(loader))
        start = min(self.start_size or loader.batch_size, limit)
        with untouched(loop):
            size = _Search(loop, self.steps_per_trial).largest(start, limit, bisect=self.bisect)
        if apply:
            loop.train_loader = _resized(loader, size)
        return size


class _Search:
    """Tries sizes on one loop."""

    def __init__(self, loop: TrainLoop, steps: int) -> None:
        self.loop, self.steps = loop, steps
        self.loader = loop.train_loader

    def largest(self, start: int, limit: int, *, bisect: bool) -> int:
        """The largest size that fits, and is no larger than the limit."""
        good, bad = 0, limit + 1
        size = start
        while good < size < bad:
            if self.fits(size):
                good, size = size, min(2 * size, limit)
            else:
                bad, size = size, size // 2
        while bisect and bad - good > 1:
            size = (good + bad) // 2
            good, bad = (size, bad) if self.fits(size) else (good, size)
        return good

    def fits(self, size: int) -> bool:
        """Whether some steps with this size get by with the memory there is."""
        try:
            trial(self.loop, _resized(self.loader, size), self.steps, [])
            fitting = True
        except Exception as error:
            if not _is_out_of_memory(error) or size == 1:
                raise
            fitting = False
        if not fitting:  # here the error is gone, and with it the tensors in its frames
            _free(self.loop)
        _log.info("batch size %d %s", size, "fits" if fitting else "does not fit")
        return fitting


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def _free(loop: TrainLoop) -> None:
    """Give back what a failed trial has left: gradients, cycles and the allocator's cache."""
    for optimizer in loop.optimizers:
        optimizer.zero_grad()
    gc.collect()
    if loop.device.type != "cpu":
        torch.accelerator.empty_cache()


def _check_resizable(loader: Any) -> None:
    plain = (
        type(loader) is DataLoader
        and loader.batch_size is not None
        and type(loader.batch_sampler) is BatchSampler
    )
    if not (plain or type(loader) is TensorLoader):
        msg = (
            "BatchSizeFinder needs a torch.utils.data.DataLoader with a batch_size, or a "
            f"TensorLoader, as training loader, got {type(loader).__name__}: batches that are made "
            "elsewhere have no size to change."
        )
        raise LoopTypeError(msg)


def _samples(loader: Any) -> int:
    return loader.samples if isinstance(loader, TensorLoader) else len(loader.sampler)


def _resized(loader: Any, size: int) -> Any:
    """The same loader with another batch size."""
    if isinstance(loader, TensorLoader):
        resized = copy.copy(loader)
        resized.batch_size = size
        return resized
    return like(
        loader,
        loader.dataset,
        batch_size=size,
        sampler=loader.sampler,
        drop_last=loader.drop_last,
    )
