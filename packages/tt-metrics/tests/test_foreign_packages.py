"""Packages around metrics of torchmetrics and of Hugging Face's evaluate."""

import copy

import numpy as np
import pytest

from tt_metrics.api import (
    HFEvaluateResultPackage,
    MetricInputError,
    MetricTypeError,
    NoDataError,
    TorchMetricsPackage,
)
from tt_metrics.testing import MetricContract


class Collected:
    """What a torchmetrics object offers: update(preds, target), compute, reset."""

    def __init__(self):
        self.reset()
        self.distributed_available_fn = self.others_are_there

    def others_are_there(self):
        return True

    def modules(self):
        return [self]

    def update(self, preds, target):
        self.seen += [(p, t) for p, t in zip(preds, target, strict=True)]

    def compute(self):
        assert not self.distributed_available_fn(), "it would wait for processes that never come"
        return sum(p == t for p, t in self.seen) / len(self.seen)

    def reset(self):
        self.seen = []


def test_whole_predictions_need_no_other_process():
    metric = Collected()
    package = TorchMetricsPackage(metric)
    package.prepare_result_package(["a", "b"], ["a", "c"], {"lr": 0.1})
    assert package.get_results() == {"Collected_PTLMetrics": 0.5}
    assert metric.distributed_available_fn()
    assert package.pkg_name == "TorchMetricsResult"
    assert package.get_hyperparameters() == {"lr": 0.1}
    package.update(["a"], ["a"])
    with pytest.raises(AssertionError, match="would wait"):
        package.get_results()


def torch_parts():
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics")
    return torch, torchmetrics.classification


def batches(torch):
    draw = np.random.default_rng(0)
    y, scores = draw.integers(0, 3, 40), draw.normal(size=(40, 3))
    whole = torch.as_tensor(y), torch.as_tensor(scores)
    return whole, [(whole[0][i : i + 7], whole[1][i : i + 7]) for i in range(0, 40, 7)]


def test_one_torchmetrics_metric():
    torch, kinds = torch_parts()
    (y, scores), parts = batches(torch)
    package = TorchMetricsPackage(kinds.MulticlassAccuracy(3, average="micro"))
    for _ in range(2):
        package.prepare_result_package(y, scores)
        (result,) = package.get_results().values()
        assert isinstance(result, float)
        assert result == pytest.approx(float((scores.argmax(1) == y).float().mean()), abs=1e-7)
    assert list(package.get_results()) == ["MulticlassAccuracy_PTLMetrics"]
    streamed = TorchMetricsPackage(kinds.MulticlassAccuracy(3, average="micro"))
    for part in parts:
        streamed.update(*part)
    assert streamed.get_results() == streamed.compute() == package.get_results()
    assert float(streamed.metric_compute()) == result


def test_a_torchmetrics_collection():
    torch, kinds = torch_parts()
    torchmetrics = pytest.importorskip("torchmetrics")
    (y, scores), _ = batches(torch)
    collection = torchmetrics.MetricCollection(
        {
            "recall": kinds.MulticlassRecall(3, average="none"),
            "counts": kinds.MulticlassConfusionMatrix(3),
        }
    )
    package = TorchMetricsPackage(collection)
    package.prepare_result_package(y, scores)
    results = package.get_results()
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (y.numpy(), scores.argmax(1).numpy()), 1)
    assert results["counts_PTLMetrics"] == confusion.tolist()
    assert results["recall_PTLMetrics"] == pytest.approx(
        (confusion.diagonal() / confusion.sum(1)).tolist(), abs=1e-7
    )


def test_torchmetrics_forgets_when_told():
    torch, kinds = torch_parts()
    package = TorchMetricsPackage(kinds.BinaryAccuracy())
    with pytest.raises(NoDataError, match="must see data"):
        package.get_results()
    package.update(torch.tensor([1]), torch.tensor([1]))
    package += {"loss": 0.5}
    package.update(torch.tensor([1]), torch.tensor([0]))
    assert package.get_results() == {"BinaryAccuracy_PTLMetrics": 0.5, "loss": 0.5}
    package.metric_reset()
    with pytest.raises(NoDataError, match="must see data"):
        package.get_results()


def test_what_torchmetrics_cannot_take():
    with pytest.raises(MetricInputError, match="takes tensors; a NumPy array came"):
        TorchMetricsPackage(Collected()).update(np.array([1]), np.array([1]))
    package = TorchMetricsPackage(Collected())
    package.prepare_result_package(["a"], ["a"])
    for y, p in (([0, 1], [0.2, 0.7]), ([[0], [1]], ["a", "b"]), (["a"], (np.float32(0.5),))):
        with pytest.raises(MetricInputError, match="takes tensors; a list of numbers came"):
            package.prepare_result_package(y, p)
    assert package.get_results() == {"Collected_PTLMetrics": 1.0}
    pandas = pytest.importorskip("pandas")
    with pytest.raises(MetricInputError, match="takes tensors; Series came"):
        package.update(pandas.Series([1]), pandas.Series([1]))
    with pytest.raises(MetricTypeError, match="methods update, compute, reset; 3 lacks"):
        TorchMetricsPackage(3)
    with pytest.raises(MetricTypeError, match="not a class: Collected came"):
        TorchMetricsPackage(Collected)


class Evaluated:
    """An `evaluate.EvaluationModule`: computing forgets what was added."""

    def __init__(self, broken=False):
        self.batches, self.broken = [], broken

    def add_batch(self, *, predictions, references):
        self.batches.append((predictions, references))

    def compute(self, *, predictions=None, references=None, **kwargs):
        if predictions is not None:
            self.add_batch(predictions=predictions, references=references)
        pairs = [pair for batch in self.batches for pair in zip(*batch, strict=True)]
        self.batches = []
        right = sum(p == r for p, r in pairs)
        return {
            "match": np.float64(right / len(pairs)),
            "pairs": len(pairs),
            "parts": [{"kwargs": sorted(kwargs)}],
        }


def test_a_metric_of_evaluate():
    package = HFEvaluateResultPackage(Evaluated(), average="macro")
    package.prepare_result_package(["a", "b"], ["a", "c"], {"lr": 0.1}, sources=["x", "y"])
    assert package.pkg_name == "HFEvaluateResult"
    assert package.get_results() == {
        "match_HFEvaluate": 0.5,
        "pairs_HFEvaluate": 2,
        "parts_HFEvaluate": [{"kwargs": ["average", "sources"]}],
    }
    assert type(package.get_results()["match_HFEvaluate"]) is float
    assert package.get_hyperparameters() == {"lr": 0.1}


def test_additional_results_can_be_kept_from_evaluate():
    package = HFEvaluateResultPackage(Evaluated(), use_models_additional_results=False)
    package.prepare_result_package(["a"], ["a"], sources=["x"])
    assert package.get_results()["parts_HFEvaluate"] == [{"kwargs": []}]
    assert package.additional_results == {"sources": ["x"]}


def test_an_argument_that_comes_twice_is_an_error():
    package = HFEvaluateResultPackage(Evaluated(), sources=["x"])
    with pytest.raises(MetricInputError, match=r"\['sources'\] came to the constructor and with"):
        package.prepare_result_package(["a"], ["a"], sources=["y"])


def test_evaluate_sees_every_batch_once():
    package = HFEvaluateResultPackage(Evaluated())
    with pytest.raises(NoDataError, match="must see data"):
        package.get_results()
    package.update(["a"], ["a"])
    assert package.get_results()["pairs_HFEvaluate"] == 1
    package.update(["b", "c"], ["b", "x"])
    assert package.get_results()["pairs_HFEvaluate"] == 3
    assert package.get_results()["match_HFEvaluate"] == pytest.approx(2 / 3)
    package.reset()
    package.update(["b"], ["x"])
    assert package.get_results()["pairs_HFEvaluate"] == 1


def test_batches_after_a_whole_evaluation_have_none_of_its_arguments():
    package = HFEvaluateResultPackage(Evaluated())
    package.prepare_result_package(["a"], ["a"], sources=["x"])
    package.reset()
    package.update(["a"], ["a"])
    assert package.get_results()["parts_HFEvaluate"] == [{"kwargs": []}]


def test_what_is_no_metric_of_evaluate():
    with pytest.raises(MetricTypeError, match="the methods compute; 'accuracy' lacks compute"):
        HFEvaluateResultPackage("accuracy")


class TestEvaluatePackage(MetricContract):
    def make_metric(self):
        return HFEvaluateResultPackage(Match())

    def batches(self):
        return [([1, 2], [1, 3]), ([4], [4]), ([5, 6, 7], [5, 0, 0])]

    def rebuild(self, state):
        package = self.make_metric()
        package.merge(copy.deepcopy(state))
        return package


class Match:
    def compute(self, *, predictions, references):
        return {"match": float(np.mean(np.equal(predictions, references)))}
