"""Stop when a metric is worse than it may be."""

from __future__ import annotations

from tt_loop.callbacks._monitor import Monitor, begins_anew
from tt_loop.callbacks.base import Callback
from tt_loop.direction import Mode, checked_mode, direction_of
from tt_loop.errors import LoopValueError
from tt_loop.protocols import Tree

__all__ = ["ThresholdEarlyStopping"]


class ThresholdEarlyStopping(Callback):
    """End training when a metric has been worse than a threshold for some evaluations in a row.

    A value that is no number (NaN) counts as worse. An epoch in which the metric was not measured
    does not count.

    Args:
        monitor: Name of the metric in the history.
        threshold: The worst value that is good enough.
        patience: How many worse values in a row are borne.
        mode: Whether ``'min'`` or ``'max'`` is better; by default `direction_of` the name.

    Example:
        >>> ThresholdEarlyStopping("val_loss", threshold=2.0, patience=1).mode
        'min'
    """

    may_change_weights = False

    def __init__(
        self, monitor: str, threshold: float, patience: int = 0, *, mode: Mode | None = None
    ) -> None:
        super().__init__("Threshold early stopping", execution_order=99)
        if patience < 0 or threshold != threshold:  # NaN alone differs from itself
            msg = (
                "The threshold must be a number and patience not negative, got "
                f"{threshold} and {patience}."
            )
            raise LoopValueError(msg)
        self.monitor = monitor
        self.threshold = threshold
        self.patience = patience
        self.mode: Mode = checked_mode(mode) or direction_of(monitor)
        self.waited = 0
        self._values = Monitor(monitor, "ThresholdEarlyStopping")

    def on_train_begin(self) -> None:
        """Begin to wait anew, unless the fit goes on with a saved one."""
        if begins_anew(self.train_loop_obj):
            self.waited = 0
            self._values.pass_over(self.train_loop_obj)

    def on_epoch_end(self) -> None:
        """Look at the newest value."""
        value = self._values.new_value(self.train_loop_obj)
        if value is None:
            return
        good = value <= self.threshold if self.mode == "min" else value >= self.threshold
        self.waited = 0 if good else self.waited + 1
        if self.waited > self.patience:
            self.train_loop_obj.early_stop = True

    def on_validation_inside_epoch(self) -> None:
        """Look at the newest value, if it was measured."""
        if self.monitor in self.train_loop_obj.train_history:
            self.on_epoch_end()

    def state_dict(self) -> Tree:
        """How many worse values have come in a row, and how many values were looked at."""
        return {"waited": self.waited, "seen": self._values.seen}

    def load_state_dict(self, state: Tree) -> None:
        """Go on waiting."""
        self.waited, self._values.seen = state["waited"], state["seen"]
