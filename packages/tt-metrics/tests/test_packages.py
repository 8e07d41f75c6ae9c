"""Result packages."""

import numpy as np
import pytest

from tt_metrics.api import (
    AbstractBaseMetric,
    AbstractResultPackage,
    AccuracyMetric,
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
    RegressionResultPackage,
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
        assert package.get_results() == package.compute() == results


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
        updates = 0

        def update(self, y_true, y_predicted, /):
            Counted.updates += 1
            super().update(y_true, y_predicted)

    class First(AccuracyMetric):
        def make_state(self):
            return Counted()

    class Second(PrecisionMetric):
        def make_state(self):
            return Counted()

    package = GeneralResultPackage([First, Second])
    package.update([0, 1], [1, 1])
    assert Counted.updates == 1
    assert package.get_results() == {"Accuracy": 0.5, "Precision": 0.5}
    assert len(package.state["data"]) == 1


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
    with pytest.raises(MetricStateError, match="the entry 'keys'"):
        package.merge({})


def test_results_follow_what_comes_after():
    package = ClassificationResultPackage()
    package.prepare_result_package([1], [1])
    package.update([1], [0])
    assert package.get_results() == {"Accuracy": 0.5}
    package.merge(package.state)
    assert package.get_results() == {"Accuracy": 0.5}
    package.update([1, 1], [0, 0])
    assert package.compute() == {"Accuracy": 2 / 6}
