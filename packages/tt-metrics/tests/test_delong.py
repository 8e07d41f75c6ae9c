"""DeLong's variance and covariance, against their definition over all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_metrics._ranking.delong import delong  # what intervals and comparisons are made of
from tt_metrics.api import MetricInputError, ROCAUCMetric


def by_definition(y, scores):
    above, below = scores[:, y == 1], scores[:, y == 0]
    wins = (above[:, :, None] > below[:, None, :]) + (above[:, :, None] == below[:, None, :]) / 2
    of_positives, of_negatives = wins.mean(axis=2), wins.mean(axis=1)
    covariance = np.cov(of_positives) / above.shape[1] + np.cov(of_negatives) / below.shape[1]
    return wins.mean(axis=(1, 2)), covariance


@given(st.integers(0, 2**32), st.integers(4, 60), st.integers(0, 2))
def test_placements_give_what_all_pairs_give(seed, n, decimals):
    draw = np.random.default_rng(seed)
    y = draw.permutation(n) % 2
    scores = (draw.normal(size=(3, n)) + y).round(decimals)
    areas, covariance = delong(y, scores)
    expected_areas, expected = by_definition(y, scores)
    np.testing.assert_allclose(areas, expected_areas, rtol=1e-13)
    np.testing.assert_allclose(covariance, expected, rtol=1e-11, atol=1e-15)
    variance = ROCAUCMetric().variance_of(ROCAUCMetric(y, scores[0])._state)
    assert variance == pytest.approx(expected[0, 0], rel=1e-11, abs=1e-15)


def test_a_perfect_ranking_has_no_variance():
    areas, covariance = delong(np.array([0, 0, 1, 1]), np.array([[1, 2, 3, 4]]))
    assert areas.tolist() == [1]
    assert covariance.tolist() == [[0]]


@pytest.mark.parametrize(
    ("y", "scores", "what"),
    [
        ([0, 1], [[1, 2]], "at least two items of each class"),
        ([0, 0, 1, 1], [1, 2, 3, 4], r"\(4,\) and \(4,\)"),
        ([0, 0, 1], [[1, 2, 3, 4]], r"\(3,\) and \(1, 4\)"),
    ],
)
def test_what_has_no_variance(y, scores, what):
    with pytest.raises(MetricInputError, match=what):
        delong(np.array(y), np.array(scores))


def test_an_area_has_a_variance_where_the_formula_holds():
    metric = ROCAUCMetric()
    assert metric.variance_of(ROCAUCMetric([0, 1], [1, 2])._state) is None
    several = ROCAUCMetric([0, 1, 2], np.eye(3))
    assert metric.variance_of(several._state) is None
    weighted = ROCAUCMetric()
    weighted.update([0, 1, 0, 1], [1, 2, 3, 4], weight=[1, 2, 1, 1])
    assert metric.variance_of(weighted._state) is None
