"""One number for a whole confusion matrix, corrected for chance or for uneven classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tt_metrics._classification.averages import divided, mean, others, rejections
from tt_metrics._classification.label_metric import LabelMetric, check_weight
from tt_metrics._core.confusion import Confusion
from tt_metrics._errors import MetricInputError, NoDataError

__all__ = ["BalancedAccuracyMetric", "CohenKappaMetric", "MatthewsCorrelationMetric"]


class _MatrixMetric(LabelMetric[Confusion]):
    """A metric whose state is a confusion matrix."""

    def make_state(self) -> Confusion:
        """A confusion matrix."""
        return Confusion(**self._reading)


class BalancedAccuracyMetric(_MatrixMetric):
    """Mean recall of the classes that occur in the targets: 'Balanced_accuracy'.

    K. H. Brodersen, C. S. Ong, K. E. Stephan and J. M. Buhmann, The balanced accuracy and its
    posterior distribution, ICPR 2010.

    Args:
        y_true: Labels of shape (n,): 0, 1, 2, ... or texts, or those of `labels`.
        y_predicted: Labels, or probabilities of the second label, of shape (n,), or scores of
            shape (n, K), which mean their largest column (the first of equals).
        positive_class_thresh: A probability of at least this makes the second label.
        adjusted: Scale it so that guessing scores 0 and a perfect prediction 1:
            (b - 1/C) / (1 - 1/C) with the C classes in the targets; nan where C is 1.
        num_classes: K, where it is known; labels beyond it are then an error.
        labels: All labels, in the order of the columns of scores; others are then an error.
    """

    result_name = "Balanced_accuracy"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        positive_class_thresh: float = 0.5,
        *,
        adjusted: bool = False,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        self.adjusted = adjusted
        super().__init__(
            y_true, y_predicted, positive_class_thresh, num_classes=num_classes, labels=labels
        )

    @property
    def settings(self) -> dict[str, Any]:
        """How labels are read, and whether the result is adjusted."""
        return super().settings | {"adjusted": self.adjusted}

    def result_of(self, state: Confusion) -> float:
        """Mean of the recalls that there are."""
        support = state.counts.sum(axis=1)
        score = mean(divided(state.counts.diagonal(), support, math.nan))
        if math.isnan(score):
            msg = "A mean recall needs items that weigh more than 0; all weigh nothing."
            raise NoDataError(msg)
        if not self.adjusted:
            return score
        classes = int(np.count_nonzero(support))
        return (score - 1 / classes) / (1 - 1 / classes) if classes > 1 else math.nan


class MatthewsCorrelationMetric(_MatrixMetric):
    """Correlation of predicted and true classes: 'Matthews_correlation', in [-1, 1].

    (c n - sum t_k p_k) / sqrt((n^2 - sum p_k^2) (n^2 - sum t_k^2)) with c right ones among n items
    and t_k, p_k how often class k is true and predicted; 0 where one of them is always the same
    class. For two classes it is the phi coefficient (B. W. Matthews, Comparison of the predicted
    and observed secondary structure of T4 phage lysozyme, Biochimica et Biophysica Acta 405, 1975;
    for more J. Gorodkin, Comparing two K-category assignments by a K-category correlation
    coefficient, Computational Biology and Chemistry 28, 2004). Its settings are those of
    `BalancedAccuracyMetric` without `adjusted`.
    """

    result_name = "Matthews_correlation"

    def result_of(self, state: Confusion) -> float:
        """The correlation; counts are Python integers, which do not overflow."""
        check_weight(state.counts.any())
        if state.weighted:
            return _correlation(_scaled(state.counts))
        true, predicted, right = _margins(state.counts)
        total_true, total_predicted = sum(true), sum(predicted)
        spread_true = total_true**2 - sum(t * t for t in true)
        spread_predicted = total_predicted**2 - sum(p * p for p in predicted)
        if spread_true <= 0 or spread_predicted <= 0:
            return 0.0
        common = right * total_true - sum(t * p for t, p in zip(true, predicted, strict=True))
        return float(common / math.sqrt(spread_true * spread_predicted))


class CohenKappaMetric(_MatrixMetric):
    """Agreement of two labellings beyond that of chance: 'Cohen_kappa', at most 1.

    1 - sum w_ij c_ij / sum w_ij e_ij, with e_ij the counts that independent labellings with the
    same totals would have (J. Cohen, A coefficient of agreement for nominal scales, Educational and
    Psychological Measurement 20, 1960; weighted kappa, Psychological Bulletin 70, 1968). nan where
    both always give one and the same label.

    Args:
        y_true: Labels of shape (n,): 0, 1, 2, ... or texts, or those of `labels`.
        y_predicted: Labels, or probabilities of the second label, of shape (n,), or scores of
            shape (n, K), which mean their largest column (the first of equals).
        positive_class_thresh: A probability of at least this makes the second label.
        weights: How bad it is to take label i for j: None, all alike; ``"linear"``, |i - j|;
            ``"quadratic"``, (i - j)^2. i and j are places among the labels that occur, as in
            scikit-learn, or among all labels where `num_classes` or `labels` says which there are.
            A label whose items all weigh 0 does not occur (in scikit-learn it does).
        num_classes: K, where it is known; labels beyond it are then an error.
        labels: All labels, in their order; others are then an error.
    """

    result_name = "Cohen_kappa"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        positive_class_thresh: float = 0.5,
        *,
        weights: Literal["linear", "quadratic"] | None = None,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        if weights not in (None, "linear", "quadratic"):
            msg = f"weights must be None, 'linear' or 'quadratic'; it is {weights!r}."
            raise MetricInputError(msg)
        self.weights = weights
        super().__init__(
            y_true, y_predicted, positive_class_thresh, num_classes=num_classes, labels=labels
        )

    @property
    def settings(self) -> dict[str, Any]:
        """How labels are read, and how errors are weighed."""
        return super().settings | {"weights": self.weights}

    def result_of(self, state: Confusion) -> float:
        """1 less the ratio of the disagreement seen to that expected."""
        check_weight(state.counts.any())
        if self.weights is not None:
            seen, expected = self._weighed(state.counts)
        elif state.weighted:
            seen, expected = _disagreement(_scaled(state.counts))
        else:
            true, predicted, right = _margins(state.counts)
            total = sum(true)
            chance = sum(t * p for t, p in zip(true, predicted, strict=True))
            seen, expected = (total - right) * total, total * sum(predicted) - chance
        return float(1 - seen / expected) if expected > 0 else math.nan

    def _weighed(self, counts: NDArray[Any]) -> tuple[float, float]:
        """The disagreement seen and expected, both times the number of items."""
        if self.num_classes is None and self.labels is None:
            here = np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))
            counts = counts[np.ix_(here, here)]
        if counts.dtype.kind == "f":
            counts = _scaled(counts)
        true, predicted = counts.sum(axis=1, dtype=float), counts.sum(axis=0, dtype=float)
        places = np.arange(len(true), dtype=np.float64)
        apart = np.abs(places[:, None] - places)
        if self.weights == "quadratic":
            apart *= apart
        seen = float((apart * counts).sum()) * float(true.sum())
        return seen, float((apart @ predicted * true).sum())


def _scaled(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide by a power of two, which is exact, so that products neither overflow nor vanish."""
    _, exponent = math.frexp(counts.sum())
    scaled: NDArray[np.float64] = np.ldexp(counts, -exponent)
    return scaled


def _correlation(counts: NDArray[np.float64]) -> float:
    """Matthews' of weights, as sum (tp tn - fp fn) over sums of products.

    Differences of squares, as of counts, would lose what weighs little.
    """
    true, predicted, hits = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    spread_true = float((true * others(true)).sum())
    spread_predicted = float((predicted * others(predicted)).sum())
    if not (spread_true and spread_predicted):
        return 0.0
    right, false = rejections(counts)
    common = float((hits * right - false * others(counts.T).diagonal()).sum())
    square = (common / spread_true) * (common / spread_predicted)  # neither is more than 1
    return math.copysign(min(1.0, math.sqrt(square)), common)


def _disagreement(counts: NDArray[np.float64]) -> tuple[float, float]:
    """What kappa compares: the weight off the diagonal seen and expected, times the total."""
    apart = counts.copy()
    np.fill_diagonal(apart, 0)
    seen = float(apart.sum()) * float(counts.sum())
    return seen, float((counts.sum(axis=1) * others(counts.sum(axis=0))).sum())


def _margins(counts: NDArray[Any]) -> tuple[list[Any], list[Any], Any]:
    """How often each class is true, is predicted, and how often both are one."""
    return counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist(), counts.trace().item()
