"""Make new metrics of those that the history has."""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tt_loop.callbacks._monitor import begins_anew
from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopTypeError, LoopValueError
from tt_loop.protocols import Tree
from tt_loop.training.history import TrainingHistory

__all__ = ["MetricHistoryRename", "TrainHistoryFormatter"]

_log = logging.getLogger(__name__)


class TrainHistoryFormatter(Callback):
    """Put a metric that is made of another one into the history, each time that one is measured.

    List it after the callback that measures the other metric.

    Args:
        input_metric_getter: Takes the history and gives all values of a metric, as a list.
        output_metric_setter: Takes these values and gives the name of the new metric and its next
            value.
        epoch_end: Do it after each epoch.
        train_end: Do it after training.
        strict_metric_extract: Raise when the history does not have the metric; otherwise the log
            has a warning.

    Raises:
        LoopValueError: When neither moment is chosen.

    Example:
        >>> import math
        >>> perplexity = TrainHistoryFormatter(
        ...     lambda history: history["val_loss"],
        ...     lambda losses: ("val_perplexity", math.exp(losses[-1])),
        ... )
    """

    def __init__(
        self,
        input_metric_getter: Callable[[TrainingHistory], Sequence[Any]],
        output_metric_setter: Callable[[Sequence[Any]], tuple[str, Any]],
        epoch_end: bool = True,
        train_end: bool = False,
        strict_metric_extract: bool = True,
    ) -> None:
        super().__init__("Train history formatter")
        if not (epoch_end or train_end):
            msg = f"{type(self).__name__} needs epoch_end or train_end, got neither."
            raise LoopValueError(msg)
        self.input_metric_getter = input_metric_getter
        self.output_metric_setter = output_metric_setter
        self.epoch_end = epoch_end
        self.train_end = train_end
        self.strict_metric_extract = strict_metric_extract
        self.seen = 0

    def on_train_begin(self) -> None:
        """Take what an earlier fit measured for done, unless the fit goes on with a saved one."""
        if begins_anew(self.train_loop_obj):
            try:
                self.seen = len(self._values())
            except (KeyError, IndexError):
                self.seen = 0

    def on_epoch_end(self) -> None:
        """Make the new value, if asked for."""
        if self.epoch_end:
            self.format_history(may_come=self.train_loop_obj.callbacks_handler.may_measure_later())

    def on_train_end(self) -> None:
        """Make the new value, if asked for."""
        if self.train_end:
            self.format_history()

    def format_history(self, *, may_come: bool = False) -> None:
        """Make the new value, if the other metric has been measured since the last one.

        Args:
            may_come: The other metric need not be there yet.

        Raises:
            LoopValueError: When it is not there but must be.
            LoopTypeError: When one of the two functions does not give what it has to.
        """
        try:
            values = self._values()
        except (KeyError, IndexError) as error:
            if not may_come:
                self._missing(error)
            return
        if len(values) == self.seen:
            return
        name, value = _checked(self.output_metric_setter(values))
        self.train_loop_obj.insert_metric_result_into_history(name, value)
        self.seen = len(values)

    def _values(self) -> Sequence[Any]:
        values = self.input_metric_getter(self.train_loop_obj.train_history)
        if isinstance(values, str) or not hasattr(values, "__len__"):
            msg = (
                "input_metric_getter must give all values of a metric as a list, got "
                f"{type(values).__name__}."
            )
            raise LoopTypeError(msg)
        return values

    def _missing(self, error: Exception) -> None:
        loop = self.train_loop_obj
        msg = (
            f"{type(self).__name__} reads {error}, which the history does not have after epoch "
            f"{loop.epoch}; it has {sorted(loop.train_history)}. Name one of these, list the "
            "evaluation that measures it before, or pass strict_metric_extract=False."
        )
        if self.strict_metric_extract:
            raise LoopValueError(msg) from error
        _log.warning(msg)

    def state_dict(self) -> Tree:
        """How many values were looked at."""
        return {"seen": self.seen}

    def load_state_dict(self, state: Tree) -> None:
        """Go on after these."""
        self.seen = state["seen"]


class MetricHistoryRename(TrainHistoryFormatter):
    """Keep a metric's newest values under another name too.

    Args:
        input_metric_path: Name of the metric, or a function that takes the history and gives all
            values as a list.
        new_metric_name: The other name.
        epoch_end: Do it after each epoch.
        train_end: Do it after training.
        strict_metric_extract: Raise when the history does not have the metric; otherwise the log
            has a warning.

    Raises:
        LoopValueError: When the names are equal, or neither moment is chosen.
    """

    def __init__(
        self,
        input_metric_path: str | Callable[[TrainingHistory], Sequence[Any]],
        new_metric_name: str,
        epoch_end: bool = True,
        train_end: bool = False,
        strict_metric_extract: bool = True,
    ) -> None:
        if input_metric_path == new_metric_name:
            msg = f"new_metric_name must differ from input_metric_path, got {new_metric_name!r}."
            raise LoopValueError(msg)
        getter: Any = (
            operator.itemgetter(input_metric_path)  # unlike a lambda, other processes can have it
            if isinstance(input_metric_path, str)
            else input_metric_path
        )
        super().__init__(
            getter,
            partial(_newest_as, new_metric_name),
            epoch_end,
            train_end,
            strict_metric_extract,
        )
        self.callback_name = "Metric history rename"


def _newest_as(name: str, values: Sequence[Any]) -> tuple[str, Any]:
    return name, values[-1]


def _checked(made: Any) -> tuple[str, Any]:
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], str)):
        msg = f"output_metric_setter must give a name and a value, got {made!r}."
        raise LoopTypeError(msg)
    return made
