"""Curves of two classes, against scikit-learn point by point."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tt_metrics.api import (
    MetricInputError,
    PrecisionRecallCurve,
    PrecisionRecallCurveMetric,
    ROCAUCMetric,
    ROCCurve,
    ROCCurveMetric,
)
from tt_metrics.testing import MetricContract


@st.composite
def rankings(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(2, 60))
    y = rng.integers(0, 2, n)
    y[:2] = 0, 1
    s = (rng.normal(size=n) + y).round(draw(st.integers(0, 3)))
    # Sums of these weights are exact, so that "on a straight line" is not a matter of rounding.
    weight = draw(st.sampled_from([None, rng.integers(0, 4, n) / 4 + (np.arange(n) < 2)]))
    return y, s.astype(draw(st.sampled_from([np.float64, np.float32, np.float16]))), weight


def filled(metric, y, s, weight):
    metric.update(y, s, weight=weight)
    return metric.metric_result


@given(rankings(), st.booleans())
def test_roc_curve(data, drop):
    y, s, weight = data
    curve = filled(ROCCurveMetric(drop_intermediate=drop), y, s, weight)
    fpr, tpr, thresholds = oracle.roc_curve(y, s, sample_weight=weight, drop_intermediate=drop)
    assert isinstance(curve, ROCCurve)
    np.testing.assert_allclose(curve.fpr, fpr, rtol=1e-13)
    np.testing.assert_allclose(curve.tpr, tpr, rtol=1e-13)
    np.testing.assert_array_equal(curve.thresholds, thresholds)


@given(rankings(), st.booleans())
def test_precision_recall_curve(data, drop):
    y, s, weight = data
    curve = filled(PrecisionRecallCurveMetric(drop_intermediate=drop), y, s, weight)
    expected = oracle.precision_recall_curve(y, s, sample_weight=weight, drop_intermediate=drop)
    assert isinstance(curve, PrecisionRecallCurve)
    np.testing.assert_allclose(curve.precision, expected[0], rtol=1e-13)
    np.testing.assert_allclose(curve.recall, expected[1], rtol=1e-13)
    np.testing.assert_array_equal(curve.thresholds, expected[2])


def test_equal_scores_are_one_threshold():
    roc = ROCCurveMetric([0, 1, 1], [0.5, 0.5, 0.5]).metric_result
    assert roc.thresholds.tolist() == [np.inf, 0.5]
    assert roc.fpr.tolist() == roc.tpr.tolist() == [0, 1]
    precision_recall = PrecisionRecallCurveMetric(
        [0, 1, 1, 0], [0.5] * 4, drop_intermediate=True
    ).metric_result
    assert precision_recall.precision.tolist() == [0.5, 1]
    assert precision_recall.recall.tolist() == [1, 0]


def test_a_curve_shares_its_state_with_the_area_under_it():
    assert ROCCurveMetric().make_state().key == ROCAUCMetric().make_state().key


def test_labels_say_which_class_is_positive():
    y, s = ["yes", "no", "yes"], [0.2, 0.4, 0.6]
    curve = ROCCurveMetric(y, s, labels=["no", "yes"]).metric_result
    np.testing.assert_allclose(curve.tpr, [0, 0.5, 0.5, 1])
    np.testing.assert_allclose(curve.fpr, [0, 0, 1, 1])


@pytest.mark.parametrize("metric", [ROCCurveMetric, PrecisionRecallCurveMetric])
def test_a_curve_is_of_two_classes(metric):
    with pytest.raises(MetricInputError, match="two classes; scores of 3"):
        metric([0, 1], [[1, 2, 3], [1, 2, 3]]).compute()
    with pytest.raises(MetricInputError, match="items of label 1"):
        metric([0, 0], [0.1, 0.2]).compute()


def test_a_roc_curve_needs_negatives():
    with pytest.raises(MetricInputError, match="items of label 0"):
        ROCCurveMetric([1, 1], [0.1, 0.2]).compute()
    curve = PrecisionRecallCurveMetric([1, 1], [0.1, 0.2]).metric_result
    assert curve.precision.tolist() == [1, 1, 1]
    assert curve.recall.tolist() == [1, 0.5, 0]


class Curves(MetricContract):
    def batches(self):
        draw = np.random.default_rng(5)
        return [(draw.permutation(n) % 2, draw.integers(0, 9, n) / 8) for n in (40, 30, 20, 9)]

    def _numbers(self, results):
        return {
            f"{name}{i}": value
            for curve in results.values()
            for name, points in vars(curve).items()
            for i, value in enumerate(points)
        }

    def _expect_equal(self, metric, expected):
        numbers = self._numbers(metric.compute())
        assert numbers == pytest.approx(self._numbers(expected), rel=1e-15)

    def test_computing_changes_nothing(self):
        first, *rest = self.batches()
        metric = self._filled([first])
        self._expect_equal(metric, metric.compute())
        for batch in rest:
            metric.update(*batch)
        self._expect_equal(metric, self._filled(self.batches()).compute())


class TestROCCurve(Curves):
    def make_metric(self):
        return ROCCurveMetric()


class TestPrecisionRecallCurve(Curves):
    def make_metric(self):
        return PrecisionRecallCurveMetric(drop_intermediate=True)
