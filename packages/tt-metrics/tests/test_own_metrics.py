"""Metrics and packages that users write."""

import doctest

import numpy as np
import pytest

import tt_metrics._core.metric
import tt_metrics._core.whole
import tt_metrics._packages.base
from tt_metrics.api import AbstractBaseMetric, Confusion, Metric, MetricTypeError


@pytest.mark.parametrize(
    "module", [tt_metrics._core.metric, tt_metrics._core.whole, tt_metrics._packages.base]
)
def test_the_examples_in_the_docstrings(module):
    names = {"Confusion": Confusion}
    result = doctest.testmod(module, extraglobs=names)
    assert result.attempted > 0
    assert result.failed == 0


class Longest(AbstractBaseMetric):
    def __init__(self, y_true, y_predicted):
        super().__init__(y_true, y_predicted, "Longest", np_array=False)

    def calculate_metric(self):
        return max(map(len, [*self.y_true, *self.y_predicted]))


class Nothing(AbstractBaseMetric):
    def __init__(self, y_true=None, y_predicted=None):
        super().__init__(y_true, y_predicted, "Nothing")

    def calculate_metric(self):
        pass


def test_data_stays_what_it_is_without_np_array():
    texts = ["a", "bcd"]
    metric = Longest(texts, ["ef"])
    assert metric.y_true is texts
    assert metric.metric_result == 3


def test_more_data_changes_the_result():
    metric = Longest(["a"], ["bc"])
    metric.update(["defg"], [])
    assert metric == 4
    metric.merge(Longest(["123456"], []).state)
    assert metric == 6
    assert metric.y_true == ["a", "defg", "123456"]


def test_a_calculation_without_a_result_is_an_error():
    with pytest.raises(MetricTypeError, match="that of Nothing did neither"):
        Nothing([1], [1])


def test_a_metric_on_whole_data_keeps_no_graph():
    class Tensor:
        shape = (1,)

        def detach(self):
            return np.array([1.0])

    class Plain(Longest):
        def calculate_metric(self):
            return self.y_true[0]

    metric = Plain(Tensor(), np.array([2.0]))
    assert isinstance(metric.y_true, np.ndarray)
    metric.update(Tensor(), np.array([2.0]))
    assert metric.get_metric() == 1.0
    np.testing.assert_array_equal(metric.y_predicted, [2.0, 2.0])


def test_a_metric_of_ones_own_needs_a_state_and_a_function():
    class ErrorRate(Metric):
        def __init__(self, y_true=None, y_predicted=None):
            super().__init__("Error_rate", y_true, y_predicted)

        def make_state(self):
            return Confusion()

        def result_of(self, state):
            return 1 - state.counts.trace() / state.count

    assert ErrorRate([0, 1], [1, 1]) == 0.5
    assert ErrorRate.from_state(ErrorRate([0, 1], [1, 1]).state) == 0.5


def test_drawing_from_whole_data_leaves_the_metric_alone():
    class MeanMiss(AbstractBaseMetric):
        def __init__(self, y_true, y_predicted):
            super().__init__(y_true, y_predicted, "Mean_miss")

        def calculate_metric(self):
            self.metric_result = float(np.abs(self.y_true - self.y_predicted).mean())

    predicted = np.linspace(0, 1, 50)
    metric = MeanMiss(np.zeros(50), predicted)
    low, high = metric.ci(n_resamples=200)
    assert 0.3 < low < 0.5 < high < 0.7
    assert metric == 0.5
    np.testing.assert_array_equal(metric.y_predicted, predicted)
    assert metric.of(MeanMiss([1.0], [3.0])._state) == 2.0
    texts = Longest(["a", "bcd"], ["ef", "g"])
    assert list(texts.ci(n_resamples=50)) == [2, 3]
