"""Metrics on labels, against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.naive_bayes import GaussianNB

from tt_metrics import (
    AccuracyMetric,
    F1ScoreMetric,
    MetricInputError,
    NoDataError,
    PrecisionMetric,
    RecallMetric,
)

AVERAGED = {
    PrecisionMetric: oracle.precision_score,
    RecallMetric: oracle.recall_score,
    F1ScoreMetric: oracle.f1_score,
}


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return y[900:], GaussianNB().fit(x[:900], y[:900]).predict_proba(x[900:])


@pytest.fixture(scope="module")
def tumours():
    x, y = load_breast_cancer(return_X_y=True)
    return y[300:], GaussianNB().fit(x[:300], y[:300]).predict_proba(x[300:])[:, 1]


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def test_accuracy_of_scores_is_that_of_their_largest_column(digits):
    y, scores = digits
    assert AccuracyMetric(y, scores).metric_result == oracle.accuracy_score(y, scores.argmax(1))


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("metric", AVERAGED)
def test_averages_over_many_classes(digits, metric, average):
    y, scores = digits
    expected = AVERAGED[metric](y, scores.argmax(1), average=average)
    assert metric(y, scores, average=average).metric_result == near(expected)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("metric", AVERAGED)
def test_two_classes_from_probabilities(tumours, metric, threshold):
    y, p = tumours
    expected = AVERAGED[metric](y, p >= threshold)
    assert metric(y, p, threshold).metric_result == near(expected)


@pytest.mark.parametrize("zero_division", [0.0, 1.0])
@pytest.mark.parametrize("average", ["binary", "macro", "micro", "weighted"])
@pytest.mark.parametrize("metric", AVERAGED)
@pytest.mark.parametrize(
    ("y_true", "y_predicted"),
    [([0, 0], [0, 0]), ([1, 1], [0, 0]), ([0, 0], [1, 1]), ([0, 1], [0, 0]), ([1], [1])],
)
def test_what_is_zero_over_zero(metric, average, zero_division, y_true, y_predicted):
    expected = AVERAGED[metric](y_true, y_predicted, average=average, zero_division=zero_division)
    given = metric(y_true, y_predicted, average=average, zero_division=zero_division)
    assert given.metric_result == near(expected)


def test_a_class_that_never_occurs_has_no_part_in_the_mean():
    y, p = [0, 0, 3], [0, 3, 3]
    expected = near(oracle.f1_score(y, p, average="macro"))
    assert F1ScoreMetric(y, p, average="macro", num_classes=10) == expected.expected
    assert F1ScoreMetric(y, p, average="macro").metric_result == expected


@pytest.mark.parametrize("metric", [AccuracyMetric, *AVERAGED])
def test_the_threshold_itself_is_positive_for_every_metric(metric):
    assert metric([1, 1], [0.5, 0.5]).metric_result == 1


def test_labels_of_any_type_mean_the_same():
    y, p = [0, 1, 1, 0], [0, 1, 0, 0]
    for dtype in ("bool", "int8", "uint64", "float16", "float32", "float64"):
        assert AccuracyMetric(np.array(y, dtype), np.array(p, dtype)).metric_result == 0.75


def test_float_labels_above_one_are_labels():
    assert AccuracyMetric([0.0, 2.0], [2.0, 2.0]).metric_result == 0.5


def test_one_column_of_probabilities_is_not_one_column_of_scores():
    assert AccuracyMetric([[1], [0]], [[0.9], [0.2]]).metric_result == 1


def test_counting_in_blocks_loses_nothing():
    draw = np.random.default_rng(0)
    y, p = draw.integers(0, 3, (2, 200_001))
    assert AccuracyMetric(y, p).metric_result == oracle.accuracy_score(y, p)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # Wilson's formula worked out by hand with z = 1.959964; 0 and n give the closed forms.
    [(8, 10, 0.490162, 0.943318), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0)],
)
def test_wilsons_interval(correct, n, low, high):
    metric = AccuracyMetric(np.ones(n, int), np.arange(n) < correct)
    assert metric.ci() == pytest.approx((low, high), abs=1e-6)


def test_more_confidence_is_a_wider_interval():
    metric = AccuracyMetric([1, 0, 1], [1, 1, 1])
    narrow, wide = metric.ci(0.5), metric.ci(confidence=0.99)
    assert wide.low < narrow.low < float(metric) < narrow.high < wide.high


def test_an_interval_needs_data_and_a_probability():
    with pytest.raises(NoDataError, match="needs data"):
        AccuracyMetric().ci()
    with pytest.raises(MetricInputError, match=r"between 0 and 1.*95"):
        AccuracyMetric([1], [1]).ci(95)


def test_binary_is_for_two_labels():
    with pytest.raises(MetricInputError, match=r"label 2 came. Use average='macro'"):
        F1ScoreMetric([0, 1, 2], [0, 1, 1]).get_metric()


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"positive_class_thresh": 0.0}, "above 0 and at most 1; it is 0.0"),
        ({"positive_class_thresh": 1.5}, "above 0 and at most 1; it is 1.5"),
        ({"num_classes": 0}, "at least 1; it is 0"),
        ({"average": "samples"}, "one of binary, macro, micro, weighted; it is 'samples'"),
        ({"zero_division": float("nan")}, r"in \[0, 1\]; it is nan"),
    ],
)
def test_settings_that_mean_nothing(settings, rule):
    with pytest.raises(MetricInputError, match=rule):
        F1ScoreMetric(**settings)


@pytest.mark.parametrize(
    ("y_true", "y_predicted", "rule"),
    [
        ([0, 3], [0, 1], "below 3; 3 came"),
        ([0, 1], [[0.1, 0.9], [0.2, 0.8]], r"\(2, 2\), the largest label is 1, num_classes is 3"),
        ([0, 3], [[0, 1, 2], [0, 1, 2]], r"\(2, 3\), the largest label is 3"),
    ],
)
def test_labels_beyond_the_known_classes(y_true, y_predicted, rule):
    with pytest.raises(MetricInputError, match=rule):
        AccuracyMetric(y_true, y_predicted, num_classes=3)


def test_an_identifier_taken_for_a_label_does_not_eat_the_memory():
    with pytest.raises(MetricInputError, match="below 4096; 10000000000 came"):
        AccuracyMetric([10**10], [1])


def test_a_batch_that_raises_leaves_the_metric_as_it_was():
    metric = AccuracyMetric([0, 1], [0, 1], num_classes=2)
    with pytest.raises(MetricInputError):
        metric.update([0, 0, 5], [1, 1, 1])
    assert metric.metric_result == 1
    assert metric.count == 2
