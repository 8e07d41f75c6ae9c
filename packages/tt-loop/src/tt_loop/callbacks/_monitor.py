"""A metric that a callback watches: each of its values is looked at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tt_loop.errors import LoopValueError

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["Monitor", "begins_anew"]


def begins_anew(loop: TrainLoop) -> bool:
    """Whether a fit is at its own beginning, rather than in the middle of a saved one."""
    return loop.fit_began["total_iteration_idx"] == loop.total_iteration_idx


class Monitor:
    """Tells the newest value of a metric, unless it was told before.

    Args:
        metric: Name of the metric in the history.
        owner: Name of the watching callback, for errors.

    Attributes:
        seen: How many values the history had when it was last looked at.
    """

    def __init__(self, metric: str, owner: str) -> None:
        self.metric = metric
        self.owner = owner
        self.seen = 0

    def pass_over(self, loop: TrainLoop) -> None:
        """Take what the history has by now for told."""
        if self.metric in loop.train_history:
            self.seen = len(loop.train_history[self.metric])

    def new_value(self, loop: TrainLoop) -> float | None:
        """The newest value; ``None`` when none has come since the last call.

        Raises:
            LoopValueError: When the history does not have the metric and nothing that is evaluated
                only every so many epochs may bring it yet.
        """
        history = loop.train_history
        if self.metric not in history:
            self._check_will_come(loop)
            return None
        values = history[self.metric]
        if len(values) == self.seen:
            return None
        self.seen = len(values)
        return float(values[-1])

    def _check_will_come(self, loop: TrainLoop) -> None:
        if loop.callbacks_handler.may_measure_later():
            return
        msg = (
            f"{self.owner} monitors {self.metric!r}, which the history does not have after epoch "
            f"{loop.epoch}; it has {sorted(loop.train_history)}. Name one of these, or add the "
            "evaluation that measures it."
        )
        raise LoopValueError(msg)
