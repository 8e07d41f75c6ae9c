"""p-values and intervals over many repetitions of an experiment: are they what they say?

The null hypothesis is made to be true: the outputs of two correlated systems of which one is better
change sides at random, item by item.
"""

import numpy as np
import pytest
from scipy import stats

from tt_metrics.api import (
    AccuracyMetric,
    F1ScoreMetric,
    MeanAbsoluteErrorMetric,
    ROCAUCMetric,
    compare,
)

LEVELS = (0.05, 0.1, 0.2)


def bounds(level, repetitions):
    """Where the share of events of this probability is found in 99.9 % of all cases."""
    return np.array(stats.binom.interval(0.999, repetitions, level)) / repetitions


def rejections(p_values):
    return {level: np.mean(np.array(p_values) <= level) for level in LEVELS}


def assert_nominal(p_values):
    for level, share in rejections(p_values).items():
        low, high = bounds(level, len(p_values))
        assert low <= share <= high, f"{share:.3f} rejected at {level}"


def swapped(draw, ours, theirs):
    change = draw.random(len(ours)) < 0.5
    return np.where(change, theirs, ours), np.where(change, ours, theirs)


def two_classifiers(draw, n):
    """Targets, and outputs of which 80 % and 65 % are right, more often together than not."""
    y, wrong = draw.integers(0, 3, n), draw.integers(1, 3, (2, n))
    common = draw.random(n)
    luck = np.where(draw.random((2, n)) < 0.6, common, draw.random((2, n)))
    ours, theirs = (y + wrong * (luck > [[0.8], [0.65]])) % 3
    return y, ours, theirs


def f1_p_values(test, repetitions, n=150, n_resamples=99):
    draw = np.random.default_rng(12)
    p_values = []
    for seed in range(repetitions):
        y, ours, theirs = two_classifiers(draw, n)
        pair = (F1ScoreMetric(y, p, average="macro") for p in swapped(draw, ours, theirs))
        given = compare(*pair, test=test, n_resamples=n_resamples, seed=seed)
        p_values.append(given.p_value)
    return p_values


@pytest.mark.slow
@pytest.mark.parametrize("test", ["bootstrap", "randomization"])
def test_equally_good_systems_are_told_apart_as_often_as_the_level_says(test):
    assert_nominal(f1_p_values(test, 300))


@pytest.mark.slow
def test_the_test_of_moses_rejects_too_often():
    for level, share in rejections(f1_p_values("moses", 300)).items():
        assert share > bounds(level, 300)[1]


@pytest.mark.slow
def test_randomization_of_errors():
    draw, p_values = np.random.default_rng(3), []
    for seed in range(500):
        common, own, other, y = draw.standard_t(3, (4, 40))
        pair = swapped(draw, y + common + own, y + common + 2 * other)
        given = compare(*(MeanAbsoluteErrorMetric(y, p) for p in pair), n_resamples=99, seed=seed)
        p_values.append(given.p_value)
    assert_nominal(p_values)


@pytest.mark.slow
def test_mcnemars_test_rejects_at_most_as_often_as_its_level_says():
    draw, p_values, covered = np.random.default_rng(5), [], []
    for _ in range(1000):
        y, ours, theirs = two_classifiers(draw, 150)
        pair = (AccuracyMetric(y, p) for p in swapped(draw, ours, theirs))
        given = compare(*pair, test="mcnemar")
        p_values.append(given.p_value)
        covered.append(given.interval.low <= 0 <= given.interval.high)
    for level, share in rejections(p_values).items():
        assert level / 3 < share <= bounds(level, 1000)[1]
    low, high = bounds(0.95, 1000)
    assert low <= np.mean(covered) <= high + 0.01


def two_rankings(draw, positives=40, negatives=60):
    y = np.repeat([1, 0], [positives, negatives])
    common, own, other = draw.normal(size=(3, len(y)))
    return y, common + own + 1.5 * y, common + other + 1.5 * y


@pytest.mark.slow
def test_delongs_test_and_interval():
    draw, p_values, alone, between = np.random.default_rng(6), [], [], []
    area = stats.norm.cdf(1.5 / 2)  # of scores with a variance of 2 in either class
    for _ in range(1000):
        y, ours, theirs = two_rankings(draw)
        a, b = ROCAUCMetric(y, ours), ROCAUCMetric(y, theirs)
        given = compare(a, b, test="delong")
        p_values.append(given.p_value)
        between.append(given.interval.low <= 0 <= given.interval.high)
        alone.append(a.ci().low <= area <= a.ci().high)
    assert_nominal(p_values)
    low, high = bounds(0.95, 1000)
    assert low <= np.mean(alone) <= high
    assert low <= np.mean(between) <= high


@pytest.mark.slow
def test_swapping_ranks_is_calibrated_where_scales_differ():
    draw, p_values = np.random.default_rng(7), []
    for seed in range(250):
        y, ours, theirs = two_rankings(draw, 20, 20)
        pair = ROCAUCMetric(y, ours), ROCAUCMetric(y, 100 + np.exp(theirs))
        given = compare(*pair, test="randomization", n_resamples=99, seed=seed)
        p_values.append(given.p_value)
    assert_nominal(p_values)


@pytest.mark.parametrize("n", [15, 60])
def test_wilsons_interval_holds_the_rate_as_often_as_it_says(n):
    right = np.arange(n + 1)
    ends = [AccuracyMetric(np.ones(n, int), (np.arange(n) < k).astype(int)).ci() for k in right]
    low, high = np.array([tuple(interval) for interval in ends]).T
    rates = np.linspace(0.02, 0.98, 193)[:, None]
    held = (low <= rates) & (rates <= high)
    coverage = (stats.binom.pmf(right, n, rates) * held).sum(axis=1)  # exact, no simulation
    assert coverage.mean() == pytest.approx(0.95, abs=0.012)
    assert coverage.min() > 0.82


@pytest.mark.slow
def test_the_bootstrap_interval_holds_the_f1_of_the_population():
    share = np.array([[30, 6, 4], [5, 25, 5], [2, 8, 15]]) / 100  # of targets and predictions
    true = np.mean(2 * share.diagonal() / (share.sum(axis=0) + share.sum(axis=1)))
    draw, held = np.random.default_rng(9), []
    for seed in range(300):
        y, p = np.divmod(draw.choice(9, 400, p=share.ravel()), 3)
        low, high = F1ScoreMetric(y, p, average="macro").ci(0.9, n_resamples=299, seed=seed)
        held.append(low <= true <= high)
    low, high = bounds(0.9, 300)
    assert low <= np.mean(held) <= high
