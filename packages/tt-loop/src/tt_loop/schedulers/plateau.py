"""Lower the learning rate when a measured value has stopped getting better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from tt_loop.direction import direction_of
from tt_loop.errors import LoopValueError
from tt_loop.protocols import Tree
from tt_loop.schedulers.basic import GeneralLRSchedulerCallback

__all__ = ["ReduceLROnPlateauMetricScheduler", "ReduceLROnPlateauScheduler"]

_AFTER_WHAT_MEASURES = 90


class ReduceLROnPlateauMetricScheduler(GeneralLRSchedulerCallback):
    """Lower the learning rate when a metric of the history has stopped getting better.

    An epoch in which the metric was not measured does not count.

    Args:
        metric_name: Name of the metric in the history.
        **kwargs: ``optimizer_idx``, and what `torch.optim.lr_scheduler.ReduceLROnPlateau` takes;
            ``mode`` is by default `direction_of` the name.

    Raises:
        LoopValueError: When the metric is never measured.

    Example:
        >>> ReduceLROnPlateauMetricScheduler("val_Accuracy", patience=2).kwargs["mode"]
        'max'
    """

    def __init__(self, metric_name: str, **kwargs: Any) -> None:
        if kwargs.pop("step_on", "epoch") != "epoch":
            msg = "A plateau is looked for after epochs: leave out step_on."
            raise LoopValueError(msg)
        kwargs["mode"] = kwargs.get("mode") or direction_of(metric_name)
        super().__init__(ReduceLROnPlateau, **kwargs)
        self.execution_order = _AFTER_WHAT_MEASURES
        self.metric_name = metric_name
        self.seen = 0

    def _accepted(self, made: LRScheduler) -> LRScheduler:
        return made

    def on_train_loop_registration(self) -> None:
        """Make the schedulers; what was measured before them does not count."""
        self.seen = self._measured()
        super().on_train_loop_registration()

    def _measured(self) -> int:
        """How often the metric has been measured."""
        history = self.train_loop_obj.train_history
        return len(history[self.metric_name]) if self.metric_name in history else 0

    def on_epoch_end(self) -> None:
        """Step on the newest value."""
        measured = self._measured()
        if not measured:
            self._check_will_come()
        if measured == self.seen:
            return
        self.seen = measured
        value = float(self.train_loop_obj.train_history[self.metric_name][-1])
        for scheduler in self.schedulers:
            scheduler.step(value)  # type: ignore[arg-type]  # ReduceLROnPlateau takes the value

    def _check_will_come(self) -> None:
        """What is evaluated every n epochs may come yet; otherwise the name is a mistake."""
        loop = self.train_loop_obj
        if loop.callbacks_handler.may_measure_later():
            return
        msg = (
            f"{type(self).__name__} steps on {self.metric_name!r}, which the history does not have "
            f"after epoch {loop.epoch}; it has {sorted(loop.train_history)}. Name one of these, or "
            "add the evaluation that measures it."
        )
        raise LoopValueError(msg)

    def state_dict(self) -> Tree:
        """The schedulers' state and how many values they have seen."""
        state = super().state_dict()
        return {"seen": self.seen, **state} if state else {}

    def _restore(self, state: Tree) -> None:
        super()._restore(state)
        self.seen = state["seen"]


class ReduceLROnPlateauScheduler(ReduceLROnPlateauMetricScheduler):
    """Lower the learning rate when the validation loss has stopped falling.

    Args:
        main_multi_loss: With several losses, the name of the one that counts.
        **kwargs: ``optimizer_idx``, and what `torch.optim.lr_scheduler.ReduceLROnPlateau` takes.

    Raises:
        LoopValueError: When the loss is never measured, or there are several and none is named.
    """

    def __init__(self, main_multi_loss: str | None = None, **kwargs: Any) -> None:
        name = "val_loss" if main_multi_loss is None else f"val_loss_{main_multi_loss}"
        super().__init__(name, **{"mode": "min", **kwargs})
        self.main_multi_loss = main_multi_loss

    def on_epoch_end(self) -> None:
        """Step on the newest validation loss."""
        loop, own = self.train_loop_obj, "accumulated_loss_"
        if self.main_multi_loss is None and isinstance(loop.last_loss, Mapping):
            names = sorted(n.removeprefix(own) for n in loop.train_history if n.startswith(own))
            msg = (
                f"ReduceLROnPlateauScheduler steps on one loss; this model has {names}: name one "
                "of them as main_multi_loss."
            )
            raise LoopValueError(msg)
        super().on_epoch_end()
