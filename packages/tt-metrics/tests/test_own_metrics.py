"""Metrics and packages that users write."""

import doctest

import numpy as np
import pytest

import tt_metrics._metric
import tt_metrics._package
import tt_metrics._whole
from tt_metrics.api import AbstractBaseMetric, Confusion, Metric, MetricTypeError


@pytest.mark.parametrize("module", [tt_metrics._metric, tt_metrics._whole, tt_metrics._package])
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
