"""Calibration error, against brute force, scikit-learn and torchmetrics."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from tt_metrics.api import (
    Calibration,
    CalibrationErrorMetric,
    GeneralResultPackage,
    MetricInputError,
    NoDataError,
)
from tt_metrics.testing import MetricContract

NORMS = pytest.mark.parametrize("norm", ["l1", "l2", "max"])


def filled(y, p, weight=None, **settings):
    made = CalibrationErrorMetric(**settings)
    made.update(y, p, weight=weight)
    return made


def brute_force(confidence, right, weights, num_bins, norm):
    gaps, shares = [], []
    for number in range(num_bins):
        low, high = number / num_bins, (number + 1) / num_bins
        inside = [
            (c, r, w)
            for c, r, w in zip(confidence, right, weights, strict=True)
            if (low < c <= high) or (number == 0 and c == 0)
        ]
        weight = math.fsum(w for _, _, w in inside)
        if not weight:
            continue
        gaps.append(abs(math.fsum(w * c - w * r for c, r, w in inside)) / weight)
        shares.append(weight / math.fsum(weights))
    if norm == "max":
        return max(gaps)
    power = 1 if norm == "l1" else 2
    return sum(s * g**power for s, g in zip(shares, gaps, strict=True)) ** (1 / power)


@NORMS
@given(
    pairs=st.lists(st.tuples(st.integers(0, 32), st.booleans(), st.floats(0.1, 5)), min_size=1),
    num_bins=st.sampled_from([1, 2, 4, 16]),
    weighted=st.booleans(),
)
def test_two_labels_with_many_on_the_edges(norm, pairs, num_bins, weighted):
    numbers, right, w = map(list, zip(*pairs, strict=True))
    p = [number / 32 for number in numbers]
    w = w if weighted else [1.0] * len(p)
    result = filled(right, p, w if weighted else None, num_bins=num_bins, norm=norm).metric_result
    expected = brute_force(p, right, w, num_bins, norm)
    assert result == pytest.approx(expected, rel=1e-12, abs=1e-15)


@NORMS
@given(n=st.integers(1, 200), classes=st.integers(2, 5), seed=st.integers(0, 99))
def test_several_labels(norm, n, classes, seed):
    draw = np.random.default_rng(seed)
    p, y = draw.dirichlet(np.full(classes, 0.5), n), draw.integers(0, classes, n)
    expected = brute_force(p.max(axis=1), p.argmax(axis=1) == y, np.ones(n), 15, norm)
    assert filled(y, p, norm=norm).metric_result == pytest.approx(expected, rel=1e-12)


@NORMS
def test_torchmetrics(norm):
    torch = pytest.importorskip("torch", reason="torch is not among the requirements")
    peer = pytest.importorskip("torchmetrics.functional.classification")
    draw = torch.Generator().manual_seed(0)
    p = torch.rand(3000, generator=draw)
    y = (torch.rand(3000, generator=draw) < p**2).long()
    expected = peer.binary_calibration_error(p, y, n_bins=15, norm=norm)
    assert filled(y, p, norm=norm).metric_result == pytest.approx(float(expected), rel=1e-4)
    p = torch.softmax(torch.randn(3000, 4, generator=draw), 1)
    y = torch.randint(0, 4, (3000,), generator=draw)
    expected = peer.multiclass_calibration_error(p, y, num_classes=4, n_bins=10, norm=norm)
    result = filled(y, p, norm=norm, num_bins=10).metric_result
    assert result == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("size", [5, 1000, 50_000])
@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_the_reliability_plot_is_scikit_learn_s(size, num_bins):
    draw = np.random.default_rng(0)
    p = draw.random(size).round(2)
    y = np.arange(size) % 2
    state = Calibration(num_bins)
    state.update(y, p)
    plot = state.reliability()
    right, confidence = calibration_curve(y, p, n_bins=num_bins)
    seen = plot.items > 0
    np.testing.assert_allclose(plot.right[seen], right, rtol=1e-12)
    np.testing.assert_allclose(plot.confidence[seen], confidence, rtol=1e-12)
    assert np.isnan(plot.right[~seen]).all()
    assert np.isnan(plot.confidence[~seen]).all()
    assert plot.items.sum() == state.count == size


def test_both_columns_of_two_labels_give_the_confidence_of_the_chosen_one():
    y, p = [0, 1, 1], np.array([0.1, 0.8, 0.3])
    both = CalibrationErrorMetric(y, np.column_stack([1 - p, p])).metric_result
    assert both == pytest.approx((0.1 + 0.2 + 0.7) / 3)


def test_labels_of_any_kind():
    p = [0.2, 0.9, 0.4]
    named = CalibrationErrorMetric(["no", "yes", "no"], p, labels=["no", "yes"])
    assert named.metric_result == CalibrationErrorMetric([0, 1, 0], p).metric_result


def test_one_state_serves_all_norms():
    package = GeneralResultPackage([CalibrationErrorMetric(norm="l1")])
    package.update([0, 1], [0.3, 0.9])
    keys = {CalibrationErrorMetric(norm=norm).make_state().key for norm in ("l1", "l2", "max")}
    assert len(keys) == 1
    assert CalibrationErrorMetric(num_bins=10).make_state().key not in keys


@given(
    cuts=st.lists(st.integers(1, 19_999), max_size=4),
    order=st.randoms(use_true_random=False),
    weighted=st.booleans(),
)
def test_any_split_gives_the_same(cuts, order, weighted):
    draw = np.random.default_rng(0)
    p, w = draw.random((2, 20_000))
    y = draw.random(20_000) < p  # well calibrated: the gaps are small differences of large sums
    w = w if weighted else None
    bounds = sorted({0, *cuts, len(y)})
    parts = [filled(y[a:b], p[a:b], None if w is None else w[a:b]) for a, b in pairwise(bounds)]
    while len(parts) > 1:
        order.shuffle(parts)
        parts[0].merge(parts.pop().state)
    whole = filled(y, p, w).metric_result
    assert parts[0].metric_result == pytest.approx(whole, rel=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
def test_drawn_states_are_those_of_repeated_items(weighted):
    draw = np.random.default_rng(0)
    p, y = draw.random(40), draw.integers(0, 2, 40)
    w = draw.random(40) if weighted else None
    times = draw.multinomial(40, np.full(40, 1 / 40), 3)
    made = CalibrationErrorMetric()
    kinds = made.make_state().kinds(y, p, w)
    for row, state in zip(times, kinds.draw(times), strict=True):
        index = np.repeat(kinds.index, row)
        repeated = filled(y[index], p[index], None if w is None else w[index])
        assert state.count == 40
        assert made.result_of(state) == pytest.approx(repeated.metric_result, rel=1e-11)


def test_bad_input():
    with pytest.raises(
        MetricInputError, match=r"probabilities in \[0, 1\]; it holds 2.0 at index 1"
    ):
        CalibrationErrorMetric([0, 1], [0.5, 2.0])
    for num_bins in (0, 2.7, True, "5"):
        rule = f"num_bins must be a whole number of at least 1; it is {num_bins!r}"
        with pytest.raises(MetricInputError, match=rule):
            CalibrationErrorMetric(num_bins=num_bins)
    with pytest.raises(MetricInputError, match="norm must be one of l1, l2, max; it is 'l3'"):
        CalibrationErrorMetric(norm="l3")
    with pytest.raises(NoDataError, match="all 1 weigh nothing"):
        filled([0], [0.5], [0.0]).metric_result  # noqa: B018  (reading it computes)


class TestCalibrationError(MetricContract):
    tolerance = 1e-13

    def make_metric(self):
        return CalibrationErrorMetric(num_bins=10)

    def batches(self):
        draw = np.random.default_rng(1)
        return [(draw.integers(0, 2, n), draw.random(n)) for n in (1, 400, 7, 65)]


class TestCalibrationErrorOfSeveralLabels(MetricContract):
    tolerance = 1e-13

    def make_metric(self):
        return CalibrationErrorMetric(norm="l2", labels=["a", "b", "c"])

    def batches(self):
        draw = np.random.default_rng(1)
        names = np.array(["a", "b", "c"])
        return [
            (names[draw.integers(0, 3, n)], draw.dirichlet(np.ones(3), n)) for n in (1, 40, 7, 65)
        ]
