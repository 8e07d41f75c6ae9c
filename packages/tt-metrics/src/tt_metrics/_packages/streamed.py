"""Result packages that are filled with whole predictions or batch by batch, and merged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from tt_metrics._core.intake import Intake, check_format
from tt_metrics._core.items import Batch, Items
from tt_metrics._core.state import State, entry
from tt_metrics._core.value import flattened
from tt_metrics._errors import MetricStateError
from tt_metrics._packages.base import AbstractResultPackage

__all__ = ["StreamedResultPackage"]


class StreamedResultPackage(Intake, AbstractResultPackage):
    """The base of packages that keep states; a subclass makes them, then calls `reset`."""

    _states: list[State]

    @abstractmethod
    def _fresh_states(self) -> list[State]:
        """One empty state per kind of state that the results need."""

    def prepare_result_package(
        self, y_true: Any, y_predicted: Any, hyperparameters: Any = None, **kwargs: Any
    ) -> None:
        """Take targets and predictions, in place of all that came before, and compute.

        One that raises leaves everything as it was.
        """
        before = dict(vars(self))
        try:
            self.reset()  # puts fresh states in place of the old ones, which stay untouched
            self.update(y_true, y_predicted)
            super().prepare_result_package(y_true, y_predicted, hyperparameters, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        self._given = Batch(y_true, y_predicted)  # all there is, so intervals can be drawn from it

    def get_results(self) -> dict[str, Any]:
        """The results by name, of all data so far."""
        if self.results_dict is None:
            self.results_dict = self._completed(self.prepare_results_dict())
        return self.results_dict

    def warn_if_results_dict_not_defined(self) -> None:
        """Report that no data came yet."""
        if any(state.count for state in self._states):
            self.get_results()
        super().warn_if_results_dict_not_defined()

    def compute(self) -> dict[str, float]:
        """The numbers by name, flat."""
        return flattened(self.get_results())

    def reset(self) -> None:
        """Forget all data and results."""
        self._states = self._fresh_states()
        self._given = None
        self._items = None if self._items is None else Items()
        self.y_true, self.y_predicted, self.additional_results = None, None, {}
        self.results_dict, self._added = None, {}

    def _take(self, y_true: Any, y_predicted: Any, weight: Any) -> None:
        super()._take(y_true, y_predicted, weight)
        self.results_dict = None

    @property
    def state(self) -> dict[str, Any]:
        """The state as a plain dict of arrays and numbers; a copy.

        What ``+=`` brought is not in it: results cannot be merged, only data can.
        """
        keys = [list(state.key) for state in self._states]
        return {"package": type(self).__name__, "keys": keys, **self._contents()}

    def merge(self, state: Mapping[str, Any], /) -> None:
        """Take in the `state` of a package with the same metrics, made anywhere.

        Raises:
            MetricStateError: It has other metrics or settings, or was written by a newer version.
        """
        check_format(state)
        own = [state.key for state in self._states]
        keys = [_as_key(key) for key in entry(state, "keys")]
        if keys != own:
            msg = (
                "States must be of packages with the same metrics to be merged; "
                f"{keys} came for {own}."
            )
            raise MetricStateError(msg)
        self._merge_contents(state)
        self.results_dict = None


def _as_key(key: Any) -> Any:
    """A key that was stored as nested lists."""
    return tuple(map(_as_key, key)) if isinstance(key, (list, tuple)) else key
