"""However the data is split and merged, the result is the same: for arbitrary data."""

import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tt_metrics import (
    AccuracyMetric,
    F1ScoreMetric,
    MeanAbsoluteErrorMetric,
    MeanSquaredErrorMetric,
)

LABEL = st.integers(0, 6)
NUMBER = st.floats(-1e100, 1e100, allow_subnormal=False)


def merged(metric, y, p, cuts, order):
    """Split the data at the cuts and merge the parts in some order."""
    bounds = sorted({0, *(cut % (len(y) + 1) for cut in cuts), len(y)})
    parts = []
    for start, end in pairwise(bounds):
        part = metric()
        part.update(y[start:end], p[start:end])
        parts.append(part)
    order.shuffle(parts)
    total = metric()
    for part in parts:
        total.merge(part.state)
    return total


CUTS = st.lists(st.integers(0, 1000), max_size=6)
ORDER = st.randoms(use_true_random=False)


@given(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=200), CUTS, ORDER)
def test_counts_are_equal(pairs, cuts, order):
    y, p = np.array(pairs).T
    whole = AccuracyMetric(y, p)
    split = merged(AccuracyMetric, y, p, cuts, order)
    counts = whole.state["data"]["counts"]
    np.testing.assert_array_equal(split.state["data"]["counts"], counts)
    assert counts.sum() == len(pairs)
    f1 = merged(lambda: F1ScoreMetric(average="macro"), y, p, cuts, order)
    assert f1 == F1ScoreMetric(y, p, average="macro")


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=300), CUTS, ORDER)
def test_sums_are_equal_or_neighbours_and_right(pairs, cuts, order):
    y, p = np.array(pairs).T
    for metric, terms in (
        (MeanAbsoluteErrorMetric, abs(p - y)),
        (MeanSquaredErrorMetric, (p - y) ** 2),
    ):
        whole, split = float(metric(y, p)), float(merged(metric, y, p, cuts, order))
        exact = math.fsum(terms) / len(terms)
        assert abs(whole - exact) <= math.ulp(exact)
        assert abs(split - exact) <= math.ulp(exact)
