"""Ranked documents, against scikit-learn query by query."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tt_metrics.api import (
    MeanAveragePrecisionMetric,
    MeanReciprocalRankMetric,
    MetricInputError,
    NDCGMetric,
)
from tt_metrics.testing import MetricContract

METRICS = [NDCGMetric, MeanReciprocalRankMetric, MeanAveragePrecisionMetric]


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def precision_mean(y, s):
    return oracle.average_precision_score(y > 0, s) if (y > 0).any() else 0.0


def first_rank(y, s):
    ranks = [np.count_nonzero(s >= score) for score in s[y > 0]]
    return 1 / min(ranks) if ranks else 0.0


@st.composite
def queries(draw, top=3):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.integers(1, 8)), draw(st.integers(2, 12))
    return rng.integers(0, top + 1, shape), rng.normal(size=shape).round(draw(st.integers(0, 2)))


@given(queries(), st.one_of(st.none(), st.integers(1, 14)), st.booleans())
def test_ndcg(data, k, weighted):
    y, s = data
    weight = np.arange(1, len(y) + 1) / 3 if weighted else None
    metric = NDCGMetric(k=k)
    metric.update(y, s, weight=weight)
    assert metric.metric_result == near(oracle.ndcg_score(y, s, k=k, sample_weight=weight))


@given(queries())
def test_mean_average_precision_and_reciprocal_rank(data):
    y, s = data
    for metric, expected in (
        (MeanAveragePrecisionMetric, precision_mean),
        (MeanReciprocalRankMetric, first_rank),
    ):
        each = [expected(*query) for query in zip(y, s, strict=True)]
        assert metric(y, s).metric_result == near(np.mean(each))


@given(queries(top=1))
def test_average_precision_is_label_ranking_where_it_is_defined(data):
    y, s = data
    y[:, 0], y[:, 1] = 0, 1
    expected = oracle.label_ranking_average_precision_score(y, s)
    assert MeanAveragePrecisionMetric(y, s).metric_result == near(expected)


@pytest.mark.parametrize("metric", METRICS)
@given(queries(), st.integers(0, 2**32))
def test_queries_of_any_length_are_scored_one_by_one(metric, data, seed):
    y, s = data
    lengths = np.random.default_rng(seed).integers(1, y.shape[1] + 1, len(y))
    rows = [row[:n] for row, n in zip(y, lengths, strict=True)]
    scores = [row[:n] for row, n in zip(s, lengths, strict=True)]
    for k in (None, 2):
        each = [float(metric([a], [b], k=k)) for a, b in zip(rows, scores, strict=True)]
        assert float(metric(rows, scores, k=k)) == near(np.mean(each))


def test_what_k_cuts_off():
    y, s = [[0, 1, 0, 1]], [[4, 3, 2, 1]]
    assert MeanReciprocalRankMetric(y, s, k=1) == 0
    assert MeanReciprocalRankMetric(y, s, k=2) == 0.5
    assert MeanAveragePrecisionMetric(y, s, k=2) == 0.25  # 1/2 over both relevant ones
    assert MeanAveragePrecisionMetric(y, s, k=4) == 0.5
    assert NDCGMetric(y, s, k=1) == 0


def test_equal_scores_gain_nothing():
    y, s = [[1, 0, 0, 0]], [[7, 7, 7, 7]]
    assert MeanReciprocalRankMetric(y, s) == 0.25
    assert MeanAveragePrecisionMetric(y, s) == 0.25
    assert MeanAveragePrecisionMetric(y, s, k=3) == 0


def test_published_example():
    # Relevances 3, 2, 3, 0, 1, 2 of a ranking: DCG 6.861, ideal 7.141 (Wikipedia, Discounted
    # cumulative gain).
    metric = NDCGMetric([[3, 2, 3, 0, 1, 2]], [[6, 5, 4, 3, 2, 1]])
    assert metric.metric_result == pytest.approx(0.961, abs=5e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_without_relevant_documents(metric):
    y, s = [[0, 0], [1, 0], [0, 0]], [[1, 2], [2, 1], [1, 2]]
    assert metric(y, s).metric_result == near(1 / 3)
    assert metric(y, s, empty="one").metric_result == near(1)
    assert metric(y, s, empty="skip").metric_result == near(1)
    with pytest.raises(MetricInputError, match="query 0 has none"):
        metric(y, s, empty="error").compute()
    assert metric(y[1:2], s[1:2], empty="error") == 1
    with pytest.raises(MetricInputError, match="query 0 has none"):
        metric(y[:1], s[:1], empty="skip").compute()


@pytest.mark.parametrize(
    ("y", "s", "what"),
    [
        ([0, 1], [0.1, 0.2], r"\(queries, documents\).*single query"),
        (np.zeros(3), np.zeros(3), r"shape is \(3,\)"),
        ([[0, 1], [1]], [[0.1, 0.2], [0.3, 0.4]], "query 1 has 1 in y_true, 2 in y_predicted"),
        ([[0, 1]], [[0.1, 0.2], [0.3, 0.4]], "1 queries, y_predicted 2"),
        ([[0, -1]], [[0.1, 0.2]], "at least 0"),
        ([[0, 1], []], [[0.1, 0.2], []], r"y_true\[1\] must hold at least one"),
        ([[0, 1]], [[0.1, np.nan]], r"y_predicted\[0\] must be finite"),
        ([], [], "at least one item"),
    ],
)
def test_what_cannot_be_ranked(y, s, what):
    with pytest.raises(MetricInputError, match=what):
        NDCGMetric(y, s)


def test_settings_are_checked():
    for k in (0, 2.5, True, "5"):
        rule = f"k must be a whole number of at least 1; it is {k!r}"
        with pytest.raises(MetricInputError, match=rule):
            NDCGMetric(k=k)
    with pytest.raises(MetricInputError, match="empty must be"):
        NDCGMetric(empty="neg")


def test_names_say_k():
    assert NDCGMetric().metric_name == "NDCG"
    assert [metric(k=5).metric_name for metric in METRICS] == ["NDCG_5", "MRR_5", "MAP_5"]
    assert NDCGMetric(k=np.int64(5)).settings["k"].__class__ is int
    assert NDCGMetric(k=5).make_state().key != NDCGMetric(k=6).make_state().key


@pytest.mark.parametrize("metric", METRICS)
def test_drawn_states_are_those_of_repeated_queries(metric):
    draw = np.random.default_rng(0)
    y, s = draw.integers(0, 2, (2, 20, 6))
    kinds = metric().make_state().kinds(y, s)
    times = draw.integers(0, 3, (3, 20))
    for row, state in zip(times, kinds.draw(times), strict=True):
        repeated = metric(np.repeat(y, row, axis=0), np.repeat(s, row, axis=0))
        assert metric().result_of(state) == near(float(repeated))


class Retrieval(MetricContract):
    def batches(self):
        draw = np.random.default_rng(4)
        return [(draw.integers(0, 4, (n, 7)), draw.normal(size=(n, 7))) for n in (5, 1, 30, 8)]


class TestNDCG(Retrieval):
    def make_metric(self):
        return NDCGMetric(k=3)


class TestMeanReciprocalRank(Retrieval):
    def make_metric(self):
        return MeanReciprocalRankMetric()


class TestMeanAveragePrecision(Retrieval):
    tolerance = 4e-15

    def make_metric(self):
        return MeanAveragePrecisionMetric(empty="skip")
