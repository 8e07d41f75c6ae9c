"""Every metric and package keeps the contract, and the contract finds those that do not."""

import numpy as np
import pytest

from tt_metrics.api import (
    AbstractBaseMetric,
    AccuracyMetric,
    ClassificationResultPackage,
    F1ScoreMetric,
    GeneralResultPackage,
    MeanAbsoluteErrorMetric,
    MeanSquaredErrorMetric,
    Metric,
    PrecisionMetric,
    RecallMetric,
    RegressionResultPackage,
    Segments,
)
from tt_metrics.testing import MetricContract


class Labels(MetricContract):
    def batches(self):
        draw = np.random.default_rng(1)
        sizes = (5, 1, 40, 8)
        return [(draw.integers(0, 4, n), draw.normal(size=(n, 4))) for n in sizes]


class Numbers(MetricContract):
    def batches(self):
        draw = np.random.default_rng(2)
        sizes = (1, 5000, 7, 65)
        return [(draw.normal(1e3, 1, n), draw.normal(1e3, 1, n)) for n in sizes]


class TestAccuracy(Labels):
    def make_metric(self):
        return AccuracyMetric()


class TestAccuracyOfKnownClasses(Labels):
    def make_metric(self):
        return AccuracyMetric(num_classes=4)


class TestF1(Labels):
    def make_metric(self):
        return F1ScoreMetric(average="macro")


class TestPrecision(Labels):
    def make_metric(self):
        return PrecisionMetric(average="weighted", zero_division=1.0)


class TestRecall(Labels):
    def make_metric(self):
        return RecallMetric(average="micro")


class TestMeanSquaredError(Numbers):
    def make_metric(self):
        return MeanSquaredErrorMetric()


class TestMeanAbsoluteError(Numbers):
    def make_metric(self):
        return MeanAbsoluteErrorMetric()


class Package(MetricContract):
    def rebuild(self, state):
        package = self.make_metric()
        package.merge(state)
        return package


class TestClassificationPackage(Labels, Package):
    def make_metric(self):
        return ClassificationResultPackage()


class TestRegressionPackage(Numbers, Package):
    def make_metric(self):
        return RegressionResultPackage()


class LargestMiss(AbstractBaseMetric):
    def __init__(self, y_true, y_predicted):
        super().__init__(y_true, y_predicted, "Largest_miss")

    def calculate_metric(self):
        return float(abs(self.y_true - self.y_predicted).max())


class TestPackageOfMixedMetrics(Numbers, Package):
    def make_metric(self):
        return GeneralResultPackage([MeanSquaredErrorMetric(), LargestMiss])


class TestMetricOnWholeData(Numbers):
    def make_metric(self):
        metric = LargestMiss([0.0], [0.0])
        metric.reset()
        return metric


class Misses(Segments):
    names = ("miss",)

    def columns(self, y_true, y_predicted):
        return [np.abs(np.subtract(y_true, y_predicted))]


class MeanMiss(Metric):
    def __init__(self):
        super().__init__("Miss")

    def make_state(self):
        return Misses()

    def result_of(self, state):
        return state.mean("miss")


class TestMetricOnSegments(Numbers):
    def make_metric(self):
        return MeanMiss()


class MeanOfMeans:
    """What the contract is there to find: right for one batch, wrong for uneven ones."""

    def __init__(self):
        self.state = {"sum": 0.0, "batches": 0}

    def update(self, y_true, y_predicted):
        self.merge({"sum": float(np.mean(np.equal(y_true, y_predicted))), "batches": 1})

    def merge(self, state):
        self.state = {name: self.state[name] + state[name] for name in self.state}

    def restore(self, state):
        self.state = state

    def reset(self):
        self.__init__()

    def compute(self):
        return {"Accuracy": self.state["sum"] / self.state["batches"]}


class Unmerged(MeanOfMeans):
    def merge(self, state):
        self.state = dict(state)


class Shared(MeanOfMeans):
    """It hands out its live state, and keeps what it is handed."""

    def merge(self, state):
        if not self.state["batches"]:
            self.state = state
            return
        for name in state:
            self.state[name] += state[name]


class Unrestored(MeanOfMeans):
    def restore(self, state):
        pass


class Silent(MeanOfMeans):
    def compute(self):
        return super().compute() if self.state["batches"] else {"Accuracy": 0.0}


class Unforgetting(MeanOfMeans):
    def reset(self):
        pass


class Consuming(MeanOfMeans):
    def compute(self):
        results = super().compute()
        self.reset()
        return results


class Overwriting(MeanOfMeans):
    def update(self, y_true, y_predicted):
        super().update(y_true, y_predicted)
        y_true[:] = 0


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Unmerged, "test_merging_shards_in_any_order_gives_the_result_of_the_whole"),
        (Unrestored, "test_a_metric_made_from_a_state_goes_on"),
        (Unrestored, "test_a_state_survives_pickling"),
        (Shared, "test_merging_leaves_the_other_metric_alone"),
        (Shared, "test_a_state_taken_earlier_does_not_change_later"),
        (Silent, "test_without_data_there_is_no_result"),
        (Unforgetting, "test_reset_forgets_all_data"),
        (Consuming, "test_computing_changes_nothing"),
        (Overwriting, "test_updating_leaves_the_data_alone"),
    ],
)
def test_the_contract_finds_a_broken_metric(broken, test):
    class Contract(MetricContract):
        def make_metric(self):
            return broken()

        def batches(self):
            y = np.arange(1, 10) % 2
            return [(y[:2], y[:2]), (y[2:5], 1 - y[2:5]), (y[5:], np.ones(4))]

        def rebuild(self, state):
            metric = broken()
            metric.restore(state)
            return metric

    with pytest.raises((AssertionError, ZeroDivisionError)):
        getattr(Contract(), test)()
