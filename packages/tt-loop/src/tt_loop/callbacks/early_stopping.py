"""Stop when a metric has stopped getting better."""

from __future__ import annotations

import math

from tt_loop.callbacks.base import Callback
from tt_loop.direction import Mode, direction_of
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
        self.mode: Mode = mode or direction_of(monitor)
        self.best = math.inf if self.mode == "min" else -math.inf
        self.waited = 0
        self.seen = 0

    def on_train_begin(self) -> None:
        """Begin to wait anew, unless the fit goes on with a saved one."""
        if self.train_loop_obj.fit_began["epochs_done"] == self.train_loop_obj.epochs_done:
            self.waited = 0

    def on_epoch_end(self) -> None:
        """Look at the newest value."""
        history = self.train_loop_obj.train_history
        if self.monitor not in history:
            self._check_will_come()
            return
        values = history[self.monitor]
        if len(values) == self.seen:
            return
        self.seen = len(values)
        value = float(values[-1])
        gain = self.best - value if self.mode == "min" else value - self.best
        if gain > self.min_delta:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.train_loop_obj.early_stop = True

    def _check_will_come(self) -> None:
        """What is evaluated every n epochs may come yet; otherwise the name is a mistake."""
        loop = self.train_loop_obj
        if loop.callbacks_handler.may_measure_later():
            return
        msg = (
            f"EarlyStopping monitors {self.monitor!r}, which the history does not have after epoch "
            f"{loop.epoch}; it has {sorted(loop.train_history)}. Name one of these, or add the "
            "evaluation that measures it."
        )
        raise LoopValueError(msg)

    def state_dict(self) -> Tree:
        """The best value and how long it has been waited for a better one."""
        return {"best": self.best, "waited": self.waited, "seen": self.seen}

    def load_state_dict(self, state: Tree) -> None:
        """Go on waiting."""
        self.best, self.waited, self.seen = state["best"], state["waited"], state["seen"]
