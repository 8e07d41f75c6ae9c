"""R2, explained variance and correlation, against scikit-learn, scipy and exact arithmetic."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics as oracle

from tt_metrics.api import (
    ExplainedVarianceMetric,
    GeneralResultPackage,
    MetricInputError,
    MetricStateError,
    NoDataError,
    PearsonCorrelationMetric,
    R2ScoreMetric,
)
from tt_metrics.testing import MetricContract


def correlations(y, p, sample_weight=None, multioutput="uniform_average"):
    y, p = (np.reshape(values, (len(y), -1)) for values in (y, p))
    values = []
    for a, b in zip(y.T, p.T, strict=True):
        covariance = np.cov(a, b, aweights=sample_weight)
        values.append(covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1]))
    return np.mean(values) if multioutput == "uniform_average" else values


CASES = [
    (R2ScoreMetric, oracle.r2_score),
    (ExplainedVarianceMetric, oracle.explained_variance_score),
    (PearsonCorrelationMetric, correlations),
]
METRICS = pytest.mark.parametrize(("metric", "expected"), CASES)


def filled(metric, y, p, weight=None, **settings):
    made = metric(**settings)
    made.update(y, p, weight=weight)
    return made


def related(size, seed=0, offset=0.0):
    draw = np.random.default_rng(seed)
    y = draw.normal(offset, 1, size)
    return y, y + draw.normal(0.1, 0.5, size)


@METRICS
@pytest.mark.parametrize("shape", [(2,), (300,), (300, 3), (80_000,), (40_000, 2)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("multioutput", ["uniform_average", "raw_values", "variance_weighted"])
def test_oracle(metric, expected, shape, weighted, multioutput):
    if metric is PearsonCorrelationMetric and multioutput == "variance_weighted":
        with pytest.raises(MetricInputError, match="uniform_average, raw_values; it is 'variance"):
            metric(multioutput=multioutput)
        return
    y, p = related(shape)
    y *= np.arange(1, 1 + y.size // len(y)) if y.ndim == 2 else 1
    weight = np.random.default_rng(1).random(len(y)) if weighted else None
    result = filled(metric, y, p, weight, multioutput=multioutput).metric_result
    values = expected(y, p, sample_weight=weight, multioutput=multioutput)
    if multioutput == "raw_values":
        result = list(result.values())
    np.testing.assert_allclose(result, np.squeeze(values), rtol=1e-12, atol=1e-14)


def test_pearson_is_scipy_s():
    y, p = related(500)
    expected = stats.pearsonr(y, p).statistic
    assert PearsonCorrelationMetric(y, p).metric_result == pytest.approx(expected, rel=1e-12)


SMALL = hnp.arrays(
    np.int64, st.tuples(st.just(2), st.integers(2, 40)), elements=st.integers(-50, 50)
)


@given(SMALL)
def test_small_numbers_are_exact(pairs):
    y, p = ([Fraction(int(value)) for value in row] for row in pairs)
    n = len(y)
    variance = sum((a - sum(y) / n) ** 2 for a in y)
    left = sum((a - b) ** 2 for a, b in zip(y, p, strict=True))
    exact = 1 - left / variance if variance else Fraction(not left)
    result = R2ScoreMetric(*pairs).metric_result
    assert result == pytest.approx(float(exact), rel=1e-13, abs=1e-13)


@METRICS
@pytest.mark.parametrize("kind", ["float16", "float32", "bfloat16", "int32"])
def test_what_comes_is_computed_with_in_float64(metric, expected, kind):
    torch = pytest.importorskip("torch", reason="torch is not among the requirements")
    draw = np.random.default_rng(3)
    y, p = (torch.tensor(draw.uniform(1, 200, 600)).to(getattr(torch, kind)) for _ in range(2))
    exact = expected(y.double().numpy(), p.double().numpy())
    assert metric(y, p).metric_result == pytest.approx(exact, rel=1e-12)


@METRICS
@given(
    cuts=st.lists(st.integers(1, 1_999), max_size=6),
    order=st.randoms(use_true_random=False),
    weighted=st.booleans(),
    power=st.integers(0, 8),
)
def test_any_split_gives_the_same_at_any_offset(metric, expected, cuts, order, weighted, power):
    y, p = related((2_000, 2), offset=10.0**power)
    y, p = np.sort(y, axis=0), np.sort(p, axis=0)  # parts with means far apart
    w = np.random.default_rng(1).random(2_000) if weighted else None
    whole = filled(metric, y, p, w).metric_result
    bounds = sorted({0, *cuts, len(y)})
    parts = [
        filled(metric, y[a:b], p[a:b], None if w is None else w[a:b]) for a, b in pairwise(bounds)
    ]
    while len(parts) > 1:
        order.shuffle(parts)
        parts[0].merge(parts.pop().state)
    assert parts[0].metric_result == pytest.approx(whole, rel=1e-12)


def exact_r2(y, p):
    y, p = ([Fraction(value) for value in values.tolist()] for values in (y, p))
    mean = sum(y) / len(y)
    left = sum((a - b) ** 2 for a, b in zip(y, p, strict=True))
    return float(1 - left / sum((a - mean) ** 2 for a in y))


@pytest.mark.parametrize("offset", [0, 1e3, 1e8])
def test_an_offset_costs_no_digits(offset):
    y, p = related(1_000, offset=offset)
    exact = exact_r2(y, p)
    streamed = R2ScoreMetric()
    for start in range(0, 1_000, 10):
        streamed.update(y[start : start + 10], p[start : start + 10])
    assert R2ScoreMetric(y, p).metric_result == pytest.approx(exact, rel=1e-13)
    assert streamed.metric_result == pytest.approx(exact, rel=1e-13)


def test_small_types_in_batches_keep_their_digits():
    draw = np.random.default_rng(1)
    y = draw.normal(1000, 1, 819_200).astype(np.float32)
    p = (y + draw.normal(0, 0.1, y.size)).astype(np.float32)
    metric = R2ScoreMetric()
    for start in range(0, y.size, 8192):
        metric.update(y[start : start + 8192], p[start : start + 8192])
    expected = oracle.r2_score(y.astype(np.float64), p.astype(np.float64))
    assert metric.metric_result == pytest.approx(expected, rel=1e-12)


@METRICS
def test_a_first_block_that_tells_nothing_of_the_rest(metric, expected):
    y, p = related(100_000)
    y[:40_000] += 1e9
    p[:40_000] += 1e9
    w = np.ones(100_000)
    w[:40_000] = 1e-18
    result = filled(metric, y, p, w).metric_result
    assert result == pytest.approx(expected(y, p, sample_weight=w), rel=1e-11)


def test_one_state_serves_all():
    y, p = related(50)
    metrics = [PearsonCorrelationMetric, R2ScoreMetric, ExplainedVarianceMetric]
    package = GeneralResultPackage(metrics)
    package.update(y, p)
    assert len(package.state["data"]) == 1
    expected = {m.metric_name: m.metric_result for m in (metric(y, p) for metric in metrics)}
    assert package.compute() == pytest.approx(expected, rel=1e-14)


@METRICS
@pytest.mark.parametrize("shape", [(12,), (12, 2), (12, 2, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_drawn_states_are_those_of_repeated_items(metric, expected, shape, weighted):
    y, p = related(shape, offset=1e4)
    w = np.random.default_rng(1).random(12) if weighted else None
    times = np.array([[1] * 12, [0, 3, 0, 0, 2, 1, 1, 2, 0, 3, 0, 0]])
    made = metric()
    kinds = made.make_state().kinds(y, p, w)
    for row, state in zip(times, kinds.draw(times), strict=True):
        index = np.repeat(kinds.index, row)
        repeated = filled(metric, y[index], p[index], None if w is None else w[index])
        assert state.count == 12
        assert made.result_of(state) == pytest.approx(repeated.metric_result, rel=1e-11)


@METRICS
def test_a_drawn_state_of_one_item_only_has_no_variance(metric, expected):
    y, p = related(12, offset=1e4)
    made = metric()
    times = np.zeros((1, 12), np.int64)
    times[0, 5] = 12
    (state,) = made.make_state().kinds(y, p).draw(times)
    repeated = metric(np.repeat(y[5], 12), np.repeat(p[5], 12)).metric_result
    assert made.result_of(state) == pytest.approx(repeated, nan_ok=True)


@METRICS
@pytest.mark.parametrize("scale", [1.0, 0.1])  # 0.1 is no float64: its means are rounded
@pytest.mark.parametrize("batches", [1, 7])
def test_equal_targets(metric, expected, scale, batches):
    y = np.full(70, scale)
    for p in (y, y + 1, np.linspace(0, 1, 70)):
        made = metric()
        for part in np.split(np.arange(70), batches):
            made.update(y[part], p[part])
        if metric is PearsonCorrelationMetric:
            assert math.isnan(made.metric_result)
        else:
            ones = p is y or (metric is ExplainedVarianceMetric and p[0] == p[1])
            assert made.metric_result == float(ones)


def test_equal_predictions_have_no_correlation():
    y = np.random.default_rng(0).normal(size=1000)
    assert math.isnan(PearsonCorrelationMetric(y, np.full(1000, 0.1)).metric_result)
    assert R2ScoreMetric(y, np.full(1000, y.mean())).metric_result == pytest.approx(0, abs=1e-12)


def test_variances_that_are_all_0_weigh_alike():
    y = np.ones((3, 2))
    p = np.array([[1, 1], [1, 2], [1, 3]])
    result = R2ScoreMetric(y, p, multioutput="variance_weighted").metric_result
    assert result == oracle.r2_score(y, p, multioutput="variance_weighted") == 0.5


def test_one_item():
    assert math.isnan(R2ScoreMetric([1.0], [1.0]).metric_result)
    assert math.isnan(PearsonCorrelationMetric([1.0], [2.0]).metric_result)
    assert ExplainedVarianceMetric([1.0], [2.0]).metric_result == 1.0


@METRICS
def test_perfect_predictions(metric, expected):
    y = np.random.default_rng(0).normal(1e6, 1, 1000)
    assert metric(y, y).metric_result == pytest.approx(1.0, rel=1e-15)
    assert abs(PearsonCorrelationMetric(y, -3 * y).metric_result) <= 1


@METRICS
def test_items_that_weigh_nothing(metric, expected):
    y, p = related(20)
    made = filled(metric, y[:10], p[:10], np.zeros(10))
    with pytest.raises(NoDataError, match="all 10 weigh nothing"):
        made.metric_result  # noqa: B018  (reading it computes)
    made.update(y[10:], p[10:])
    alone = metric(y[10:], p[10:])
    assert made.metric_result == alone.metric_result
    made.update(y[:10], p[:10], weight=np.zeros(10))
    assert made.metric_result == alone.metric_result
    w = np.repeat([0.0, 1.0], 10)
    assert filled(metric, y, p, w).metric_result == pytest.approx(alone.metric_result, rel=1e-13)


@METRICS
def test_bad_input(metric, expected):
    with pytest.raises(MetricInputError, match=r"y_true must be finite; it holds nan at index 1"):
        metric([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(MetricInputError, match=r"their shapes are \(2,\) and \(3,\)"):
        metric([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(MetricInputError, match="scale the data down"):
        metric([0.0, 1e200], [1.0, 2.0])
    with pytest.raises(MetricInputError, match="multioutput must be one of"):
        metric(multioutput="mean")


@METRICS
def test_outputs_that_change_are_an_error(metric, expected):
    made = metric([[1.0, 2.0]], [[1.0, 2.0]])
    with pytest.raises(MetricInputError, match="3 came after 2"):
        made.update([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]])
    with pytest.raises(MetricStateError, match="1 came after 2"):
        made.merge(metric([1.0], [1.0]).state)


def test_an_empty_state_adds_nothing():
    state = R2ScoreMetric().make_state()
    state.merge(R2ScoreMetric().make_state().to_dict())
    assert state.count == 0


class Numbers(MetricContract):
    tolerance = 1e-12

    def batches(self):
        sizes = (2, 5000, 7, 65)
        return [related((n, 2), seed, offset=1e3) for seed, n in enumerate(sizes)]


class TestR2Score(Numbers):
    def make_metric(self):
        return R2ScoreMetric(multioutput="variance_weighted")


class TestExplainedVariance(Numbers):
    def make_metric(self):
        return ExplainedVarianceMetric(multioutput="raw_values")


class TestPearsonCorrelation(Numbers):
    def make_metric(self):
        return PearsonCorrelationMetric()
