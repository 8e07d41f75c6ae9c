"""Every metric of the package keeps the contract of tt-metrics."""

from tt_metrics.testing import MetricContract
from tt_nlp import ExactMatchTextMetric, F1TextMetric, PerplexityMetric


class Answers(MetricContract):
    def batches(self):
        return [
            (["the cat", "a dog"], ["cat", "dogs and cats"]),
            ([["one", "two"]], ["two"]),
            (["Zürich", "in May 1999", "42"], ["zürich!", "May", "forty two"]),
            ([["x", "y z"]], [["y", "w"]]),
        ]


class TestExactMatch(Answers):
    def make_metric(self):
        return ExactMatchTextMetric(target_actual_text=True)


class TestF1(Answers):
    def make_metric(self):
        return F1TextMetric(target_actual_text=True)


class TestPerplexity(MetricContract):
    def make_metric(self):
        return PerplexityMetric()

    def batches(self):
        return [([2.3, 0.7], [10, 3]), ([1.1], [1000]), ([0.01, 5.5], [7, 1]), (0.4, 64)]
