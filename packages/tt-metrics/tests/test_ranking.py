"""Areas and averages of rankings, against scikit-learn."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.naive_bayes import GaussianNB

from tt_metrics.api import (
    AveragePrecisionMetric,
    EqualErrorRateMetric,
    MetricInputError,
    NoDataError,
    PrecisionRecallCurveAUCMetric,
    RecallAtPrecisionMetric,
    ROCAUCMetric,
)

BINARY = [
    ROCAUCMetric,
    AveragePrecisionMetric,
    PrecisionRecallCurveAUCMetric,
    EqualErrorRateMetric,
    RecallAtPrecisionMetric,
]


def trapezoid(y, s, sample_weight=None):
    precision, recall, _ = oracle.precision_recall_curve(y, s, sample_weight=sample_weight)
    return oracle.auc(recall, precision)


def equal_errors(y, s, sample_weight=None):
    """Where the ROC curve meets fpr + tpr = 1; the sum grows along the curve."""
    fpr, tpr, _ = oracle.roc_curve(y, s, sample_weight=sample_weight, drop_intermediate=False)
    return np.interp(1, fpr + tpr, fpr)


def recall_at_half(y, s, sample_weight=None):
    precision, recall, _ = oracle.precision_recall_curve(y, s, sample_weight=sample_weight)
    return recall[precision >= 0.5 - 1e-12].max()


EXPECTED = dict(
    zip(
        BINARY,
        [
            oracle.roc_auc_score,
            oracle.average_precision_score,
            trapezoid,
            equal_errors,
            recall_at_half,
        ],
        strict=True,
    )
)


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def filled(metric, y, s, weight=None):
    metric.update(y, s, weight=weight)
    return metric


@pytest.fixture(scope="module")
def tumours():
    x, y = load_breast_cancer(return_X_y=True)
    return y[300:], GaussianNB().fit(x[:300], y[:300]).predict_proba(x[300:])


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return y[900:], GaussianNB().fit(x[:900], y[:900]).predict_proba(x[900:])


@st.composite
def rankings(draw):
    """Targets, scores with many or few ties, and weights, with weight in both classes."""
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    y = rng.integers(0, 2, n)
    y[:2] = 0, 1
    scores = rng.normal(size=n).round(draw(st.integers(0, 3))) + y
    weight = rng.integers(0, 4, n) / draw(st.sampled_from([1, 3, 7]))
    assume(weight[y == 0].any() and weight[y == 1].any())
    kind = draw(st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.int8]))
    return y, (scores * 4).astype(kind), draw(st.sampled_from([None, weight]))


@pytest.mark.parametrize("metric", BINARY)
@given(rankings())
def test_two_classes_with_ties_and_weights(metric, data):
    y, s, weight = data
    expected = EXPECTED[metric](y, s, sample_weight=weight)
    assert float(filled(metric(), y, s, weight)) == near(expected)


@pytest.mark.parametrize("metric", BINARY)
@given(rankings(), st.lists(st.integers(0, 60), max_size=4), st.randoms(use_true_random=False))
def test_any_sharding_gives_the_same(metric, data, cuts, order):
    y, s, weight = data
    parts = []
    bounds = [0, *sorted(min(cut, len(y)) for cut in cuts), len(y)]
    for start, end in pairwise(bounds):
        part = metric()
        if end > start:
            part.update(
                y[start:end], s[start:end], weight=None if weight is None else weight[start:end]
            )
        parts.append(part)
    order.shuffle(parts)
    total = metric()
    for part in parts:
        total.merge(part.state)
    assert float(total) == near(float(filled(metric(), y, s, weight)))


@pytest.mark.parametrize("metric", BINARY)
def test_one_column_of_two_is_enough(metric, tumours):
    y, p = tumours
    expected = near(EXPECTED[metric](y, p[:, 1]))
    assert metric(y, p).metric_result == expected
    assert metric(y, p[:, 1]).metric_result == expected
    assert metric(y[:, None], p[:, 1:]).metric_result == expected


def test_only_the_order_of_scores_counts(tumours):
    y, p = tumours
    expected = ROCAUCMetric(y, p)
    assert ROCAUCMetric(y, 4 * p[:, 1]) == expected
    assert ROCAUCMetric(y, np.unique(p[:, 1], return_inverse=True)[1]) == expected
    assert ROCAUCMetric(1 - y, -p[:, 1]) == expected


def test_zeros_of_either_sign_are_equal():
    assert ROCAUCMetric([0, 1, 0, 1], [0.0, -0.0, -0.0, 0.0]) == 0.5


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_many_items_are_ranked_in_blocks_without_loss(share):
    draw = np.random.default_rng(3)
    y = draw.random(70_000) < share
    for s in (draw.normal(size=y.size) + y, draw.integers(0, 5, y.size) + y):
        for metric in BINARY:
            assert metric(y, s).metric_result == near(EXPECTED[metric](y, s))


def test_a_batch_of_another_float_type_loses_nothing():
    metric = ROCAUCMetric(np.array([0, 1]), np.array([0.1, 0.2], np.float32))
    metric.update([1, 0], [0.3, 0.1])  # float64's 0.1 is below float32's
    assert metric == 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["macro", "weighted", "micro", None])
@pytest.mark.parametrize("metric", [ROCAUCMetric, AveragePrecisionMetric])
def test_averages_over_classes(digits, metric, average, weighted):
    y, p = digits
    weight = np.random.default_rng(0).random(len(y)) if weighted else None
    more = {"multi_class": "ovr"} if metric is ROCAUCMetric else {}
    expected = EXPECTED[metric](y, p, average=average, sample_weight=weight, **more)
    result = filled(metric(average=average), y, p, weight).metric_result
    if average is None:
        assert list(result) == [str(label) for label in range(10)]
        result = list(result.values())
    assert result == near(expected)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_pairs_of_classes(digits, average):
    y, p = digits
    expected = oracle.roc_auc_score(y, p, average=average, multi_class="ovo")
    assert ROCAUCMetric(y, p, average=average, multi_class="ovo").metric_result == near(expected)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_weights_in_pairs_are_repetitions(digits, average):
    y, p = digits
    times = np.random.default_rng(0).integers(1, 4, len(y))
    weighted = filled(ROCAUCMetric(average=average, multi_class="ovo"), y, p, times)
    repeated = ROCAUCMetric(
        np.repeat(y, times), np.repeat(p, times, axis=0), average=average, multi_class="ovo"
    )
    assert float(weighted) == near(float(repeated))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["macro", "weighted", "micro", None])
@pytest.mark.parametrize("metric", [ROCAUCMetric, AveragePrecisionMetric])
def test_averages_over_labels(metric, average, weighted):
    draw = np.random.default_rng(1)
    y, s = draw.integers(0, 2, (80, 4)), draw.integers(0, 9, (80, 4))
    weight = draw.random(80) if weighted else None
    expected = EXPECTED[metric](y, s, average=average, sample_weight=weight)
    result = filled(metric(average=average, multilabel=True), y, s, weight).metric_result
    assert (list(result.values()) if average is None else result) == near(expected)


def test_labels_name_the_columns():
    y, s = ["c", "a", "b", "a"], np.random.default_rng(0).random((4, 3))
    codes = [2, 0, 1, 0]
    named = ROCAUCMetric(y, s, labels=["a", "b", "c"], average=None)
    assert list(named.metric_result) == ["a", "b", "c"]
    assert list(named.metric_result.values()) == list(
        ROCAUCMetric(codes, s, average=None).metric_result.values()
    )
    assert ROCAUCMetric(["no", "yes"], [0.1, 0.9], labels=["no", "yes"]) == 1
    assert ROCAUCMetric([-1, 1], [0.1, 0.9], labels=[-1, 1]) == 1
    assert ROCAUCMetric([-1, 1], [0.1, 0.9], labels=[1, -1]) == 0


@pytest.mark.parametrize(
    ("y", "what"), [([0, 0], "no item of 1 came"), ([1, 1], "only items of 1 came")]
)
def test_an_area_needs_both_classes(y, what):
    with pytest.raises(MetricInputError, match=what):
        ROCAUCMetric(y, [0.1, 0.9]).compute()


@pytest.mark.parametrize("metric", [AveragePrecisionMetric, PrecisionRecallCurveAUCMetric])
def test_precision_needs_positives_only(metric):
    assert metric([1, 1], [0.1, 0.9]) == 1
    with pytest.raises(MetricInputError, match="no item of 1"):
        metric([0, 0], [0.1, 0.9]).compute()


def test_a_class_without_items():
    y, s = np.array([0, 1, 1, 0]), np.array([[3, 1, 0], [1, 2, 0], [0, 1, 1], [2, 3, 1]])
    with pytest.raises(MetricInputError, match="no item of label 2"):
        ROCAUCMetric(y, s).compute()
    each = ROCAUCMetric(y, s, average=None).metric_result
    assert np.isnan(each["2"])
    mean = (each["0"] + each["1"]) / 2
    assert ROCAUCMetric(y, s, absent="skip").metric_result == near(mean)
    assert ROCAUCMetric(y, s, average="weighted").metric_result == near(mean)
    with pytest.raises(MetricInputError, match="label 0 or of label 2"):
        ROCAUCMetric(y, s, multi_class="ovo").compute()
    pair = (oracle.roc_auc_score(y == 0, s[:, 0]) + oracle.roc_auc_score(y == 1, s[:, 1])) / 2
    assert ROCAUCMetric(y, s, multi_class="ovo", absent="skip").metric_result == near(pair)
    with pytest.raises(MetricInputError, match="only one class"):
        ROCAUCMetric([0, 0], s[:2], absent="skip").compute()


def test_items_of_weight_zero_are_no_items():
    metric = filled(ROCAUCMetric(), [0, 1], [0.1, 0.2], [1, 0])
    with pytest.raises(MetricInputError, match="no item of 1"):
        metric.compute()


@given(rankings(), st.floats(0, 1))
def test_recall_at_precision_and_its_threshold(data, least):
    y, s, weight = data
    metric = filled(RecallAtPrecisionMetric(min_precision=least), y, s, weight)
    precision, recall, thresholds = oracle.precision_recall_curve(y, s, sample_weight=weight)
    best = recall[precision >= least - 1e-12].max()
    assert float(metric) == near(best)
    if best == 0:
        assert metric.threshold == np.inf
    else:
        good = (precision[:-1] >= least - 1e-12) & (recall[:-1] == best)
        assert metric.threshold == thresholds[good].max()


def test_recall_at_precision_agrees_with_torchmetrics(tumours):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    y, p = tumours
    recall, threshold = functional.binary_recall_at_fixed_precision(
        torch.tensor(p[:, 1]), torch.tensor(y), 0.98
    )
    metric = RecallAtPrecisionMetric(y, p, min_precision=0.98)
    assert metric.metric_result == pytest.approx(float(recall), rel=1e-6)
    assert metric.threshold == pytest.approx(float(threshold), rel=1e-6)


def test_a_threshold_is_there_for_two_classes_only(digits):
    with pytest.raises(MetricInputError, match="two classes"):
        _ = RecallAtPrecisionMetric(*digits).threshold
    with pytest.raises(NoDataError):
        _ = RecallAtPrecisionMetric().threshold


def test_a_precision_that_is_no_number():
    with pytest.raises(MetricInputError, match=r"must be a number in \[0, 1\]; it is '0.5'"):
        RecallAtPrecisionMetric(min_precision="0.5")
