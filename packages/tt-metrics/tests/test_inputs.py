"""What may be passed, and what is said about the rest."""

import numpy as np
import pytest

from tt_metrics import (
    AccuracyMetric,
    BrierScoreMetric,
    CalibrationErrorMetric,
    LogLossMetric,
    MeanSquaredErrorMetric,
    MetricError,
    MetricInputError,
    ROCAUCMetric,
    ROCCurveMetric,
)


class Tensor:
    """What the package sees of a torch tensor that lives on a GPU and in a graph."""

    def __init__(self, values, *, bfloat16=False, on_device=True):
        self.values, self.bfloat16, self.on_device = values, bfloat16, on_device

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.values, bfloat16=self.bfloat16, on_device=False)

    def float(self):
        return Tensor(self.values, on_device=self.on_device)

    def numpy(self):
        if self.bfloat16 or self.on_device:
            msg = "not from here"
            raise TypeError(msg)
        return np.array(self.values)


@pytest.mark.parametrize(
    "wrap", [list, tuple, np.array, Tensor, lambda v: [Tensor(x) for x in v]], ids=repr
)
def test_kinds_of_arrays(wrap):
    assert AccuracyMetric(wrap([0, 1, 1]), wrap([0, 1, 0])) == 2 / 3


def test_bfloat16_is_read_exactly():
    assert AccuracyMetric([1, 0], Tensor([0.5, 0.25], bfloat16=True)).metric_result == 1


def test_real_tensors():
    torch = pytest.importorskip("torch", reason="torch is not among the requirements")
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2]], requires_grad=True)
    target = torch.tensor([1, 1])
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert AccuracyMetric(target, scores.to(dtype)).metric_result == 0.5
    assert AccuracyMetric(list(target), [row.argmax() for row in scores]).metric_result == 0.5


def test_the_data_is_neither_copied_nor_changed():
    y = np.array([0.0, 1.0])
    y.flags.writeable = False
    assert MeanSquaredErrorMetric(y, y).metric_result == 0
    assert AccuracyMetric(y, y).metric_result == 1


@pytest.mark.parametrize(
    ("y_true", "y_predicted", "message"),
    [
        ([], [], r"y_true must hold at least one item; its shape is \(0,\)"),
        ([0, 1], [0.1, float("nan")], "y_predicted must be finite; it holds nan at index 1"),
        ([0], [[1.0, float("-inf")]], r"y_predicted must be finite; it holds -inf at index \(0, 1"),
        ([float("inf")], [1.0], "y_true must be finite; it holds inf at index 0"),
        ([0, 1], [0, 1, 1], r"their shapes are \(2,\) and \(3,\)"),
        (1, 1, r"one entry per item .* their shapes are \(\) and \(\)"),
        ([[1, 2], [3]], [1, 2], "y_true must be rectangular"),
        (
            ["cat", 1],
            ["cat", "dog"],
            "y_true must hold only numbers or only texts; it mixes number",
        ),
        ([{"a": 1}, {}], [0, 1], "y_true must hold only numbers or only texts; it holds {'a': 1}"),
        ([0, None], [0, 1], "y_true must hold only numbers or only texts; it holds None"),
        (["cat"], [0], "must both be numbers or both be texts; they are <U3 and int64"),
        ([["cat"], ["dog"]], [["cat", "a"], ["dog", "b"]], r"Text labels must have shape \(n,\)"),
        (np.array([], str), np.array([], str), "y_true must hold at least one item"),
        ([0], [1j], "y_predicted must be real numbers; its dtype is complex128"),
        ([0, -1], [0, 1], r"y_true must be labels from 0 up .* it holds -1 at index 1"),
        ([0, 0.5], [0, 1], "y_true must be whole labels; it holds 0.5 at index 1"),
        ([[1, 0], [0, 1]], [0, 1], r"y_true must be class labels .* \(2, 2\).*argmax"),
        ([1], [[[0.1]], [[0.2]]], r"their shapes are \(1,\) and \(2, 1\)"),
        ([0], [[[0.1, 0.9]]], r"y_predicted must be class labels .* \(1, 1, 2\)"),
        ([0, 1], [0.3, 2.0], "y_predicted must be probabilities .* or labels; it holds 2.0 at"),
        ([0, 1], [0.5, 1.2], "y_predicted must be probabilities .* or labels; it holds 1.2 at"),
        ([1e30, 3e30], [2e30, 1e30], r"y_true must be labels below 2\*\*53; it holds 1e\+30"),
        (np.ma.array([0, 1], mask=[0, 1]), [0, 1], "y_true must have no masked items; 1 are"),
        ([1], None, "y_true and y_predicted must come together; only one did"),
    ],
)
def test_what_cannot_be_evaluated(y_true, y_predicted, message):
    with pytest.raises(MetricInputError, match=message) as caught:
        AccuracyMetric(y_true, y_predicted)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, MetricError)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positive_class_thresh": "a"}, "A threshold must be above 0 and at most 1; it is 'a'"),
        ({"positive_class_thresh": 0.0}, "A threshold must be above 0 and at most 1; it is 0.0"),
        ({"num_classes": 2.5}, "num_classes must be a whole number of at least 1; it is 2.5"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1; it is 0"),
        ({"labels": 5}, "labels must be a list of all labels in their order; 5 came"),
        ({"labels": {0, 1}}, "labels must be a list of all labels in their order"),
        ({"labels": "ab"}, "labels must be a list of all labels in their order; 'ab' came"),
        ({"labels": [0.5, float("nan")]}, "labels must be at least one label, each a number"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(MetricInputError, match=message):
        AccuracyMetric(**settings)


def test_sparse_tensors_are_named():
    torch = pytest.importorskip("torch", reason="torch is not among the requirements")
    with pytest.raises(MetricInputError, match="y_true must be a dense tensor"):
        AccuracyMetric(torch.tensor([0, 1]).to_sparse(), [0, 1])


@pytest.mark.parametrize(
    "make",
    [ROCAUCMetric, ROCCurveMetric, LogLossMetric, BrierScoreMetric, CalibrationErrorMetric],
)
@pytest.mark.parametrize("labels", [{0, 1}, "ab", 5])
def test_labels_without_an_order_are_refused_everywhere(make, labels):
    with pytest.raises(
        MetricInputError, match="labels must be a list of all labels in their order"
    ):
        make(labels=labels)
