"""What rankings are computed from: what is refused, shared, merged and drawn from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.datasets import load_breast_cancer
from sklearn.naive_bayes import GaussianNB

from tt_metrics.api import (
    AveragePrecisionMetric,
    EqualErrorRateMetric,
    GeneralResultPackage,
    MetricInputError,
    MetricStateError,
    PrecisionRecallCurveAUCMetric,
    Ranking,
    RecallAtPrecisionMetric,
    ROCAUCMetric,
)
from tt_metrics.testing import MetricContract

BINARY = [
    ROCAUCMetric,
    AveragePrecisionMetric,
    PrecisionRecallCurveAUCMetric,
    EqualErrorRateMetric,
    RecallAtPrecisionMetric,
]


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def filled(metric, y, s, weight=None):
    metric.update(y, s, weight=weight)
    return metric


@pytest.fixture(scope="module")
def tumours():
    x, y = load_breast_cancer(return_X_y=True)
    return y[300:], GaussianNB().fit(x[:300], y[:300]).predict_proba(x[300:])


@pytest.mark.parametrize(
    ("y", "s", "what"),
    [
        ([0, 1], [0.1, np.nan], "nan at index 1"),
        ([0, 1], [np.nan, 0.1], "nan at index 0"),
        ([0, 1], [0.1, -np.inf], "-inf at index 1"),
        ([0, 1], [np.inf, 0.1], "inf at index 0"),
        ([0, 0], [0.1, -np.inf], "-inf at index 1"),
        ([0, 0, 1, 1], [0.1, np.nan, 0.2, 0.3], "nan at index 1"),
        ([0, 0, 1, 1], [0.1, 0.4, 0.2, -np.inf], "-inf at index 3"),
        ([0, 1, 0], [[1.0, 2.0], [np.inf, 1.0], [0.0, 0.0]], r"inf at index \(1, 0\)"),
        ([0, 1], [[1.0, 2.0, 3.0], [0.0, -np.inf, 0.0]], r"-inf at index \(1, 1\)"),
        ([0, 2], [0.1, 0.2], "0 or 1 .* 2 at index 1"),
        ([0, -1], [0.1, 0.2], "0 or 1 .* -1 at index 1"),
        ([0, 0.5], [0.1, 0.2], "0.5 at index 1"),
        ([0, 3], [[1, 2, 3], [1, 2, 3]], "from 0 to 2.* 3 at index 1"),
        ([0, 1, 1], [0.1, 0.2], r"\(3,\) and \(2,\)"),
        ([[0, 1], [1, 0]], [[0.1, 0.2], [0.3, 0.4]], "multilabel=True"),
        (["a", "b"], [0.1, 0.2], "give `labels`"),
        ([], [], "at least one item"),
        ([0, 1], ["a", "b"], "real numbers"),
        ([0, 1], [2**53 + 1, 2], "2\\*\\*53"),
    ],
)
def test_what_cannot_be_ranked(y, s, what):
    metric = ROCAUCMetric([0, 1, 0], [0.1, 0.2, 0.3])
    before = metric.metric_result
    with pytest.raises(MetricInputError, match=what):
        ROCAUCMetric(y, s)
    with pytest.raises((MetricInputError, MetricStateError)):
        metric.update(y, s)
    assert metric.metric_result == before


def test_a_weighted_batch_must_be_finite_too():
    with pytest.raises(MetricInputError, match="nan at index 1"):
        filled(ROCAUCMetric(), [0, 1], [0.1, np.nan], [1, 1])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: ROCAUCMetric(average="sample"), "average must be one of"),
        (lambda: ROCAUCMetric(absent="nan"), "absent must be one of"),
        (lambda: ROCAUCMetric(multi_class="raise"), "multi_class must be one of"),
        (lambda: ROCAUCMetric(multi_class="ovo", average=None), "ovo"),
        (lambda: ROCAUCMetric(multi_class="ovo", multilabel=True), "ovo"),
        (lambda: ROCAUCMetric(labels=["a"]), "at least two labels"),
        (lambda: RecallAtPrecisionMetric(min_precision=1.1), "min_precision"),
        (lambda: ROCAUCMetric([0, 1], [1, 2], labels=[0, 1, 2]), "2 classes came for the 3"),
        (lambda: ROCAUCMetric([[0, 1]], [[1, 2, 3]], multilabel=True), r"\(1, 2\) and \(1, 3\)"),
        (lambda: ROCAUCMetric([[0, 2]], [[1, 2]], multilabel=True), "0 or 1"),
    ],
)
def test_settings_are_checked(make, what):
    with pytest.raises(MetricInputError, match=what):
        make()


def test_the_number_of_classes_stays():
    metric = ROCAUCMetric([0, 1], [0.1, 0.2])
    with pytest.raises(MetricStateError, match="2 classes, now there are 3"):
        metric.update([0, 1], [[1, 2, 3], [1, 2, 3]])
    with pytest.raises(MetricStateError, match="2 classes, now there are 3"):
        metric.merge(ROCAUCMetric([0, 1], [[1, 2, 3], [1, 2, 3]]).state)


def test_metrics_with_equal_settings_share_one_state(tumours):
    package = GeneralResultPackage(BINARY)
    package.prepare_result_package(*tumours)
    assert len(package.state["data"]) == 1
    for metric in BINARY:
        assert metric(*tumours).metric_result in package.get_results().values()
    other = ROCAUCMetric(labels=["a", "b"]).make_state()
    assert other.key != ROCAUCMetric().make_state().key


def test_the_state_is_small():
    metric = ROCAUCMetric(np.arange(1000) % 2, np.arange(1000, dtype=np.float32))
    assert sum(part.nbytes for part in metric.state["data"][0].values() if part is not None) == 5000


def test_batches_may_come_with_and_without_weights():
    metric = filled(ROCAUCMetric(), [0, 1], [0.3, 0.2])
    metric.update([1, 0], [0.4, 0.1], weight=[2.0, 1.0])
    expected = oracle.roc_auc_score([0, 1, 1, 0], [0.3, 0.2, 0.4, 0.1], sample_weight=[1, 1, 2, 1])
    assert metric.metric_result == near(expected)


def test_merging_an_empty_state_changes_nothing(tumours):
    state = Ranking()
    state.merge(Ranking().to_dict())
    assert state.count == 0
    state.update(*tumours)
    before = state.count
    state.merge(Ranking().to_dict())
    assert state.count == before


class TestROCAUC(MetricContract):
    def make_metric(self):
        return ROCAUCMetric()

    def batches(self):
        draw = np.random.default_rng(5)
        return [(draw.integers(0, 2, n), draw.integers(0, 9, n) / 8) for n in (40, 30, 20, 9)]

    def _filled(self, batches):
        metric = super()._filled(batches)
        assert metric.count == sum(len(y) for y, _ in batches)
        return metric


class TestAveragePrecision(TestROCAUC):
    def make_metric(self):
        return AveragePrecisionMetric()


class TestPrecisionRecallCurveAUC(TestROCAUC):
    def make_metric(self):
        return PrecisionRecallCurveAUCMetric()


class TestEqualErrorRate(TestROCAUC):
    def make_metric(self):
        return EqualErrorRateMetric()


class TestRecallAtPrecision(TestROCAUC):
    def make_metric(self):
        return RecallAtPrecisionMetric(min_precision=0.6)


class TestROCAUCOfLabels(MetricContract):
    def make_metric(self):
        return ROCAUCMetric(average=None, multilabel=True, labels=["a", "b", "c"])

    def batches(self):
        draw = np.random.default_rng(6)
        return [(draw.integers(0, 2, (n, 3)), draw.normal(size=(n, 3))) for n in (40, 30, 20, 9)]


class TestROCAUCOfPairs(MetricContract):
    tolerance = 1e-14

    def make_metric(self):
        return ROCAUCMetric(multi_class="ovo", average="weighted")

    def batches(self):
        draw = np.random.default_rng(7)
        return [(draw.permutation(n) % 4, draw.normal(size=(n, 4))) for n in (40, 30, 20, 9)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("metric", "columns"),
    [
        *((metric(), 1) for metric in BINARY),
        (ROCAUCMetric(), 3),
        (ROCAUCMetric(multi_class="ovo"), 3),
        (AveragePrecisionMetric(average="micro"), 3),
        (ROCAUCMetric(average="micro", multilabel=True), 3),
    ],
    ids=repr,
)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_drawn_states_are_those_of_repeated_items(metric, columns, weighted, seed):
    draw = np.random.default_rng(seed)
    n = 30
    shape = (n, columns) if metric.multilabel else n
    y = draw.integers(0, 2 if metric.multilabel else max(columns, 2), shape)
    s = draw.integers(0, 6, n if columns == 1 else (n, columns))
    weight = draw.integers(1, 5, n) / 3 if weighted else None
    kinds = metric.make_state().kinds(y, s, weight)
    assert kinds.index.shape == (n,)
    times = draw.integers(0, 3, (4, kinds.size))
    for row, state in zip(times, kinds.draw(times), strict=True):
        index = np.repeat(np.arange(n), row[kinds.index])
        repeated = metric.make_state()
        repeated.update(y[index], s[index], None if weight is None else weight[index])
        assert state.count == len(index)
        try:
            expected = metric.result_of(repeated)
        except MetricInputError:  # a class was not drawn
            with pytest.raises(MetricInputError):
                metric.result_of(state)
        else:
            assert metric.result_of(state) == near(expected)


def test_a_state_can_be_drawn_from_without_the_data(tumours):
    state = Ranking()
    state.update(*tumours)
    times, draw = state.own_kinds()
    assert times.tolist() == [1] * state.count
    metric = ROCAUCMetric(*tumours)
    [same, doubled] = draw(np.stack([times, 2 * times]))
    assert doubled.count == 2 * state.count
    assert metric.result_of(same) == metric.result_of(doubled) == metric.metric_result
    state.update([0], [1.0])
    [same] = draw(times[None])
    assert metric.result_of(same) == metric.metric_result
