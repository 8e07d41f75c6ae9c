"""What was measured, epoch by epoch."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping
from typing import Any

__all__ = ["TrainingHistory"]


class TrainingHistory:
    """Lists of metric values by name; assigning appends.

    Example:
        >>> history = TrainingHistory()
        >>> history["val_loss"] = 0.5
        >>> history["val_loss"] = 0.4
        >>> history["val_loss"]
        [0.5, 0.4]
    """

    def __init__(self) -> None:
        self.train_history: dict[str, list[Any]] = {}

    def insert_single_result_into_history(self, metric_name: str, metric_result: Any) -> None:
        """Append a value to a metric's list."""
        self.train_history.setdefault(metric_name, []).append(metric_result)

    __setitem__ = insert_single_result_into_history

    def __getitem__(self, metric_name: str) -> list[Any]:
        return self.train_history[metric_name]

    def __contains__(self, metric_name: object) -> bool:
        return metric_name in self.train_history

    def __iter__(self) -> Iterator[str]:
        return iter(self.train_history)

    def __len__(self) -> int:
        return len(self.train_history)

    def keys(self) -> KeysView[str]:
        """Names of the metrics."""
        return self.train_history.keys()

    def items(self) -> ItemsView[str, list[Any]]:
        """Names and lists of values."""
        return self.train_history.items()

    def get_train_history(self) -> dict[str, list[Any]]:
        """The lists of values by metric name."""
        return self.train_history

    def state_dict(self) -> dict[str, list[Any]]:
        """A copy of the lists."""
        return {name: list(values) for name, values in self.train_history.items()}

    def load_state_dict(self, state: Mapping[str, list[Any]]) -> None:
        """Replace the lists."""
        self.train_history = {name: list(values) for name, values in state.items()}
