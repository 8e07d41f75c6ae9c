"""Means of errors, against scikit-learn and exact arithmetic."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import huber
from sklearn import metrics as oracle
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from tt_metrics.api import (
    GeneralResultPackage,
    HuberLossMetric,
    MeanAbsoluteErrorMetric,
    MeanAbsolutePercentageErrorMetric,
    MeanSquaredErrorMetric,
    MetricInputError,
    MetricStateError,
    NoDataError,
    QuantileLossMetric,
    RootMeanSquaredErrorMetric,
)
from tt_metrics.testing import MetricContract


def mean_huber(y, p, sample_weight=None, multioutput="uniform_average"):
    losses = np.average(huber(0.7, p - y), weights=sample_weight, axis=0)
    return np.mean(losses) if multioutput == "uniform_average" else losses


def mean_pinball(y, p, **settings):
    return oracle.mean_pinball_loss(y, p, alpha=0.3, **settings)


CASES = [
    (MeanSquaredErrorMetric, {}, oracle.mean_squared_error),
    (RootMeanSquaredErrorMetric, {}, oracle.root_mean_squared_error),
    (MeanAbsoluteErrorMetric, {}, oracle.mean_absolute_error),
    (MeanAbsolutePercentageErrorMetric, {}, oracle.mean_absolute_percentage_error),
    (HuberLossMetric, {"delta": 0.7}, mean_huber),
    (QuantileLossMetric, {"quantile": 0.3}, mean_pinball),
]
METRICS = pytest.mark.parametrize(("metric", "settings", "expected"), CASES)


def filled(metric, settings, y, p, weight=None):
    made = metric(**settings)
    made.update(y, p, weight=weight)
    return made


@METRICS
def test_real_predictions(metric, settings, expected):
    x, y = load_diabetes(return_X_y=True)
    p = LinearRegression().fit(x[:200], y[:200]).predict(x)
    assert metric(y, p, **settings).metric_result == pytest.approx(expected(y, p), rel=1e-12)


SHAPES = st.one_of(
    st.tuples(st.integers(1, 700)), st.tuples(st.integers(1, 300), st.integers(1, 4))
)


@METRICS
@given(data=st.data())
def test_any_numbers_with_weights_and_outputs(metric, settings, expected, data):
    shape = data.draw(SHAPES)
    y = data.draw(hnp.arrays(np.float64, shape, elements=st.floats(0.5, 1e6)))
    p = data.draw(hnp.arrays(np.float64, shape, elements=st.floats(-1e6, 1e6)))
    w = data.draw(hnp.arrays(np.float64, shape[:1], elements=st.floats(0.1, 10)))
    weight = data.draw(st.sampled_from([None, w]))
    result = filled(metric, settings, y, p, weight).metric_result
    assert result == pytest.approx(expected(y, p, sample_weight=weight), rel=1e-12)
    raw = filled(metric, {**settings, "multioutput": "raw_values"}, y, p, weight).metric_result
    values = expected(y, p, sample_weight=weight, multioutput="raw_values")
    columns = p.shape[1] if p.ndim == 2 else 1
    assert list(raw) == [str(number) for number in range(columns)]
    np.testing.assert_allclose(list(raw.values()), np.ravel(values), rtol=1e-12)


@METRICS
@pytest.mark.parametrize("rows", [70_000, 33_000])
def test_more_data_than_a_block(metric, settings, expected, rows):
    y, p = np.random.default_rng(0).uniform(1, 2, (2, rows, 3))
    w = np.random.default_rng(1).random(rows)
    for weight in (None, w):
        result = filled(metric, settings, y, p, weight).metric_result
        assert result == pytest.approx(expected(y, p, sample_weight=weight), rel=1e-12)


@METRICS
@pytest.mark.parametrize("kind", ["float16", "float32", "bfloat16", "int64", "uint8"])
def test_what_comes_is_computed_with_in_float64(metric, settings, expected, kind):
    torch = pytest.importorskip("torch", reason="torch is not among the requirements")
    draw = np.random.default_rng(3)
    y, p = (torch.tensor(draw.uniform(1, 200, 600)).to(getattr(torch, kind)) for _ in range(2))
    exact = expected(y.double().numpy(), p.double().numpy())
    assert metric(y, p, **settings).metric_result == pytest.approx(exact, rel=1e-12)


@METRICS
def test_more_axes_are_one_output(metric, settings, expected):
    y, p = np.random.default_rng(0).uniform(1, 2, (2, 50, 3, 5))
    w = np.random.default_rng(1).random(50)
    made = filled(metric, settings, y, p, w)
    flat = expected(y.ravel(), p.ravel(), sample_weight=np.repeat(w, 15))
    assert made.metric_result == pytest.approx(flat, rel=1e-12)
    assert made.count == 50


def merged(metric, settings, batches, order):
    parts = [filled(metric, settings, *batch) for batch in batches]
    while len(parts) > 1:
        order.shuffle(parts)
        parts[0].merge(parts.pop().state)
    return parts[0].metric_result


@METRICS
@given(
    cuts=st.lists(st.integers(1, 2_999), max_size=5),
    order=st.randoms(use_true_random=False),
    weighted=st.booleans(),
)
def test_any_split_gives_the_same(metric, settings, expected, cuts, order, weighted):
    y, p, w = np.random.default_rng(0).lognormal(0, 3, (3, 3_000))
    bounds = sorted({0, *cuts, len(y)})
    weight = w if weighted else None
    batches = [(y[a:b], p[a:b], weight[a:b] if weighted else None) for a, b in pairwise(bounds)]
    whole = filled(metric, settings, y, p, weight).metric_result
    assert merged(metric, settings, batches, order) == pytest.approx(whole, rel=5e-15)


def test_errors_share_their_sums():
    y, p = np.random.default_rng(0).normal(size=(2, 50))
    metrics = [MeanSquaredErrorMetric, RootMeanSquaredErrorMetric, MeanAbsoluteErrorMetric]
    package = GeneralResultPackage(metrics)
    package.update(y, p)
    assert len(package.state["data"]) == 1
    assert package.compute() == {
        made.metric_name: made.metric_result for made in (metric(y, p) for metric in metrics)
    }


@METRICS
@pytest.mark.parametrize("shape", [(9,), (9, 2), (9, 2, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_drawn_states_are_those_of_repeated_items(metric, settings, expected, shape, weighted):
    y, p = np.random.default_rng(0).uniform(1, 2, (2, *shape))
    w = np.random.default_rng(1).random(9) if weighted else None
    times = np.array([[1] * 9, [0, 3, 0, 0, 2, 1, 1, 2, 0]])
    made = metric(**settings)
    kinds = made.make_state().kinds(y, p, w)
    assert kinds.size == 9
    for row, state in zip(times, kinds.draw(times), strict=True):
        index = np.repeat(kinds.index, row)
        repeated = filled(metric, settings, y[index], p[index], None if w is None else w[index])
        assert state.count == 9
        assert made.result_of(state) == pytest.approx(repeated.metric_result, rel=1e-12)


def test_float32_is_added_up_beyond_its_resolution():
    y = np.zeros(2**16 + 1, np.float32)
    p = np.full_like(y, np.float32(0.1))
    exact = Fraction(float(p[0])) ** 2
    assert MeanSquaredErrorMetric(y, p).metric_result == pytest.approx(float(exact), rel=1e-15)


@pytest.mark.parametrize("size", [500, 10_000, 100_000])
def test_a_batch_is_added_up_to_the_last_digits(size):
    p = np.random.default_rng(0).lognormal(0, 5, size)
    exact = math.fsum(p) / size
    assert MeanAbsoluteErrorMetric(np.zeros(size), p).metric_result == pytest.approx(
        exact, rel=3e-15
    )


# 1e16 + 1 is no float64: each of the ones is lost unless what additions round away is kept.
MANY_ONES = [1e16] + [1.0] * 9
EXACT = (10**16 + 9) / 10


def test_nothing_is_lost_between_batches_or_states():
    streamed, merged = MeanAbsoluteErrorMetric(), MeanAbsoluteErrorMetric()
    for number in MANY_ONES:
        streamed.update([0.0], [number])
        merged.merge(MeanAbsoluteErrorMetric([0.0], [number]).state)
    assert streamed == EXACT
    assert merged == EXACT
    assert MeanAbsoluteErrorMetric([0.0] * 10, MANY_ONES) == EXACT
    assert MeanAbsoluteErrorMetric.from_state(merged.state) == EXACT
    merged.merge(merged.state)
    assert merged == EXACT


def test_unsigned_integers_do_not_wrap_around():
    assert MeanAbsoluteErrorMetric(np.uint8([3]), np.uint8([5])).metric_result == 2
    assert MeanAbsoluteErrorMetric(np.uint8([5]), np.uint8([3])).metric_result == 2


def test_a_column_against_a_row_is_not_a_table():
    assert MeanSquaredErrorMetric([[1.0], [2.0]], [1.0, 4.0]).metric_result == 2
    assert MeanSquaredErrorMetric([[1.0], [2.0]], [[1.0], [4.0]]).metric_result == 2


def test_a_last_axis_of_one_leaves_the_outputs():
    y, p = np.random.default_rng(0).normal(size=(2, 5, 3, 1))
    raw = MeanSquaredErrorMetric(y, p, multioutput="raw_values").metric_result
    np.testing.assert_allclose(list(raw.values()), ((y - p) ** 2).mean(axis=0).ravel())


def test_shapes_that_differ_are_both_named():
    with pytest.raises(MetricInputError, match=r"same shape; their shapes are \(2, 2\) and \(2,\)"):
        MeanSquaredErrorMetric([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0])


@METRICS
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_named(metric, settings, expected, bad):
    for size in (5, 1000):
        y = np.ones((size, 2))
        p = y.copy()
        p[4, 1] = bad
        with pytest.raises(MetricInputError, match=r"y_predicted must be finite.* index \(4, 1\)"):
            metric(y, p, **settings)
        with pytest.raises(MetricInputError, match=r"y_true must be finite.* index \(4, 1\)"):
            metric(p, y, **settings)
    with pytest.raises(MetricInputError, match="must be finite"):
        metric(y, p, **settings)


@pytest.mark.parametrize("size", [1, 2, 5000])
def test_a_sum_beyond_float64_is_an_error(size):
    with pytest.raises(MetricInputError, match="sum of squared must stay below"):
        MeanSquaredErrorMetric(np.zeros(size), np.full(size, 1e200))


def test_a_sum_that_grows_beyond_float64_leaves_the_metric_as_it_was():
    metric = MeanSquaredErrorMetric([0.0], [1e154])
    before = metric.metric_result
    assert before == pytest.approx(1e308, rel=1e-15)
    with pytest.raises(MetricInputError, match="scale the data down"):
        metric.update([0.0, 0.0], [1e154, 1.3e154])
    with pytest.raises(MetricInputError, match="scale the data down"):
        metric.update([0.0], [1e154])
    assert metric.metric_result == before


def test_outputs_that_change_are_an_error():
    metric = MeanSquaredErrorMetric([[1.0, 2.0]], [[1.0, 2.0]])
    with pytest.raises(MetricInputError, match=r"number of outputs \(columns\); 3 came after 2"):
        metric.update([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]])
    with pytest.raises(MetricStateError, match="1 came after 2"):
        metric.merge(MeanSquaredErrorMetric([1.0], [1.0]).state)
    assert metric.count == 1


@METRICS
def test_items_without_weight_have_no_mean(metric, settings, expected):
    made = filled(metric, settings, [1.0, 2.0], [1.0, 3.0], [0, 0])
    with pytest.raises(NoDataError, match="all 2 weigh nothing"):
        made.metric_result  # noqa: B018  (reading it computes)
    made.update([1.0], [1.5], weight=[2.0])
    assert made.metric_result == filled(metric, settings, [1.0], [1.5]).metric_result


def test_an_empty_state_adds_nothing():
    state = MeanSquaredErrorMetric().make_state()
    state.merge(MeanSquaredErrorMetric().make_state().to_dict())
    assert state.count == 0


def test_a_target_of_zero_has_no_relative_error():
    with pytest.raises(MetricInputError, match=r"y_true must not be 0.*holds 0.0 at index 1"):
        MeanAbsolutePercentageErrorMetric([1.0, 0.0], [1.0, 1.0])
    with pytest.raises(MetricInputError, match=r"at index \(0, 1\)"):
        MeanAbsolutePercentageErrorMetric([[1.0, 0.0]], [[1.0, 1.0]])


@pytest.mark.parametrize("delta", [0, -1, math.nan, math.inf, "1"])
def test_a_delta_that_is_none(delta):
    with pytest.raises(MetricInputError, match="delta must be a finite number above 0"):
        HuberLossMetric(delta=delta)


@pytest.mark.parametrize("quantile", [0, 1, -0.5, math.nan, "0.5"])
def test_a_quantile_that_is_none(quantile):
    with pytest.raises(MetricInputError, match="quantile must be a number between 0 and 1"):
        QuantileLossMetric(quantile=quantile)


def test_an_unknown_average():
    with pytest.raises(MetricInputError, match="uniform_average, raw_values; it is 'mean'"):
        MeanSquaredErrorMetric(multioutput="mean")


def test_settings_keep_states_apart():
    wide, narrow = HuberLossMetric([0.0], [3.0], delta=2), HuberLossMetric([0.0], [3.0])
    assert (wide.metric_result, narrow.metric_result) == (4.0, 2.5)
    with pytest.raises(MetricStateError, match="same settings"):
        wide.merge(narrow.state)
    metrics = [HuberLossMetric(delta=2), HuberLossMetric(), QuantileLossMetric()]
    assert len({metric.make_state().key for metric in metrics}) == 3


class Numbers(MetricContract):
    def batches(self):
        draw = np.random.default_rng(2)
        sizes = (1, 500, 7, 65)
        return [(draw.normal(1e3, 1, (n, 2)), draw.normal(1e3, 1, (n, 2))) for n in sizes]


class TestRootMeanSquaredError(Numbers):
    def make_metric(self):
        return RootMeanSquaredErrorMetric(multioutput="raw_values")


class TestMeanSquaredErrorOfOutputs(Numbers):
    def make_metric(self):
        return MeanSquaredErrorMetric()


class TestMeanAbsolutePercentageError(Numbers):
    def make_metric(self):
        return MeanAbsolutePercentageErrorMetric()


class TestHuberLoss(Numbers):
    def make_metric(self):
        return HuberLossMetric(delta=0.5)


class TestQuantileLoss(Numbers):
    def make_metric(self):
        return QuantileLossMetric(quantile=0.9)
