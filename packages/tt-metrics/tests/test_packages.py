"""Result packages: those of one's own, and those made of metrics."""

import json
import math
import pickle

import numpy as np
import pytest

from tt_metrics.api import (
    AbstractBaseMetric,
    AbstractResultPackage,
    AccuracyMetric,
    BinaryClassificationResultPackage,
    ClassificationResultPackage,
    Confusion,
    F1ScoreMetric,
    GeneralResultPackage,
    MeanSquaredErrorMetric,
    Metric,
    MetricInputError,
    MetricStateError,
    MetricTypeError,
    NoDataError,
    PrecisionMetric,
    RecallMetric,
    RegressionResultPackage,
    ROCAUCMetric,
)


class Misses(AbstractResultPackage):
    def prepare_results_dict(self):
        misses = np.abs(self.y_true - self.y_predicted)
        return {"Mean_miss": float(misses.mean())}


class Fixed(AbstractResultPackage):
    results: object = None

    def prepare_results_dict(self):
        return self.results


def test_a_package_of_ones_own():
    package = Misses("Misses")
    package.prepare_result_package([1, 2], [1, 4], {"lr": 0.1}, texts=["a", "b"])
    assert package.get_results() == package.results_dict == {"Mean_miss": 1.0}
    assert package.get_hyperparameters() == {"lr": 0.1}
    assert package.additional_results == {"texts": ["a", "b"]}
    np.testing.assert_array_equal(package.y_true, [1, 2])
    np.testing.assert_array_equal(package.y_predicted, [1, 4])
    assert package.requires_loss is False


def test_hyperparameters_may_be_left_out():
    package = Misses()
    package.prepare_result_package([1], [1])
    assert package.get_hyperparameters() == {}
    assert package.pkg_name is None


def test_no_results_before_there_is_data():
    with pytest.raises(NoDataError, match=r"Call prepare_result_package before .*Misses 'mine'"):
        Misses("mine").get_results()
    with pytest.raises(NoDataError, match="Accuracy must see data"):
        ClassificationResultPackage().get_results()
    package = ClassificationResultPackage()
    package.prepare_result_package([1], [1])
    package.reset()
    assert package.y_true is package.y_predicted is package.results_dict is None
    with pytest.raises(NoDataError, match="Accuracy must see data"):
        package.get_results()


def test_data_stays_what_it_is_without_np_array():
    package = Fixed(np_array=False)
    package.results = {"a": 1}
    texts = ["x", "y"]
    package.prepare_result_package(texts, texts)
    assert package.y_true is texts


def test_results_must_have_names():
    package = Fixed()
    package.results = [0.5]
    with pytest.raises(MetricTypeError, match=r"dict of results .* that of Fixed returned list"):
        package.prepare_result_package([1], [1])


@pytest.mark.parametrize(
    ("results", "hyperparameters", "message"),
    [({}, None, "should have results; it has none"), ({"a": 1}, [0.1], "a list came")],
)
def test_doubtful_content_is_a_warning_or_strictly_an_error(results, hyperparameters, message):
    lenient, strict = Fixed("fixed"), Fixed("fixed", strict_content_check=True)
    lenient.results = strict.results = results
    with pytest.warns(UserWarning, match=message):
        lenient.prepare_result_package([1], [1], hyperparameters)
    assert lenient.get_results() == results
    with pytest.raises(MetricInputError, match=message):
        strict.prepare_result_package([1], [1], hyperparameters)


@pytest.mark.parametrize(
    ("package", "name", "results"),
    [
        (ClassificationResultPackage(), "ClassificationResult", {"Accuracy": 0.5}),
        (
            BinaryClassificationResultPackage(),
            "BinaryClassificationResult",
            {"Accuracy": 0.5, "ROC_AUC": 0.5, "PrecisionRecall_AUC": 0.75, "F1_score": 2 / 3},
        ),
        (
            RegressionResultPackage(),
            "RegressionResult",
            {"Mean_squared_error": 0.5, "Mean_absolute_error": 0.5},
        ),
        (
            GeneralResultPackage([AccuracyMetric, F1ScoreMetric(average="micro")]),
            "GeneralResult",
            {"Accuracy": 0.5, "F1_score": 0.5},
        ),
    ],
)
def test_ready_packages(package, name, results):
    for _ in range(2):  # using it again changes neither name nor results
        package.prepare_result_package([0, 1], [1, 1])
        assert package.pkg_name == name
        assert package.compute() == package.get_results()
        assert package.get_results() == pytest.approx(results, rel=1e-15)


def test_batches_give_what_whole_predictions_give():
    draw = np.random.default_rng(0)
    y, scores = draw.integers(0, 3, 50), draw.normal(size=(50, 3))
    metrics = [AccuracyMetric, F1ScoreMetric(average="macro"), PrecisionMetric(average="macro")]
    whole, streamed = GeneralResultPackage(metrics), GeneralResultPackage(metrics)
    whole.prepare_result_package(y, scores)
    for start in range(0, 50, 7):
        streamed.update(y[start : start + 7], scores[start : start + 7])
    assert streamed.get_results() == whole.get_results()
    assert streamed.y_true is None


def test_metrics_that_need_the_same_state_share_it():
    class Counted(Confusion):
        batches = 0

        def measured(self, y_true, y_predicted, weight=None, /):
            Counted.batches += 1
            return super().measured(y_true, y_predicted, weight)

    class First(PrecisionMetric):
        def make_state(self):
            return Counted()

    class Second(RecallMetric):
        def make_state(self):
            return Counted()

    package = GeneralResultPackage([First, Second])
    package.update([0, 1], [1, 1])
    assert Counted.batches == 1
    assert package.get_results() == {"Precision": 0.5, "Recall": 1.0}
    assert len(package.state["data"]) == 1


def test_a_larger_state_serves_in_place_of_a_smaller_one():
    alone, together = (
        GeneralResultPackage(metrics)
        for metrics in ([AccuracyMetric], [AccuracyMetric, F1ScoreMetric(average="macro")])
    )
    for package in (alone, together):
        package.update([0, 1, 2], [0, 2, 2])
        assert package.get_results()["Accuracy"] == 2 / 3
        assert len(package.state["data"]) == 1


def test_a_state_that_is_replaced_itself_serves_nobody():
    class Small(Confusion):
        key = ("small",)

    class Middle(Confusion):
        key = ("middle",)

    class OnSmall(PrecisionMetric):
        def make_state(self):
            return Small()

        def served_by(self):
            return Middle.key

    class OnMiddle(RecallMetric):
        def make_state(self):
            return Middle()

        def served_by(self):
            return self.__class__.__base__().make_state().key

    package = GeneralResultPackage([OnSmall, OnMiddle, F1ScoreMetric])
    package.update([0, 1], [1, 1])
    assert package.get_results() == {"Precision": 0.5, "Recall": 1.0, "F1_score": 2 / 3}
    assert len(package.state["data"]) == 2  # the small one's own, and the large one for both others


def test_the_metrics_that_were_given_are_left_alone():
    metric = AccuracyMetric([1], [1])
    package = GeneralResultPackage([metric])
    package.prepare_result_package([1], [0])
    assert package.get_results() == {"Accuracy": 0.0}
    assert metric.count == 1
    assert metric == 1


def test_a_batch_that_raises_leaves_the_package_as_it_was():
    package = GeneralResultPackage([MeanSquaredErrorMetric, AccuracyMetric])
    package.update([1], [1])
    with pytest.raises(MetricInputError, match="whole labels"):
        package.update([0.5], [0.5])
    assert package.get_results() == {"Mean_squared_error": 0.0, "Accuracy": 1.0}


@pytest.mark.parametrize("bad", [[math.nan], [1, 2]])
def test_an_evaluation_that_raises_leaves_the_package_as_it_was(bad):
    package = ClassificationResultPackage(strict_content_check=True)
    package.prepare_result_package([0, 1], [1, 1], {"lr": 0.1}, note="old")
    package += {"loss": 0.5}
    before = dict(vars(package))
    with pytest.raises(MetricInputError):
        package.prepare_result_package([1], bad, {"lr": 0.2}, note="new")
    with pytest.raises(MetricInputError, match="hyperparameters should be"):
        package.prepare_result_package([1], [1], [0.2])
    assert vars(package) == before
    assert package.get_results() == {"Accuracy": 0.5, "loss": 0.5}
    package.update([1, 1], [1, 1])
    assert package.get_results() == {"Accuracy": 0.75, "loss": 0.5}


def test_an_evaluation_that_computes_nothing_leaves_the_kept_items():
    package = GeneralResultPackage([ROCAUCMetric]).keep_items()
    package.update([0, 1], [0.2, 0.7])
    with pytest.raises(MetricInputError):
        package.prepare_result_package([1, 1], [0.2, 0.7])  # no area without negative items
    np.testing.assert_array_equal(package.items.y_true, [0, 1])
    assert package.get_results() == {"ROC_AUC": 1.0}


def test_an_evaluated_package_knows_its_items_until_more_come():
    package = ClassificationResultPackage()
    package.prepare_result_package([0, 1], [1, 1])
    assert package.items.y_true == [0, 1]
    package.merge(package.state)
    assert package.items is None
    package.prepare_result_package([0, 1], [1, 1])
    package.reset()
    assert package.items is None


class WordCount(AbstractBaseMetric):
    def __init__(self, y_true, y_predicted, at_least=0):
        self.at_least = at_least
        super().__init__(y_true, y_predicted, "Words", np_array=False)

    def calculate_metric(self):
        counts = [len(text.split()) for text in self.y_predicted]
        return {"most": max(counts), "long": sum(n >= self.at_least for n in counts)}


def test_metrics_on_whole_data_are_given_as_class_or_instance():
    package = GeneralResultPackage([WordCount])
    package.update(["a"], ["a b"])
    package.update(["c"], ["c d e"])
    assert package.get_results() == {"Words": {"most": 3, "long": 2}}
    assert package.compute() == {"Words_most": 3, "Words_long": 2}
    instance = WordCount(["x"], ["x"], at_least=3)
    package = GeneralResultPackage([instance])
    package.prepare_result_package(["a", "c"], ["a b", "c d e"])
    assert package.get_results() == {"Words": {"most": 3, "long": 1}}
    assert instance.metric_result == {"most": 1, "long": 0}


def test_two_results_of_one_name_are_an_error():
    package = GeneralResultPackage([F1ScoreMetric, F1ScoreMetric(average="micro")])
    with pytest.raises(MetricInputError, match=r"\['F1_score'\] came twice"):
        package.prepare_result_package([0, 1], [1, 1])


class Losses(Metric):
    takes_predictions = False

    def __init__(self):
        super().__init__("Losses")

    def make_state(self):
        return Confusion()

    def result_of(self, state):
        return 0.0


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        ([], MetricInputError, "at least one metric"),
        ([AccuracyMetric, max], MetricTypeError, "classes or instances; <built-in function max>"),
        ([int], MetricTypeError, "classes or instances; <class 'int'>"),
        ([Losses], MetricTypeError, "Losses takes something else. Fill it yourself"),
        ([Losses()], MetricTypeError, "Losses takes something else"),
    ],
)
def test_lists_that_are_no_metrics(metrics, error, message):
    with pytest.raises(error, match=message):
        GeneralResultPackage(metrics)


def test_states_of_other_packages_are_refused():
    package = ClassificationResultPackage()
    with pytest.raises(MetricStateError, match="packages with the same metrics"):
        package.merge(RegressionResultPackage().state)
    with pytest.raises(MetricStateError, match="must be a dict with the entry"):
        package.merge({})
    newer = package.state | {"format": 99}
    with pytest.raises(MetricStateError, match="newer tt-metrics"):
        package.merge(newer)


def test_results_follow_what_comes_after():
    package = ClassificationResultPackage()
    package.prepare_result_package([1], [1])
    package.update([1], [0])
    assert package.get_results() == {"Accuracy": 0.5}
    package.merge(package.state)
    assert package.get_results() == {"Accuracy": 0.5}
    package.update([1, 1], [0, 0])
    assert package.compute() == {"Accuracy": 2 / 6}


def test_the_binary_package_against_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(3)
    y = draw.integers(0, 2, 300)
    p = np.clip(draw.normal(0.4 + 0.2 * y, 0.3), 0, 1).round(2)
    package = BinaryClassificationResultPackage(0.6)
    package.prepare_result_package(y, p)
    precision, recall, _ = sklearn.precision_recall_curve(y, p)
    expected = {
        "Accuracy": sklearn.accuracy_score(y, p >= 0.6),
        "ROC_AUC": sklearn.roc_auc_score(y, p),
        "PrecisionRecall_AUC": sklearn.auc(recall, precision),
        "F1_score": sklearn.f1_score(y, p >= 0.6),
    }
    assert package.get_results() == pytest.approx(expected, rel=1e-12)


def test_padding_weights_and_repeated_samples():
    package = GeneralResultPackage([AccuracyMetric, MeanSquaredErrorMetric])
    package.update([1, 0], [1, 1], valid=[True, False])
    assert package.get_results() == {"Accuracy": 1.0, "Mean_squared_error": 0.0}
    package.reset()
    package.update([1, 0], [1, 1], weight=[3, 1])
    assert package.get_results() == {"Accuracy": 0.75, "Mean_squared_error": 0.25}
    package.reset()
    package.update([1, 0], [1, 1], sample_ids=[7, 8])
    package.update([0, 1], [1, 1], sample_ids=[8, 9])
    assert package.get_results()["Accuracy"] == 2 / 3


def test_its_metrics_are_over_all_data_and_have_intervals():
    package = GeneralResultPackage([AccuracyMetric, F1ScoreMetric])
    package.update([0, 1, 1], [0, 1, 0])
    accuracy, f1 = package.metrics
    assert (accuracy.count, f1.count) == (3, 3)
    assert accuracy == 2 / 3
    assert accuracy.ci() == AccuracyMetric([0, 1, 1], [0, 1, 0]).ci()
    package.update([1], [1])
    assert [metric.count for metric in package.metrics] == [4, 4]


def test_kept_items_reach_the_metrics():
    package = GeneralResultPackage([MeanSquaredErrorMetric]).keep_items()
    package.update([1.0, 2.0], [1.0, 4.0])
    package.update([0.0], [1.0])
    (metric,) = package.metrics
    np.testing.assert_array_equal(metric.items.y_true, [1.0, 2.0, 0.0])
    assert metric.ci(n_resamples=200).low < metric < metric.ci(n_resamples=200).high


def test_what_was_added_outlives_the_next_batch_but_not_the_next_evaluation():
    package = ClassificationResultPackage()
    package.update([1], [1])
    package += {"loss": 0.5}
    package.update([1], [0])
    assert package.get_results() == {"Accuracy": 0.5, "loss": 0.5}
    package.merge(package.state)
    assert package.get_results() == {"Accuracy": 0.5, "loss": 0.5}
    package.prepare_result_package([1], [1])
    assert package.get_results() == {"Accuracy": 1.0}


def test_what_was_added_stays_with_the_object():
    package = ClassificationResultPackage()
    package.update([1], [1])
    package += {"loss": 0.5}
    other = ClassificationResultPackage()
    other.merge(package.state)
    assert other.get_results() == {"Accuracy": 1.0}


def test_states_of_packages_survive_json_keys():
    package = GeneralResultPackage([F1ScoreMetric(labels=[3, 5])])
    package.update([3, 5], [5, 5])
    state = package.state
    state["keys"] = json.loads(json.dumps(state["keys"]))
    other = GeneralResultPackage([F1ScoreMetric(labels=[3, 5])])
    other.merge(state)
    assert other.get_results() == package.get_results()


def test_a_package_goes_through_pickle():
    package = GeneralResultPackage([AccuracyMetric, F1ScoreMetric])
    package.update([0, 1], [1, 1])
    again = pickle.loads(pickle.dumps(package))
    again.update([1], [1])
    package.update([1], [1])
    assert again.get_results() == package.get_results()
