"""Stop when a metric has stopped getting better."""

from __future__ import annotations

import math

from tt_loop.callbacks._monitor import Monitor, begins_anew
from tt_loop.callbacks.base import Callback
from tt_loop.direction import Mode, checked_mode, direction_of
from tt_loop.errors import LoopValueError
from tt_loop.protocols import Tree

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """End training when a metric has not become better for some evaluations.

    An epoch in which the metric was not measured does not count.

    Args:
        monitor: Name of the metric in the history.
        min_delta: How much better a value must be to count as better.
        patience: How many evaluations without a better value are borne.
        mode: Whether ``'min'`` or ``'max'`` is better; by default `direction_of` the name.

    Example:
        >>> EarlyStopping("val_Accuracy", patience=3, mode="max").mode
        'max'
    """

    may_change_weights = False

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        *,
        mode: Mode | None = None,
    ) -> None:
        super().__init__("Early stopping", execution_order=99)
        if min_delta < 0 or patience < 0:
            msg = f"min_delta and patience must not be negative, got {min_delta} and {patience}."
            raise LoopValueError(msg)
        self.monitor = monitor
        self.min_delta = min_delta
        self.patience = patience
        self.mode: Mode = checked_mode(mode) or direction_of(monitor)
        self.best = math.inf if self.mode == "min" else -math.inf
        self.waited = 0
        self._values = Monitor(monitor, "EarlyStopping")

    def on_train_loop_registration(self) -> None:
        """What was measured before does not count."""
        self._values.pass_over(self.train_loop_obj)

    def on_train_begin(self) -> None:
        """Begin to wait anew, unless the fit goes on with a saved one."""
        if begins_anew(self.train_loop_obj):
            self.waited = 0

    def on_epoch_end(self) -> None:
        """Look at the newest value."""
        value = self._values.new_value(self.train_loop_obj)
        if value is not None:
            self._judge(value)

    def on_validation_inside_epoch(self) -> None:
        """Look at the newest value, if it was measured."""
        if self.monitor in self.train_loop_obj.train_history:
            self.on_epoch_end()

    def _judge(self, value: float) -> None:
        gain = self.best - value if self.mode == "min" else value - self.best
        if gain > self.min_delta:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.train_loop_obj.early_stop = True

    def state_dict(self) -> Tree:
        """The best value and how long it has been waited for a better one."""
        return {"best": self.best, "waited": self.waited, "seen": self._values.seen}

    def load_state_dict(self, state: Tree) -> None:
        """Go on waiting."""
        self.best, self.waited = state["best"], state["waited"]
        self._values.seen = state["seen"]
