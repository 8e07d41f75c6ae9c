"""What comes with a batch: weights, masks, sample ids; and the items that were kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tt_metrics.api import (
    AbstractBaseMetric,
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
    with pytest.raises(MetricStateError, match="must be kept from the first update on"):
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


def test_a_refused_update_leaves_all_as_it_was():
    metric = MeanSquaredErrorMetric([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    with pytest.raises(MetricInputError):
        metric.update([1.0], ["x"])
    assert metric.items is not None
    assert metric.ci(n_resamples=20)
    fresh = AccuracyMetric()
    with pytest.raises(MetricInputError):
        fresh.update([0, 1], [[np.nan, 1], [0, 1]], sample_ids=[1, 2])
    fresh.merge(AccuracyMetric([0, 1], [0, 1]).state)  # ids of refused items bind nobody
    assert fresh.items is None


def refused(target, state):
    before = target.state
    with pytest.raises(MetricStateError):
        target.merge(state)
    after = target.state
    assert str(after) == str(before)


def test_a_refused_merge_leaves_all_as_it_was():
    with_ids, without = AccuracyMetric(), AccuracyMetric().keep_items()
    with_ids.update([0, 1], [0, 1], sample_ids=[1, 2])
    without.update([0, 1, 1], [1, 0, 0])
    refused(with_ids, without.state)
    refused(without, with_ids.state)
    of_texts = AccuracyMetric()
    of_texts.update([0], [0], sample_ids=["1"])
    refused(with_ids, of_texts.state)
    refused(AccuracyMetric([0], [1]), without.state)
    labels, errors = package(), package()
    labels.update([0, 1], [0, 1])
    broken = labels.state
    broken["data"][1] = {}
    refused(errors, broken)
    broken["data"].pop()
    refused(errors, broken)


def test_the_state_of_kept_items_is_a_copy():
    metric = AccuracyMetric().keep_items()
    metric.update(np.array([1, 0]), np.array([1, 1]))
    metric.state["items"][0]["y_predicted"][:] = 0
    assert metric.items.y_predicted.tolist() == [1, 1]


def test_ids_of_another_length():
    with pytest.raises(MetricInputError, match=r"one entry per item; there are 1 for y_true \(2,"):
        AccuracyMetric().update([0, 1], [0, 1], sample_ids=[5])


@pytest.mark.parametrize("far", [2**62, -(2**62), -(2**63), 2**63 - 1])
def test_labels_whose_cells_would_wrap_around(far):
    metric = F1ScoreMetric(average="macro", num_classes=4)
    with pytest.raises(MetricInputError):
        metric.update(np.array([1, far]), np.eye(4)[:2])
    assert metric.count == 0


def test_scores_do_not_follow_texts():
    metric = ConfusionMatrixMetric(["a", "b"], ["a", "b"])
    with pytest.raises(MetricStateError, match="they were texts, now numbers came"):
        metric.update(np.array([0, 1]), np.eye(2))


@pytest.mark.parametrize("labels", [[1, 2, 3, 4, 5], [1, 2], [1, 0], [-1, 1], [0, 1], [0, 2, 1]])
def test_floats_are_read_alike_whatever_else_is_in_the_batch(labels):
    values = [float(label) for label in labels] * 2
    whole = AccuracyMetric(values, values, labels=labels)
    parts = AccuracyMetric(labels=labels)
    for value in values:
        parts.update([value], [value])
    assert whole == parts == 1


def test_probabilities_need_labels_that_leave_room_for_them():
    assert AccuracyMetric(["no", "yes"], [0.2, 1.0], labels=["no", "yes"]) == 1
    assert AccuracyMetric([-1, 1], [0.0, 1.0], labels=[-1, 1]) == 1
    with pytest.raises(MetricInputError, match="must be one of the labels"):
        AccuracyMetric([1, 2], [0.2, 0.9], labels=[1, 2])
    with pytest.raises(MetricInputError, match=r"Texts must be labels of shape \(n,\)"):
        AccuracyMetric(["a", "b"], [["a", "b"], ["b", "a"]], labels=["a", "b"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probability_0_is_below_every_threshold(dtype):
    assert F1ScoreMetric([0, 1], np.array([0, 1], dtype), 1e-300) == 1


@given(st.integers(0, 2**32), st.integers(2, 12))
def test_with_weights_no_part_is_more_than_the_whole(seed, classes):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, 50)
    both = GeneralResultPackage([AccuracyMetric, ConfusionMatrixMetric])
    both.update(labels, labels, weight=draw.random(50))
    assert both.get_results()["Accuracy"] == 1


def test_weights_beyond_float64():
    for make in (AccuracyMetric, MeanSquaredErrorMetric, package):
        with pytest.raises(MetricInputError, match=r"sum of weight must stay below 1\.8e308"):
            make().update([0, 1, 1], [0, 1, 1], weight=[1e308] * 3)


def test_metrics_over_whole_data_keep_no_buffer():
    class Equal(AbstractBaseMetric):
        def __init__(self, y_true, y_predicted):
            super().__init__(y_true, y_predicted, "Equal")

        def calculate_metric(self):
            return float((self.y_true == self.y_predicted).mean())

    buffer, both = np.array([5, 5]), GeneralResultPackage([Equal])
    both.update(np.array([5, 5]), buffer)
    buffer[:] = 0
    both.update(np.array([0, 0]), buffer)
    assert both.get_results() == {"Equal": 1.0}
    metric = Equal([1, 2], [1, 2])
    metric.state["data"][0]["y_true"][0][:] = 7
    assert metric.get_metric() == 1.0
