"""The confusion matrix as a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tt_metrics._classification.label_metric import MultilabelMetric
from tt_metrics._classification.multilabel import LabelCounts
from tt_metrics._core.confusion import Confusion
from tt_metrics._errors import MetricInputError

__all__ = ["ConfusionMatrixMetric"]

Normalize: TypeAlias = Literal["true", "pred", "all"]


class ConfusionMatrixMetric(MultilabelMetric[Confusion | LabelCounts]):
    """How often each label was predicted for each label: 'Confusion_matrix'.

    The result is a dict of dicts, ``result[true label][predicted label]``, over the labels 0 ...
    K - 1 up to the largest that occurs, over all of `labels`, or over the texts that occur. With
    several labels per item it is ``result[label]["tp"]``, and ``"tn"``, ``"fp"``, ``"fn"``.
    `matrix` is the same as an array.

    c_ij = sum w [y = i, p = j], with w = 1 where no weights came (for two classes T. Fawcett, An
    introduction to ROC analysis, Pattern Recognition Letters 27, 2006).

    Args:
        y_true: Labels as `AccuracyMetric` takes them.
        y_predicted: Labels, probabilities or scores, as `AccuracyMetric` takes them.
        positive_class_thresh: A probability of at least this makes the second label.
        normalize: None gives counts; ``"true"`` shares of each row, ``"pred"`` of each column,
            ``"all"`` of everything. The shares of nothing are 0.
        num_classes: K or L, where it is known; labels beyond it are then an error.
        labels: All labels, in the order of rows and columns; others are then an error.
        multilabel: Items may have several labels or none; `normalize` must be None then.
    """

    result_name = "Confusion_matrix"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        positive_class_thresh: float = 0.5,
        *,
        normalize: Normalize | None = None,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
        multilabel: bool = False,
    ) -> None:
        if normalize not in ((None,) if multilabel else (None, "true", "pred", "all")):
            msg = (
                "normalize must be None, 'true', 'pred' or 'all', with multilabel=True None; "
                f"it is {normalize!r}."
            )
            raise MetricInputError(msg)
        self.normalize = normalize
        super().__init__(
            y_true,
            y_predicted,
            positive_class_thresh,
            num_classes=num_classes,
            labels=labels,
            multilabel=multilabel,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """How labels are read, and what counts are divided by."""
        return super().settings | {"normalize": self.normalize}

    @property
    def matrix(self) -> NDArray[Any]:
        """Shape (K, K), rows true and columns predicted; (L, 2, 2) with several labels per item.

        A copy: int64 counts, or float64 where they are normalized or weighted.
        """
        return self._divided(self._state.counts)

    def make_state(self) -> Confusion | LabelCounts:
        """The matrix."""
        return (LabelCounts if self.multilabel else Confusion)(**self._reading)

    def result_of(self, state: Confusion | LabelCounts) -> dict[str, dict[str, float]]:
        """The matrix as a dict of rows."""
        names = [str(label) for label in state.labels]
        if isinstance(state, LabelCounts):
            cells = state.counts.reshape(-1, 4).tolist()
            columns = ["tn", "fp", "fn", "tp"]
        else:
            cells, columns = self._divided(state.counts).tolist(), names
        return {
            name: dict(zip(columns, row, strict=True))
            for name, row in zip(names, cells, strict=True)
        }

    def _divided(self, counts: NDArray[Any]) -> NDArray[Any]:
        if self.normalize is None:
            return counts.copy()
        axis = {"true": 1, "pred": 0, "all": None}[self.normalize]
        whole = counts.sum(axis=axis, keepdims=True)
        shares = np.zeros(counts.shape)
        np.divide(counts, whole, out=shares, where=whole > 0)
        return shares
