"""Notice a model that predicts the same for everything."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from tt_loop.callbacks.base import Callback

__all__ = ["AllPredictionsSame"]

_log = logging.getLogger(__name__)


class AllPredictionsSame(Callback):
    """Look after each epoch whether every prediction of the validation set is one certain value.

    Predictions may have any number of dimensions, and may be nested in lists, tuples and dicts.

    Args:
        value: The value that a model which has died predicts.
        stop_training: End training when it is so.
        verbose: Warn in the log when it is so.
    """

    def __init__(
        self, value: float = 0.0, stop_training: bool = False, verbose: bool = True
    ) -> None:
        super().__init__("All predictions the same")
        self.value = value
        self.stop_training = stop_training
        self.verbose = verbose

    def on_train_begin(self) -> None:
        """Say now what would fail after the first epoch."""
        self.train_loop_obj.loader("validation")

    def on_epoch_end(self) -> None:
        """Look at the predictions."""
        loop = self.train_loop_obj
        found = loop.predict_part_on_main("validation")
        if found is None or not _all_equal(found[0], self.value):
            return
        if self.verbose:
            _log.warning(
                "all predictions of the validation set are %s after epoch %d",
                self.value,
                loop.epoch,
            )
        if self.stop_training:
            loop.early_stop = True  # the loop tells the other processes


def _all_equal(predictions: Any, value: float) -> bool:
    """Whether there are predictions and each number of them is the value."""
    found = False
    for leaf in _leaves(predictions):
        equal = leaf == value
        if isinstance(leaf, Tensor | np.ndarray):
            found = found or len(leaf.reshape(-1)) > 0
            equal = equal.all()
        else:
            found = True
        if not equal:
            return False
    return found


def _leaves(predictions: Any) -> Iterator[Any]:
    if isinstance(predictions, Mapping):
        predictions = list(predictions.values())
    if isinstance(predictions, list | tuple):
        for each in predictions:
            yield from _leaves(each)
    else:
        yield predictions
