"""Items with several labels, against scikit-learn on tables of 0 and 1."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tt_metrics.api import (
    AccuracyMetric,
    ConfusionMatrixMetric,
    F1ScoreMetric,
    FBetaScoreMetric,
    GeneralResultPackage,
    HammingLossMetric,
    JaccardMetric,
    LabelCounts,
    MetricInputError,
    MetricStateError,
    NoDataError,
    PrecisionMetric,
    RecallMetric,
    SampleCounts,
    SpecificityMetric,
)
from tt_metrics.testing import MetricContract

SCORES = {
    PrecisionMetric: oracle.precision_score,
    RecallMetric: oracle.recall_score,
    F1ScoreMetric: oracle.f1_score,
    JaccardMetric: oracle.jaccard_score,
}
MODES = ["micro", "macro", "weighted", "samples", None]


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True)


@st.composite
def tables(draw):
    """Targets, predictions and perhaps weights; sparse, so that rows and columns are empty."""
    n, width = draw(st.integers(1, 12)), draw(st.integers(2, 5))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    share = draw(st.sampled_from([0.1, 0.5]))
    y, p = (random.random((2, n, width)) < share).astype(int)
    return y, p, random.random(n) + 0.1 if draw(st.booleans()) else None


def of(metric, y, p, weight=None, **settings):
    filled = metric(multilabel=True, **settings)
    filled.update(y, p, weight=weight)
    return filled.metric_result


@pytest.mark.parametrize("average", MODES)
@pytest.mark.parametrize("metric", SCORES)
@settings(max_examples=40)
@given(data=tables(), zero_division=st.sampled_from([0.0, 1.0, math.nan]))
def test_averages(metric, average, data, zero_division):
    y, p, weight = data
    if metric is JaccardMetric and math.isnan(zero_division):
        zero_division = 0.0  # scikit-learn's has no nan
    settings = {"average": average, "zero_division": zero_division}
    given_ = of(metric, y, p, weight, **settings)
    expected = SCORES[metric](y, p, sample_weight=weight, **settings)
    assert (list(given_.values()) if average is None else given_) == near(expected)


@settings(max_examples=40)
@given(data=tables(), beta=st.sampled_from([0.5, 2.0]))
def test_f_beta_of_samples(data, beta):
    y, p, weight = data
    settings = {"average": "samples", "zero_division": 1.0, "beta": beta}
    expected = oracle.fbeta_score(y, p, sample_weight=weight, **settings)
    assert of(FBetaScoreMetric, y, p, weight, **settings) == near(expected)


@settings(max_examples=40)
@given(data=tables())
def test_specificity_is_the_recall_of_the_opposite(data):
    y, p, weight = data
    for average in ("micro", "macro", "samples"):
        settings = {"average": average, "zero_division": 1.0}
        expected = oracle.recall_score(1 - y, 1 - p, sample_weight=weight, **settings)
        assert of(SpecificityMetric, y, p, weight, **settings) == near(expected)


@settings(max_examples=40)
@given(data=tables())
def test_accuracy_hamming_loss_and_matrix(data):
    y, p, weight = data
    assert of(AccuracyMetric, y, p, weight) == near(
        oracle.accuracy_score(y, p, sample_weight=weight)
    )
    assert of(HammingLossMetric, y, p, weight) == near(
        oracle.hamming_loss(y, p, sample_weight=weight)
    )
    metric = ConfusionMatrixMetric(multilabel=True)
    metric.update(y, p, weight=weight)
    expected = oracle.multilabel_confusion_matrix(y, p, sample_weight=weight)
    np.testing.assert_allclose(metric.matrix, expected, rtol=1e-12, atol=1e-12)


def test_the_matrix_as_a_dict():
    metric = ConfusionMatrixMetric(
        [[1, 0], [1, 1]], [[1, 1], [0, 1]], labels=["a", "b"], multilabel=True
    )
    assert metric.metric_result == {
        "a": {"tn": 0, "fp": 0, "fn": 1, "tp": 1},
        "b": {"tn": 0, "fp": 1, "fn": 0, "tp": 1},
    }
    assert metric.compute()["Confusion_matrix_b_fp"] == 1


def test_labels_name_the_columns():
    y, p = [[1, 0], [1, 1]], [[1, 1], [0, 1]]
    assert of(RecallMetric, y, p, average=None, labels=["x", "y"]) == {"x": 0.5, "y": 1.0}
    assert of(RecallMetric, y, p, average=None) == {"0": 0.5, "1": 1.0}


@pytest.mark.parametrize("average", ["macro", "samples"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float32"])
def test_any_type_means_the_same(dtype, average):
    y, p = np.array([[1, 0], [1, 1]], dtype), np.array([[1, 1], [0, 1]], dtype)
    expected = oracle.f1_score(y.astype(int), p.astype(int), average=average)
    assert of(F1ScoreMetric, y, p, average=average) == near(expected)


@pytest.mark.parametrize("metric", [AccuracyMetric, HammingLossMetric, ConfusionMatrixMetric])
def test_the_threshold_itself_means_the_label(metric):
    y, p = [[1, 0], [0, 1]], [[0.7, 0.69], [0.1, 0.9]]
    filled = metric(y, p, 0.7, multilabel=True)
    assert filled.metric_result == metric(y, y, multilabel=True).metric_result


@pytest.mark.parametrize("average", ["macro", "samples"])
@pytest.mark.parametrize(
    ("y", "p", "rule"),
    [
        ([0, 1], [0, 1], r"must both have shape \(n, labels\).*\(2,\) and \(2,\)"),
        ([[0, 1]], [[0, 1], [1, 1]], r"\(1, 2\) and \(2, 2\)"),
        ([[0, 2]], [[0, 1]], r"y_true must be 0 or 1.*holds 2 at index \(0, 1\)"),
        ([[0, 1]], [[-1, 1]], r"y_predicted must be 0 or 1.*holds -1 at index \(0, 0\)"),
        ([[0, 0.5]], [[0, 1]], r"y_true must be 0 or 1.*holds 0.5"),
        ([[0, 1]], [[0.5, 1.5]], r"labels 0 and 1 or probabilities; it holds 1.5"),
        ([[0, 1]], [[0.5, math.nan]], r"must be finite; it holds nan at index \(0, 1\)"),
        ([[0, 1, 1]], [[0, 1, 1]], "one column per label, 2; 3 columns came"),
        ([["a", "b"]], [["a", "b"]], "y_true must be real numbers"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "at least one item"),
    ],
)
def test_tables_that_make_no_sense(average, y, p, rule):
    metric = F1ScoreMetric([[0, 1]], [[1, 1]], average=average, multilabel=True)
    before = metric.compute()
    with pytest.raises(MetricInputError, match=rule):
        metric.update(y, p)
    assert metric.compute() == before


def test_tables_without_multilabel_say_what_to_do():
    for metric in (AccuracyMetric, F1ScoreMetric):
        with pytest.raises(MetricInputError, match="multilabel=True"):
            metric([[0, 1], [1, 1]], [[0, 1], [1, 1]])


@pytest.mark.parametrize("metric", [AccuracyMetric, HammingLossMetric])
def test_the_width_that_was_said_holds(metric):
    for known in ({"num_classes": 3}, {"labels": [5, 6, 7]}):
        with pytest.raises(MetricInputError, match="one column per label, 3; 2 columns came"):
            metric([[0, 1]], [[0, 1]], multilabel=True, **known)


@pytest.mark.parametrize("state", [LabelCounts, SampleCounts])
def test_states_of_other_tables_do_not_merge(state):
    wide, narrow = state(), state()
    wide.update([[0, 1, 1]], [[0, 1, 1]])
    narrow.update([[0, 1]], [[0, 1]])
    before = narrow.to_dict()["counts"]
    with pytest.raises(MetricStateError, match="3 came for"):
        narrow.merge(wide.to_dict())
    np.testing.assert_array_equal(narrow.counts, before)


def test_a_share_of_items_that_weigh_nothing():
    for metric in (AccuracyMetric(multilabel=True), HammingLossMetric(multilabel=True)):
        metric.update([[0, 1]], [[0, 1]], weight=[0.0])
        with pytest.raises(NoDataError, match="weigh nothing"):
            metric.get_metric()


def test_accuracy_shares_the_counts_of_a_package():
    y, p = [[0, 1], [1, 1], [0, 0]], [[0, 1], [1, 0], [0, 0]]
    samples = F1ScoreMetric(average="samples", multilabel=True)
    package = GeneralResultPackage([AccuracyMetric(multilabel=True), samples])
    package.update(y, p)
    assert len(package.state["keys"]) == 1
    assert package.get_results() == {
        "Accuracy": near(2 / 3),
        "F1_score": near(oracle.f1_score(y, p, average="samples", zero_division=0)),
    }


def test_metrics_of_one_average_share_the_counts_of_labels():
    y, p = [[0, 1], [1, 1], [0, 0]], [[0, 1], [1, 0], [0, 0]]
    macro = {"average": "macro", "multilabel": True}
    package = GeneralResultPackage(
        [RecallMetric(**macro), PrecisionMetric(**macro), HammingLossMetric(multilabel=True)]
    )
    package.update(y, p)
    assert len(package.state["keys"]) == 1
    assert list(package.get_results().values()) == [0.75, 1.0, near(1 / 6)]


@pytest.mark.parametrize("state", [LabelCounts, SampleCounts])
def test_an_empty_state_changes_nothing(state):
    one = state()
    one.update([[0, 1]], [[0, 1]])
    before = one.counts.tolist()
    one.merge(state().to_dict())
    assert one.counts.tolist() == before
    assert not one.weighted
    one.update([[0, 1]], [[0, 1]], [0.5])
    assert one.weighted
    assert one.count == 2


def test_labels_of_another_number_than_columns():
    with pytest.raises(MetricInputError, match="one column per label, 3; 2 columns came"):
        of(F1ScoreMetric, [[0, 1]], [[0, 1]], average="macro", labels=["a", "b", "c"])


@pytest.mark.parametrize(("metric", "yes"), [(AccuracyMetric, True), (HammingLossMetric, False)])
def test_entries_of_one_item_are_no_trials(metric, yes):
    filled = metric(multilabel=True)
    state = filled.make_state()
    state.update([[0, 1], [1, 1]], [[0, 1], [1, 0]])
    assert filled.proportion_of(state) == ((1, 2) if yes else None)
    precision = PrecisionMetric(average="micro", multilabel=True)
    assert precision.proportion_of(precision.make_state()) is None


METRICS = [
    lambda: F1ScoreMetric(average="samples", multilabel=True),
    lambda: F1ScoreMetric(average=None, multilabel=True),
    lambda: AccuracyMetric(multilabel=True),
]


@pytest.mark.parametrize("make", METRICS)
@settings(max_examples=40)
@given(data=tables(), seed=st.integers(0, 1000))
def test_drawn_states_are_those_of_the_drawn_items(make, data, seed):
    y, p, weight = data
    metric = make()
    kinds = metric.make_state().kinds(y, p, weight)
    times = np.random.default_rng(seed).integers(0, 3, (2, kinds.size))
    seen = np.bincount(kinds.index, minlength=kinds.size)
    for row, drawn in zip(times, kinds.draw(times * seen), strict=True):
        items = np.repeat(np.arange(len(y)), row[kinds.index])
        assert drawn.count == len(items)
        if len(items):
            again = make()
            again.update(y[items], p[items], weight=None if weight is None else weight[items])
            assert metric.result_of(drawn) == near(again.metric_result)


@settings(max_examples=40)
@given(data=tables())
def test_sample_counts_can_be_drawn_from_themselves(data):
    y, p, weight = data
    state = SampleCounts()
    state.update(y, p, weight)
    own = state.own_kinds()
    if weight is not None:
        assert own is None
        return
    multiplicity, draw = own
    assert multiplicity.sum() == len(y)
    (again,) = draw(multiplicity[None])
    metric = JaccardMetric(average="samples", multilabel=True)
    assert metric.result_of(again) == metric.result_of(state)
    assert (again.right, again.total) == (state.right, state.total)


class Tables(MetricContract):
    tolerance = 1e-12

    def batches(self):
        draw = np.random.default_rng(1)
        sizes = (5, 1, 40, 8)
        return [(draw.integers(0, 2, (n, 3)), draw.random((n, 3))) for n in sizes]


class TestSubsetAccuracy(Tables):
    def make_metric(self):
        return AccuracyMetric(multilabel=True)


class TestHammingLoss(Tables):
    def make_metric(self):
        return HammingLossMetric(multilabel=True, num_classes=3)


class TestF1OfSamples(Tables):
    def make_metric(self):
        return F1ScoreMetric(average="samples", multilabel=True)


class TestF1OfLabels(Tables):
    def make_metric(self):
        return F1ScoreMetric(average=None, multilabel=True, labels=["a", "b", "c"])


class TestMatrix(Tables):
    def make_metric(self):
        return ConfusionMatrixMetric(multilabel=True)


@settings(max_examples=40)
@given(data=tables(), parts=st.integers(2, 4), seed=st.integers(0, 1000))
def test_weighted_counts_merge(data, parts, seed):
    y, p, _ = data
    draw = np.random.default_rng(seed)
    weight, where = draw.random(len(y)), draw.integers(0, parts, len(y))
    for average in ("samples", "macro"):
        whole = of(F1ScoreMetric, y, p, weight, average=average)
        merged = F1ScoreMetric(average=average, multilabel=True)
        for part in range(parts):
            shard = F1ScoreMetric(average=average, multilabel=True)
            if (mask := where == part).any():
                shard.update(y[mask], p[mask], weight=weight[mask])
            merged.merge(shard.state)
        assert merged.metric_result == near(whole)
