"""Log loss and Brier score, against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as oracle
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression

from tt_metrics.api import (
    BrierScoreMetric,
    GeneralResultPackage,
    LogLossMetric,
    MetricInputError,
    MetricStateError,
)
from tt_metrics.testing import MetricContract


def filled(metric, y, p, weight=None, **settings):
    made = metric(**settings)
    made.update(y, p, weight=weight)
    return made


METRICS = pytest.mark.parametrize(
    ("metric", "expected"),
    [(LogLossMetric, oracle.log_loss), (BrierScoreMetric, oracle.brier_score_loss)],
)


@METRICS
def test_real_predictions(metric, expected):
    x, y = load_breast_cancer(return_X_y=True)
    p = LogisticRegression().fit(x[:100, :3], y[:100]).predict_proba(x[:, :3])
    assert metric(y, p[:, 1]).metric_result == pytest.approx(expected(y, p[:, 1]), rel=1e-12)
    assert metric(y, p).metric_result == pytest.approx(expected(y, p), rel=1e-12)
    x, y = load_iris(return_X_y=True)
    p = LogisticRegression().fit(x[::10, :2], y[::10]).predict_proba(x[:, :2])
    assert metric(y, p).metric_result == pytest.approx(expected(y, p), rel=1e-12)


UNIT = st.floats(0, 1)


@METRICS
@given(data=st.data())
def test_two_labels(metric, expected, data):
    n = data.draw(st.integers(1, 700))
    p = data.draw(hnp.arrays(np.float64, n, elements=UNIT))
    y = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    w = data.draw(st.none() | hnp.arrays(np.float64, n, elements=st.floats(0.1, 9)))
    result = filled(metric, y, p, w).metric_result
    value = oracle.log_loss(y, p, sample_weight=w, labels=[0, 1])
    if metric is BrierScoreMetric:
        value = np.average((p - y) ** 2, weights=w)
    assert result == pytest.approx(value, rel=1e-12, abs=1e-300)
    assert filled(metric, y.astype(float), p, w) == result
    assert filled(metric, y.astype(bool), p[:, None], w) == result


@METRICS
@given(n=st.integers(1, 300), classes=st.integers(2, 6), seed=st.integers(0, 99), data=st.data())
def test_several_labels(metric, expected, n, classes, seed, data):
    draw = np.random.default_rng(seed)
    p = draw.dirichlet(np.full(classes, 0.3), n)
    y = draw.integers(0, classes, n)
    w = data.draw(st.sampled_from([None, draw.random(n) + 0.01]))
    value = expected(y, p, sample_weight=w, labels=list(range(classes)))
    assert filled(metric, y, p, w).metric_result == pytest.approx(value, rel=1e-12)


@METRICS
def test_more_data_than_a_block(metric, expected):
    draw = np.random.default_rng(0)
    p, y, w = draw.random(100_000), draw.integers(0, 2, 100_000), draw.random(100_000)
    value = expected(y, p, sample_weight=w)
    assert filled(metric, y, p, w).metric_result == pytest.approx(value, rel=1e-12)


@METRICS
@pytest.mark.parametrize("kind", ["float16", "float32", "bfloat16"])
def test_tensors_of_small_types(metric, expected, kind):
    torch = pytest.importorskip("torch", reason="torch is not among the requirements")
    draw = np.random.default_rng(0)
    scores = torch.tensor(draw.normal(size=(500, 20)), dtype=torch.float32)
    p = torch.softmax(scores, 1).to(getattr(torch, kind))
    y = torch.tensor(draw.integers(0, 20, 500))
    exact, columns = p.double().numpy(), np.eye(20)[y]
    value = {
        LogLossMetric: -np.log(exact[np.arange(500), y]).mean(),
        BrierScoreMetric: ((exact - columns) ** 2).sum(axis=1).mean(),
    }[metric]
    assert metric(y, p).metric_result == pytest.approx(value, rel=1e-12)


def test_a_certain_mistake_costs_the_log_of_eps():
    worst = -math.log(np.finfo(np.float64).eps)
    for kind in (np.float32, np.float64, np.int64):
        assert LogLossMetric([0], np.array([1], kind)).metric_result == pytest.approx(worst)
        assert LogLossMetric([1], np.array([[1, 0]], kind)).metric_result == pytest.approx(worst)
    assert LogLossMetric([0], [1.0]) == oracle.log_loss([0], [1.0], labels=[0, 1])


@pytest.mark.parametrize("scale_by_half", [True, False, "auto"])
@pytest.mark.parametrize("classes", [2, 3])
def test_half_of_the_brier_score(scale_by_half, classes):
    draw = np.random.default_rng(0)
    p, y = draw.dirichlet(np.ones(classes), 50), draw.integers(0, classes, 50)
    value = oracle.brier_score_loss(y, p, scale_by_half=scale_by_half)
    made = BrierScoreMetric(y, p, scale_by_half=scale_by_half)
    assert made.metric_result == pytest.approx(value, rel=1e-12)
    assert BrierScoreMetric.from_state(made.state) == made.metric_result
    if classes == 2:
        one = BrierScoreMetric(y, p[:, 1], scale_by_half=scale_by_half).metric_result
        assert one == pytest.approx(value, rel=1e-12)


@METRICS
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 5)), seed=st.integers(0, 99))
def test_labels_that_apply_or_not(metric, expected, shape, seed):
    draw = np.random.default_rng(seed)
    p, y, w = draw.random(shape), draw.integers(0, 2, shape), draw.random(shape[0]) + 0.01
    each = [metric(a, b) for a, b in zip(y.T, p.T, strict=True)]
    result = filled(metric, y, p, multilabel=True).metric_result
    assert result == pytest.approx(np.mean([float(made) for made in each]), rel=1e-12)
    weighted = filled(metric, y, p, w, multilabel=True).metric_result
    each = [filled(metric, a, b, w) for a, b in zip(y.T, p.T, strict=True)]
    assert weighted == pytest.approx(np.mean([float(made) for made in each]), rel=1e-12)


@METRICS
def test_labels_of_any_kind(metric, expected):
    p = [0.2, 0.9, 0.4]
    plain = metric([0, 1, 1], p).metric_result
    assert metric(["no", "yes", "yes"], p, labels=["no", "yes"]) == plain
    assert metric([3, -1, -1], p, labels=[3, -1]) == plain
    assert metric(["no", "yes", "yes"], p, labels=["yes", "no"]) == metric([1, 0, 0], p)
    columns = [[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]]
    named = metric(["b", "a"], columns, labels=["c", "b", "a"]).metric_result
    assert named == metric([1, 2], columns).metric_result


@METRICS
@pytest.mark.parametrize("weighted", [False, True])
def test_drawn_states_are_those_of_repeated_items(metric, expected, weighted):
    draw = np.random.default_rng(0)
    p, y = draw.dirichlet(np.ones(3), 20), draw.integers(0, 3, 20)
    w = draw.random(20) if weighted else None
    times = draw.multinomial(20, np.full(20, 1 / 20), 3)
    made = metric()
    kinds = made.make_state().kinds(y, p, w)
    for row, state in zip(times, kinds.draw(times), strict=True):
        index = np.repeat(kinds.index, row)
        repeated = filled(metric, y[index], p[index], None if w is None else w[index])
        assert made.result_of(state) == pytest.approx(repeated.metric_result, rel=1e-12)


@METRICS
@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], [0.5, 1.5], r"must be probabilities in \[0, 1\]; it holds 1.5 at index 1"),
        ([0, 1], [[0.5, 0.5], [-0.1, 1.1]], r"it holds -0.1 at index \(1, 0\)"),
        ([0, 1], [0.5, math.nan], "y_predicted must be finite; it holds nan at index 1"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.6]], "rows that sum to 1; it holds 1.1 at index 1"),
        ([0, 2], [0.5, 0.5], r"their shape is \(2,\), the largest class number is 2"),
        ([0, 3], [[0.2, 0.3, 0.5]] * 2, r"their shape is \(2, 3\), the largest class number is 3"),
        ([0, 1, 1], [0.5, 0.5], r"their shapes are \(3,\) and \(2,\)"),
        ([0, 1], np.full((2, 2, 2), 0.5), r"their shape is \(2, 2, 2\)"),
        ([0.5, 1], [0.5, 0.5], "y_true must be whole labels; it holds 0.5 at index 0"),
        ([[0, 1]], [[0.5, 0.5]], "For one-hot targets pass their argmax"),
        (["a", "b"], [0.5, 0.5], "Text labels need `labels`.* a, b ... came"),
    ],
)
def test_bad_input(metric, expected, y, p, message):
    with pytest.raises(MetricInputError, match=message):
        metric(y, p)


@METRICS
def test_bad_input_for_several_labels(metric, expected):
    with pytest.raises(
        MetricInputError, match=r"0 or 1 for each label; it holds 2 at index \(0, 1\)"
    ):
        metric([[0, 2]], [[0.5, 0.5]], multilabel=True)
    with pytest.raises(MetricInputError, match=r"shapes are \(1, 2\) and \(1, 3\)"):
        metric([[0, 1]], [[0.5, 0.5, 0.5]], multilabel=True)
    with pytest.raises(MetricInputError, match=r"the shape is \(1, 2, 2\)"):
        metric(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), multilabel=True)
    with pytest.raises(MetricInputError, match="with multilabel=True leave them out"):
        metric(labels=[0, 1], multilabel=True)


@METRICS
def test_labels_must_fit_the_columns(metric, expected):
    with pytest.raises(MetricInputError, match=r"labels is \(0, 1, 2\)"):
        metric([0, 1], [0.5, 0.5], labels=[0, 1, 2])
    made = metric([0, 1], [[0.2, 0.8], [0.5, 0.5]])
    with pytest.raises(MetricInputError, match="3 came after 2"):
        made.update([0], [[0.2, 0.3, 0.5]])
    with pytest.raises(MetricStateError, match="3 came after 2"):
        made.merge(metric([0], [[0.2, 0.3, 0.5]]).state)


def test_settings_keep_states_apart():
    draw = np.random.default_rng(0)
    y, p = draw.integers(0, 3, 20), draw.dirichlet(np.ones(3), 20)
    metrics = [LogLossMetric(), BrierScoreMetric(), BrierScoreMetric(scale_by_half=True)]
    metrics[2].metric_name = "Half"
    package = GeneralResultPackage(metrics)
    package.update(y, p)
    results = package.compute()
    assert results["Brier_score"] == 2 * results["Half"]
    assert results["Log_loss"] == LogLossMetric(y, p).metric_result
    several = BrierScoreMetric(multilabel=True), BrierScoreMetric(labels=[0, 1])
    assert several[0].make_state().key != several[1].make_state().key


def test_an_unknown_scale():
    with pytest.raises(MetricInputError, match="scale_by_half must be True, False or 'auto'"):
        BrierScoreMetric(scale_by_half="half")


class Probabilities(MetricContract):
    def batches(self):
        draw = np.random.default_rng(1)
        return [(draw.integers(0, 3, n), draw.dirichlet(np.ones(3), n)) for n in (1, 400, 7, 65)]


class TestLogLoss(Probabilities):
    def make_metric(self):
        return LogLossMetric()


class TestBrierScore(Probabilities):
    def make_metric(self):
        return BrierScoreMetric(labels=[0, 1, 2], scale_by_half=True)


class TestLogLossOfSeveralLabels(MetricContract):
    def make_metric(self):
        return LogLossMetric(multilabel=True)

    def batches(self):
        draw = np.random.default_rng(1)
        return [(draw.integers(0, 2, (n, 3)), draw.random((n, 3))) for n in (1, 40, 7, 65)]
