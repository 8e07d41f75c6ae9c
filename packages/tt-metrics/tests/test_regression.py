"""Metrics on numbers, against scikit-learn and exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from tt_metrics import MeanAbsoluteErrorMetric, MeanSquaredErrorMetric, MetricInputError

ORACLE = {
    MeanSquaredErrorMetric: oracle.mean_squared_error,
    MeanAbsoluteErrorMetric: oracle.mean_absolute_error,
}


@pytest.mark.parametrize("metric", ORACLE)
def test_real_predictions(metric):
    x, y = load_diabetes(return_X_y=True)
    predicted = LinearRegression().fit(x[:200], y[:200]).predict(x)
    expected = ORACLE[metric](y, predicted)
    assert metric(y, predicted).metric_result == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", ORACLE)
def test_several_numbers_per_item_count_alike(metric):
    y, p = np.random.default_rng(0).normal(size=(2, 50, 3))
    assert metric(y, p).metric_result == pytest.approx(ORACLE[metric](y, p), rel=1e-12)


def test_float32_is_added_up_beyond_its_resolution():
    y = np.zeros(2**16 + 1, np.float32)
    p = np.full_like(y, np.float32(0.1))
    exact = Fraction(float(p[0])) ** 2
    assert MeanSquaredErrorMetric(y, p).metric_result == pytest.approx(float(exact), rel=2e-16)


def test_small_errors_survive_beside_a_large_one():
    p = np.full(10_000, 1e-9)
    p[0] = 1e8
    exact = sum(Fraction(x) for x in p.tolist()) / len(p)
    assert MeanAbsoluteErrorMetric(np.zeros_like(p), p).metric_result == float(exact)


# 1e16 + 1 is no float64: each of the ones is lost unless what additions round away is kept.
MANY_ONES = [1e16] + [1.0] * 9
EXACT = (10**16 + 9) / 10


def test_nothing_is_lost_within_a_batch():
    p = np.zeros(2**15)
    p[:: 2**15 // 10][:10] = MANY_ONES  # far apart
    assert MeanAbsoluteErrorMetric(np.zeros_like(p), p) == (10**16 + 9) / 2**15
    p = np.zeros(10 * 2**12)
    p[:: 2**12] = MANY_ONES  # on one of the sums that run side by side
    assert MeanAbsoluteErrorMetric(np.zeros_like(p), p) == (10**16 + 9) / len(p)


def test_nothing_is_lost_between_batches_or_states():
    streamed, merged = MeanAbsoluteErrorMetric(), MeanAbsoluteErrorMetric()
    for number in MANY_ONES:
        streamed.update([0.0], [number])
        merged.merge(MeanAbsoluteErrorMetric([0.0], [number]).state)
    assert streamed == EXACT
    assert merged == EXACT
    assert MeanAbsoluteErrorMetric.from_state(merged.state) == EXACT
    merged.merge(merged.state)
    assert merged == EXACT


def test_unsigned_integers_do_not_wrap_around():
    assert MeanAbsoluteErrorMetric(np.uint8([3]), np.uint8([5])).metric_result == 2
    assert MeanAbsoluteErrorMetric(np.uint8([5]), np.uint8([3])).metric_result == 2


def test_a_column_against_a_row_is_not_a_table():
    assert MeanSquaredErrorMetric([[1.0], [2.0]], [1.0, 4.0]).metric_result == 2


def test_shapes_that_differ_are_both_named():
    with pytest.raises(MetricInputError, match=r"same shape; their shapes are \(2, 2\) and \(2,\)"):
        MeanSquaredErrorMetric([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0])


@pytest.mark.parametrize("size", [1, 2, 5000])
def test_a_sum_beyond_float64_is_an_error(size):
    with pytest.raises(MetricInputError, match="sum of squared must stay below"):
        MeanSquaredErrorMetric(np.zeros(size), np.full(size, 1e200))


def test_a_sum_that_grows_beyond_float64_leaves_the_metric_as_it_was():
    metric = MeanSquaredErrorMetric([0.0], [1e154])
    before = metric.metric_result
    with pytest.raises(MetricInputError, match="scale the data down"):
        metric.update([0.0, 0.0], [1e154, 1.3e154])
    assert metric.metric_result == before
