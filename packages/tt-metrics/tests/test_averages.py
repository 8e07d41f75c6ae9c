"""Precision, recall and their kin in every averaging mode, against scikit-learn."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tt_metrics.api import (
    Confusion,
    F1ScoreMetric,
    FBetaScoreMetric,
    JaccardMetric,
    MetricInputError,
    PrecisionMetric,
    RecallMetric,
    SpecificityMetric,
)
from tt_metrics.testing import MetricContract

MODES = ["micro", "macro", "weighted"]


def specificity(y, p, *, average, labels=None, sample_weight=None, zero_division=0.0, pos_label=1):
    """The recall of "not this label", from scikit-learn's counts per label."""
    if average == "binary":
        labels, average = [pos_label], "macro"
    counts = oracle.multilabel_confusion_matrix(
        y, p, labels=labels, sample_weight=sample_weight, samplewise=average == "samples"
    )
    negative, without = counts[:, 0, 0], counts[:, 0].sum(axis=1)
    if average == "micro":
        negative, without = negative.sum(keepdims=True), without.sum(keepdims=True)
    values = np.array(
        [a / b if b else zero_division for a, b in zip(negative, without, strict=True)]
    )
    weights = {"weighted": counts[:, 1].sum(axis=1), "samples": sample_weight}.get(average)
    if average is None:
        return values
    kept = ~np.isnan(values)
    if not kept.any():
        return math.nan
    if weights is None or not np.sum(weights[kept]):
        return values[kept].mean()
    return np.average(values[kept], weights=weights[kept])


SCORES = {
    PrecisionMetric: oracle.precision_score,
    RecallMetric: oracle.recall_score,
    F1ScoreMetric: oracle.f1_score,
    SpecificityMetric: specificity,
}


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True)


def expect(metric, y, p, weight=None, score=None, extra=None, **settings):
    """Compare a metric with scikit-learn in one mode."""
    ours = metric(**settings, **(extra or {}))
    ours.update(y, p, weight=weight)
    settings.pop("num_classes", None)
    settings.pop("multilabel", None)
    score = score or SCORES[metric]
    expected = score(y, p, sample_weight=weight, **settings, **(extra or {}))
    given_ = ours.metric_result
    if settings["average"] is None:
        assert list(given_.values()) == near(list(expected))
    else:
        assert given_ == near(float(expected))


pairs = st.integers(1, 25).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2,
        st.none() | st.lists(st.floats(0.01, 100), min_size=n, max_size=n),
    )
)
zeros = st.sampled_from([0.0, 1.0, math.nan])


@pytest.mark.parametrize("average", [*MODES, None])
@pytest.mark.parametrize("metric", SCORES)
@settings(max_examples=40)
@given(data=pairs, zero_division=zeros, known=st.booleans())
def test_many_classes(metric, average, data, zero_division, known):
    y, p, weight = data
    weight = None if weight is None else np.array(weight)
    labels = {"labels": [3, 0, 1, 4, 2]} if known else {}
    expect(metric, y, p, weight, average=average, zero_division=zero_division, **labels)


@pytest.mark.parametrize("metric", SCORES)
@settings(max_examples=40)
@given(
    n=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    zero_division=zeros,
    weighted=st.booleans(),
)
def test_two_classes(metric, n, seed, zero_division, weighted):
    draw = np.random.default_rng(seed)
    y, p = draw.integers(0, 2, (2, n))
    weight = draw.random(n) + 0.1 if weighted else None
    expect(metric, y, p, weight, average="binary", zero_division=zero_division)


@pytest.mark.parametrize("average", ["binary", *MODES, None])
@settings(max_examples=40)
@given(data=pairs, beta=st.sampled_from([0.0, 0.5, 1.0, 2.0]), zero_division=zeros)
def test_f_beta(average, data, beta, zero_division):
    y, p, weight = data
    if average == "binary":
        y, p = [label % 2 for label in y], [label % 2 for label in p]
    expect(
        FBetaScoreMetric,
        y,
        p,
        None if weight is None else np.array(weight),
        score=oracle.fbeta_score,
        extra={"beta": beta},
        average=average,
        zero_division=zero_division,
    )


@pytest.mark.parametrize("average", ["binary", *MODES, None])
@settings(max_examples=40)
@given(data=pairs, zero_division=st.sampled_from([0.0, 1.0]))
def test_jaccard(average, data, zero_division):
    y, p, weight = data
    if average == "binary":
        y, p = [label % 2 for label in y], [label % 2 for label in p]
    weight = None if weight is None else np.array(weight)
    settings = {"average": average, "zero_division": zero_division}
    expect(JaccardMetric, y, p, weight, score=oracle.jaccard_score, **settings)


@pytest.mark.parametrize("metric", SCORES)
def test_the_positive_label_is_the_second_of_labels(metric):
    y, p = ["no", "yes", "yes", "no", "no"], ["no", "yes", "no", "yes", "no"]
    for labels in (["no", "yes"], ["yes", "no"]):
        expected = SCORES[metric](y, p, average="binary", pos_label=labels[1])
        assert metric(y, p, labels=labels).metric_result == near(float(expected))
    assert metric(y, p).metric_result == metric(y, p, labels=["no", "yes"]).metric_result


def test_a_single_text_does_not_say_which_is_positive():
    with pytest.raises(MetricInputError, match=r"needs two labels.*\('yes',\) came"):
        F1ScoreMetric(["yes"], ["yes"]).get_metric()


def test_values_per_label_are_named():
    result = RecallMetric(["b", "a", "c"], ["b", "b", "c"], average=None)
    assert result.metric_result == {"a": 0.0, "b": 1.0, "c": 1.0}
    assert result.compute() == {"Recall_a": 0.0, "Recall_b": 1.0, "Recall_c": 1.0}
    assert RecallMetric([0, 3], [3, 3], average=None).metric_result == {"0": 0.0, "3": 1.0}


def test_all_labels_count_where_they_are_given():
    y, p = [0, 0, 3], [0, 3, 3]
    given_ = RecallMetric(y, p, average="macro", labels=[0, 1, 2, 3]).metric_result
    assert given_ == oracle.recall_score(
        y, p, average="macro", labels=[0, 1, 2, 3], zero_division=0
    )
    assert given_ != RecallMetric(y, p, average="macro").metric_result


def test_nan_leaves_undefined_labels_out_of_the_mean():
    y, p = [0, 0, 1], [0, 0, 2]  # label 2 has no recall, label 1 no precision
    assert RecallMetric(y, p, average="macro", zero_division=math.nan).metric_result == 0.5
    assert PrecisionMetric(y, p, average="macro", zero_division="nan").metric_result == 0.5
    assert math.isnan(PrecisionMetric([1], [0], zero_division=math.nan).metric_result)


def test_states_merge_where_nan_went_through_a_file():
    metric = F1ScoreMetric([0, 1], [0, 0], zero_division=float("nan"))
    settings = json.loads(json.dumps(metric.state["settings"], allow_nan=False))
    other = F1ScoreMetric(zero_division=float("nan"))
    other.merge(metric.state | {"settings": settings})
    assert other.count == 2


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"average": "median"}, "None or one of binary, micro, .*; it is 'median'"),
        ({"average": "samples"}, "is for items with several labels; multilabel is False"),
        ({"multilabel": True}, "'binary' is for items with one label; multilabel is True"),
        ({"zero_division": 1.5}, r"in \[0, 1\], or nan; it is 1.5"),
        ({"zero_division": "warn"}, "or nan; it is 'warn'"),
        ({"zero_division": None}, "or nan; it is None"),
        ({"beta": -1}, "at least 0; it is -1"),
        ({"beta": math.inf}, "at least 0; it is inf"),
        ({"beta": "2"}, "beta must be a number of at least 0; it is '2'"),
    ],
)
def test_settings_that_mean_nothing(settings, rule):
    with pytest.raises(MetricInputError, match=rule):
        FBetaScoreMetric(**settings)


def test_a_label_whose_items_weigh_nothing_does_not_occur():
    metric = F1ScoreMetric(average="macro")
    metric.update(["a", "b", "c"], ["a", "b", "a"], weight=[1, 1, 0])
    assert metric.metric_result == 1.0


def test_binary_names_the_third_label():
    with pytest.raises(MetricInputError, match="for two labels, x and y; the label z came"):
        F1ScoreMetric(["x", "z"], ["x", "x"], labels=["x", "y", "z"]).get_metric()


@pytest.mark.parametrize(
    ("metric", "average", "expected"),
    [
        (PrecisionMetric, "binary", (2, 3)),
        (RecallMetric, "binary", (2, 4)),
        (SpecificityMetric, "binary", (1, 2)),
        (PrecisionMetric, "micro", (3, 6)),
        (RecallMetric, "micro", (3, 6)),
        (SpecificityMetric, "micro", None),  # each item counts more than once
        (PrecisionMetric, "macro", None),
        (F1ScoreMetric, "binary", None),
    ],
)
def test_proportions(metric, average, expected):
    y, p = [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 0]
    filled = metric(y, p, average=average)
    state = filled.make_state()
    state.update(y, p)
    assert filled.proportion_of(state) == expected
    if expected is not None:
        assert filled.metric_result == expected[0] / expected[1]
        assert filled.ci().method == "wilson"


def test_no_proportion_of_nothing_or_of_weights():
    metric = PrecisionMetric()
    for p, weight in (([0, 0], None), ([0, 1], [1.0, 2.0])):
        state = Confusion()
        state.update([0, 1], p, weight)
        assert metric.proportion_of(state) is None


class Labels(MetricContract):
    def batches(self):
        draw = np.random.default_rng(1)
        return [(draw.integers(0, 4, n), draw.integers(0, 4, n)) for n in (5, 1, 40, 8)]


class TestSpecificity(Labels):
    def make_metric(self):
        return SpecificityMetric(average="macro")


class TestFBeta(Labels):
    def make_metric(self):
        return FBetaScoreMetric(beta=2.0, average=None, zero_division=math.nan)


class TestJaccard(Labels):
    def make_metric(self):
        return JaccardMetric(average="weighted", labels=[3, 2, 1, 0])


@settings(max_examples=40)
@given(data=pairs, seed=st.integers(0, 1000))
def test_drawing_from_the_cells_gives_states_of_the_drawn_items(data, seed):
    y, p, weight = data
    metric = F1ScoreMetric(average="macro")
    kinds = metric.make_state().kinds(np.array(y), np.array(p), weight)
    times = np.random.default_rng(seed).integers(0, 3, kinds.size)
    chosen = times[kinds.index] if weight is None else times
    if weight is None:  # a kind is drawn as often as all of its items together
        seen = np.bincount(kinds.index, minlength=kinds.size)
        (drawn,) = kinds.draw((times * seen)[None])
    else:
        (drawn,) = kinds.draw(times[None])
    repeated = np.repeat(np.arange(len(y)), chosen)
    if not len(repeated):
        return
    again = F1ScoreMetric(average="macro")
    weights = None if weight is None else np.array(weight)[repeated]
    again.update(np.array(y)[repeated], np.array(p)[repeated], weight=weights)
    assert metric.result_of(drawn) == near(again.metric_result)


def test_warnings_are_not_needed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert F1ScoreMetric([0], [0]).metric_result == 0
