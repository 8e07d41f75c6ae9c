"""What comes with a batch: weights, masks, sample ids; and the items that were kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tt_metrics.api import (
    AccuracyMetric,
    ConfusionMatrixMetric,
    F1ScoreMetric,
    GeneralResultPackage,
    MeanAbsoluteErrorMetric,
    MeanSquaredErrorMetric,
    MetricInputError,
    MetricStateError,
)


def filled(metric, *batches):
    for batch, options in batches:
        metric.update(*batch, **options)
    return metric


def package():
    return GeneralResultPackage([F1ScoreMetric(average="macro"), MeanSquaredErrorMetric])


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.floats(0.1, 9)), min_size=2))
def test_weights_are_those_of_scikit_learn(items):
    true, predicted, weight = map(list, zip(*items, strict=True))
    metric = F1ScoreMetric(average="macro")
    metric.update(true[:1], predicted[:1], weight=weight[:1])
    metric.update(true[1:], predicted[1:], weight=weight[1:])
    expected = sk.f1_score(
        true, predicted, average="macro", sample_weight=weight, zero_division=0.0
    )
    assert metric.metric_result == pytest.approx(expected, rel=1e-12)


def test_batches_with_and_without_weights_mix():
    metric = filled(
        MeanAbsoluteErrorMetric(), (([1.0], [2.0]), {}), (([1.0], [4.0]), {"weight": [3]})
    )
    assert metric.metric_result == (1 * 1 + 3 * 3) / 4
    labels = filled(F1ScoreMetric(), (([1], [1]), {}), (([1], [0]), {"weight": [2.0]}))
    assert labels.metric_result == 2 * 1 / (2 * 1 + 2)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0], r"one number per item, shape \(2,\); its shape is \(1,\)"),
        ([1.0, -0.5], "weight must be at least 0; it holds -0.5 at index 1"),
        ([1.0, np.nan], "weight must be finite; it holds nan at index 1"),
        ([[1.0], [1.0]], r"its shape is \(2, 1\)"),
    ],
)
@pytest.mark.parametrize("make", [AccuracyMetric, MeanSquaredErrorMetric, package], ids=repr)
def test_weights_that_are_none(make, weight, message):
    with pytest.raises(MetricInputError, match=message):
        make().update([0, 1], [1, 1], weight=weight)


@pytest.mark.parametrize("make", [AccuracyMetric, MeanSquaredErrorMetric, package], ids=repr)
def test_a_mask_leaves_padding_out(make):
    padded, plain = make(), make()
    padded.update([0, 1, 1, 0], [1, 1, 1, 1], valid=[True, True, False, True], weight=[1, 2, 9, 4])
    padded.update([1], [0], valid=np.array([False]))  # a rank that was given padding only
    plain.update([0, 1, 0], [1, 1, 1], weight=[1, 2, 4])
    assert padded.compute() == plain.compute()


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        ([True], "valid must have one entry per item of y_true; it has 1 for 2"),
        ([1, 0], "valid must be true or false .* its dtype int64"),
        ([[True], [False]], r"valid must be true or false .* its shape is \(2, 1\)"),
    ],
)
@pytest.mark.parametrize("wrap", [list, np.array])
def test_masks_that_are_none(valid, message, wrap):
    with pytest.raises(MetricInputError, match=message):
        AccuracyMetric().update(wrap([0, 1]), wrap([1, 1]), valid=valid)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 4), st.randoms())
def test_a_sample_counts_once_wherever_it_was_seen(ids, shards, draw):
    true, predicted = np.arange(31) % 3, np.arange(31) % 4 % 3  # one answer per sample
    parts = [package() for _ in range(shards)]
    for one in ids:
        draw.choice(parts).update([true[one]], [predicted[one]], sample_ids=[one])
    while len(parts) > 1:
        draw.shuffle(parts)
        parts[0].merge(parts.pop().state)
    seen = sorted(set(ids))
    whole = package()
    whole.update(true[seen], predicted[seen])
    assert parts[0].compute() == pytest.approx(whole.compute(), rel=1e-15)


def test_sample_ids_may_be_texts_and_repeat_within_a_batch():
    metric = AccuracyMetric()
    metric.update([1, 1, 0], [1, 1, 1], sample_ids=["a", "a", "b"])
    assert metric.metric_result == 0.5
    again = AccuracyMetric.from_state(metric.state)
    again.update([1, 1], [1, 1], sample_ids=["b", "c"])
    assert again.metric_result == 2 / 3


def test_sample_ids_that_are_none():
    metric = AccuracyMetric()
    with pytest.raises(MetricInputError, match=r"whole numbers or texts .* dtype float64"):
        metric.update([1], [1], sample_ids=[0.5])
    metric.update([1], [1], sample_ids=[0])
    with pytest.raises(MetricStateError, match="with every update or with none"):
        metric.update([1], [1])
    assert metric.count == 1
    late = AccuracyMetric([1], [1])
    with pytest.raises(MetricStateError, match="keep_items must be called before data comes"):
        late.update([1], [1], sample_ids=[0])


def test_kept_items_travel_with_the_state():
    metric = F1ScoreMetric().keep_items()
    buffer = np.array([1, 0])
    metric.update(buffer, [1, 1])
    buffer[:] = 0  # as loaders do that fill the same memory again
    metric.update([1], [0], weight=[2.0])
    again = F1ScoreMetric.from_state(metric.state)
    again.merge(metric.state)
    assert list(again.items.y_true) == [1, 0, 1] * 2
    assert list(again.items.y_predicted) == [1, 1, 0] * 2
    assert list(again.items.weight) == [1, 1, 2] * 2
    again.reset()
    assert len(again.items.y_true) == 0
    with pytest.raises(MetricStateError, match="can only take in one that does; call keep_items"):
        metric.merge(F1ScoreMetric([1], [1]).state)
    metric.merge(F1ScoreMetric().state)  # one that has seen nothing takes nothing away
    assert metric.count == 3


def test_a_one_shot_metric_knows_its_items_until_more_data_comes():
    metric = AccuracyMetric([1, 0], [1, 1])
    assert metric.items.y_true == [1, 0]
    metric.update([1], [1])
    assert metric.items is None
    assert AccuracyMetric().items is None


def test_a_batch_that_one_metric_refuses_reaches_none():
    both = package()
    both.update([0, 1], [1, 1])
    before = both.compute()
    with pytest.raises(MetricInputError):
        both.update([0.5], [0.5])  # a fine target for the error, but no label
    assert both.compute() == before


def test_a_signature_says_how_to_get_the_number():
    metric = F1ScoreMetric([0, 1, 2], [0, 1, 1], average="macro")
    assert metric.signature.startswith("F1_score|")
    assert {"average:macro", "zero_division:0.0", "n:3"} <= set(metric.signature.split("|"))


def test_text_labels_grow_and_merge_like_numbers():
    here = ConfusionMatrixMetric(["cat", "dog"], ["dog", "dog"])
    there = ConfusionMatrixMetric(["ant", "dog", "ant"], ["ant", "bee", "ant"])
    here.merge(there.state)
    true, predicted = ["cat", "dog", "ant", "dog", "ant"], ["dog", "dog", "ant", "bee", "ant"]
    np.testing.assert_array_equal(here.matrix, sk.confusion_matrix(true, predicted))
    with pytest.raises(MetricStateError, match="they were texts, now numbers came"):
        here.update([0, 1], [0, 1])
    with pytest.raises(MetricStateError, match="they were numbers, now texts came"):
        ConfusionMatrixMetric([0], [1]).merge(there.state)


@pytest.mark.parametrize(
    ("labels", "true", "predicted"),
    [
        (["b", "a"], ["a", "b", "a"], ["a", "a", "b"]),
        ([-1, 1], [1, -1, 1], [1, 1, -1]),
        ([7, 3, 5], [3.0, 7.0, 3.0], [3, 3, 7]),
        ([0.5, 1.5], [0.5, 1.5], [1.5, 1.5]),
    ],
)
def test_given_labels_fix_rows_and_columns(labels, true, predicted):
    metric = ConfusionMatrixMetric(true, predicted, labels=labels)
    as_text = [list(map(str, map(float, a))) if a[0] != str(a[0]) else a for a in (true, predicted)]
    names = list(map(str, map(float, labels))) if labels[0] != str(labels[0]) else labels
    np.testing.assert_array_equal(metric.matrix, sk.confusion_matrix(*as_text, labels=names))


def test_scores_and_probabilities_follow_the_given_labels():
    scores = [[0.2, 0.8], [0.9, 0.1]]
    assert AccuracyMetric(["ham", "spam"], scores, labels=["spam", "ham"]).metric_result == 1
    assert AccuracyMetric([-1, 1], [0.4, 0.5], labels=[-1, 1]).metric_result == 1


@pytest.mark.parametrize(
    ("labels", "true", "predicted", "message"),
    [
        (
            ["a", "b"],
            ["a", "c"],
            ["a", "b"],
            "y_true must be one of the labels .* 'c' at|c at index",
        ),
        (["a", "b"], ["a"], ["d"], "y_predicted must be one of the labels"),
        (["a", "b"], [0], ["a"], "y_true must be of the type of the labels"),
        ([1, 2], [1], ["a"], "y_predicted must be of the type of the labels"),
        (["a", "a"], ["a"], ["a"], "labels must all be different"),
        ([], ["a"], ["a"], "labels must be at least one label"),
        (["a", 1], ["a"], ["a"], "labels must hold only numbers or only texts"),
        (["a", "b"], ["b"], [[0.1, 0.2, 0.7]], "Scores need one column per class"),
    ],
)
def test_labels_that_do_not_fit(labels, true, predicted, message):
    with pytest.raises(MetricInputError, match=message):
        ConfusionMatrixMetric(true, predicted, labels=labels)


@pytest.mark.parametrize("module", ["pandas", "polars"])
def test_columns_of_data_frames(module):
    frames = pytest.importorskip(module)
    frame = frames.DataFrame({"y": [0, 1, 1], "p": [0.2, 0.7, 0.4], "t": ["a", "b", "b"]})
    assert AccuracyMetric(frame["y"], frame["p"]).metric_result == 2 / 3
    assert AccuracyMetric(frame["t"], frame["t"]).metric_result == 1
    assert MeanAbsoluteErrorMetric(frame[["y", "p"]], frame[["y", "p"]]).metric_result == 0


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float16", "bool", "object"])
def test_labels_of_any_dtype(dtype):
    true, predicted = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])
    result = F1ScoreMetric(true.astype(dtype), predicted.astype(dtype)).metric_result
    assert result == sk.f1_score(true, predicted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_among_scores(dtype, label):
    metric = F1ScoreMetric(average="macro", num_classes=3)
    with pytest.raises(MetricInputError):
        metric.update(np.array([0, label]), np.ones((2, 3), dtype))
    huge = np.full((1, 3), np.finfo(dtype).max)  # whose squares are infinite, but it is finite
    metric.update(np.array([0]), huge)
    assert metric.count == 1
