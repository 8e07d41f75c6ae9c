"""Metrics on labels with sample weights that are far apart, very large, very small, or all 0."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_metrics.api import (
    AccuracyMetric,
    BalancedAccuracyMetric,
    CohenKappaMetric,
    Confusion,
    F1ScoreMetric,
    FBetaScoreMetric,
    JaccardMetric,
    LabelCounts,
    MatthewsCorrelationMetric,
    NoDataError,
    PrecisionMetric,
    RecallMetric,
    SpecificityMetric,
    class_report,
)

SCALES = [1e-300, 1e-165, 1e-162, 1e-100, 1e-82, 1e-80, 1.0, 1e80, 1e160, 1e300]

far_apart = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.sampled_from([0, 1, 2, 4]), min_size=n, max_size=n)] * 2,
        st.lists(
            st.floats(-12, 12).map(lambda power: 10**power),
            min_size=n,
            max_size=n,
        ),
    )
)


def near(value):
    return pytest.approx(float(value), rel=1e-12, abs=1e-14, nan_ok=True)


def of(metric, y, p, weight=None, **settings):
    filled = metric(**settings)
    filled.update(y, p, weight=weight)
    return filled.metric_result


def exact_counts(y, p, weight):
    counts = [[Fraction(0)] * 5 for _ in range(5)]
    for true, predicted, w in zip(y, p, weight, strict=True):
        counts[true][predicted] += Fraction(w)
    return counts


def exact_margins(counts):
    return [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]


def table(labels, columns=5):
    return np.eye(columns, dtype=int)[labels]


def test_specificity_of_two_labels_does_not_cancel():
    y, p, weight = [1, 0, 0], [1, 0, 1], [1e12, 1e-6, 3e-6]
    assert of(SpecificityMetric, y, p, weight) == near(0.25)
    assert of(SpecificityMetric, y, p, weight, average=None) == {"0": near(1), "1": near(0.25)}
    tables = [[1], [0], [0]], [[1], [0], [1]]
    for average in ("macro", "micro"):
        result = of(SpecificityMetric, *tables, weight, average=average, multilabel=True)
        assert result == near(0.25)


@settings(max_examples=60)
@given(data=far_apart)
def test_specificity_of_more_labels_does_not_cancel(data):
    y, p, weight = data
    counts = exact_counts(y, p, weight)
    true, predicted = exact_margins(counts)
    total = sum(true)
    without = [total - t for t in true]
    right = [
        total - t - q + counts[k][k] for k, (t, q) in enumerate(zip(true, predicted, strict=True))
    ]
    expected = [a / b if b else 0 for a, b in zip(right, without, strict=True)]
    seen = [k for k in range(5) if k in y or k in p]
    assert of(SpecificityMetric, y, p, weight, average=None) == {
        str(k): near(expected[k]) for k in seen
    }
    named = {"average": None, "labels": range(5)}
    for targets, predictions, several in ((y, p, False), (table(y), table(p), True)):
        result = of(SpecificityMetric, targets, predictions, weight, multilabel=several, **named)
        assert result == {str(k): near(expected[k]) for k in range(5)}
    named["average"] = "micro"
    micro = sum(right) / sum(without)
    assert of(SpecificityMetric, y, p, weight, **named) == near(micro)


def test_kappa_is_exact_where_one_label_outweighs_all():
    y, p, weight = [15, 15, 15], [15, 15, 9], [5.26e4, 7.05e2, 1.02e-2]
    assert of(CohenKappaMetric, y, p, weight) == near(0)


@settings(max_examples=100)
@given(data=far_apart)
def test_kappa_and_matthews_of_weights_far_apart(data):
    y, p, weight = data
    counts = exact_counts(y, p, weight)
    true, predicted = exact_margins(counts)
    total, right = sum(true), sum(counts[k][k] for k in range(5))
    chance = sum(t * q for t, q in zip(true, predicted, strict=True))
    expected = total**2 - chance
    kappa = 1 - (total - right) * total / expected if expected else math.nan
    assert of(CohenKappaMetric, y, p, weight) == near(kappa)
    one, other = (total**2 - sum(m * m for m in margin) for margin in (true, predicted))
    common = right * total - chance
    square = float(common**2 / (one * other)) if one and other else 0
    matthews = math.copysign(math.sqrt(square), common)
    # The root of a sum of products: what they have in common rounds by the size of the products.
    assert of(MatthewsCorrelationMetric, y, p, weight) == pytest.approx(matthews, abs=1e-13)


@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_of_weights_does_not_matter(scale):
    y, p = [0, 1, 1, 0], [0, 1, 0, 0]
    weight = [scale] * 4
    assert of(MatthewsCorrelationMetric, y, p, weight) == near(math.sqrt(1 / 3))
    for weights in (None, "linear", "quadratic"):
        assert of(CohenKappaMetric, y, p, weight, weights=weights) == near(0.5)
    assert of(BalancedAccuracyMetric, y, p, weight) == near(0.75)
    assert of(SpecificityMetric, y, p, weight) == near(1)
    for average in ("binary", "macro", "weighted", "micro", None):
        assert of(F1ScoreMetric, y, p, weight, average=average) == pytest.approx(
            of(F1ScoreMetric, y, p, average=average), rel=1e-12
        )


def test_perfect_predictions_score_1():
    draw = np.random.default_rng(0)
    for size in (2, 3, 7):
        y, weight = draw.integers(0, size, 50), 10 ** draw.uniform(-9, 9, 50)
        for metric in (MatthewsCorrelationMetric, CohenKappaMetric):
            assert of(metric, y, y, weight) == 1


def test_weights_of_1_are_as_none():
    draw = np.random.default_rng(0)
    y, p = draw.integers(0, 4, (2, 100))
    for metric in (MatthewsCorrelationMetric, CohenKappaMetric):
        assert of(metric, y, p, np.ones(100)) == near(of(metric, y, p))
    for average in ("macro", "micro", "weighted"):
        result = of(SpecificityMetric, y, p, np.ones(100), average=average)
        assert result == near(of(SpecificityMetric, y, p, average=average))


def test_a_single_label():
    assert of(MatthewsCorrelationMetric, [0, 0], [0, 0], [1, 2]) == 0
    assert math.isnan(of(CohenKappaMetric, [0, 0], [0, 0], [1, 2]))
    assert of(SpecificityMetric, [0, 0], [0, 0], [1, 2], average="macro", zero_division=1.0) == 1


@pytest.mark.parametrize(
    "metric", [F1ScoreMetric, FBetaScoreMetric, JaccardMetric, PrecisionMetric, RecallMetric]
)
@pytest.mark.parametrize("average", ["binary", "micro", "macro", "weighted", None])
def test_weights_that_are_all_0_have_no_average(metric, average):
    with pytest.raises(NoDataError, match="weigh more than 0; all weigh nothing"):
        of(metric, [0, 1], [0, 1], [0, 0], average=average)
    if average != "binary":
        with pytest.raises(NoDataError, match="weigh more than 0; all weigh nothing"):
            of(metric, [[0, 1]], [[0, 1]], [0], average=average, multilabel=True)


@pytest.mark.parametrize(
    ("metric", "settings"),
    [
        (AccuracyMetric, {}),
        (BalancedAccuracyMetric, {}),
        (MatthewsCorrelationMetric, {}),
        (CohenKappaMetric, {}),
        (CohenKappaMetric, {"weights": "linear"}),
        (SpecificityMetric, {"labels": [0, 1]}),
    ],
)
def test_weights_that_are_all_0_have_no_score(metric, settings):
    with pytest.raises(NoDataError, match="weigh more than 0; all weigh nothing"):
        of(metric, [0, 1], [0, 1], [0, 0], **settings)


def test_weights_that_are_all_0_have_no_samples_average():
    with pytest.raises(NoDataError, match="weigh more than 0"):
        of(F1ScoreMetric, [[0, 1]], [[0, 1]], [0], average="samples", multilabel=True)


def test_weights_that_are_all_0_have_no_report():
    one, several = Confusion(), LabelCounts()
    one.update([0, 1], [0, 1], [0, 0])
    several.update([[0, 1]], [[0, 1]], [0])
    for state in (one, several):
        with pytest.raises(NoDataError, match="weigh more than 0; all weigh nothing"):
            class_report(state)
    assert several.total == 0
    several.update([[0, 1]], [[0, 1]], [2.5])
    assert several.total == 2.5


def test_a_label_that_weighs_0_occurs_only_where_labels_names_it():
    y, p, weight = [0, 1, 2], [0, 1, 1], [1, 1, 0]
    assert of(F1ScoreMetric, y, p, weight, average="macro") == 1
    assert of(F1ScoreMetric, y, p, weight, average="macro", labels=[0, 1, 2]) == near(2 / 3)


@pytest.mark.parametrize("average", ["binary", "macro", "micro", None])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 1.0, 3.0, 1e9]])
def test_a_huge_beta_gives_the_recall(average, weight):
    y, p = [0, 1, 1, 0, 1], [0, 1, 0, 1, 1]
    recall = of(RecallMetric, y, p, weight, average=average)
    for beta in (1e100, 1e154, 1e200, 1e308):
        result = of(FBetaScoreMetric, y, p, weight, beta=beta, average=average)
        assert result == pytest.approx(recall, rel=1e-12)
