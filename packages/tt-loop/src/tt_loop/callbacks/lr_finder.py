"""Find a learning rate: train with rising rates and look how the loss takes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from tt_loop.callbacks._untouched import check_can_be_tried, trial, untouched
from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopStateError, LoopValueError, MissingPackageError

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["LRFinder", "LRFinderResult"]

_ENDS = (0.1, 0.05)  # shares of the curve that count for no suggestion


@dataclass(frozen=True)
class LRFinderResult:
    """Losses by learning rate.

    Attributes:
        lrs: The learning rates that were tried, ascending.
        losses: The loss of one batch with each, before the step with that rate.
        smoothed: The losses, averaged exponentially.
        diverged: The loss became too large, or not finite, before the last rate.
    """

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]
    diverged: bool = False

    def suggestion(self) -> float:
        """The learning rate at which the smoothed loss falls most steeply.

        The slope is ``d loss / d log(lr)`` by central differences (`numpy.gradient`). The first
        tenth and the last twentieth of the curve do not count: smoothing has few values there, and
        divergence begins. A range test as in Smith 2017, "Cyclical Learning Rates for Training
        Neural Networks", section 3.3, where the rates are read off the curve by eye; the
        steepest point is well below the rate of the smallest loss.

        Raises:
            LoopStateError: When the loss falls nowhere.
        """
        first, last = (round(len(self.lrs) * share) for share in _ENDS)
        slopes = np.gradient(self.smoothed, np.log(self.lrs)) if len(self.lrs) > 1 else np.zeros(1)
        counted = slopes[first : len(slopes) - last]
        if not len(counted) or not counted.min() < 0:
            msg = (
                "A suggestion needs a loss that falls somewhere between "
                f"lr={self.lrs[0]:.2g} and {self.lrs[-1]:.2g}, but it does not: begin with a "
                "smaller min_lr or try more steps."
            )
            raise LoopStateError(msg)
        return self.lrs[first + int(counted.argmin())]

    def plot(self, ax: Any = None) -> Any:
        """Draw the curve into matplotlib axes, by default new ones, and return them.

        Raises:
            MissingPackageError: Without axes, when matplotlib is not installed.
        """
        ax = _new_axes() if ax is None else ax
        ax.plot(self.lrs, self.losses, alpha=0.3, label="loss")
        ax.plot(self.lrs, self.smoothed, label="smoothed loss")
        ax.set_xscale("log")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("training loss")
        ax.legend()
        return ax


class LRFinder:
    """Train for some steps with a rising learning rate and record the loss (a range test).

    A method beside training, not a callback: it trains the loop's model on its training loader,
    with its device, precision and gradient clipping, one batch per step, and puts everything back
    afterwards bit for bit: weights, optimizer, random states. History, counters and callbacks of
    the loop are not involved. Parameter groups with different learning rates keep their ratio; the
    largest gets the rate that is tried. Each step reads its loss, so an accelerator is waited for.

    Args:
        min_lr: The first learning rate.
        max_lr: The last.
        num_steps: How many are tried.
        mode: Equal factors (``'exponential'``) or equal steps (``'linear'``) between them.
        stop_factor: Stop when the smoothed loss is so many times the smallest one; ``None``
            stops only at a loss that is not finite.
        smoothing: Share of the old average in the smoothed loss, corrected for its beginning;
            0 smooths nothing.

    Raises:
        LoopValueError: For a setting that cannot work.

    Example:
        >>> from torch import nn
        >>> from tt_loop.api import TrainLoop
        >>> model, inputs = nn.Linear(2, 1), torch.arange(8.0).reshape(4, 2)
        >>> batches = [[inputs, inputs.sum(1, keepdim=True)]] * 3
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = TrainLoop(model, batches, None, None, optimizer, nn.MSELoss(), progress=False)
        >>> result = LRFinder(min_lr=1e-6, max_lr=1, num_steps=50).run(loop)
        >>> result.diverged, 1e-6 < result.suggestion() < 0.1
        (True, True)
    """

    def __init__(
        self,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        num_steps: int = 100,
        *,
        mode: Literal["exponential", "linear"] = "exponential",
        stop_factor: float | None = 4.0,
        smoothing: float = 0.9,
    ) -> None:
        if not 0 < min_lr < max_lr < math.inf:
            msg = f"min_lr must be above 0 and below max_lr, got {min_lr} and {max_lr}."
            raise LoopValueError(msg)
        if num_steps < 2:
            msg = f"num_steps must be at least 2, got {num_steps}."
            raise LoopValueError(msg)
        if mode not in ("exponential", "linear"):
            msg = f"mode must be 'exponential' or 'linear', got {mode!r}."
            raise LoopValueError(msg)
        if stop_factor is not None and not stop_factor > 1:
            msg = f"stop_factor must be above 1 or None, got {stop_factor}."
            raise LoopValueError(msg)
        if not 0 <= smoothing < 1:
            msg = f"smoothing must be at least 0 and below 1, got {smoothing}."
            raise LoopValueError(msg)
        spaced = np.geomspace if mode == "exponential" else np.linspace
        self.lrs: list[float] = spaced(min_lr, max_lr, num_steps).tolist()
        self.stop_factor = stop_factor
        self.smoothing = smoothing

    def run(self, loop: TrainLoop) -> LRFinderResult:
        """Try the learning rates on a loop, which is afterwards as it was.

        Raises:
            LoopStateError: For a loop that trains in several processes.
            LoopValueError: For a loop without training data or optimizer.
        """
        check_can_be_tried(loop, "LRFinder")
        sweep = _Sweep(self.lrs, self.stop_factor, self.smoothing)
        with untouched(loop):
            trial(loop, loop.train_loader, len(self.lrs), [sweep])
        return sweep.result()


class _Sweep(Callback):
    """Sets the next learning rate before each batch and reads the loss after it."""

    def __init__(self, lrs: list[float], stop_factor: float | None, smoothing: float) -> None:
        super().__init__("Learning rate sweep")
        self.lrs, self.stop_factor, self.smoothing = lrs, stop_factor, smoothing
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.average = 0.0
        self.diverged = False

    def on_train_begin(self) -> None:
        self.groups = _groups_with_ratios(self.train_loop_obj.optimizers)

    def on_batch_begin(self) -> None:
        lr = self.lrs[len(self.losses)]
        for group, ratio in self.groups:
            _set_lr(group, lr * ratio)

    def on_batch_end(self) -> None:
        loss = _number(self.train_loop_obj.last_loss)
        if not math.isfinite(loss):
            self._diverge()
            return
        count = len(self.losses) + 1
        self.average = self.smoothing * self.average + (1 - self.smoothing) * loss
        self.losses.append(loss)
        self.smoothed.append(self.average / (1 - self.smoothing**count))
        limit = self.stop_factor
        if limit is not None and self.smoothed[-1] > limit * min(self.smoothed):
            self._diverge()

    def _diverge(self) -> None:
        self.diverged = self.train_loop_obj.early_stop = True

    def result(self) -> LRFinderResult:
        if not self.losses:
            msg = (
                "LRFinder needs a loss that is finite at the smallest learning rate, but the first "
                "is not: check the model and the data."
            )
            raise LoopStateError(msg)
        lrs = self.lrs[: len(self.losses)]
        return LRFinderResult(lrs, self.losses, self.smoothed, self.diverged)


def _groups_with_ratios(optimizers: Sequence[Optimizer]) -> list[tuple[dict[str, Any], float]]:
    """Parameter groups, each with its learning rate as a share of the largest."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    largest = max(float(group["lr"]) for group in groups)
    return [(group, float(group["lr"]) / largest if largest else 1.0) for group in groups]


def _set_lr(group: dict[str, Any], lr: float) -> None:
    old = group["lr"]
    group["lr"] = torch.full_like(old, lr) if isinstance(old, Tensor) else lr


def _number(loss: Any) -> float:
    """The loss of a batch; several losses are added up."""
    return sum(float(one) for one in loss.values()) if isinstance(loss, dict) else float(loss)


def _new_axes() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        msg = "Plotting needs matplotlib: pip install 'tt-loop[plot]', or pass axes of your own."
        raise MissingPackageError(msg) from error
    return plt.subplots()[1]
