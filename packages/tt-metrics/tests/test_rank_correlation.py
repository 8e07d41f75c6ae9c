"""Spearman's correlation, against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from tt_metrics.api import (
    GeneralResultPackage,
    MetricInputError,
    MetricStateError,
    NoDataError,
    SpearmanCorrelationMetric,
)
from tt_metrics.testing import MetricContract


def filled(y, p, weight=None):
    made = SpearmanCorrelationMetric()
    made.update(y, p, weight=weight)
    return made


TIES = hnp.arrays(np.int64, st.tuples(st.just(2), st.integers(2, 60)), elements=st.integers(0, 8))


def expected_of(y, p):
    if len(set(y.tolist())) == 1 or len(set(p.tolist())) == 1:
        return math.nan
    return stats.spearmanr(y, p).statistic


@given(TIES)
def test_ties(pairs):
    result = SpearmanCorrelationMetric(*pairs).metric_result
    assert result == pytest.approx(expected_of(*pairs), rel=1e-12, abs=1e-14, nan_ok=True)


def test_many_numbers_and_outputs():
    draw = np.random.default_rng(0)
    y = draw.normal(size=(20_000, 2))
    p = y + draw.normal(size=y.shape) * [1, 5]
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(y.T, p.T, strict=True)]
    assert SpearmanCorrelationMetric(y, p).metric_result == pytest.approx(np.mean(expected))
    raw = SpearmanCorrelationMetric(y, p, multioutput="raw_values").metric_result
    np.testing.assert_allclose([raw["0"], raw["1"]], expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["float16", "float32", "bfloat16"])
def test_tensors(kind):
    torch = pytest.importorskip("torch", reason="torch is not among the requirements")
    draw = np.random.default_rng(0)
    y, p = (torch.tensor(draw.normal(size=300)).to(getattr(torch, kind)) for _ in range(2))
    expected = stats.spearmanr(y.double(), p.double()).statistic
    assert SpearmanCorrelationMetric(y, p).metric_result == pytest.approx(expected, rel=1e-12)


@given(TIES, st.data())
def test_a_weight_is_a_number_of_items(pairs, data):
    size = pairs.shape[1]
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    if not times.any():
        times[0] = 1
    expected = SpearmanCorrelationMetric(*np.repeat(pairs, times, axis=1)).metric_result
    result = filled(*pairs, times).metric_result
    assert result == pytest.approx(expected, rel=1e-12, abs=1e-14, nan_ok=True)


@pytest.mark.parametrize("weighted", [False, True])
def test_drawn_states_are_those_of_repeated_items(weighted):
    draw = np.random.default_rng(0)
    y, p = draw.integers(0, 5, (2, 30))
    w = draw.integers(1, 4, 30) if weighted else None
    times = draw.multinomial(30, np.full(30, 1 / 30), 4)
    made = filled(y, p, w)
    state = made.make_state()
    state.update(y[:10], p[:10], None if w is None else w[:10])
    state.update(y[10:], p[10:], None if w is None else w[10:])
    multiplicity, own = state.own_kinds()
    np.testing.assert_array_equal(multiplicity, np.ones(30))
    for states in (made.make_state().kinds(y, p, w).draw(times), own(times)):
        for row, state in zip(times, states, strict=True):
            index = np.repeat(np.arange(30), row)
            repeated = filled(y[index], p[index], None if w is None else w[index])
            assert made.result_of(state) == pytest.approx(repeated.metric_result, rel=1e-12)


def test_items_without_weight_weigh_1_beside_others():
    y, p = np.random.default_rng(0).normal(size=(2, 20))
    made = filled(y[:10], p[:10], np.full(10, 2.0))
    made.update(y[10:], p[10:])
    whole = filled(y, p, np.repeat([2.0, 1.0], 10))
    assert made.metric_result == whole.metric_result


@pytest.mark.parametrize("size", [1, 5])
def test_equal_values_have_no_correlation(size):
    y = np.arange(size, dtype=float)
    assert math.isnan(SpearmanCorrelationMetric(y, np.full(size, 0.1)).metric_result)
    assert math.isnan(SpearmanCorrelationMetric(np.full(size, 0.1), y).metric_result)


def test_bad_input():
    metric = SpearmanCorrelationMetric([[1.0, 2.0]], [[1.0, 2.0]])
    with pytest.raises(MetricInputError, match="3 came after 2"):
        metric.update([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]])
    with pytest.raises(MetricStateError, match="1 came after 2"):
        metric.merge(SpearmanCorrelationMetric([1.0], [1.0]).state)
    with pytest.raises(MetricInputError, match=r"or \(n, d\); theirs is \(1, 2, 2\)"):
        SpearmanCorrelationMetric(np.ones((1, 2, 2)), np.ones((1, 2, 2)))
    with pytest.raises(MetricInputError, match="inf at index 1"):
        SpearmanCorrelationMetric([1.0, 2.0], [0.0, math.inf])
    with pytest.raises(MetricInputError, match="it is 'variance_weighted'"):
        SpearmanCorrelationMetric(multioutput="variance_weighted")
    with pytest.raises(NoDataError, match="weigh nothing"):
        filled([1.0, 2.0], [1.0, 2.0], [0, 0]).metric_result  # noqa: B018  (reading it computes)


def test_a_package_shares_the_values():
    y, p = np.random.default_rng(0).normal(size=(2, 20, 2))
    averages = ("uniform_average", "raw_values")
    keys = {SpearmanCorrelationMetric(multioutput=how).make_state().key for how in averages}
    assert len(keys) == 1
    package = GeneralResultPackage([SpearmanCorrelationMetric])
    package.update(y, p)
    assert package.compute() == SpearmanCorrelationMetric(y, p).compute()


def test_an_empty_state_adds_nothing():
    state = SpearmanCorrelationMetric().make_state()
    state.merge(SpearmanCorrelationMetric().make_state().to_dict())
    assert state.count == 0


class TestSpearmanCorrelation(MetricContract):
    tolerance = 1e-12

    def make_metric(self):
        return SpearmanCorrelationMetric(multioutput="raw_values")

    def batches(self):
        draw = np.random.default_rng(1)
        return [(draw.integers(0, 9, (n, 2)), draw.normal(size=(n, 2))) for n in (3, 40, 7, 65)]
