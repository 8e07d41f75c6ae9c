"""Confidence intervals: against formulas, exact distributions and resampling item by item."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

import tt_metrics._uncertainty.resampling
from tt_metrics.api import (
    AbstractBaseMetric,
    AccuracyMetric,
    Confusion,
    F1ScoreMetric,
    Interval,
    MeanSquaredErrorMetric,
    Metric,
    MetricInputError,
    MetricStateError,
    NoDataError,
    PrecisionMetric,
    ROCAUCMetric,
    compare,
)


def labels(n, classes=3, right=0.7, seed=0):
    draw = np.random.default_rng(seed)
    y = draw.integers(0, classes, n)
    return y, np.where(draw.random(n) < right, y, draw.integers(0, classes, n))


def scores(positives, negatives, shift=1.0, seed=0):
    draw = np.random.default_rng(seed)
    y = np.r_[np.ones(positives, int), np.zeros(negatives, int)]
    return y, draw.normal(size=len(y)).round(1) + shift * y


def accuracy(right, n):
    return AccuracyMetric(np.ones(n, int), (np.arange(n) < right).astype(int))


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17, 1998, page 857: table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals_of_proportions(right, n, low, high):
    assert tuple(accuracy(right, n).ci()) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 300), st.data(), st.floats(0.01, 0.999))
def test_the_score_test_just_accepts_the_ends(n, data, confidence):
    right = data.draw(st.integers(0, n))
    z, rate = stats.norm.ppf(0.5 + confidence / 2), right / n
    interval = accuracy(right, n).ci(confidence)
    assert interval.method == "wilson"
    for end in interval:
        assert abs(rate - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-7)


def test_the_bootstrap_of_an_accuracy_is_binomial():
    n, right, draws = 500, 413, 20_000
    interval = accuracy(right, n).ci(0.9, method="bootstrap", n_resamples=draws, seed=5)
    for end, level in zip(interval, (0.05, 0.95), strict=True):
        error = 4 * math.sqrt(level * (1 - level) / draws)
        low, high = stats.binom.ppf([level - error, level + error], n, right / n) / n
        assert low <= end <= high


def shares_outside(naive, interval):
    return [np.mean(naive < interval.low), np.mean(naive > interval.high)]


def close_to_tails(draws, tail=0.05):
    # Both sides are random: the replicates that are counted, and the ends of the interval.
    return pytest.approx([tail, tail], abs=4 * math.sqrt(2 * tail * (1 - tail) / draws))


@pytest.mark.slow
def test_the_bootstrap_of_counts_is_that_of_items():
    y, p = labels(150, classes=4)
    p[y == 3] = 0  # and a class that many a resample lacks
    y[np.flatnonzero(y == 3)[3:]] = 2
    draw = np.random.default_rng(8)
    picks = draw.integers(150, size=(800, 150))
    naive = np.array([f1_score(y[i], p[i], average="macro", zero_division=0) for i in picks])
    interval = F1ScoreMetric(y, p, average="macro").ci(0.9, n_resamples=800)
    assert interval.method == "bootstrap"
    assert shares_outside(naive, interval) == close_to_tails(800)


def naive_means(values, weight, draws=4000):
    picks = np.random.default_rng(9).integers(len(values), size=(draws, len(values)))
    return (values * weight)[picks].sum(axis=1) / weight[picks].sum(axis=1)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_bootstrap_of_kept_items(weighted):
    draw = np.random.default_rng(3)
    y, p, weight = draw.normal(size=(3, 80))
    weight = abs(weight) if weighted else np.ones(80)
    metric = MeanSquaredErrorMetric().keep_items()
    for part in np.array_split(np.arange(80), 3):
        metric.update(y[part], p[part], weight=weight[part] if weighted else None)
    naive = naive_means((y - p) ** 2, weight)
    interval = metric.ci(0.9, n_resamples=4000)
    assert shares_outside(naive, interval) == close_to_tails(4000)


def test_the_bootstrap_of_weighted_labels():
    y, p = labels(80)
    weight = np.random.default_rng(4).random(80)
    metric = AccuracyMetric().keep_items()
    metric.update(y, p, weight=weight)
    interval = metric.ci(0.9, n_resamples=4000)
    assert interval.method == "bootstrap"
    assert shares_outside(naive_means(y == p, weight), interval) == close_to_tails(4000)


def brute_force_variance(y, s):
    above, below = s[y == 1], s[y == 0]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    return wins.mean(), sum(
        np.var(wins.mean(axis=axis), ddof=1) / wins.shape[1 - axis] for axis in (0, 1)
    )


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_delongs_interval_on_the_logit_scale(confidence):
    y, s = scores(25, 40)
    area, variance = brute_force_variance(y, s)
    centre, spread = stats.logistic.ppf(area), math.sqrt(variance) / (area * (1 - area))
    expected = stats.logistic.cdf(stats.norm.interval(confidence, centre, spread))
    interval = ROCAUCMetric(y, s).ci(confidence)
    assert tuple(interval) == pytest.approx(tuple(expected), rel=1e-9)
    assert interval.method == "delong"


def test_a_perfect_ranking_has_as_many_chances_to_fail_as_its_smaller_class():
    y = np.array([0] * 30 + [1] * 12)
    assert tuple(ROCAUCMetric(y, y * 1.0).ci()) == tuple(accuracy(12, 12).ci())
    assert tuple(ROCAUCMetric(y, -1.0 * y).ci()) == tuple(accuracy(0, 12).ci())
    assert tuple(ROCAUCMetric(y, 0.0 * y).ci()) == (0.5, 0.5)


def test_an_extreme_area_does_not_overflow():
    y, s = np.r_[1, 1, np.zeros(100_000)], np.r_[1.0, 0.999, np.linspace(0, 0.9991, 100_000)]
    low, high = ROCAUCMetric(y, s).ci(0.999999)
    assert 0 <= low < high <= 1


def test_areas_that_have_no_variance_are_bootstrapped():
    y, s = labels(60)[0], np.random.default_rng(1).random((60, 3))
    assert ROCAUCMetric(y, s).ci(n_resamples=20).method == "bootstrap"


def test_too_many_draws_without_a_result():
    with pytest.raises(MetricInputError, match=r"95 % of the drawn data sets; \d+ of 200 have no"):
        ROCAUCMetric(*scores(1, 30)).ci(n_resamples=200)


def test_a_dict_of_results_has_a_dict_of_intervals():
    y, p = labels(200)
    y, p = np.r_[y, 3], np.r_[p, 0]  # a label that a third of all draws lack
    metric = PrecisionMetric(y, p, average=None, zero_division=math.nan)
    intervals = metric.ci(n_resamples=300)
    assert intervals.keys() == metric.metric_result.keys()
    for key, value in metric.metric_result.items():
        if key == "3":
            assert all(map(math.isnan, intervals[key]))
        else:
            assert intervals[key].low < value < intervals[key].high


class Nested(Metric):
    def __init__(self, result):
        self.result = result
        super().__init__("Nested")

    def make_state(self):
        return Confusion()

    def result_of(self, state):
        return self.result(state)


def test_nested_results_are_flat_like_those_of_compute():
    metric = Nested(lambda state: {"a": {"b": state.right}, "c": state.total})
    metric.update([0, 1, 1], [0, 1, 0])
    assert {f"Nested_{key}" for key in metric.ci(n_resamples=5)} == metric.compute().keys()


@pytest.mark.parametrize("result", [[1.0, 2.0], None, {"a": "text"}])
def test_only_numbers_have_intervals(result):
    metric = Nested(lambda state: result)
    metric.update([0], [0])
    with pytest.raises(MetricInputError, match=r"for results that are numbers.*of Nested holds"):
        metric.ci()


def test_a_metric_on_whole_data_is_left_as_it_was():
    class Median(AbstractBaseMetric):
        def __init__(self, y_true, y_predicted):
            super().__init__(y_true, y_predicted, "Median")

        def calculate_metric(self):
            return float(np.median(abs(self.y_true - self.y_predicted)))

    y, p = np.random.default_rng(0).normal(size=(2, 51))
    metric = Median(y, p)
    value = metric.metric_result
    low, high = metric.ci(n_resamples=200)
    assert low < value < high
    assert metric.metric_result == value
    np.testing.assert_array_equal(metric.y_true, y)


@pytest.mark.parametrize(
    "metric",
    [
        F1ScoreMetric(*labels(2000), average="macro"),  # by counts
        F1ScoreMetric(*labels(30, classes=9), average="macro"),  # by items of several kinds
        MeanSquaredErrorMetric(*np.random.default_rng(0).normal(size=(2, 75))),  # by items
    ],
)
def test_a_seed_gives_one_interval_whatever_fits_in_memory(metric, monkeypatch):
    expected = metric.ci(method="bootstrap", n_resamples=60, seed=3)
    assert metric.ci(method="bootstrap", n_resamples=60, seed=3) == expected
    monkeypatch.setattr(tt_metrics._uncertainty.resampling, "BLOCK", 7 * 75)
    again = metric.ci(method="bootstrap", n_resamples=60, seed=3)
    assert tuple(again) == pytest.approx(tuple(expected), rel=1e-12)
    assert tuple(metric.ci(method="bootstrap", n_resamples=60, seed=4)) != tuple(expected)


def test_how_the_data_came_does_not_matter():
    y, p = labels(300)
    parts = [F1ScoreMetric(y[i::3], p[i::3], average="macro") for i in range(3)]
    parts[0].merge(parts[1].state)
    parts[0].merge(parts[2].state)
    assert parts[0].ci() == F1ScoreMetric(y, p, average="macro").ci()


def test_an_interval_holds_its_ends_and_what_is_between():
    interval = Interval(0.25, 0.5, 0.95, "x")
    assert all(value in interval for value in (0.25, 0.3, 0.5, np.float64(0.5)))
    assert not any(value in interval for value in (0.24, 0.51, math.nan))
    metric = AccuracyMetric(*labels(50))
    assert float(metric) in metric.ci()


def test_what_an_interval_says_about_itself():
    interval = F1ScoreMetric(*labels(300), average="macro").ci(0.9, n_resamples=50, seed=2)
    assert interval.signature == "bootstrap|confidence:0.9|n_resamples:50|seed:2"
    assert str(Interval(0.1, 0.25, 0.95, "x")) == "[0.1, 0.25] (95 %, x)"
    assert Interval(0.1, 0.25, 0.95, "wilson").signature == "wilson|confidence:0.95"


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"confidence": 0}, "between 0 and 1, such as 0.95; it is 0"),
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"confidence": math.nan}, "between 0 and 1"),
        ({"confidence": "0.9"}, "between 0 and 1, such as 0.95; it is '0.9'"),
        ({"confidence": np.nextafter(1, 0)}, r"at most 1 - 2.2e-16, .*; it is 0.9999999999999999"),
        ({"n_resamples": True}, "n_resamples must be a whole number of at least 1; it is True"),
        ({"n_resamples": 0}, "n_resamples must be a whole number of at least 1; it is 0"),
        ({"n_resamples": 10.5}, r"whole number of at least 1; it is 10.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0; it is -1"),
        ({"method": "wald"}, "method must be auto, wilson, delong or bootstrap; it is 'wald'"),
        ({"method": "delong"}, "'delong' is not for Accuracy on this data; use 'wilson' or 'boot"),
    ],
)
def test_settings_that_mean_nothing(settings, rule):
    with pytest.raises(MetricInputError, match=rule):
        AccuracyMetric([0, 1], [0, 1]).ci(**settings)


def test_methods_that_do_not_apply():
    with pytest.raises(MetricInputError, match="not for F1_score on this data; use 'bootstrap'"):
        F1ScoreMetric(*labels(9), average="macro").ci(method="wilson")


def test_a_metric_that_has_not_kept_what_it_needs():
    metric = MeanSquaredErrorMetric()
    with pytest.raises(NoDataError, match="interval needs data"):
        metric.ci()
    metric.update([1.0, 2.0], [2.0, 2.0])
    with pytest.raises(MetricStateError, match=r"not kept.*to the constructor, or call `keep_it"):
        metric.ci()


def test_items_that_changed_since_are_refused():
    true = np.linspace(0, 1, 40)
    predicted = true + 0.1
    metric, other = MeanSquaredErrorMetric(true, predicted), MeanSquaredErrorMetric(true, true)
    predicted[:] = 0
    with pytest.raises(MetricStateError, match="must be those that Mean_squared_error was made"):
        metric.ci(n_resamples=10)
    with pytest.raises(MetricStateError, match="must not be changed"):
        compare(metric, other, n_resamples=10)
