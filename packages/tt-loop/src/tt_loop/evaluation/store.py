"""Predictions and losses of the three sets, kept so that nothing is computed twice."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from tt_loop.errors import LoopValueError

__all__ = ["ModelPredictionStore"]


class ModelPredictionStore:
    """Keeps the predictions and the loss of each set under a key of the caller's.

    The key must change with whatever a value depends on: the weights above all. What is kept is
    handed out as it is, not copied.

    Args:
        auto_purge: Every insertion drops what is kept under another key.

    Example:
        >>> store = ModelPredictionStore()
        >>> store.insert_val_loss(0.5, iteration_idx=9)
        >>> store.get_val_loss(9)
        0.5
        >>> store.auto_purge(10)
        >>> store.has_val_loss(9)
        False
    """

    def __init__(self, auto_purge: bool = False) -> None:
        self.purges = auto_purge
        self._kept: dict[Hashable, dict[str, Any]] = {}  # what is known, by key and then by name

    def insert_train_predictions(
        self, predictions: Any, iteration_idx: Hashable, force_prediction: bool = False
    ) -> None:
        """Keep the training set's predictions; ``force_prediction`` replaces those there are.

        Raises:
            LoopValueError: When there are some under this key, and no replacing was asked for.
        """
        self._insert("train predictions", predictions, iteration_idx, force_prediction)

    def insert_val_predictions(
        self, predictions: Any, iteration_idx: Hashable, force_prediction: bool = False
    ) -> None:
        """As `insert_train_predictions`, of the validation set."""
        self._insert("validation predictions", predictions, iteration_idx, force_prediction)

    def insert_test_predictions(
        self, predictions: Any, iteration_idx: Hashable, force_prediction: bool = False
    ) -> None:
        """As `insert_train_predictions`, of the test set."""
        self._insert("test predictions", predictions, iteration_idx, force_prediction)

    def get_train_predictions(self, iteration_idx: Hashable) -> Any:
        """The training set's predictions.

        Raises:
            LoopValueError: When none are kept under this key.
        """
        return self._get("train predictions", iteration_idx)

    def get_val_predictions(self, iteration_idx: Hashable) -> Any:
        """As `get_train_predictions`, of the validation set."""
        return self._get("validation predictions", iteration_idx)

    def get_test_predictions(self, iteration_idx: Hashable) -> Any:
        """As `get_train_predictions`, of the test set."""
        return self._get("test predictions", iteration_idx)

    def has_train_predictions(self, iteration_idx: Hashable) -> bool:
        """Whether the training set's predictions are kept under this key."""
        return self._has("train predictions", iteration_idx)

    def has_val_predictions(self, iteration_idx: Hashable) -> bool:
        """Whether the validation set's predictions are kept under this key."""
        return self._has("validation predictions", iteration_idx)

    def has_test_predictions(self, iteration_idx: Hashable) -> bool:
        """Whether the test set's predictions are kept under this key."""
        return self._has("test predictions", iteration_idx)

    def insert_train_loss(
        self, loss: Any, iteration_idx: Hashable, force_prediction: bool = False
    ) -> None:
        """As `insert_train_predictions`, the training set's loss."""
        self._insert("train loss", loss, iteration_idx, force_prediction)

    def insert_val_loss(
        self, loss: Any, iteration_idx: Hashable, force_prediction: bool = False
    ) -> None:
        """As `insert_train_predictions`, the validation set's loss."""
        self._insert("validation loss", loss, iteration_idx, force_prediction)

    def insert_test_loss(
        self, loss: Any, iteration_idx: Hashable, force_prediction: bool = False
    ) -> None:
        """As `insert_train_predictions`, the test set's loss."""
        self._insert("test loss", loss, iteration_idx, force_prediction)

    def get_train_loss(self, iteration_idx: Hashable) -> Any:
        """As `get_train_predictions`, the training set's loss."""
        return self._get("train loss", iteration_idx)

    def get_val_loss(self, iteration_idx: Hashable) -> Any:
        """As `get_train_predictions`, the validation set's loss."""
        return self._get("validation loss", iteration_idx)

    def get_test_loss(self, iteration_idx: Hashable) -> Any:
        """As `get_train_predictions`, the test set's loss."""
        return self._get("test loss", iteration_idx)

    def has_train_loss(self, iteration_idx: Hashable) -> bool:
        """Whether the training set's loss is kept under this key."""
        return self._has("train loss", iteration_idx)

    def has_val_loss(self, iteration_idx: Hashable) -> bool:
        """Whether the validation set's loss is kept under this key."""
        return self._has("validation loss", iteration_idx)

    def has_test_loss(self, iteration_idx: Hashable) -> bool:
        """Whether the test set's loss is kept under this key."""
        return self._has("test loss", iteration_idx)

    def auto_purge(self, iteration_idx: Hashable) -> None:
        """Drop everything that is kept under another key."""
        self._kept = {key: kept for key, kept in self._kept.items() if key == iteration_idx}

    def _insert(self, name: str, value: Any, key: Hashable, force: bool) -> None:
        if self.purges:
            self.auto_purge(key)
        if self._has(name, key) and not force:
            msg = (
                f"The {name} can be inserted once under a key, and {key!r} has them already: get "
                "those, or pass force_prediction=True to replace them."
            )
            raise LoopValueError(msg)
        self._kept.setdefault(key, {})[name] = value

    def _get(self, name: str, key: Hashable) -> Any:
        if not self._has(name, key):
            msg = (
                f"The {name} must be inserted before they are asked for, but {key!r} has none; "
                f"there are the keys {list(self._kept)}."
            )
            raise LoopValueError(msg)
        return self._kept[key][name]

    def _has(self, name: str, key: Hashable) -> bool:
        return name in self._kept.get(key, ())
