"""Is one system better than another on the same items, or is it chance?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.metric import Metric
from tt_metrics._errors import MetricInputError
from tt_metrics._ranking.delong import delong
from tt_metrics._ranking.inputs import ScoreReader
from tt_metrics._uncertainty.interval import Interval, signature_of, z_of
from tt_metrics._uncertainty.matching import matched_pair
from tt_metrics._uncertainty.mcnemar import exact_p_value, newcombe, outcomes
from tt_metrics._uncertainty.paired import Pair
from tt_metrics._uncertainty.resampling import (
    Floats,
    check_defined,
    checked_confidence,
    checked_n_resamples,
    generator,
    numbers_of,
    percentiles,
)

__all__ = ["Comparison", "compare"]

EQUAL = 1e-10  # differences this close, relative to the results, are rounding


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`.

    Attributes:
        metric_name: What was compared.
        first: The first system's result.
        second: The second system's.
        p_value: How often two equally good systems would differ at least as much.
        interval: Of the difference; (nan, nan) where too many drawn data sets had no result.
        test: How the p-value was computed.
        n: How many items there are.
        n_resamples: How many data sets were drawn; None where none was.
        seed: What the draws started from; None where nothing was drawn.
    """

    metric_name: str
    first: float
    second: float
    p_value: float
    interval: Interval
    test: str
    n: int
    n_resamples: int | None = None
    seed: int | None = None

    @property
    def difference(self) -> float:
        """The first result less the second."""
        return self.first - self.second

    @property
    def signature(self) -> str:
        """What is needed to compute it again: ``randomization|n:2000|n_resamples:10000|...``."""
        return signature_of(
            self.test,
            metric=self.metric_name,
            n=self.n,
            confidence=self.interval.confidence,
            n_resamples=self.n_resamples,
            seed=self.seed,
        )

    def __str__(self) -> str:
        return (
            f"{self.metric_name}: {self.first:.4g} - {self.second:.4g} = {self.difference:+.4g}, "
            f"{100 * self.interval.confidence:g} % interval "
            f"[{self.interval.low:+.4g}, {self.interval.high:+.4g}], "
            f"p = {self.p_value:.4g} ({self.test}, n = {self.n})"
        )


class _Settings(NamedTuple):
    n_resamples: int
    seed: int
    confidence: float
    difference: float
    slack: float  # how far results may be off by rounding


_Tested = tuple[float, Interval]


def compare(
    first: Metric[Any],
    second: Metric[Any],
    *,
    test: str = "auto",
    n_resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two systems by a metric of each on the same targets.

    The metrics hold their items: they were given all data at construction, or `keep_items` was
    called first. Items are matched by sample ids where both have them, else by their order.

        >>> from tt_metrics import AccuracyMetric
        >>> truth = [0, 1, 1, 0, 1, 1, 0, 1]
        >>> ours = AccuracyMetric(truth, [0, 1, 1, 0, 1, 1, 0, 0])
        >>> theirs = AccuracyMetric(truth, [1, 1, 0, 0, 0, 1, 0, 0])
        >>> print(compare(ours, theirs, test="mcnemar"))
        Accuracy: 0.875 - 0.5 = +0.375, 95 % interval [-0.07304, +0.6777], p = 0.25 (mcnemar, n = 8)

    Args:
        first: A metric with one number as its result.
        second: Another of the same class and settings.
        test: ``"randomization"``: swap the systems' outputs for each item with probability 1/2
            (E. Noreen, Computer Intensive Methods for Testing Hypotheses, 1989; S. Riezler and
            J. Maxwell, 2005), for any metric whose predictions mean the same for both systems.
            ``"bootstrap"``: draw items with replacement, and see how far the difference strays from
            the one observed (B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993,
            chapter 16), for any metric.
            ``"mcnemar"``: exact, for shares of right items.
            ``"delong"``: for areas under ROC curves of two classes (Biometrics 44, 1988).
            ``"auto"``: ``"delong"`` where it applies, else ``"randomization"``.
            ``"moses"``: the bootstrap as Moses and sacrebleu have it (after P. Koehn, 2004), to
            compare with published figures only. Under equally good systems its p-values are too
            small: at a level of 5 % it can reject 10 %.
        n_resamples: How many data sets the first two and the last draw.
        seed: What the draws start from: the same seed gives the same outcome.
        confidence: Of the interval of the difference: from the same bootstrap, Newcombe's with
            ``"mcnemar"``, normal with ``"delong"``.

    Returns:
        The difference, its interval and its two-sided p-value.

    Raises:
        MetricTypeError: They are no metrics of one class.
        MetricStateError: Their settings differ, or they have not kept their items.
        NoDataError: One has seen no data.
        MetricInputError: Targets, weights or ids differ, a setting means nothing, or the test or
            the result is not for this.
    """
    if test not in ("auto", *_TESTS):
        msg = f"test must be auto or one of {', '.join(_TESTS)}; it is {test!r}."
        raise MetricInputError(msg)
    checked_confidence(confidence)
    pair = matched_pair(first, second)
    name = _auto(pair) if test == "auto" else test
    draws = name not in _CLOSED
    if draws:
        generator(seed)
        n_resamples = checked_n_resamples(n_resamples)
    results = _result(first), _result(second)
    difference, slack = results[0] - results[1], EQUAL * max(map(abs, results))
    settings = _Settings(n_resamples, seed, confidence, difference, slack)
    p_value, interval = _TESTS[name](pair, settings)
    drawn = (n_resamples, seed) if draws else (None, None)
    return Comparison(first.metric_name, *results, p_value, interval, name, len(pair), *drawn)


def _result(metric: Metric[Any]) -> float:
    numbers = numbers_of(metric.of(metric._state), metric._state)
    if list(numbers) != [""] or math.isnan(numbers[""]):
        came = numbers.get("", f"a dict of {', '.join(numbers)}")
        msg = (
            f"A comparison needs a result that is one number; that of {metric.metric_name} is "
            f"{came}. Use a metric that averages over the labels, such as average='macro'."
        )
        raise MetricInputError(msg)
    return numbers[""]


def _share(extreme: Any, values: Floats) -> float:
    """A p-value from draws, counting what was observed as one of them: it is never 0."""
    defined = ~np.isnan(values)
    return (1 + int(np.count_nonzero(extreme[defined]))) / (1 + int(np.count_nonzero(defined)))


def _drawn_interval(differences: Floats, settings: _Settings) -> Interval:
    ends = percentiles(differences, settings.confidence)
    return Interval(*ends, settings.confidence, "bootstrap", settings.n_resamples, settings.seed)


def _bootstrap_differences(pair: Pair, settings: _Settings) -> Floats:
    return pair.bootstrap(settings.n_resamples, generator(settings.seed))


def _randomization(pair: Pair, settings: _Settings) -> _Tested:
    differences = pair.swaps(settings.n_resamples, generator(settings.seed))
    check_defined(differences, "Randomization")
    p_value = _share(abs(differences) >= abs(settings.difference) - settings.slack, differences)
    return p_value, _drawn_interval(_bootstrap_differences(pair, settings), settings)


def _bootstrap(pair: Pair, settings: _Settings) -> _Tested:
    differences = _bootstrap_differences(pair, settings)
    check_defined(differences, "A bootstrap test")
    strays = abs(differences - settings.difference)
    p_value = _share(strays >= abs(settings.difference) - settings.slack, differences)
    return p_value, _drawn_interval(differences, settings)


def _moses(pair: Pair, settings: _Settings) -> _Tested:
    """Sizes of drawn differences less their mean, one-sided: why it rejects too often."""
    differences = _bootstrap_differences(pair, settings)
    check_defined(differences, "A bootstrap test")
    sizes = abs(differences)
    strays = sizes - np.nanmean(sizes)
    p_value = _share(strays > abs(settings.difference) + settings.slack, differences)
    return p_value, _drawn_interval(differences, settings)


def _mcnemar(pair: Pair, settings: _Settings) -> _Tested:
    counts = outcomes(pair)
    return exact_p_value(counts), newcombe(counts, settings.confidence)


def _delong(pair: Pair, settings: _Settings) -> _Tested:
    covariance = delong(*_scores(pair))[1]
    deviation = math.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    difference = settings.difference
    if deviation <= settings.slack:
        if abs(difference) > settings.slack:
            msg = (
                "test='delong' needs areas that vary; both rankings are perfect, reversed or all "
                "ties. Use test='randomization'."
            )
            raise MetricInputError(msg)
        return 1.0, Interval(0.0, 0.0, settings.confidence, "delong")
    margin = z_of(settings.confidence) * deviation
    ends = max(-1.0, difference - margin), min(1.0, difference + margin)
    p_value = math.erfc(abs(difference) / deviation / math.sqrt(2))
    return p_value, Interval(*ends, settings.confidence, "delong")


def _scores(pair: Pair) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Targets of shape (n,) and scores of shape (2, n)."""
    if not _has_delong(pair):
        msg = (
            "test='delong' is for areas under ROC curves of two classes, without weights; "
            f"{pair.first.metric_name} on this data is none. Use test='randomization'."
        )
        raise MetricInputError(msg)
    reader = ScoreReader(labels=pair.first.settings.get("labels"))
    ours, theirs = (reader.read(one.y_true, one.y_predicted) for one in (pair.ours, pair.theirs))
    return ours.targets, np.array([ours.scores, theirs.scores])


def _has_delong(pair: Pair) -> bool:
    return all(
        metric.variance_of(metric._state) is not None for metric in (pair.first, pair.second)
    )


def _auto(pair: Pair) -> str:
    return "delong" if _has_delong(pair) else "randomization"


_CLOSED: dict[str, Callable[[Pair, _Settings], _Tested]] = {
    "delong": _delong,
    "mcnemar": _mcnemar,
}
_TESTS: dict[str, Callable[[Pair, _Settings], _Tested]] = {
    "bootstrap": _bootstrap,
    "moses": _moses,
    "randomization": _randomization,
    **_CLOSED,
}
