"""Numbers near the ends of what float64 holds: a right result or a clear error, never nan."""

import math

import numpy as np
import pytest

from tt_metrics.api import (
    BrierScoreMetric,
    GeneralResultPackage,
    HuberLossMetric,
    MeanAbsoluteErrorMetric,
    MeanAbsolutePercentageErrorMetric,
    MeanSquaredErrorMetric,
    MetricInputError,
    NDCGMetric,
    PearsonCorrelationMetric,
    PrecisionRecallCurveMetric,
    R2ScoreMetric,
    ROCAUCMetric,
    SpearmanCorrelationMetric,
)

BIG = 2**53
REAL = [MeanSquaredErrorMetric, HuberLossMetric, MeanAbsolutePercentageErrorMetric, R2ScoreMetric]
LONG = np.finfo(np.longdouble).max > np.finfo(np.float64).max


def of(metric, y, p, weight=None):
    metric.update(y, p, weight=weight)
    return metric.get_metric()


@pytest.mark.parametrize("metric", REAL)
def test_a_number_is_not_a_batch(metric):
    with pytest.raises(MetricInputError, match="one entry per item along the first axis"):
        metric(1.0, 2.0)


SCALES = [1e-320, 1e-300, 1e-160, 1.0, 1e160, 1e300, 4e307]


@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_of_weights_does_not_count(scale):
    y, p, weight = [0, 1, 1, 0], [0.2, 0.7, 0.4, 0.4], [scale] * 4
    assert of(ROCAUCMetric(), y, p, weight) == 0.875
    expected = SpearmanCorrelationMetric(y, p).get_metric()
    assert of(SpearmanCorrelationMetric(), y, p, weight) == pytest.approx(expected, rel=1e-15)


def test_the_weights_of_the_classes_may_lie_far_apart():
    y, p = [0, 1, 1, 0], [0.2, 0.7, 0.4, 0.4]
    assert of(ROCAUCMetric(), y, p, [1e300, 1e-300, 1e-300, 1e300]) == pytest.approx(0.875)
    assert of(ROCAUCMetric(), y, p, [1e300, 1, 1, 1e300]) == pytest.approx(0.875)


@pytest.mark.parametrize("metric", [MeanSquaredErrorMetric, HuberLossMetric, BrierScoreMetric])
def test_the_sum_of_weights_must_be_finite(metric):
    with pytest.raises(MetricInputError, match="sum of weight must stay below"):
        metric().update([0, 1, 1, 0], [0.5] * 4, weight=[1e308] * 4)


@pytest.mark.parametrize(
    "metric", [MeanSquaredErrorMetric, HuberLossMetric, BrierScoreMetric, R2ScoreMetric]
)
def test_the_sum_of_weights_of_all_batches_must_be_finite(metric):
    filled = metric()
    filled.update([0, 0], [0.0, 0.0], weight=[1e308, 0])
    with pytest.raises(MetricInputError, match="sum of weight must stay below"):
        filled.update([0, 0], [0.0, 0.0], weight=[1e308, 0])
    assert filled.count == 2


@pytest.mark.parametrize("swap", [False, True])
def test_whole_numbers_that_lose_their_order_are_refused(swap):
    numbers, small = [BIG, BIG + 1, BIG + 2, BIG + 3], [0, 1, 2, 3]
    y, p = (small, numbers) if swap else (numbers, small)
    name = "y_predicted" if swap else "y_true"
    with pytest.raises(MetricInputError, match=rf"{name} as whole .* {BIG + 1} at index 1"):
        SpearmanCorrelationMetric(y, p)


def test_whole_scores_of_documents_that_lose_their_order_are_refused():
    with pytest.raises(MetricInputError, match=r"y_predicted as whole .* at index \(0, 1\)"):
        NDCGMetric([[0, 1]], np.array([[BIG, BIG + 1]]))
    with pytest.raises(MetricInputError, match=r"y_predicted\[1\] as whole .* at index 1"):
        NDCGMetric([[0], [0, 1]], [[0.5], [BIG, BIG + 1]])


@pytest.mark.parametrize(
    "y", [[[1, 0], [1, -1]], [[1, 0, 2], [1, -1]], np.array([[1, 0], [1, -1]])]
)
def test_a_negative_relevance_is_named_by_query_and_document(y):
    p = [[0.1] * len(row) for row in y]
    with pytest.raises(MetricInputError, match=r"it holds -1\.0 at index \(1, 1\)"):
        NDCGMetric(y, p)


@pytest.mark.parametrize("scale", [1e-149, 1e-100, 1e100])
def test_correlations_of_small_and_large_numbers(scale):
    y, p = np.array([1, 2, 3]) * scale, np.array([1, 2.5, 3]) * scale
    expected = np.corrcoef([1, 2, 3], [1, 2.5, 3])[0, 1]
    assert PearsonCorrelationMetric(y, p).get_metric() == pytest.approx(expected, rel=1e-14)
    assert R2ScoreMetric(y, p).get_metric() == pytest.approx(0.875, rel=1e-14)


@pytest.mark.parametrize("metric", [PearsonCorrelationMetric, R2ScoreMetric])
@pytest.mark.parametrize("scale", [1e-160, 1e-162, 1e-170, 1e-300])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_squares_that_underflow_are_refused(metric, scale, size):
    filled, y, p = metric(), np.array([1, 2, 3]) * scale, np.array([1, 2.5, 3]) * scale
    for start in range(0, 3, size):
        filled.update(y[start : start + size], p[start : start + size])
    with pytest.raises(MetricInputError, match=r"at least 1e-300 .* scale the data"):
        filled.get_metric()


def test_small_numbers_in_one_batch_do_no_harm():
    metric, y, p = PearsonCorrelationMetric(), [1, 2, 3, 1, 2, 3], [1e-170, 0, 0, 1, 2, 3]
    metric.update(y[:3], p[:3])
    metric.update(y[3:], p[3:])
    expected = np.corrcoef(y, p)[0, 1]
    assert metric.get_metric() == pytest.approx(expected, rel=1e-14)


def test_equal_numbers_are_no_underflow():
    assert math.isnan(PearsonCorrelationMetric([1e-200] * 3, [1, 2, 3]).get_metric())
    weight = [1, 0, 1]
    assert of(R2ScoreMetric(), [1e-200, 3e-200, 1e-200], [1e-200, 0, 1e-200], weight) == 1


@pytest.mark.parametrize("p", [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.1, 0.1, 0.1]])
def test_relevances_whose_sum_is_infinite_are_refused(p):
    with pytest.raises(MetricInputError, match=r"relevances .* Scale the data down"):
        NDCGMetric([[1e308, 1.7e308, 1.7e308]], [p])
    assert 0 < NDCGMetric([[0, 1.7e308]], [[0.2, 0.1]]).get_metric() < 1


@pytest.mark.parametrize("labels", [None, ["no", "yes"]])
def test_a_class_without_weight_is_told_from_one_without_items(labels):
    y = [0, 1, 1, 0] if labels is None else ["no", "yes", "yes", "no"]
    one = 1 if labels is None else "yes"
    metric, p = ROCAUCMetric(labels=labels), [0.2, 0.7, 0.4, 0.4]
    metric.update(y, p, weight=[1, 0, 0, 1])
    with pytest.raises(MetricInputError, match=f"no item of {one} with weight above 0 came"):
        metric.get_metric()
    curve = PrecisionRecallCurveMetric(labels=labels)
    curve.update(y, p, weight=[1, 0, 0, 1])
    with pytest.raises(MetricInputError, match=f"label {one}; none with weight above 0 came"):
        curve.get_metric()


@pytest.mark.skipif(not LONG, reason="longdouble is float64 here")
def test_longer_floats_must_fit():
    big = np.array([np.longdouble("0.1"), np.longdouble("-1e4000")])
    rule = r"y_predicted must be at most 1\.8e308 .* index "
    with pytest.raises(MetricInputError, match=rule + "1"):
        ROCAUCMetric([0, 1], big)
    with pytest.raises(MetricInputError, match=rule + "1"):
        SpearmanCorrelationMetric([0, 1], big)
    with pytest.raises(MetricInputError, match=rule + r"\(0, 1\)"):
        NDCGMetric([[0, 1]], big[None])
    assert ROCAUCMetric([0, 1], np.array([0.1, -1], np.longdouble)).get_metric() == 0


@pytest.mark.parametrize("batches", [1, 3])
def test_absolute_errors_have_a_mean_where_squares_do_not(batches):
    metric = MeanAbsoluteErrorMetric()
    for _ in range(batches):
        metric.update([1e200, -1e200], [2e200, 1e200])
    assert metric.get_metric() == pytest.approx(1.5e200, rel=1e-15)
    with pytest.raises(MetricInputError, match="sum of squared must stay below"):
        MeanSquaredErrorMetric([1e200, -1e200], [2e200, 1e200])


def test_absolute_errors_share_the_sums_of_squared_ones():
    package = GeneralResultPackage([MeanAbsoluteErrorMetric(), MeanSquaredErrorMetric()])
    package.update([1.0, 2.0], [2.0, 5.0])
    assert package.get_results() == {"Mean_absolute_error": 2.0, "Mean_squared_error": 5.0}


def test_absolute_errors_that_are_too_large_are_refused():
    with pytest.raises(MetricInputError, match="sum of absolute must stay below"):
        MeanAbsoluteErrorMetric([1e308, -1e308], [-0.5e308, 1e308])
