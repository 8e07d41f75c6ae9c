"""Balanced accuracy, Matthews correlation, kappa and the confusion matrix, against scikit-learn."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tt_metrics.api import (
    BalancedAccuracyMetric,
    CohenKappaMetric,
    Confusion,
    ConfusionMatrixMetric,
    MatthewsCorrelationMetric,
    MetricInputError,
    NoDataError,
)
from tt_metrics.testing import MetricContract

pairs = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.sampled_from([0, 1, 2, 7]), min_size=n, max_size=n)] * 2,
        st.none() | st.lists(st.floats(0.1, 10), min_size=n, max_size=n),
    )
)


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True)


def quiet(score, *args, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return score(*args, **settings)


def of(metric, y, p, weight=None, **settings):
    filled = metric(**settings)
    filled.update(y, p, weight=weight)
    return filled.metric_result


@pytest.mark.parametrize("adjusted", [False, True])
@settings(max_examples=40)
@given(data=pairs)
def test_balanced_accuracy(adjusted, data):
    y, p, weight = data
    if adjusted and len(set(y)) == 1:  # 0 / 0, or -inf by scikit-learn's rounding
        assert math.isnan(of(BalancedAccuracyMetric, y, p, weight, adjusted=True))
        return
    expected = quiet(oracle.balanced_accuracy_score, y, p, sample_weight=weight, adjusted=adjusted)
    assert of(BalancedAccuracyMetric, y, p, weight, adjusted=adjusted) == near(expected)


@settings(max_examples=40)
@given(data=pairs)
def test_matthews_correlation(data):
    y, p, weight = data
    given_ = of(MatthewsCorrelationMetric, y, p, weight)
    if len(set(y)) == 1 or len(set(p)) == 1:
        assert given_ == 0  # scikit-learn's rounding may leave a little more with weights
    else:
        expected = quiet(oracle.matthews_corrcoef, y, p, sample_weight=weight)
        assert given_ == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
@settings(max_examples=40)
@given(data=pairs, known=st.booleans())
def test_kappa(weights, data, known):
    y, p, weight = data
    labels = [7, 2, 1, 0, 5] if known else None
    given_ = of(CohenKappaMetric, y, p, weight, weights=weights, labels=labels)
    if set(y) == set(p) and len(set(y)) == 1:
        assert math.isnan(given_)
        return
    expected = quiet(
        oracle.cohen_kappa_score, y, p, weights=weights, labels=labels, sample_weight=weight
    )
    assert given_ == near(expected)


@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
@settings(max_examples=40)
@given(data=pairs)
def test_confusion_matrix(normalize, data):
    y, p, weight = data
    metric = ConfusionMatrixMetric(normalize=normalize)
    metric.update(y, p, weight=weight)
    labels = list(range(max(*y, *p) + 1))
    expected = quiet(
        oracle.confusion_matrix, y, p, labels=labels, sample_weight=weight, normalize=normalize
    )
    np.testing.assert_allclose(metric.matrix, expected, rtol=1e-12, atol=1e-15)
    rows = metric.metric_result
    assert list(rows) == [str(label) for label in labels]
    assert [list(row.values()) for row in rows.values()] == metric.matrix.tolist()


def test_the_matrix_reads_by_label():
    y, p = ["cat", "dog", "dog"], ["cat", "cat", "dog"]
    metric = ConfusionMatrixMetric(y, p, labels=["dog", "cat"])
    assert metric["Confusion_matrix"]["dog"] == {"dog": 1, "cat": 1}
    assert metric.compute() == {
        "Confusion_matrix_dog_dog": 1,
        "Confusion_matrix_dog_cat": 1,
        "Confusion_matrix_cat_dog": 0,
        "Confusion_matrix_cat_cat": 1,
    }
    assert metric.matrix.dtype == np.int64


def test_the_matrix_is_a_copy():
    metric = ConfusionMatrixMetric([0, 1], [0, 1])
    metric.matrix[:] = 99
    assert metric.matrix.tolist() == [[1, 0], [0, 1]]


def test_kappa_of_places_that_are_known():
    y, p = [0, 0, 4, 4], [0, 1, 4, 4]
    for known in ({"num_classes": 5}, {"labels": range(5)}):
        given_ = CohenKappaMetric(y, p, weights="quadratic", **known).metric_result
        expected = oracle.cohen_kappa_score(y, p, weights="quadratic", labels=range(5))
        assert given_ == near(expected)
    assert CohenKappaMetric(y, p, weights="quadratic").metric_result != near(expected)


def test_kappa_of_cohens_table():
    # J. Cohen 1960, table 1, as counts of 200 items: p_o = 0.70, p_e = 0.41.
    counts = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    cells = np.repeat(np.arange(9), np.ravel(counts))
    y, p = cells // 3, cells % 3
    assert CohenKappaMetric(y, p).metric_result == near((0.70 - 0.41) / (1 - 0.41))


def test_large_counts_do_not_overflow():
    counts = np.array([[3 * 10**9, 10**9], [2 * 10**9, 4 * 10**9]])
    state = Confusion(num_classes=2)
    state.merge({"counts": counts, "items": int(counts.sum()), "names": None})
    (a, b), (c, d) = (map(Fraction, row) for row in counts.tolist())
    phi = (a * d - b * c) / (math.sqrt((a + b) * (a + c)) * math.sqrt((d + b) * (d + c)))
    assert MatthewsCorrelationMetric().result_of(state) == near(float(phi))
    n = a + b + c + d
    chance = ((a + b) * (a + c) + (d + b) * (d + c)) / n**2
    kappa = near(float(((a + d) / n - chance) / (1 - chance)))
    for weights in (None, "linear", "quadratic"):  # all alike for two labels
        assert CohenKappaMetric(weights=weights).result_of(state) == kappa


@pytest.mark.parametrize(
    ("metric", "settings", "rule"),
    [
        (CohenKappaMetric, {"weights": "cubic"}, "'linear' or 'quadratic'; it is 'cubic'"),
        (ConfusionMatrixMetric, {"normalize": "rows"}, "'all', .*; it is 'rows'"),
        (
            ConfusionMatrixMetric,
            {"normalize": "true", "multilabel": True},
            "with multilabel=True None; it is 'true'",
        ),
    ],
)
def test_settings_that_mean_nothing(metric, settings, rule):
    with pytest.raises(MetricInputError, match=rule):
        metric(**settings)


def test_items_that_weigh_nothing():
    for make in (BalancedAccuracyMetric, MatthewsCorrelationMetric, CohenKappaMetric):
        with pytest.raises(NoDataError, match="weigh nothing"):
            of(make, [0, 1], [0, 1], [0, 0])
    assert of(ConfusionMatrixMetric, [0], [0], [0], normalize="all")["0"]["0"] == 0


class Labels(MetricContract):
    def batches(self):
        draw = np.random.default_rng(1)
        return [(draw.integers(0, 4, n), draw.integers(0, 4, n)) for n in (5, 1, 40, 8)]


def test_a_label_whose_items_weigh_nothing_has_no_place():
    y, p, weight = [0, 1, 2, 3, 0, 2], [0, 1, 3, 2, 2, 2], [1, 0, 1, 1, 1, 1]
    metric, left_out = CohenKappaMetric(weights="linear"), CohenKappaMetric(weights="linear")
    metric.update(y, p, weight=weight)
    left_out.update([0, 2, 3, 0, 2], [0, 3, 2, 2, 2])
    assert metric.metric_result == left_out.metric_result


class TestBalancedAccuracy(Labels):
    def make_metric(self):
        return BalancedAccuracyMetric(adjusted=True)


class TestMatthewsCorrelation(Labels):
    def make_metric(self):
        return MatthewsCorrelationMetric()


class TestCohenKappa(Labels):
    def make_metric(self):
        return CohenKappaMetric(weights="linear")


class TestConfusionMatrix(Labels):
    def make_metric(self):
        return ConfusionMatrixMetric(normalize="true")


class TestConfusionMatrixOfTexts(MetricContract):
    def make_metric(self):
        return ConfusionMatrixMetric()

    def batches(self):
        return [(["a", "b"], ["b", "b"]), (["d"], ["a"]), (["c", "c"], ["c", "a"])]
