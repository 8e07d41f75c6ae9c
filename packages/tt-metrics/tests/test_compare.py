"""Paired comparison: against exact enumeration, scipy and definitions written out."""

import doctest
import importlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

import tt_metrics._uncertainty.resampling
from tt_metrics.api import (
    AbstractBaseMetric,
    AccuracyMetric,
    AveragePrecisionMetric,
    F1ScoreMetric,
    MeanAbsoluteErrorMetric,
    MeanSquaredErrorMetric,
    MetricInputError,
    MetricStateError,
    MetricTypeError,
    NoDataError,
    PrecisionMetric,
    RecallMetric,
    ROCAUCMetric,
    compare,
)

DRAWS = 10_000


def macro(y, p):
    """The F1 score, averaged over the labels that occur; sklearn's is too slow to enumerate."""
    seen = [k for k in range(3) if (y == k).any() or (p == k).any()]
    return np.mean(
        [2 * ((y == k) & (p == k)).sum() / ((y == k).sum() + (p == k).sum()) for k in seen]
    )


def test_the_oracle_is_right():
    y, ours, _ = data(macro, 30)
    assert macro(y, ours) == pytest.approx(f1_score(y, ours, average="macro"))


def accuracy(y, p):
    return np.average(y == p)


def squares(y, p):
    return np.mean((y - p) ** 2)


def metrics(score, y, ours, theirs):
    if score is macro:
        return [F1ScoreMetric(y, p, average="macro") for p in (ours, theirs)]
    kind = AccuracyMetric if score is accuracy else MeanSquaredErrorMetric
    return kind(y, ours), kind(y, theirs)


def data(score, n, seed=1):
    draw = np.random.default_rng(seed)
    if score is squares:
        y, ours, theirs = draw.normal(size=(3, n))
        return y, y + 0.5 * ours, y + theirs
    y, ours, theirs = draw.integers(0, 3, (3, n))
    return y, np.where(draw.random(n) < 0.7, y, ours), np.where(draw.random(n) < 0.3, y, theirs)


def near_share(share):
    """What a p-value by draws may be where the exact one is known."""
    return pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / DRAWS) + 2 / DRAWS)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("score", [macro, accuracy, squares])
def test_randomization_against_all_swaps(score, seed):
    y, ours, theirs = data(score, 9, seed)
    difference = abs(score(y, ours) - score(y, theirs))
    extreme = []
    for swapped in itertools.product([False, True], repeat=9):
        left, right = np.where(swapped, theirs, ours), np.where(swapped, ours, theirs)
        extreme.append(abs(score(y, left) - score(y, right)) >= difference - 1e-12)
    given = compare(*metrics(score, y, ours, theirs), test="randomization", n_resamples=DRAWS)
    assert given.p_value == near_share(np.mean(extreme))
    assert abs(given.difference) == pytest.approx(difference, rel=1e-12)


def all_draws(score, y, ours, theirs):
    picks = map(list, itertools.product(range(len(y)), repeat=len(y)))
    return np.array([score(y[i], ours[i]) - score(y[i], theirs[i]) for i in picks])


@pytest.mark.slow
@pytest.mark.parametrize("score", [macro, squares])
def test_bootstrap_against_all_draws(score):
    y, ours, theirs = data(score, 5, seed=11)
    exact = all_draws(score, y, ours, theirs)
    observed = score(y, ours) - score(y, theirs)
    assert observed
    pair = metrics(score, y, ours, theirs)
    given = compare(*pair, test="bootstrap", n_resamples=DRAWS)
    beyond = np.mean(abs(exact - observed) >= abs(observed) - 1e-12)
    assert given.p_value == near_share(beyond)
    sizes = abs(exact)
    above = np.mean(sizes - sizes.mean() > abs(observed) + 1e-12)
    assert compare(*pair, test="moses", n_resamples=DRAWS).p_value == near_share(above)
    for end, level in zip(given.interval, (0.025, 0.975), strict=True):
        low, high = np.quantile(exact, [level - 0.008, level + 0.008])
        assert low - 1e-12 <= end <= high + 1e-12


def test_weighted_items_are_swapped_with_their_weight():
    y, ours, theirs = data(accuracy, 8)
    weight = np.arange(1.0, 9)
    pair = [AccuracyMetric().keep_items() for _ in range(2)]
    for metric, p in zip(pair, (ours, theirs), strict=True):
        metric.update(y, p, weight=weight)
    gains = weight * ((ours == y).astype(int) - (theirs == y)) / weight.sum()
    all_signs = np.array(list(itertools.product([-1, 1], repeat=8)))
    exact = np.mean(abs(all_signs @ gains) >= abs(gains.sum()) - 1e-12)
    given = compare(*pair, n_resamples=DRAWS)
    assert given.p_value == near_share(exact)
    assert given.difference == pytest.approx(gains.sum())
    for test in ("mcnemar", "delong"):
        with pytest.raises(MetricInputError, match="on this data"):
            compare(*pair, test=test)


def outcomes(both, only_first, only_second, neither):
    ours = np.repeat([1, 1, 0, 0], [both, only_first, only_second, neither])
    theirs = np.repeat([1, 0, 1, 0], [both, only_first, only_second, neither])
    y = np.ones(len(ours), int)
    return AccuracyMetric(y, ours), AccuracyMetric(y, theirs)


@settings(deadline=None)
@given(*[st.integers(0, 400)] * 4)
def test_mcnemars_test_is_the_binomial_one(both, only_first, only_second, neither):
    if both + only_first + only_second + neither == 0:
        return
    given = compare(*outcomes(both, only_first, only_second, neither), test="mcnemar")
    trials = only_first + only_second
    exact = stats.binomtest(only_first, trials).pvalue if trials else 1.0
    assert given.p_value == pytest.approx(exact, rel=1e-9)
    assert -1 <= given.interval.low <= given.difference <= given.interval.high <= 1


@pytest.mark.parametrize("counts", [(0, 30_000, 29_000, 5), (0, 60_000, 60_000, 0)])
def test_mcnemars_test_of_many_items(counts):
    given = compare(*outcomes(*counts), test="mcnemar")
    exact = stats.binomtest(counts[1], counts[1] + counts[2]).pvalue
    assert given.p_value == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    # D. Altman and others, Statistics with Confidence, 2000, page 52; M. Fagerland and others,
    # Statistical Analysis of Contingency Tables, 2017, chapter 8 (stem cell transplantation).
    [((14, 5, 0, 22), 0.011, 0.226), ((1, 1, 7, 12), -0.507, -0.026)],
)
def test_published_intervals_of_paired_proportions(counts, low, high):
    given = compare(*outcomes(*counts), test="mcnemar")
    assert tuple(given.interval) == pytest.approx((low, high), abs=5e-4)
    assert given.interval.method == "newcombe"
    assert given.n_resamples is given.seed is None


def test_mcnemars_test_of_a_recall_is_about_the_items_that_count():
    y = np.array([1] * 30 + [0] * 20)
    draw = np.random.default_rng(1)
    ours, theirs = draw.integers(0, 2, (2, 50))
    given = compare(RecallMetric(y, ours), RecallMetric(y, theirs), test="mcnemar")
    first = int(np.sum((ours > theirs)[:30]))
    second = int(np.sum((ours < theirs)[:30]))
    assert given.p_value == pytest.approx(stats.binomtest(first, first + second).pvalue)


@pytest.mark.parametrize(
    "kind", [PrecisionMetric, lambda *a: F1ScoreMetric(*a, average="macro"), MeanSquaredErrorMetric]
)
def test_mcnemars_test_is_for_shares_of_the_same_items(kind):
    y, ours, theirs = [0, 1, 1, 0], [0, 1, 0, 1], [0, 1, 0, 0]
    with pytest.raises(MetricInputError, match=r"'mcnemar' needs a metric that is the share"):
        compare(kind(y, ours), kind(y, theirs), test="mcnemar")


class RightTwice(AccuracyMetric):
    def proportion_of(self, state):
        return 2 * state.right, 2 * state.count


def test_mcnemars_test_counts_an_item_once():
    metric = RightTwice([0, 1], [0, 1])
    with pytest.raises(MetricInputError, match="share of right ones among unweighted items"):
        compare(metric, metric, test="mcnemar")


def two_rankings(n=60, seed=2):
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 2, n)
    common = draw.normal(size=n) + y
    return y, *(np.round(common + draw.normal(size=n), 1) for _ in range(2))


def test_delongs_test_written_out():
    y, ours, theirs = two_rankings()
    wins = []
    for s in (ours, theirs):
        above, below = s[y == 1][:, None], s[y == 0]
        wins.append((above > below) + 0.5 * (above == below))
    covariance = sum(
        np.cov([w.mean(axis=axis) for w in wins]) / wins[0].shape[1 - axis] for axis in (0, 1)
    )
    difference = wins[0].mean() - wins[1].mean()
    deviation = math.sqrt(np.array([1, -1]) @ covariance @ np.array([1, -1]))
    pair = ROCAUCMetric(y, ours), ROCAUCMetric(y, theirs)
    given = compare(*pair)
    assert given.test == "delong"
    assert given.difference == pytest.approx(difference, rel=1e-12)
    assert given.p_value == pytest.approx(2 * stats.norm.sf(abs(difference) / deviation), rel=1e-9)
    expected = stats.norm.interval(0.95, difference, deviation)
    assert tuple(given.interval) == pytest.approx(tuple(expected), rel=1e-9)
    drawn = compare(*pair, test="bootstrap", n_resamples=2000)
    assert drawn.p_value == pytest.approx(given.p_value, abs=0.05)


def test_delongs_test_without_variance():
    y = [0, 0, 1, 1]
    perfect, reverse = ROCAUCMetric(y, [0.1, 0.2, 0.3, 0.4]), ROCAUCMetric(y, [4, 3, 2, 1])
    same = compare(perfect, perfect)
    assert (same.p_value, *same.interval) == (1, 0, 0)
    with pytest.raises(MetricInputError, match="needs areas that vary"):
        compare(perfect, reverse)


@pytest.mark.parametrize("kind", [ROCAUCMetric, AveragePrecisionMetric])
def test_swapping_scores_to_rank_by_does_not_mix_their_scales(kind):
    y, ours, theirs = two_rankings()
    expected = compare(kind(y, ours), kind(y, theirs), test="randomization", n_resamples=500)
    other = compare(kind(y, ours), kind(y, np.exp(theirs)), test="randomization", n_resamples=500)
    assert other.p_value == expected.p_value
    if kind is ROCAUCMetric:
        delong = compare(kind(y, ours), kind(y, theirs)).p_value
        assert expected.p_value == pytest.approx(delong, abs=0.1)
        assert expected.first == pytest.approx(roc_auc_score(y, ours))


def test_swapping_scores_of_several_classes():
    draw = np.random.default_rng(1)
    y, ours, theirs = draw.integers(0, 3, 50), draw.random((50, 3)), draw.random((50, 3))
    given = compare(ROCAUCMetric(y, ours), ROCAUCMetric(y, theirs), n_resamples=200)
    assert given.test == "randomization"
    assert 0 < given.p_value <= 1


@pytest.mark.parametrize("test", ["bootstrap", "randomization", "mcnemar", "auto"])
def test_a_system_does_not_differ_from_itself(test):
    y, ours, _ = data(accuracy, 50)
    given = compare(AccuracyMetric(y, ours), AccuracyMetric(y, ours), test=test, n_resamples=50)
    assert given.difference == 0
    assert given.p_value == 1
    assert given.interval.low <= 0 <= given.interval.high


@pytest.mark.parametrize("test", ["bootstrap", "randomization", "moses", "mcnemar"])
def test_the_order_of_the_systems_changes_the_sign_only(test):
    y, ours, theirs = data(accuracy, 200)
    a, b = AccuracyMetric(y, ours), AccuracyMetric(y, theirs)
    one, other = (compare(*pair, test=test, n_resamples=200) for pair in ((a, b), (b, a)))
    assert one.difference == -other.difference
    if test == "mcnemar":
        assert one.p_value == other.p_value
        assert (one.interval.low, one.interval.high) == pytest.approx(
            (-other.interval.high, -other.interval.low)
        )
    else:
        assert one.p_value == pytest.approx(other.p_value, abs=0.15)


@pytest.mark.parametrize("test", ["bootstrap", "randomization", "moses"])
@pytest.mark.parametrize("score", [macro, squares])
def test_a_seed_gives_one_outcome_whatever_fits_in_memory(score, test, monkeypatch):
    pair = metrics(score, *data(score, 100))
    expected = compare(*pair, test=test, n_resamples=50, seed=7)
    assert compare(*pair, test=test, n_resamples=50, seed=7) == expected
    monkeypatch.setattr(tt_metrics._uncertainty.resampling, "BLOCK", 1100)
    again = compare(*pair, test=test, n_resamples=50, seed=7)
    assert again.p_value == expected.p_value
    assert tuple(again.interval) == pytest.approx(tuple(expected.interval), rel=1e-12)
    other = compare(*pair, test=test, n_resamples=50, seed=8)
    assert tuple(other.interval) != tuple(expected.interval)


def test_items_are_matched_by_their_ids():
    y, ours, theirs = data(squares, 40)
    order = np.random.default_rng(0).permutation(40)
    names = np.array([f"sample {i}" for i in range(40)])
    a, b = MeanSquaredErrorMetric(), MeanSquaredErrorMetric()
    a.update(y, ours, sample_ids=names)
    for part in np.array_split(order, 3):
        b.update(y[part].tolist(), theirs[part], weight=np.ones(len(part)), sample_ids=names[part])
    with pytest.raises(MetricInputError, match="only one of them has any"):
        compare(a, b)
    a = MeanSquaredErrorMetric()
    a.update(y, ours, weight=np.ones(40), sample_ids=names)
    given = compare(a, b, n_resamples=100)
    expected = compare(*metrics(squares, y, ours, theirs), n_resamples=100)
    assert given.p_value == pytest.approx(expected.p_value)
    assert tuple(given.interval) == pytest.approx(tuple(expected.interval))


def test_ids_that_differ():
    a, b = AccuracyMetric(), AccuracyMetric()
    a.update([0, 1], [0, 1], sample_ids=[5, 3])
    b.update([0, 1], [0, 1], sample_ids=[3, 4])
    with pytest.raises(MetricInputError, match="ids that differ are 5 and 4"):
        compare(a, b)


class Longest(AbstractBaseMetric):
    def __init__(self, y_true, y_predicted):
        super().__init__(y_true, y_predicted, "Longest", np_array=False)

    def calculate_metric(self):
        return max(map(len, self.y_predicted))


def test_texts_and_lists_can_be_compared():
    y = [["a", "b"], ["c"], ["d"]]
    given = compare(Longest(y, ["x", "yy", "z"]), Longest(y, ["x", "y", "z"]), n_resamples=99)
    assert given.difference == 1
    assert given.p_value == 1  # whoever has the longer text, the sizes differ by 1
    ids = [2, 0, 1]
    first, second = AccuracyMetric(), AccuracyMetric()
    first.update(["u", "v", "w"], ["u", "v", "v"], sample_ids=[0, 1, 2])
    second.update(["w", "u", "v"], ["w", "u", "v"], sample_ids=ids)
    assert compare(first, second, test="mcnemar").p_value == 1
    with pytest.raises(MetricInputError, match=r"differ first at index 1: \['c'\] and \['x'\]"):
        compare(Longest(y, "abc"), Longest([["a", "b"], ["x"], ["d"]], "abc"))


def test_targets_as_rows_are_compared_row_by_row():
    y = np.arange(6.0).reshape(3, 2)
    rows = [*y]
    other = [*y[:2], y[2] + 1]
    with pytest.raises(MetricInputError, match="differ first at index 2"):
        compare(Longest(rows, rows), Longest(other, rows))
    changed = y.copy()
    changed[1, 1] = 0
    with pytest.raises(MetricInputError, match="differ first at index 1"):
        compare(Longest(y, y), Longest(changed, y))
    with pytest.raises(MetricInputError, match="differ first at index 0"):
        compare(Longest(y, y), Longest(y[:, :1], y))


def test_predictions_of_different_form_can_be_drawn_but_not_swapped():
    y, ours, theirs = data(accuracy, 60)
    one_hot = np.eye(3)[theirs]
    labels, rows = AccuracyMetric(y, ours), AccuracyMetric(y, one_hot)
    expected = compare(labels, AccuracyMetric(y, theirs), test="bootstrap", n_resamples=100)
    given = compare(labels, rows, test="bootstrap", n_resamples=100)
    assert given.difference == expected.difference
    with pytest.raises(MetricInputError, match=r"\(60,\) and \(60, 3\). Use test='bootstrap'"):
        compare(labels, rows)


def test_what_a_comparison_says_about_itself():
    y, ours, theirs = data(accuracy, 100)
    given = compare(AccuracyMetric(y, ours), AccuracyMetric(y, theirs), n_resamples=99, seed=4)
    parts = ["randomization", "metric:Accuracy", "n:100", "confidence:0.95", "n_resamples:99"]
    assert given.signature == "|".join([*parts, "seed:4"])
    text = str(given)
    assert text.startswith(f"Accuracy: {given.first:.4g} - {given.second:.4g} = +")
    assert text.endswith(f"p = {given.p_value:.4g} (randomization, n = 100)")


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"test": "t"}, "auto or one of bootstrap, moses, randomization, delong, mcnemar; it is"),
        ({"n_resamples": 0}, "n_resamples must be a whole number of at least 1"),
        ({"seed": "a"}, "seed must be a whole number of at least 0"),
        ({"confidence": 95}, "confidence must be between 0 and 1"),
        ({"test": "delong"}, "'delong' is for areas under ROC curves"),
    ],
)
def test_settings_that_mean_nothing(changed, rule):
    metric = AccuracyMetric([0, 1], [0, 1])
    with pytest.raises(MetricInputError, match=rule):
        compare(metric, metric, **changed)


def test_metrics_that_are_not_alike():
    a = AccuracyMetric([0, 1, 1], [0, 1, 1])
    with pytest.raises(MetricTypeError, match="AccuracyMetric and float came"):
        compare(a, 0.5)
    with pytest.raises(MetricTypeError, match="of one class"):
        compare(MeanAbsoluteErrorMetric([1.0], [1.0]), MeanSquaredErrorMetric([1.0], [1.0]))
    with pytest.raises(MetricStateError, match="same settings"):
        compare(a, AccuracyMetric([0, 1, 1], [0, 1, 1], 0.7))
    with pytest.raises(MetricInputError, match="same items; there are 3 and 2"):
        compare(a, AccuracyMetric([0, 1], [0, 1]))
    with pytest.raises(MetricInputError, match=r"differ first at index 1: 1 and 0.*sample_ids"):
        compare(a, AccuracyMetric([0, 0, 1], [0, 1, 1]))
    with pytest.raises(MetricInputError, match="differ first at index 1: 1 and 0"):
        compare(*(AccuracyMetric(np.array(y), [0, 1, 1]) for y in ([0, 1, 1], [0, 0, 1])))


def test_weights_that_differ():
    pair = [AccuracyMetric().keep_items() for _ in range(2)]
    for metric, last in zip(pair, (1, 2), strict=True):
        metric.update([0, 1], [0, 1], weight=np.array([1, last]))
    with pytest.raises(MetricInputError, match="same weights; they differ first at index 1"):
        compare(*pair)


def test_settings_of_nan_are_the_same():
    y, *outputs = (np.repeat(p, 20) for p in ([0, 1], [0, 1], [1, 1]))
    pair = [F1ScoreMetric(y, p, zero_division=float("nan")) for p in outputs]
    assert compare(*pair, test="bootstrap", n_resamples=20).difference == pytest.approx(1 / 3)


def test_metrics_without_data_or_items():
    full, empty = AccuracyMetric([0, 1], [0, 1]), AccuracyMetric()
    with pytest.raises(NoDataError, match="comparison needs data"):
        compare(full, empty)
    empty.update([0, 1], [0, 1])
    with pytest.raises(MetricStateError, match=r"not kept.*constructor, or call `keep_items`"):
        compare(full, empty)


@pytest.mark.parametrize(
    ("changed", "came"),
    [({"average": None}, "a dict of 0, 1"), ({"zero_division": math.nan}, "nan")],
)
def test_only_one_number_can_be_compared(changed, came):
    metric = PrecisionMetric([0, 1], [0, 0], **{"average": "binary"} | changed)
    with pytest.raises(MetricInputError, match=f"that of Precision is {came}"):
        compare(metric, metric)


@pytest.mark.parametrize("test", ["mcnemar", "delong"])
def test_what_draws_nothing_does_not_look_at_its_settings(test):
    kind = AccuracyMetric if test == "mcnemar" else ROCAUCMetric
    y = np.arange(30) % 2
    pair = [kind(y, s) for s in np.random.default_rng(0).random((2, 30))]
    given = compare(*pair, test=test, n_resamples=0, seed=-1)
    assert given == compare(*pair, test=test)


def test_too_many_draws_without_a_result():
    y = np.array([1] + [0] * 20)
    pair = [AveragePrecisionMetric(y, s) for s in np.random.default_rng(0).random((2, 21))]
    with pytest.raises(MetricInputError, match=r"bootstrap test needs a result in .* of 300 have"):
        compare(*pair, test="bootstrap", n_resamples=300)
    swapped = compare(*pair, test="randomization", n_resamples=300)  # every swap has a result
    assert 0 < swapped.p_value <= 1
    assert all(map(math.isnan, swapped.interval))


@pytest.mark.parametrize("module", ["compare", "paired"])
def test_the_example_in_the_docstring(module):
    result = doctest.testmod(importlib.import_module(f"tt_metrics._uncertainty.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
