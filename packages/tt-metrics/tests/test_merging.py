"""merge_all: one result from states that were made anywhere."""

import doctest
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import tt_metrics._core.merging
from tt_metrics.api import (
    AbstractBaseMetric,
    AccuracyMetric,
    ClassificationResultPackage,
    F1ScoreMetric,
    GeneralResultPackage,
    MeanAbsoluteErrorMetric,
    MeanSquaredErrorMetric,
    Metric,
    MetricStateError,
    MetricTypeError,
    NoDataError,
    RecallMetric,
    load_state,
    merge_all,
    save_state,
)

Y, P = np.array([[0, 1, 2, 2, 0, 1, 1], [0, 2, 2, 2, 1, 1, 0]])
PARTS = [slice(0, 1), slice(1, 5), slice(5, 7)]


def macro():
    return F1ScoreMetric(average="macro")


def states(make):
    found = []
    for part in PARTS:
        metric = make()
        metric.update(Y[part], P[part])
        found.append(metric.state)
    return found


def test_the_examples_in_the_docstrings():
    names = {
        "AccuracyMetric": AccuracyMetric,
        "ClassificationResultPackage": ClassificationResultPackage,
    }
    result = doctest.testmod(tt_metrics._core.merging, extraglobs=names)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_states_name_the_metric():
    merged = merge_all(reversed(states(macro)))
    assert type(merged) is F1ScoreMetric
    assert merged == F1ScoreMetric(Y, P, average="macro")
    assert merged.settings == macro().settings
    assert merged.count == len(Y)


def test_the_name_of_the_metric_is_kept():
    metric = AccuracyMetric([1], [1])
    metric.metric_name = "Mine"
    assert merge_all([metric.state, metric.state]).compute() == {"Mine": 1.0}


def test_states_are_left_alone():
    given = states(macro)
    before = pickle.dumps(given)
    merged = merge_all(given)
    merged.update([0], [3])
    assert pickle.dumps(given) == before


def test_states_without_data_add_nothing():
    merged = merge_all([macro().state, *states(macro), macro().state])
    assert merged == F1ScoreMetric(Y, P, average="macro")
    nothing = merge_all([macro().state])
    assert nothing.settings == macro().settings
    with pytest.raises(NoDataError):
        nothing.compute()


def test_kept_items_come_together_in_order():
    merged = merge_all(states(lambda: AccuracyMetric().keep_items()))
    np.testing.assert_array_equal(merged.items.y_true, Y)
    np.testing.assert_array_equal(merged.items.y_predicted, P)


def test_a_sample_counts_once():
    one, two = MeanAbsoluteErrorMetric(), MeanAbsoluteErrorMetric()
    one.update([0.0, 1.0], [0.5, 1.0], sample_ids=[7, 8])
    two.update([1.0, 2.0], [1.0, 4.0], sample_ids=[8, 9])
    merged = merge_all([one.state, two.state, one.state])
    assert (merged.count, float(merged)) == (3, 2.5 / 3)


class Farthest(AbstractBaseMetric):
    def __init__(self, y_true, y_predicted):
        super().__init__(y_true, y_predicted, "Farthest")

    def calculate_metric(self):
        return int(abs(self.y_true - self.y_predicted).max())


def test_metrics_on_whole_data_merge_too():
    empty = Farthest([0], [0])
    empty.reset()
    merged = merge_all([empty.state, Farthest([1, 2], [1, 3]).state, Farthest([5], [9]).state])
    assert type(merged) is Farthest
    assert merged.compute() == {"Farthest": 4}
    assert merged.y_true.tolist() == [1, 2, 5]


def test_packages_are_merged_into_one_that_is_given():
    def make():
        return GeneralResultPackage([AccuracyMetric, macro()])

    package = make()
    assert merge_all(states(make), into=package) is package
    assert package.compute() == {
        "Accuracy": 4 / 7,
        "F1_score": float(F1ScoreMetric(Y, P, average="macro")),
    }
    with pytest.raises(MetricStateError, match=r"those of a GeneralResultPackage.*into=package"):
        merge_all(states(make))


def test_what_is_given_keeps_what_it_has_seen():
    metric = AccuracyMetric([0], [1])
    assert merge_all(states(AccuracyMetric), into=metric) is metric
    assert metric == 4 / 8


def test_there_must_be_a_state():
    with pytest.raises(MetricStateError, match="at least one state; none came"):
        merge_all([])


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (RecallMetric([1], [1]).state, r"RecallMetric .* came for AccuracyMetric"),
        (AccuracyMetric([1], [1], 0.25).state, r"0\.25.* came for AccuracyMetric"),
        (AccuracyMetric([1], [1]).state | {"format": 99}, "newer tt-metrics: upgrade"),
        (ClassificationResultPackage().state, "entry 'metric'"),
        (AccuracyMetric([1], [1]), "must be a dict .* AccuracyMetric came"),
        ({}, "must be a dict with the entry"),
    ],
)
def test_one_that_does_not_fit_is_an_error_and_changes_nothing(other, says):
    given = [*states(AccuracyMetric), other]
    into = AccuracyMetric([0], [1])
    before = pickle.dumps(into.state)
    with pytest.raises(MetricStateError, match=says):
        merge_all(given, into=into)
    assert pickle.dumps(into.state) == before
    with pytest.raises(MetricStateError):
        merge_all(given)
    with pytest.raises(MetricStateError):
        merge_all([other, *states(AccuracyMetric)])


def test_only_metrics_and_packages_of_metrics_take_states():
    with pytest.raises(MetricTypeError, match="a dict came"):
        merge_all(states(AccuracyMetric), into={})


def test_an_unknown_class_is_named():
    state = AccuracyMetric([1], [1]).state | {"metric": "FarAwayMetric"}
    with pytest.raises(
        MetricStateError, match=r"FarAwayMetric must be imported.*Import its module"
    ):
        merge_all([state])


def defined(module):
    """A class that is one of several of its name, and belongs to a module."""

    class TwinMetric(AccuracyMetric):
        __module__ = module

    return TwinMetric


def test_a_name_of_several_classes_is_refused():
    kinds = [defined("here"), defined("there")]
    with pytest.raises(MetricStateError, match=r"unique; there are here\..*, there\..*`into`"):
        merge_all([kinds[0]([1], [1]).state])
    assert merge_all([kinds[0]([1], [1]).state], into=kinds[1]()).count == 1


def test_a_class_that_is_defined_again_replaces_the_one_before():
    class Again(AccuracyMetric):
        __qualname__ = "Again"

    first = Again

    class Again(AccuracyMetric):
        __qualname__ = "Again"

    assert first is not Again
    assert type(merge_all([first([1], [1]).state])) is Again


def test_threads_fill_metrics_of_their_own():
    draw = np.random.default_rng(0)
    y, p = draw.normal(size=(2, 50_000))
    found = []

    def work(start):
        metric = MeanSquaredErrorMetric()
        for at in range(start, len(y), 40):
            metric.update(y[at : at + 10], p[at : at + 10])
        found.append(metric.state)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 40, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert float(merge_all(found)) == pytest.approx(float(MeanSquaredErrorMetric(y, p)), rel=1e-15)


WORKER = """
import sys
from tt_metrics.api import F1ScoreMetric, save_state
path, *labels = sys.argv[1:]
save_state(path, F1ScoreMetric(labels[::2], labels[1::2], average="macro").state)
"""


@pytest.mark.slow
def test_states_come_from_other_processes_as_files(tmp_path):
    shards = [["a", "a", "b", "c"], ["c", "c", "a", "d"]]
    for number, labels in enumerate(shards):
        path = str(tmp_path / f"{number}.state")
        subprocess.run([sys.executable, "-c", WORKER, path, *labels], check=True, timeout=120)
    merged = merge_all(map(load_state, sorted(tmp_path.iterdir())))
    whole = [*shards[0], *shards[1]]
    assert merged == F1ScoreMetric(whole[::2], whole[1::2], average="macro")


def test_a_merged_metric_can_be_saved_and_merged_again(tmp_path):
    for number, state in enumerate(states(macro)):
        save_state(tmp_path / str(number), merge_all([state]).state)
    merged = merge_all(map(load_state, tmp_path.iterdir()))
    assert isinstance(merged, Metric)
    assert merged == F1ScoreMetric(Y, P, average="macro")
