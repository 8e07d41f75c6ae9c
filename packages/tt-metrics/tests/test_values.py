"""A metric used as the value it stands for."""

import pickle

import numpy as np
import pytest

from tt_metrics import (
    AbstractBaseMetric,
    AccuracyMetric,
    F1ScoreMetric,
    MeanAbsoluteErrorMetric,
    MetricInputError,
    MetricStateError,
    NoDataError,
    UnknownResultError,
)


class Spread(AbstractBaseMetric):
    """A metric with several numbers, as a numpy float and as a plain one."""

    def __init__(self, y_true, y_predicted):
        super().__init__(y_true, y_predicted, "Spread")

    def calculate_metric(self):
        errors = self.y_true - self.y_predicted
        self.metric_result = {"least": errors.min(), "most": float(errors.max())}


@pytest.fixture
def accuracy():
    return AccuracyMetric([0, 1, 1, 1], [0, 1, 1, 0])


@pytest.mark.parametrize("kind", [float, np.float64, np.float32, np.float16])
def test_comparing_with_numbers_on_either_side(accuracy, kind):
    assert accuracy > kind(0.5)
    assert accuracy >= kind(0.75)
    assert accuracy == kind(0.75)
    assert accuracy <= kind(0.75)
    assert accuracy < kind(1)
    assert kind(0.5) < accuracy
    assert kind(0.75) >= accuracy
    assert kind(0.75) == accuracy
    assert kind(0.5) != accuracy
    assert not accuracy < kind(0.75)


def test_comparing_with_metrics(accuracy):
    other = AccuracyMetric([1, 1], [1, 0])
    assert accuracy > other
    assert other <= accuracy
    assert accuracy == F1ScoreMetric([0, 1, 1, 1], [0, 1, 1, 0], average="micro")
    assert accuracy != other


def test_comparing_with_something_else_is_an_error(accuracy):
    with pytest.raises(TypeError):
        assert accuracy < "0.9"
    assert accuracy != "0.75"


def test_empty_metrics_are_equal_only_to_themselves():
    metric = AccuracyMetric()
    assert metric in [metric]
    assert metric not in [AccuracyMetric(), 0.5]


def test_numpy_results_are_values_too():
    metric = Spread([1.0, 5.0], [1.0, 2.0])
    assert len(metric) == 2
    assert metric.compute() == {"Spread_least": 0.0, "Spread_most": 3.0}
    assert metric.get_metric() == {"least": 0.0, "most": 3.0}
    assert metric["Spread"]["most"] == 3.0


def test_reading(accuracy):
    assert float(accuracy) == accuracy.metric_result == accuracy.get_metric() == 0.75
    assert accuracy.metric_name == "Accuracy"
    assert accuracy.get_metric_dict() == accuracy.compute() == {"Accuracy": 0.75}
    assert "Accuracy" in accuracy
    assert "F1_score" not in accuracy
    assert accuracy["Accuracy"] == 0.75
    assert len(accuracy) == 1
    assert list(accuracy) == ["Accuracy"]
    assert str(accuracy) == "Accuracy: 0.75"
    assert "of 4 items" in repr(accuracy)


def test_an_unknown_name_is_an_error_that_lists_the_known(accuracy):
    with pytest.raises(UnknownResultError) as caught:
        accuracy["accuracy"]
    assert isinstance(caught.value, KeyError)
    message = "A result must be asked for by its name, one of ['Accuracy']; 'accuracy' came."
    assert str(caught.value) == message


def test_joining(accuracy):
    error = MeanAbsoluteErrorMetric([1.0], [3.0])
    both = {"Accuracy": 0.75, "Mean_absolute_error": 2.0}
    assert accuracy + error == both
    assert accuracy.concat_metric(error) == both
    assert accuracy + {"Mean_absolute_error": 2.0} == both
    assert {"Mean_absolute_error": 2.0} + accuracy == both
    with pytest.raises(TypeError):
        accuracy + 1
    with pytest.raises(TypeError):
        1 + accuracy


def test_joining_loses_no_result(accuracy):
    other = AccuracyMetric([1], [1])
    with pytest.raises(MetricInputError, match=r"\['Accuracy'\] came twice. Set `metric_name`"):
        accuracy + other
    other.metric_name = "Accuracy_B"
    assert accuracy + other == {"Accuracy": 0.75, "Accuracy_B": 1.0}


def test_an_empty_metric_is_there_but_has_no_result():
    metric = AccuracyMetric()
    assert metric
    with pytest.raises(NoDataError, match="Accuracy must see data"):
        float(metric)


def test_states_of_other_metrics_or_settings_are_refused(accuracy):
    for other in (AccuracyMetric(positive_class_thresh=0.7), MeanAbsoluteErrorMetric()):
        with pytest.raises(MetricStateError, match="one metric with the same settings"):
            accuracy.merge(other.state)
    with pytest.raises(MetricStateError, match="the entry 'format'; AccuracyMetric came"):
        accuracy.merge(accuracy)
    with pytest.raises(MetricStateError, match=r"the entry 'metric'; the keys \['format'\] came"):
        accuracy.merge({"format": 1})
    with pytest.raises(MetricStateError, match=r"of format 1 or before; 2 came.*upgrade"):
        accuracy.merge(accuracy.state | {"format": 2})


def test_from_state_keeps_settings_and_name():
    metric = F1ScoreMetric([0, 1, 2], [0, 2, 2], average="macro", zero_division=1.0)
    metric.metric_name = "F1_macro"
    again = F1ScoreMetric.from_state(metric.state)
    assert again.compute() == metric.compute()
    assert again.settings == metric.settings


def test_settings_of_nan_are_equal_also_after_a_trip():
    metric = F1ScoreMetric([0, 1], [0, 0], average="macro", zero_division=float("nan"))
    state = pickle.loads(pickle.dumps(metric.state))
    metric.merge(state)
    assert metric.count == 4
    assert F1ScoreMetric.from_state(state) == 1 / 3
