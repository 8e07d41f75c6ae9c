"""Learning-rate schedulers as callbacks: any scheduler of torch, and the commonest by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    LambdaLR,
    LRScheduler,
    MultiStepLR,
    ReduceLROnPlateau,
    StepLR,
)

from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopStateError, LoopTypeError, LoopValueError
from tt_loop.protocols import Tree
from tt_loop.schedulers.plain import restore_schedule, schedule_state

__all__ = [
    "AbstractScheduler",
    "GeneralLRScheduler",
    "GeneralLRSchedulerCallback",
    "LambdaLRScheduler",
    "MultiStepLRScheduler",
    "StepLRScheduler",
]

StepOn = Literal["epoch", "update"]


class AbstractScheduler(ABC):
    """Marks the callbacks that set learning rates: `TrainLoop.get_schedulers` finds them by it."""

    @abstractmethod
    def state_dict(self) -> Tree:
        """Where the schedule is."""

    @abstractmethod
    def load_state_dict(self, state: Tree) -> None:
        """Go on from there."""


class GeneralLRSchedulerCallback(AbstractScheduler, Callback):
    """Step a scheduler of `torch.optim.lr_scheduler` after each epoch or each optimizer update.

    The scheduler is made when the callback joins a loop, and goes on in the next ``fit``. An update
    in which the optimizer's step was left out does not count; where that is decided on an
    accelerator, ``step_on="update"`` waits for it.

    Args:
        scheduler_class: A scheduler's class, or any function that makes a scheduler of an
            optimizer, for those that are made of other schedulers.
        optimizer_idx: Number of the optimizer, or the optimizer itself; by default each of the
            loop's optimizers gets a scheduler.
        step_on: What a step of the schedule is.
        **kwargs: Passed to ``scheduler_class`` after the optimizer.

    Raises:
        LoopTypeError: When ``scheduler_class`` cannot be called; at registration, when it does not
            make a scheduler.
        LoopValueError: For another ``step_on``; at registration, when the loop has no such
            optimizer.

    Attributes:
        schedulers: One torch scheduler per optimizer; empty before they are made.

    Example:
        >>> from torch.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
        >>> def two_stages(optimizer):
        ...     stages = [ConstantLR(optimizer, 0.1), ExponentialLR(optimizer, 0.9)]
        ...     return SequentialLR(optimizer, stages, milestones=[3])
        >>> scheduler = GeneralLRSchedulerCallback(two_stages)
    """

    may_change_weights = False

    def __init__(
        self,
        scheduler_class: Callable[..., LRScheduler],
        optimizer_idx: int | Optimizer | None = None,
        *,
        step_on: StepOn = "epoch",
        **kwargs: Any,
    ) -> None:
        super().__init__("Learning-rate scheduler")
        if not callable(scheduler_class):
            msg = (
                "scheduler_class must be a scheduler's class or a function that makes one of an "
                f"optimizer, got a {type(scheduler_class).__name__}."
            )
            raise LoopTypeError(msg)
        if step_on not in ("epoch", "update"):
            msg = f"step_on must be 'epoch' or 'update', got {step_on!r}."
            raise LoopValueError(msg)
        self.scheduler_class = scheduler_class
        self.optimizer_idx = optimizer_idx
        self.kwargs = kwargs
        self.steps_on_epoch, self.steps_on_update = step_on == "epoch", step_on == "update"
        self.schedulers: list[LRScheduler] = []
        self._numbers: list[int] = []
        self._pending: Tree = {}

    @property
    def last_lr(self) -> list[list[float]]:
        """The newest learning rates by scheduler and parameter group."""
        return [[float(rate) for rate in found.get_last_lr()] for found in self.schedulers]

    def on_train_loop_registration(self) -> None:
        """Make the schedulers; they set the first learning rates."""
        self._make()

    def on_train_begin(self) -> None:
        """Make them here, if this process has none yet."""
        if not self.schedulers:
            self._make()

    def _make(self) -> None:
        optimizers = self.train_loop_obj.optimizers
        self._numbers = _chosen(optimizers, self.optimizer_idx)
        self.schedulers = [self._scheduler_of(optimizers[number]) for number in self._numbers]
        if self._pending:
            self._restore(self._pending)
            self._pending = {}

    def _scheduler_of(self, optimizer: Optimizer) -> LRScheduler:
        made = self.scheduler_class(optimizer, **self._arguments(optimizer))
        if not isinstance(made, LRScheduler) or made.optimizer is not optimizer:
            msg = (
                "scheduler_class must make a torch.optim.lr_scheduler.LRScheduler of the optimizer "
                f"it is given, got {type(made).__name__}."
            )
            raise LoopTypeError(msg)
        return self._accepted(made)

    def _arguments(self, optimizer: Optimizer) -> dict[str, Any]:  # noqa: ARG002  # a subclass looks at it
        return self.kwargs

    def _accepted(self, made: LRScheduler) -> LRScheduler:
        if isinstance(made, ReduceLROnPlateau):
            msg = (
                "ReduceLROnPlateau steps on a measured value: use ReduceLROnPlateauScheduler (the "
                "validation loss) or ReduceLROnPlateauMetricScheduler."
            )
            raise LoopTypeError(msg)
        return made

    def on_epoch_end(self) -> None:
        """Step, if epochs are counted."""
        if self.steps_on_epoch:
            for scheduler in self.schedulers:
                scheduler.step()

    def on_after_optimizer_step(self) -> None:
        """Step, if updates are counted and this one was made."""
        if self.steps_on_update:
            skipped = self.train_loop_obj.skipped
            for number, scheduler in zip(self._numbers, self.schedulers, strict=True):
                if not skipped(number):
                    scheduler.step()

    def state_dict(self) -> Tree:
        """Each scheduler's state and the numbers that it set in its optimizer."""
        if not self.schedulers:
            return self._pending
        return {"schedules": [schedule_state(scheduler) for scheduler in self.schedulers]}

    def load_state_dict(self, state: Tree) -> None:
        """Go on with the schedule; before the schedulers are made, it waits for them.

        Raises:
            LoopStateError: When the state is that of other schedulers.
        """
        if self.schedulers:
            self._restore(state)
        else:
            self._pending = state

    def _restore(self, state: Tree) -> None:
        saved = state["schedules"]
        if len(saved) != len(self.schedulers):
            msg = (
                "A scheduler's state must be of as many optimizers as it has; the saved one has "
                f"{len(saved)}, this one {len(self.schedulers)}."
            )
            raise LoopStateError(msg)
        for scheduler, schedule in zip(self.schedulers, saved, strict=True):
            restore_schedule(scheduler, schedule)

    def __getstate__(self) -> dict[str, Any]:
        # A scheduler watches its optimizer's step by a function that cannot be sent to a process:
        # there it is made anew and restored.
        return {**self.__dict__, "schedulers": [], "_pending": self.state_dict()}


GeneralLRScheduler = GeneralLRSchedulerCallback
"""AIToolbox's earlier name for `GeneralLRSchedulerCallback`."""


class LambdaLRScheduler(GeneralLRSchedulerCallback):
    """Multiply the initial learning rate by a function of the number of steps.

    Args:
        lr_lambda: The function, or a list of one for each parameter group.
        execute_epoch_end: An epoch is a step.
        execute_batch_end: An optimizer update is a step.
        step_on: Replaces these two.
        **kwargs: ``optimizer_idx``, and what `torch.optim.lr_scheduler.LambdaLR` takes.

    Raises:
        LoopValueError: When nothing is a step.
    """

    def __init__(
        self,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        execute_epoch_end: bool = True,
        execute_batch_end: bool = False,
        *,
        step_on: StepOn | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(LambdaLR, step_on=step_on or "epoch", lr_lambda=lr_lambda, **kwargs)
        if step_on is None:
            self.steps_on_epoch, self.steps_on_update = execute_epoch_end, execute_batch_end
        if not (self.steps_on_epoch or self.steps_on_update):
            msg = "A schedule needs execute_epoch_end or execute_batch_end, got neither."
            raise LoopValueError(msg)


class StepLRScheduler(GeneralLRSchedulerCallback):
    """Multiply the learning rate by ``gamma`` after every ``step_size`` steps.

    Args:
        step_size: Number of steps, by default epochs.
        **kwargs: ``optimizer_idx``, ``step_on``, and what `torch.optim.lr_scheduler.StepLR` takes.
    """

    def __init__(self, step_size: int, **kwargs: Any) -> None:
        super().__init__(StepLR, step_size=step_size, **kwargs)


class MultiStepLRScheduler(GeneralLRSchedulerCallback):
    """Multiply the learning rate by ``gamma`` after these numbers of steps.

    Args:
        milestones_list: Numbers of steps, by default epochs.
        **kwargs: ``optimizer_idx``, ``step_on``, and what `torch.optim.lr_scheduler.MultiStepLR`
            takes.
    """

    def __init__(self, milestones_list: Sequence[int], **kwargs: Any) -> None:
        super().__init__(MultiStepLR, milestones=milestones_list, **kwargs)


def _chosen(optimizers: Sequence[Optimizer], which: int | Optimizer | None) -> list[int]:
    """Numbers of the optimizers meant."""
    numbers = range(len(optimizers))
    if which is None:
        return list(numbers)
    found = [number for number in numbers if number == which or optimizers[number] is which]
    if not found:
        got = which if isinstance(which, int) else f"another {type(which).__name__}"
        msg = (
            f"optimizer_idx must be a number below {len(optimizers)} or one of the loop's "
            f"{len(optimizers)} optimizers, got {got}."
        )
        raise LoopValueError(msg)
    return found
