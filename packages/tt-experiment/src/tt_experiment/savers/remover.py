"""Keep the files of the best models only."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tt_experiment._durable import remove_file
from tt_loop.api import TrainingHistory, direction_of

__all__ = ["LocalSubOptimalModelRemover"]

_log = logging.getLogger(__name__)


class _Model(NamedTuple):
    cost: float
    """Lower is better."""
    paths: list[str]


class LocalSubOptimalModelRemover:
    """Removes the files of all but the best models, and the newest.

    Each model is judged by the value that was measured since the one before it. One that came with
    none stays.

    Args:
        metric_name: Name in the history; whether lower is better goes by what it is called.
        num_best_kept: How many stay.
    """

    def __init__(self, metric_name: str, num_best_kept: int = 2) -> None:
        if num_best_kept < 1:
            msg = f"num_best_kept is at least 1. Got {num_best_kept}"
            raise ValueError(msg)
        self.metric_name = metric_name
        self.num_best_kept = num_best_kept
        self._sign = 1.0 if direction_of(metric_name) == "min" else -1.0
        self._seen = 0
        self._models: list[_Model] = []

    def decide_if_remove_suboptimal_model(
        self,
        history: TrainingHistory | Mapping[str, Sequence[Any]],
        new_model_dump_paths: Sequence[Path | str],
    ) -> None:
        """Take note of a model that was saved, and remove those that are not among the best.

        Args:
            history: All values by name, the newest last.
            new_model_dump_paths: Files of the model.
        """
        values = dict(history.items()).get(self.metric_name, [])
        if len(values) <= self._seen:
            _log.warning(
                "%s was not measured since the last save: the new model stays", self.metric_name
            )
            return
        self._seen = len(values)
        value = float(values[-1])
        cost = math.inf if math.isnan(value) else self._sign * value
        newest = _Model(cost, [str(path) for path in new_model_dump_paths])
        self._models.append(newest)
        best = sorted(self._models, key=lambda model: model.cost)[: self.num_best_kept]
        for model in self._models:
            if model not in best and model is not newest:
                self.rm_suboptimal_model(model.paths)
        self._models = [model for model in self._models if model in best or model is newest]

    def rm_suboptimal_model(self, rm_model_paths: Sequence[Path | str]) -> None:
        """Remove the files of a model; failing to is logged."""
        for path in rm_model_paths:
            try:
                remove_file(Path(path).expanduser())
            except OSError as error:
                _log.warning("%s is not removed: %s", path, error)
