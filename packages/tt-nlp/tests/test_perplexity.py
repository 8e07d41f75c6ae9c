"""Perplexity."""

import math

import numpy as np
import pytest

from tt_metrics.api import GeneralResultPackage, MetricInputError, MetricTypeError, NoDataError
from tt_nlp import NlpInputError, PerplexityMetric


def test_every_token_weighs_the_same():
    probabilities = [np.array([0.5, 0.25, 0.1]), np.array([0.9])]
    batches = [float(-np.log(p).mean()) for p in probabilities]
    expected = math.prod([0.5, 0.25, 0.1, 0.9]) ** (-1 / 4)
    assert float(PerplexityMetric(batches, [3, 1])) == pytest.approx(expected, rel=1e-15)
    tokens = -np.log(np.concatenate(probabilities))
    assert float(PerplexityMetric(tokens)) == pytest.approx(expected, rel=1e-15)


def test_a_uniform_guess_has_the_perplexity_of_its_choices():
    assert float(PerplexityMetric([math.log(50)] * 3, [5, 1, 9])) == pytest.approx(50, rel=1e-14)


def test_batches_may_come_one_by_one():
    metric = PerplexityMetric()
    metric.update(1.0, 10)
    metric.update([2.0, 3.0], [20, 30])
    assert float(metric) == float(PerplexityMetric([1.0, 2.0, 3.0], [10, 20, 30]))
    assert metric.compute().keys() == {"Perplexity"}


def test_it_compares_as_a_number():
    assert PerplexityMetric(np.float32([1.0])) < 3
    assert np.float64(2.5) < PerplexityMetric([1.0])


def test_beyond_float64_it_is_infinite():
    assert PerplexityMetric([1000.0]).metric_result == math.inf


def test_without_losses_there_is_none():
    with pytest.raises(NoDataError, match="Perplexity must see data"):
        PerplexityMetric().compute()


@pytest.mark.parametrize(
    ("losses", "tokens", "message"),
    [
        ([], None, "batch_losses must hold at least one item"),
        ([1.0, float("nan")], None, "batch_losses must be finite; it holds nan at index 1"),
        ([1.0], [1, 2], "above 0, one for each of batch_losses; 2 came for 1 losses"),
        ([1.0, 2.0], [3, 0], "the smallest is 0.0"),
        (None, [3], "only the counts came"),
    ],
)
def test_what_cannot_be_evaluated(losses, tokens, message):
    with pytest.raises(MetricInputError, match=message):
        PerplexityMetric(losses, tokens)


def test_errors_of_this_package_have_its_base():
    with pytest.raises(NlpInputError):
        PerplexityMetric([1.0], [1, 2])


def test_a_package_of_predictions_does_not_take_them_for_losses():
    with pytest.raises(MetricTypeError, match="PerplexityMetric takes something else"):
        GeneralResultPackage([PerplexityMetric])
