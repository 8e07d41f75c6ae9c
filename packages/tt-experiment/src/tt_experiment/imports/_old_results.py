"""Results, predictions and the history of an experiment of AIToolbox: JSON or pickles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tt_experiment import _json
from tt_experiment.errors import ImportFormatError
from tt_experiment.imports._pickles import read_pickle

__all__ = ["OldResults"]

_KINDS = ("results_hyperParams_hist_", "results_", "hyperparams_", "train_history_", "true_pred_")


class OldResults:
    """What the files say together.

    Args:
        folder: The folder ``results``.
        leave_out: Is told of files that cannot be read safely.
    """

    def __init__(self, folder: Path, leave_out: Callable[[Path, object], None]) -> None:
        self.read: list[Path] = []
        self._values: dict[str, Any] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.name.startswith(_KINDS) and path.suffix in (".p", ".json"):
                self.read.append(path)
                try:
                    self._values |= _document(path)
                except (ImportFormatError, OSError, ValueError) as error:
                    leave_out(path, error)

    @property
    def hyperparams(self) -> Mapping[str, Any]:
        """Hyperparameters, if some file has them."""
        found = self._values.get("hyperparameters")
        return found if isinstance(found, Mapping) else {}

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Results by package."""
        found = self._values.get("results")
        if not isinstance(found, Mapping) or not found:
            return {}
        if all(isinstance(value, Mapping) for value in found.values()):
            return {str(name): dict(value) for name, value in found.items()}
        return {"results": dict(found)}

    @property
    def predictions(self) -> dict[str, tuple[Any, Any]]:
        """Targets and predictions by package."""
        true, predicted = self._values.get("y_true"), self._values.get("y_predicted")
        if true is None or predicted is None:
            return {}
        if isinstance(true, Mapping) and isinstance(predicted, Mapping):
            return {str(name): (true[name], predicted[name]) for name in true if name in predicted}
        return {"results": (true, predicted)}

    def values_of(self, epoch: int) -> dict[str, float]:
        """The history's numbers of an epoch, from 0."""
        return {name: curve[epoch] for name, curve in self._curves() if epoch < len(curve)}

    @property
    def epochs(self) -> int:
        """For how many there are numbers."""
        return max((len(curve) for _, curve in self._curves()), default=0)

    def _curves(self) -> Iterator[tuple[str, list[float]]]:
        history = self._values.get("training_history")
        for name, curve in history.items() if isinstance(history, Mapping) else ():
            if isinstance(curve, list):
                yield str(name), [_number(value) for value in curve]


def _document(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        return _json.load_object(path.read_bytes())
    document = read_pickle(path)
    if not isinstance(document, dict):
        msg = f"{path} must hold a dict. Got {type(document).__name__}"
        raise ImportFormatError(msg)
    return document


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
