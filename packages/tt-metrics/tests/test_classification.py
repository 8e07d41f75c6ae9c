"""Metrics on labels, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.naive_bayes import GaussianNB

from tt_metrics.api import (
    AccuracyMetric,
    ConfusionMatrixMetric,
    F1ScoreMetric,
    GeneralResultPackage,
    HammingLossMetric,
    MetricInputError,
    NoDataError,
    PrecisionMetric,
    RecallMetric,
    TopKAccuracyMetric,
)
from tt_metrics.testing import MetricContract

AVERAGED = {
    PrecisionMetric: oracle.precision_score,
    RecallMetric: oracle.recall_score,
    F1ScoreMetric: oracle.f1_score,
}


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return y[900:], GaussianNB().fit(x[:900], y[:900]).predict_proba(x[900:])


@pytest.fixture(scope="module")
def tumours():
    x, y = load_breast_cancer(return_X_y=True)
    return y[300:], GaussianNB().fit(x[:300], y[:300]).predict_proba(x[300:])[:, 1]


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def test_accuracy_of_scores_is_that_of_their_largest_column(digits):
    y, scores = digits
    assert AccuracyMetric(y, scores).metric_result == oracle.accuracy_score(y, scores.argmax(1))


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("metric", AVERAGED)
def test_averages_over_many_classes(digits, metric, average):
    y, scores = digits
    expected = AVERAGED[metric](y, scores.argmax(1), average=average)
    assert metric(y, scores, average=average).metric_result == near(expected)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("metric", AVERAGED)
def test_two_classes_from_probabilities(tumours, metric, threshold):
    y, p = tumours
    expected = AVERAGED[metric](y, p >= threshold)
    assert metric(y, p, threshold).metric_result == near(expected)


@pytest.mark.parametrize("zero_division", [0.0, 1.0])
@pytest.mark.parametrize("average", ["binary", "macro", "micro", "weighted"])
@pytest.mark.parametrize("metric", AVERAGED)
@pytest.mark.parametrize(
    ("y_true", "y_predicted"),
    [([0, 0], [0, 0]), ([1, 1], [0, 0]), ([0, 0], [1, 1]), ([0, 1], [0, 0]), ([1], [1])],
)
def test_what_is_zero_over_zero(metric, average, zero_division, y_true, y_predicted):
    expected = AVERAGED[metric](y_true, y_predicted, average=average, zero_division=zero_division)
    given = metric(y_true, y_predicted, average=average, zero_division=zero_division)
    assert given.metric_result == near(expected)


def test_a_class_that_never_occurs_has_no_part_in_the_mean():
    y, p = [0, 0, 3], [0, 3, 3]
    expected = near(oracle.f1_score(y, p, average="macro"))
    assert F1ScoreMetric(y, p, average="macro", num_classes=10) == expected.expected
    assert F1ScoreMetric(y, p, average="macro").metric_result == expected


@pytest.mark.parametrize("metric", [AccuracyMetric, *AVERAGED])
def test_the_threshold_itself_is_positive_for_every_metric(metric):
    assert metric([1, 1], [0.5, 0.5]).metric_result == 1


def test_labels_of_any_type_mean_the_same():
    y, p = [0, 1, 1, 0], [0, 1, 0, 0]
    for dtype in ("bool", "int8", "uint64", "float16", "float32", "float64"):
        assert AccuracyMetric(np.array(y, dtype), np.array(p, dtype)).metric_result == 0.75


def test_float_labels_above_one_are_labels():
    assert AccuracyMetric([0.0, 2.0], [2.0, 2.0]).metric_result == 0.5


def test_one_column_of_probabilities_is_not_one_column_of_scores():
    assert AccuracyMetric([[1], [0]], [[0.9], [0.2]]).metric_result == 1


def test_counting_in_blocks_loses_nothing():
    draw = np.random.default_rng(0)
    y, p = draw.integers(0, 3, (2, 200_001))
    assert AccuracyMetric(y, p).metric_result == oracle.accuracy_score(y, p)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # Wilson's formula worked out by hand with z = 1.959964; 0 and n give the closed forms.
    [(8, 10, 0.490162, 0.943318), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0)],
)
def test_wilsons_interval(correct, n, low, high):
    metric = AccuracyMetric(np.ones(n, int), np.arange(n) < correct)
    assert tuple(metric.ci()) == pytest.approx((low, high), abs=1e-6)


def test_more_confidence_is_a_wider_interval():
    metric = AccuracyMetric([1, 0, 1], [1, 1, 1])
    narrow, wide = metric.ci(0.5), metric.ci(confidence=0.99)
    assert wide.low < narrow.low < float(metric) < narrow.high < wide.high


def test_an_interval_needs_data_and_a_probability():
    with pytest.raises(NoDataError, match="needs data"):
        AccuracyMetric().ci()
    with pytest.raises(MetricInputError, match=r"between 0 and 1.*95"):
        AccuracyMetric([1], [1]).ci(95)


def test_binary_is_for_two_labels():
    with pytest.raises(MetricInputError, match=r"label 2 came. Use average='macro'"):
        F1ScoreMetric([0, 1, 2], [0, 1, 1]).get_metric()


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"positive_class_thresh": 0.0}, "above 0 and at most 1; it is 0.0"),
        ({"positive_class_thresh": 1.5}, "above 0 and at most 1; it is 1.5"),
        ({"num_classes": 0}, "at least 1; it is 0"),
        ({"labels": []}, "at least one label"),
        ({"labels": [1, 1]}, "all be different"),
    ],
)
def test_settings_that_mean_nothing(settings, rule):
    with pytest.raises(MetricInputError, match=rule):
        F1ScoreMetric(**settings)


@pytest.mark.parametrize(
    ("y_true", "y_predicted", "rule"),
    [
        ([0, 3], [0, 1], "below num_classes, 3; 3 came"),
        ([0, 1], [[0.1, 0.9], [0.2, 0.8]], r"\(2, 2\), the largest label is 1, num_classes is 3"),
        ([0, 3], [[0, 1, 2], [0, 1, 2]], r"\(2, 3\), the largest label is 3"),
    ],
)
def test_labels_beyond_the_known_classes(y_true, y_predicted, rule):
    with pytest.raises(MetricInputError, match=rule):
        AccuracyMetric(y_true, y_predicted, num_classes=3)


def test_an_identifier_taken_for_a_label_does_not_eat_the_memory():
    with pytest.raises(MetricInputError, match="4096"):
        ConfusionMatrixMetric([10**10], [1])
    assert AccuracyMetric([10**10, 3], [1, 3]).metric_result == 0.5  # which needs no matrix


def test_a_batch_that_raises_leaves_the_metric_as_it_was():
    metric = AccuracyMetric([0, 1], [0, 1], num_classes=2)
    with pytest.raises(MetricInputError):
        metric.update([0, 0, 5], [1, 1, 1])
    assert metric.metric_result == 1
    assert metric.count == 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("known", [{}, {"num_classes": 9}, {"labels": range(9)}])
@pytest.mark.parametrize("dtypes", [("int64", "int8"), ("uint8", "float32"), (">i4", "int64")])
def test_accuracy_and_hamming_loss_of_any_types(dtypes, known, seed):
    draw = np.random.default_rng(seed)
    y, p = draw.integers(0, 9, (2, 50_000))
    weight = draw.random(len(y))
    y, p = y.astype(dtypes[0]), p.astype(dtypes[1])
    for weights in (None, weight):
        metric, loss = AccuracyMetric(**known), HammingLossMetric(**known)
        for one in (metric, loss):
            one.update(y, p, weight=weights)
        assert metric.metric_result == near(oracle.accuracy_score(y, p, sample_weight=weights))
        assert loss.metric_result == near(oracle.hamming_loss(y, p, sample_weight=weights))


@pytest.mark.parametrize("items", [3, 5000])
def test_accuracy_of_scores_in_blocks(items):
    draw = np.random.default_rng(items)
    y, scores = draw.integers(0, 4, items), draw.normal(size=(items, 4))
    expected = oracle.accuracy_score(y, scores.argmax(axis=1))
    for one in (
        scores,
        scores.astype(np.float32),
        np.asfortranarray(scores),
        scores[:, ::-1][:, ::-1],
    ):
        assert AccuracyMetric(y, one).metric_result == expected
    huge = np.where(scores == scores.max(axis=1, keepdims=True), 1e200, -1e200)
    assert AccuracyMetric(y, huge).metric_result == expected


@pytest.mark.parametrize("place", [0, 40_000])
@pytest.mark.parametrize(
    ("wrong", "rule"), [(-1, "holds -1 at index {}"), (5, "below num_classes, 5; 5 came")]
)
def test_a_wrong_label_is_found_wherever_it_is(place, wrong, rule):
    y, p = np.zeros((2, 50_000), np.int64)
    scores = np.tile([1.0, 0, 0, 0, 0], (len(y), 1))
    y[place] = wrong
    for predicted in (p, scores):
        with pytest.raises(MetricInputError):
            AccuracyMetric(y, predicted, num_classes=5)
    for pair in ((y, p), (p, y)):
        with pytest.raises(MetricInputError, match=rule.format(place)):
            AccuracyMetric(*pair, num_classes=5)


def test_a_score_that_is_no_number_is_found_wherever_it_is():
    scores = np.zeros((5000, 4))
    scores[4321, 2] = np.nan
    with pytest.raises(MetricInputError, match=r"nan at index \(4321, 2\)"):
        AccuracyMetric(np.zeros(5000, int), scores)


def test_accuracy_of_texts_and_of_labels_in_an_order():
    assert AccuracyMetric(["a", "b"], ["a", "c"]).metric_result == 0.5
    scores = [[0.1, 0.9], [0.8, 0.2]]
    assert AccuracyMetric(["no", "no"], scores, labels=["yes", "no"]).metric_result == 0.5
    with pytest.raises(MetricInputError, match="one of the labels"):
        AccuracyMetric(["maybe"], ["no"], labels=["yes", "no"])


@pytest.mark.parametrize(
    ("y", "p", "rule"),
    [
        (["a", 1], ["a", "b"], "mixes number and text"),
        ([{}, {}], [0, 1], "must hold only numbers or only texts"),
        ([[0], [1, 2]], [0, 1], "rectangular"),
        ([0, 1], ["a", "b"], "both be numbers or both be texts"),
        ([0, 1, 1], [0, 1], "one entry per item"),
        ([], [], "at least one item"),
        ([0.5, 1.0], [1, 1], "whole labels"),
        ([[0, 1], [1, 0]], [0, 1], "multilabel=True"),
    ],
)
@pytest.mark.parametrize("metric", [AccuracyMetric, HammingLossMetric, F1ScoreMetric])
def test_labels_that_are_none(metric, y, p, rule):
    with pytest.raises(MetricInputError, match=rule):
        metric(y, p)


def test_accuracy_alone_needs_no_matrix_and_beside_others_shares_theirs():
    y, p = [0, 1, 2, 2], [0, 1, 1, 2]
    alone = GeneralResultPackage([AccuracyMetric, HammingLossMetric])
    beside = GeneralResultPackage(
        [AccuracyMetric, F1ScoreMetric(average="macro"), HammingLossMetric]
    )
    for package in (alone, beside):
        package.update(y, p)
        assert len(package.state["keys"]) == 1
        assert package.get_results()["Accuracy"] == 0.75
        assert package.get_results()["Hamming_loss"] == 0.25
    assert alone.state["data"][0].keys() == {"right", "total", "items"}


def test_top_k_of_other_k_in_one_package():
    y, scores = [0, 1, 2], [[0.2, 0.5, 0.3], [0.4, 0.5, 0.1], [0.5, 0.3, 0.2]]
    package = GeneralResultPackage([TopKAccuracyMetric(k=1), TopKAccuracyMetric(k=2)])
    package.update(y, scores)
    assert package.get_results() == {"Top_1_accuracy": 1 / 3, "Top_2_accuracy": 1 / 3}


def test_a_share_of_items_that_weigh_nothing():
    metric = AccuracyMetric()
    metric.update([0, 1], [0, 1], weight=[0, 0])
    with pytest.raises(NoDataError, match="weigh nothing"):
        metric.get_metric()


def test_proportions_of_one_label_per_item():
    y, p = [0, 1, 2, 2], [0, 1, 1, 2]
    for metric, expected in ((AccuracyMetric(), (3, 4)), (HammingLossMetric(), (1, 4))):
        state = metric.make_state()
        state.update(y, p)
        assert metric.proportion_of(state) == expected
        state.update(y, p, [1, 2, 3, 4])
        assert metric.proportion_of(state) is None


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 40),
    k=st.integers(1, 4),
    levels=st.sampled_from([2, 3, 1000]),
    weighted=st.booleans(),
)
def test_top_k_with_and_without_ties(seed, n, k, levels, weighted):
    draw = np.random.default_rng(seed)
    y, scores = draw.integers(0, 5, n), draw.integers(0, levels, (n, 5)) / 7
    weight = draw.random(n) + 0.1 if weighted else None
    metric = TopKAccuracyMetric(k=k)
    metric.update(y, scores, weight=weight)
    expected = oracle.top_k_accuracy_score(y, scores, k=k, labels=range(5), sample_weight=weight)
    assert metric.metric_result == near(expected)
    named = TopKAccuracyMetric(k=k, labels=list("edcba"))
    named.update(np.array(list("edcba"))[y], scores, weight=weight)
    assert named.metric_result == near(expected)


def test_top_k_in_blocks():
    draw = np.random.default_rng(0)
    y, scores = draw.integers(0, 1000, 300), draw.normal(size=(300, 1000))
    scores[np.arange(300), y] += 3
    metric = TopKAccuracyMetric(y, scores, k=20)
    assert metric == oracle.top_k_accuracy_score(y, scores, k=20, labels=range(1000))
    assert metric.metric_name == "Top_20_accuracy"
    assert metric.ci().method == "wilson"
    metric.update(y, scores, weight=np.ones(300))
    assert metric.proportion_of(metric.make_state()) == (0, 0)


@pytest.mark.parametrize(
    ("settings", "scores", "rule"),
    [
        ({"k": 0}, None, "k must be a whole number of at least 1; it is 0"),
        ({"k": 1.5}, None, "k must be a whole number of at least 1; it is 1.5"),
        ({"k": True}, None, "k must be a whole number of at least 1; it is True"),
        ({"k": 3, "num_classes": 3}, None, "less than the number of classes, 3; it is 3"),
        ({"k": 3}, [[0.1, 0.2, 0.3]], "less than the number of classes, 3; it is 3"),
        ({"k": 1}, [0.5], r"shape \(n, K\); their shape is \(1,\)"),
        ({"k": 1}, [[0.5, np.inf]], "must be finite"),
    ],
)
def test_top_k_that_means_nothing(settings, scores, rule):
    with pytest.raises(MetricInputError, match=rule):
        TopKAccuracyMetric(None if scores is None else [0], scores, **settings)


@pytest.mark.parametrize("metric", [AccuracyMetric(), TopKAccuracyMetric(k=2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_drawn_hits_are_those_of_the_drawn_items(metric, weighted):
    draw = np.random.default_rng(4)
    y, scores = draw.integers(0, 5, 30), draw.normal(size=(30, 5))
    weight = draw.random(30) if weighted else None
    kinds = metric.make_state().kinds(y, scores, weight)
    times = draw.integers(0, 3, (4, kinds.size))
    seen = np.bincount(kinds.index, minlength=kinds.size)
    for row, drawn in zip(times, kinds.draw(times * seen), strict=True):
        items = np.repeat(np.arange(30), row[kinds.index])
        state = metric.make_state()
        if len(items):
            state.update(y[items], scores[items], None if weight is None else weight[items])
            assert metric.result_of(drawn) == near(metric.result_of(state))
        assert drawn.count == len(items)
    state = metric.make_state()
    state.update(y, scores, weight)
    if weighted:
        assert state.own_kinds() is None
    else:
        multiplicity, draw_own = state.own_kinds()
        (again,) = draw_own(multiplicity[None])
        assert metric.result_of(again) == metric.result_of(state)


class Scores(MetricContract):
    def batches(self):
        draw = np.random.default_rng(1)
        sizes = (5, 1, 40, 8)
        return [(draw.integers(0, 4, n), draw.normal(size=(n, 4))) for n in sizes]


class TestTopK(Scores):
    def make_metric(self):
        return TopKAccuracyMetric(k=2)


class TestHammingLoss(Scores):
    def make_metric(self):
        return HammingLossMetric()


class TestAccuracyOfLabelsInAnOrder(Scores):
    def make_metric(self):
        return AccuracyMetric(labels=[3, 1, 0, 2])
