"""Learning rates that warm up and decay, update by update."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from tt_loop.errors import LoopValueError
from tt_loop.protocols import Tree
from tt_loop.schedulers.basic import LambdaLRScheduler
from tt_loop.schedulers.curves import (
    Curve,
    check_steps,
    constant_with_warmup,
    cosine_with_warmup,
    hard_restarts_cosine_with_warmup,
    linear_with_warmup,
)
from tt_loop.training.multi_loss_optim import MultiOptimizer

__all__ = [
    "ConstantWithWarmupScheduler",
    "CosineWithWarmupScheduler",
    "HardRestartsCosineWithWarmupScheduler",
    "LinearWithWarmupScheduler",
    "WarmupScheduler",
]

_log = logging.getLogger(__name__)


class WarmupScheduler(LambdaLRScheduler):
    """Base of the schedules that end: a warm-up and a decay over a number of optimizer updates.

    Args:
        num_warmup_steps: Updates of the warm-up.
        num_training_steps: Updates of the whole schedule; by default those of the fit in which it
            begins. They are counted after accumulation and do not grow with the processes.
        last_epoch: As in `torch.optim.lr_scheduler.LambdaLR`.
        **kwargs: ``optimizer_idx``; ``step_on="epoch"`` counts epochs instead of updates.

    Raises:
        LoopValueError: When the warm-up is longer than the schedule or a number is negative.

    Attributes:
        num_training_steps: ``None`` until the fit's number of updates is known.
    """

    def __init__(
        self,
        num_warmup_steps: int,
        num_training_steps: int | None = None,
        last_epoch: int = -1,
        **kwargs: Any,
    ) -> None:
        check_steps(num_warmup_steps, num_training_steps)
        options = {"step_on": "update", **kwargs}
        super().__init__(constant_with_warmup(num_warmup_steps), last_epoch=last_epoch, **options)
        self.num_warmup_steps = num_warmup_steps
        self.num_training_steps = num_training_steps
        self._ends_with_fit = num_training_steps is None
        if self._ends_with_fit and not self.steps_on_update:
            msg = "num_training_steps counts epochs with step_on='epoch': pass their number."
            raise LoopValueError(msg)

    @abstractmethod
    def curve(self, num_training_steps: int, initial_lr: float) -> Curve:
        """The factor of the learning rate by the number of updates."""

    @property
    def shortest(self) -> int:
        """The least number of updates that the schedule needs."""
        return self.num_warmup_steps

    def _arguments(self, optimizer: Optimizer) -> dict[str, Any]:
        curve = self.curve(self._steps_of(optimizer), _initial_lr(optimizer))
        return {**self.kwargs, "lr_lambda": curve}

    def _steps_of(self, optimizer: Optimizer) -> int:
        """Updates of one optimizer's schedule."""
        steps, loop = self.num_training_steps, self.train_loop_obj
        assert steps is not None  # noqa: S101  # `_make` has seen to it
        if not self._ends_with_fit:
            return steps
        if isinstance(loop.optimizer, MultiOptimizer):  # one may step in every n-th update only
            every = zip(loop.optimizer, loop.optimizer.every, strict=True)
            steps //= next(often for known, often in every if known is optimizer)
        return max(steps, self.shortest) if loop.settings.dry_run else steps

    def on_train_loop_registration(self) -> None:
        """Make the schedulers, unless the number of updates has to be waited for."""
        self.schedulers = []
        if self._ends_with_fit:
            self.num_training_steps = None
        else:
            super().on_train_loop_registration()

    def on_train_begin(self) -> None:
        """Make the schedulers that have waited; say so when the schedule is over."""
        super().on_train_begin()
        over = all(found.last_epoch >= (self.num_training_steps or 0) for found in self.schedulers)
        if over and self.train_loop_obj.is_main_process():
            _log.warning(
                "the schedule of %s steps is over, and training goes on at the learning rates %s; "
                "num_training_steps must count the steps of all fits",
                self.num_training_steps,
                self.last_lr,
            )

    def on_train_end(self) -> None:
        """Forget the schedule of a dry run: the real fit is longer."""
        if self._ends_with_fit and self.train_loop_obj.settings.dry_run:
            self.on_train_loop_registration()

    def _make(self) -> None:
        if self._ends_with_fit:
            saved = self._pending.get("num_training_steps", self.num_training_steps)
            self.num_training_steps = saved or self.train_loop_obj.get_num_training_steps()
        super()._make()

    def state_dict(self) -> Tree:
        """The schedulers' state and the length of the schedule."""
        state = super().state_dict()
        return {"num_training_steps": self.num_training_steps, **state} if state else {}

    def load_state_dict(self, state: Tree) -> None:
        """Go on with the schedule, which has the saved length unless one was given."""
        registered: Any = self.train_loop_obj
        if self._ends_with_fit and registered is not None:
            self.schedulers, self._pending = [], state
            self._make()
        else:
            super().load_state_dict(state)


class LinearWithWarmupScheduler(WarmupScheduler):
    """Warm up, then fall in a straight line to 0; the arguments are those of `WarmupScheduler`.

    Example:
        >>> scheduler = LinearWithWarmupScheduler(num_warmup_steps=100)
    """

    def curve(self, num_training_steps: int, initial_lr: float) -> Curve:  # noqa: ARG002  # the interface has it
        """As `linear_with_warmup`."""
        return linear_with_warmup(self.num_warmup_steps, num_training_steps)


class CosineWithWarmupScheduler(WarmupScheduler):
    """Warm up, then follow a cosine.

    Args:
        num_warmup_steps: As `WarmupScheduler`.
        num_training_steps: As `WarmupScheduler`.
        num_cycles: Waves of the cosine; a half is one fall.
        last_epoch: As `WarmupScheduler`.
        min_lr: The learning rate at the bottom, of an optimizer's default learning rate.
        min_lr_rate: The same as a factor; at most one of the two.
        **kwargs: As `WarmupScheduler`.
    """

    def __init__(
        self,
        num_warmup_steps: int,
        num_training_steps: int | None = None,
        num_cycles: float = 0.5,
        last_epoch: int = -1,
        *,
        min_lr: float | None = None,
        min_lr_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        if min_lr is not None and min_lr_rate is not None:
            msg = f"Give min_lr or min_lr_rate, got both: {min_lr} and {min_lr_rate}."
            raise LoopValueError(msg)
        super().__init__(num_warmup_steps, num_training_steps, last_epoch, **kwargs)
        self.num_cycles = num_cycles
        self.min_lr = min_lr
        self.min_lr_rate = min_lr_rate

    def curve(self, num_training_steps: int, initial_lr: float) -> Curve:
        """As `cosine_with_warmup`."""
        rate = self.min_lr_rate or 0.0 if self.min_lr is None else self.min_lr / initial_lr
        return cosine_with_warmup(self.num_warmup_steps, num_training_steps, self.num_cycles, rate)


class HardRestartsCosineWithWarmupScheduler(WarmupScheduler):
    """Warm up, then fall ``num_cycles`` times to 0 along a half cosine.

    One cycle is the default. AIToolbox's default of a half, the plain cosine's, would stop the fall
    half-way.
    """

    def __init__(
        self,
        num_warmup_steps: int,
        num_training_steps: int | None = None,
        num_cycles: float = 1,
        last_epoch: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_warmup_steps, num_training_steps, last_epoch, **kwargs)
        self.num_cycles = num_cycles

    def curve(self, num_training_steps: int, initial_lr: float) -> Curve:  # noqa: ARG002  # the interface has it
        """As `hard_restarts_cosine_with_warmup`."""
        return hard_restarts_cosine_with_warmup(
            self.num_warmup_steps, num_training_steps, self.num_cycles
        )


class ConstantWithWarmupScheduler(LambdaLRScheduler):
    """Warm up, then stay at the initial learning rate.

    Args:
        num_warmup_steps: Updates of the warm-up.
        last_epoch: As in `torch.optim.lr_scheduler.LambdaLR`.
        **kwargs: ``optimizer_idx``; ``step_on="epoch"`` counts epochs instead of updates.
    """

    def __init__(self, num_warmup_steps: int, last_epoch: int = -1, **kwargs: Any) -> None:
        curve = constant_with_warmup(num_warmup_steps)
        super().__init__(curve, last_epoch=last_epoch, **{"step_on": "update", **kwargs})


def _initial_lr(optimizer: Optimizer) -> float:
    """The optimizer's default learning rate."""
    rate = optimizer.defaults["lr"]
    if isinstance(rate, Tensor):  # the tensor of a group, which schedulers have written to
        first = optimizer.param_groups[0]
        rate = first.get("initial_lr", first["lr"])
    return float(rate)
