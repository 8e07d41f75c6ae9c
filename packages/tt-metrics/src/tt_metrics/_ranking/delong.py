"""The variance of an area under the ROC curve, and the covariance of two on the same items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._errors import MetricInputError

__all__ = ["delong", "placements", "variance"]

Scores = NDArray[Any]
Floats = NDArray[np.float64]


def delong(y_true: NDArray[Any], scores: Scores) -> tuple[Floats, Floats]:
    """Give the areas of several systems on the same items, and their covariance.

    The placement of an item is the share of the other class's items that it is ranked right
    against, a tie counting half. An area is the mean placement of the positive items; its
    variance is that of two independent means, over the positive and over the negative items
    (E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics 44, 1988). Sorting gives all
    placements in O(n log n) (X. Sun and W. Xu, IEEE Signal Processing Letters 21, 2014).

    Args:
        y_true: Targets, shape (n,): 0 or 1, at least two of each.
        scores: Scores of s systems, shape (s, n).

    Returns:
        Areas, shape (s,), and covariance, shape (s, s).

    Raises:
        MetricInputError: Shapes do not fit, or a class has fewer than two items.
    """
    positive = np.asarray(y_true).astype(bool)
    if scores.ndim != 2 or positive.shape != scores.shape[1:]:
        msg = (
            "delong needs targets of shape (n,) and scores of shape (s, n); their shapes are "
            f"{positive.shape} and {scores.shape}."
        )
        raise MetricInputError(msg)
    _require_two_of_each(int((~positive).sum()), int(positive.sum()))
    above, below = scores[:, positive], scores[:, ~positive]
    of_positives = np.array([placements(a, np.sort(b)) for a, b in zip(above, below, strict=True)])
    of_negatives = 1 - np.array(
        [placements(b, np.sort(a)) for a, b in zip(above, below, strict=True)]
    )
    covariance = _of_mean(of_positives) + _of_mean(of_negatives)
    return of_positives.mean(axis=1), covariance


def variance(negatives: Scores, positives: Scores) -> float:
    """DeLong's variance of one area, from the scores of each class in ascending order."""
    _require_two_of_each(len(negatives), len(positives))
    return float(
        placements(positives, negatives).var(ddof=1) / len(positives)
        + placements(negatives, positives).var(ddof=1) / len(negatives)
    )


def placements(scores: Scores, others: Scores) -> Floats:
    """The share of ``others``, in ascending order, below each score, equal ones counting half."""
    twice = np.searchsorted(others, scores, "left")
    twice += np.searchsorted(others, scores, "right")
    return twice / (2 * len(others))


def _of_mean(values: Floats) -> Floats:
    """The covariance of the means of the rows, from s rows of independent values."""
    centred = values - values.mean(axis=1, keepdims=True)
    count = values.shape[1]
    # einsum, not @: BLAS would wake its threads for a handful of sums.
    covariance: Floats = np.einsum("in,jn->ij", centred, centred) / (count * (count - 1))
    return covariance


def _require_two_of_each(negatives: int, positives: int) -> None:
    if min(negatives, positives) < 2:
        msg = (
            "DeLong's variance needs at least two items of each class; there are "
            f"{negatives} negative and {positives} positive ones."
        )
        raise MetricInputError(msg)
