"""Stop when a loss, or another value, is no longer a number."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import torch

from tt_loop.callbacks._monitor import Monitor
from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopValueError
from tt_loop.training.flags import LateFlags

__all__ = ["TerminateOnNaN"]

_log = logging.getLogger(__name__)


class TerminateOnNaN(Callback):
    """End training when a monitored value is NaN or infinite.

    The training loss, all of them if there are several, is looked at after each batch. What a look
    finds is read two looks later, or at the epoch's end, so that an accelerator need not be waited
    for: training ends so much later. Any other value is looked at when it has been measured.

    The weights are then those that a bad loss has spoilt. ``TrainLoop(nan_policy=...)`` leaves the
    bad step out.

    Args:
        monitor: ``'loss'``, or a name in the history.
        every: Look at the loss of every so many batches.

    Raises:
        LoopValueError: When ``every`` is below 1; at an epoch's end, when the history does not have
            the monitored name.

    Example:
        >>> TerminateOnNaN("val_loss").monitor
        'val_loss'
    """

    may_change_weights = False

    def __init__(self, monitor: str = "loss", *, every: int = 1) -> None:
        super().__init__("Terminate on NaN", execution_order=98)
        if every < 1:
            msg = f"every must be at least 1, got {every}."
            raise LoopValueError(msg)
        self.monitor = monitor
        self.every = every
        self._of_batches = monitor == "loss"
        self._are_finite = LateFlags()
        self._values = Monitor(monitor, "TerminateOnNaN")
        self._ended = False

    def on_train_begin(self) -> None:
        """What was measured before does not count."""
        self._ended = False
        self._are_finite.clear()
        self._values.pass_over(self.train_loop_obj)

    def on_batch_end(self) -> None:
        """Look at the batch's loss."""
        loop = self.train_loop_obj
        if not self._of_batches or (loop.total_iteration_idx + 1) % self.every:
            return
        loss = loop.last_loss
        if isinstance(loss, dict):
            finite = torch.stack([each.isfinite() for each in loss.values()]).all()
        else:
            assert loss is not None  # noqa: S101  # a batch has had one
            finite = loss.isfinite()
        self._are_finite.add(finite, (loop.total_iteration_idx, loop.iteration))
        self._judge(self._are_finite.read())

    def _judge(self, looks: Iterable[tuple[bool, tuple[int, int]]]) -> None:
        for finite, (step, batch) in looks:
            if not finite:
                epoch = self.train_loop_obj.epoch
                self._end(f"the loss of step {step} (batch {batch} of epoch {epoch})")

    def on_epoch_end(self) -> None:
        """Look at what was measured, and read what is still on its way."""
        if self._of_batches:
            self._judge(self._are_finite.read(behind=0))
            return
        seen = self._values.seen
        if self._values.new_value(self.train_loop_obj) is not None:
            new = self.train_loop_obj.train_history[self.monitor][seen:]
            if not all(math.isfinite(value) for value in new):
                self._end(f"{self.monitor} of epoch {self.train_loop_obj.epoch}")

    def on_validation_inside_epoch(self) -> None:
        """Look at the value, if it was measured."""
        if not self._of_batches and self.monitor in self.train_loop_obj.train_history:
            self.on_epoch_end()

    def _end(self, what: str) -> None:
        self.train_loop_obj.early_stop = True
        if not self._ended:
            newest = self.train_loop_obj.newest_finite_loss()
            text = "%s is not finite, the newest finite loss was %g: training ends"
            _log.error(text, what, newest)
        self._ended = True
