"""However the data is split and merged, the result is the same: for arbitrary data."""

import dataclasses
import inspect
import math
import random
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_metrics import api
from tt_metrics.api import (
    AbstractBaseMetric,
    F1ScoreMetric,
    MeanAbsoluteErrorMetric,
    MeanSquaredErrorMetric,
    Metric,
    MetricError,
    merge_all,
)


def labels(draw, n):
    y = draw.integers(0, 4, n)
    return y, np.where(draw.random(n) < 0.5, y, draw.integers(0, 4, n))


def texts(draw, n):
    names = np.array(["ant", "bee", "cat", "dodo"])
    return tuple(names[codes] for codes in labels(draw, n))


def scores(draw, n):
    return draw.integers(0, 4, n), draw.random((n, 4)).round(1)  # with ties


def binary(draw, n):
    return draw.integers(0, 2, n), draw.random(n).round(1)


def tables(draw, n):
    return draw.integers(0, 2, (n, 3)), draw.integers(0, 2, (n, 3))


def table_scores(draw, n):
    return draw.integers(0, 2, (n, 3)), draw.random((n, 3)).round(1)


def distributions(draw, n):
    return draw.integers(0, 3, n), draw.dirichlet(np.ones(3), n)


def numbers(draw, n):
    return tuple(draw.normal(1e3, 1, (2, n)))


def outputs(draw, n):
    return tuple(draw.normal(1e3, [1, 7], (2, n, 2)))


def documents(draw, n):
    return draw.integers(0, 3, (n, 5)), draw.random((n, 5)).round(1)


COUNTED = [labels, texts, tables]
"""Without weights these are counted: not a bit of the result may differ."""

MACRO, TABLES = {"average": "macro"}, {"average": "macro", "multilabel": True}
AVERAGED = [
    (labels, MACRO),
    (texts, {"average": None}),
    (tables, TABLES),
    (tables, {"average": "samples", "multilabel": True}),
]
RANKED = [(binary, {}), (scores, {"absent": "skip"}), (table_scores, TABLES | {"absent": "skip"})]
LABELLED = [(labels, {}), (texts, {})]
MEASURED = [(numbers, {}), (outputs, {"multioutput": "raw_values"})]
RETRIEVED = [(documents, {}), (documents, {"k": 3, "empty": "one"})]

# Every exported metric, with the data and the settings it is tried with.
TRIED = {
    "AccuracyMetric": [*LABELLED, (tables, {"multilabel": True})],
    "AveragePrecisionMetric": RANKED,
    "BalancedAccuracyMetric": LABELLED,
    "BrierScoreMetric": [(binary, {}), (distributions, {})],
    "CalibrationErrorMetric": [(binary, {}), (distributions, {})],
    "CohenKappaMetric": [*LABELLED, (labels, {"weights": "quadratic"})],
    "ConfusionMatrixMetric": [*LABELLED, (tables, {"multilabel": True})],
    "EqualErrorRateMetric": RANKED,
    "ExplainedVarianceMetric": MEASURED,
    "F1ScoreMetric": AVERAGED,
    "FBetaScoreMetric": AVERAGED,
    "HammingLossMetric": [*LABELLED, (tables, {"multilabel": True})],
    "HuberLossMetric": MEASURED,
    "JaccardMetric": AVERAGED,
    "LogLossMetric": [(binary, {}), (distributions, {})],
    "MatthewsCorrelationMetric": LABELLED,
    "MeanAbsoluteErrorMetric": MEASURED,
    "MeanAbsolutePercentageErrorMetric": MEASURED,
    "MeanAveragePrecisionMetric": RETRIEVED,
    "MeanReciprocalRankMetric": RETRIEVED,
    "MeanSquaredErrorMetric": MEASURED,
    "NDCGMetric": RETRIEVED,
    "PearsonCorrelationMetric": MEASURED,
    "PrecisionMetric": AVERAGED,
    "PrecisionRecallCurveAUCMetric": RANKED,
    "PrecisionRecallCurveMetric": [(binary, {})],
    "QuantileLossMetric": MEASURED,
    "R2ScoreMetric": MEASURED,
    "ROCAUCMetric": RANKED,
    "ROCCurveMetric": [(binary, {})],
    "RecallAtPrecisionMetric": RANKED,
    "RecallMetric": AVERAGED,
    "RootMeanSquaredErrorMetric": MEASURED,
    "SpearmanCorrelationMetric": MEASURED,
    "SpecificityMetric": AVERAGED[:3],
    "TopKAccuracyMetric": [(scores, {"k": 2})],
}


def test_every_metric_is_tried():
    exported = {
        name
        for name in api.__all__
        if inspect.isclass(kind := getattr(api, name))
        and issubclass(kind, Metric)
        and kind not in (Metric, AbstractBaseMetric)
    }
    assert set(TRIED) == exported


def outcome(metric):
    """The result, or why there is none."""
    try:
        return metric.get_metric_dict()
    except MetricError as error:
        return type(error).__name__


def assert_same(one, other, tolerance):
    if dataclasses.is_dataclass(one):
        one, other = vars(one), vars(other)
    if isinstance(one, Mapping):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b, tolerance)
    elif isinstance(one, str):
        assert one == other
    else:
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def merged(states, order):
    """Merge two of the states, whichever they are, until there is one."""
    states = list(states)
    while len(states) > 1:
        order.shuffle(states)
        states.append(merge_all([states.pop(), states.pop()]).state)
    return merge_all(states)


WAYS = [(name, data, options) for name, ways in TRIED.items() for data, options in ways]


@pytest.mark.parametrize(("name", "data", "options"), WAYS)
def test_there_are_results_to_compare(name, data, options):
    metric = getattr(api, name)(**options)
    metric.update(*data(np.random.default_rng(0), 60))
    assert isinstance(outcome(metric), Mapping)


@pytest.mark.parametrize(("name", "data", "options"), WAYS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 6), st.booleans())
def test_shards_merge_to_the_whole(name, data, options, seed, n, shards, weighted):
    draw = np.random.default_rng(seed)
    y, p = data(draw, n)
    # Eighths add up exactly: what a threshold decides does not hang on the last bit of a sum.
    weight = draw.integers(1, 17, n) / 8 if data is binary else draw.random(n) + 0.01
    make = getattr(api, name)
    whole = make(**options)
    whole.update(y, p, weight=weight if weighted else None)
    where = draw.integers(0, shards, n)
    parts = [make(**options) for _ in range(shards)]
    for number, part in enumerate(parts):
        mine = np.flatnonzero(where == number)
        for batch in np.array_split(mine, 3):
            if len(batch):
                part.update(y[batch], p[batch], weight=weight[batch] if weighted else None)
    total = merged([part.state for part in parts], random.Random(seed))
    tolerance = 0 if data in COUNTED and not weighted else 1e-12
    assert total.count == n
    assert_same(outcome(total), outcome(whole), tolerance)


NUMBER = st.floats(-1e100, 1e100, allow_subnormal=False)
CUTS = st.lists(st.integers(0, 1000), max_size=6)
ORDER = st.randoms(use_true_random=False)


def cut(make, y, p, cuts):
    """The states of the data split at the cuts; a part may be empty."""
    bounds = [0, *sorted(cut % (len(y) + 1) for cut in cuts), len(y)]
    for start, end in pairwise(bounds):
        part = make()
        if end > start:
            part.update(y[start:end], p[start:end])
        yield part.state


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=300), CUTS, ORDER)
def test_sums_are_equal_or_neighbours_and_right(pairs, cuts, order):
    y, p = np.array(pairs).T
    for metric, terms in (
        (MeanAbsoluteErrorMetric, abs(p - y)),
        (MeanSquaredErrorMetric, (p - y) ** 2),
    ):
        whole, split = float(metric(y, p)), float(merged(cut(metric, y, p, cuts), order))
        exact = math.fsum(terms) / len(terms)
        assert abs(whole - exact) <= math.ulp(exact)
        assert abs(split - exact) <= math.ulp(exact)


LABEL = st.integers(0, 6)


@given(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=200), CUTS, ORDER)
def test_the_states_of_counts_are_the_same_bits(pairs, cuts, order):
    y, p = np.array(pairs).T
    split = merged(cut(lambda: F1ScoreMetric(average="macro"), y, p, cuts), order)
    whole = F1ScoreMetric(y, p, average="macro")
    np.testing.assert_equal(split.state, whole.state)
    [counts] = [data["counts"] for data in split.state["data"]]
    assert counts.dtype == np.int64
    assert counts.sum() == len(pairs)
