"""One loader predicted and evaluated by a trained model; predictions batch by batch."""

import random
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from tt_loop.api import (
    AbstractModelFeedDefinition,
    Callback,
    LoopTypeError,
    LoopValueError,
    MissingPackageError,
    ModelPerformanceEvaluation,
    ModelWrap,
    TrainLoop,
    TTModel,
)
from tt_loop.data.prefetch import Prefetched
from tt_loop.data.tensor_loader import TensorLoader
from tt_loop.evaluation.predictor import PyTorchModelPredictor
from tt_loop.rng import rng_state
from tt_loop.training.multi_loss_optim import MultiLoss

X = torch.randn(11, 4, generator=torch.Generator().manual_seed(1))
Y = X.sum(1, keepdim=True)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.BatchNorm1d(6), nn.Linear(6, 1))


def loader(**options) -> DataLoader:
    return DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True, **options)


def expected(model) -> torch.Tensor:
    """What bare PyTorch predicts, batch by batch."""
    training = [module.training for module in model.modules()]
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(batch) for batch in X.split(4)])
    for module, mode in zip(model.modules(), training, strict=True):
        module.training = mode
    return found


class Numbered(TTModel):
    """Predicts nested values that tell which samples they are of."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.BatchNorm1d(1).eval()

    def get_loss(self, batch_data, criterion, device):
        return batch_data[0].mean()

    def get_predictions(self, batch_data, device):
        assert not self.training
        assert not torch.is_grad_enabled()
        torch.rand(3)  # as a model that samples does
        x = batch_data[0]
        first = x[:, 0]
        return (self.drop(x), {"sum": x.sum(1)}), first, {"name": [f"{v:.3f}" for v in first]}


class Feed(AbstractModelFeedDefinition):
    def get_loss(self, model, batch_data, criterion, device):
        return criterion(model(batch_data[0]), batch_data[1])

    def get_predictions(self, model, batch_data, device):
        return model(batch_data[0]), batch_data[1], {"of": "feed"[: len(batch_data[0])]}


class WholeMetric:
    """A metric of AIToolbox's shape."""

    def __init__(self, y_true, y_predicted) -> None:
        self.value = float((y_true - y_predicted).abs().mean())

    def get_metric(self):
        return self.value


class Streamed:
    """A mergeable metric that must never see more than a batch."""

    made = 0

    def __init__(self) -> None:
        self.reset()

    @property
    def state(self):
        return {"n": self.n, "total": self.total}

    def reset(self) -> None:
        self.n, self.total = 0, 0.0

    def update(self, y_true, y_predicted, /) -> None:
        assert len(y_true) <= 4
        self.n += len(y_true)
        self.total += float((y_true - y_predicted).abs().sum())

    def merge(self, state, /) -> None:
        self.n += state["n"]
        self.total += state["total"]

    def compute(self):
        return {"mae": self.total / self.n, "n": self.n}


class Package:
    pkg_name = "errors"
    requires_loss = False

    def prepare_result_package(self, y_true, y_predicted, hyperparameters=None, **kwargs) -> None:
        self.results = {"mae": float((y_true - y_predicted).abs().mean()), **kwargs}

    def get_results(self):
        return self.results


# Predictions and losses


def test_predictions_are_those_of_bare_pytorch_in_the_datasets_order() -> None:
    model = network()
    y_pred, y_true, metadata = PyTorchModelPredictor(model, loader()).model_predict()
    assert torch.equal(y_pred, expected(model))
    assert torch.equal(y_true, Y)
    assert metadata == {}


def test_any_kind_of_model_can_be_predicted_with() -> None:
    module = network()
    batches = [[x, y] for x, y in zip(X.split(4), Y.split(4), strict=True)]

    class Whole(TTModel):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def get_loss(self, batch_data, criterion, device):
            return criterion(self.inner(batch_data[0]), batch_data[1])

        def get_predictions(self, batch_data, device):
            return self.inner(batch_data[0]), batch_data[1], None

    for model in (module, Whole(), ModelWrap(module, Feed())):
        for data in (loader(), batches, TensorLoader(X, Y, batch_size=4, shuffle=True)):
            predictor = PyTorchModelPredictor(model, data, device="cpu")
            assert torch.equal(predictor.model_predict()[0], expected(module))
            assert predictor.model_get_loss(nn.MSELoss()) == pytest.approx(
                nn.functional.mse_loss(expected(module), Y).item(), rel=1e-6
            )


def test_each_criterion_gives_its_own_loss() -> None:
    model = network()
    predictor = PyTorchModelPredictor(model, loader(), criterion=nn.L1Loss())
    found = expected(model)
    by_hand = {each: each(found, Y).item() for each in (nn.MSELoss(), nn.L1Loss(), nn.HuberLoss())}
    for criterion, loss in [*by_hand.items(), *by_hand.items()]:
        assert predictor.model_get_loss(criterion) == pytest.approx(loss, rel=1e-6)
    assert predictor.model_get_loss() == pytest.approx(nn.L1Loss()(found, Y).item(), rel=1e-6)


def test_a_multi_loss_comes_by_name() -> None:
    class Two(Numbered):
        def get_loss(self, batch_data, criterion, device):
            return MultiLoss(OrderedDict(a=batch_data[0].mean(), b=criterion(batch_data[0])))

    predictor = PyTorchModelPredictor(Two(), loader())
    losses = predictor.model_get_loss(lambda x: x.pow(2).mean())
    assert losses == {
        "a": pytest.approx(X.mean().item(), rel=1e-5),
        "b": pytest.approx(X.pow(2).mean().item(), rel=1e-5),
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model[0].weight.data.add_(1.0),
        lambda model: model[0].weight.detach().mul_(-1.0),
        lambda model: setattr(model[3], "bias", nn.Parameter(torch.ones(1))),
        lambda model: model[2].running_mean.data.fill_(0.5),
        lambda model: setattr(model[2], "eps", 0.5),
        lambda model: model[0].weight.data.numpy().fill(0.25),
    ],
    ids=["data", "detached", "new parameter", "buffer", "setting", "from NumPy"],
)
def test_nothing_is_stale_after_the_model_has_changed(change) -> None:
    model = network()
    watch = _KeepsPredictions()
    predictor = PyTorchModelPredictor(model, loader(), [watch], criterion=nn.MSELoss())
    before, loss = predictor.model_predict()[0], predictor.model_get_loss()
    metric, _ = predictor.evaluate_metric(WholeMetric, False), watch.on_epoch_end()
    change(model)
    now = expected(model)
    assert not torch.equal(now, before)
    assert torch.equal(predictor.model_predict()[0], now)
    assert predictor.model_get_loss() != loss
    assert predictor.evaluate_metric(WholeMetric, False) != metric
    predictor.execute_epoch_end_callbacks()
    assert torch.equal(watch.found, now)


class _KeepsPredictions(Callback):
    def __init__(self) -> None:
        super().__init__("keeps predictions")

    def on_epoch_end(self) -> None:
        self.found, _, _ = self.train_loop_obj.predict_on_validation_set()


def test_nothing_is_stale_after_the_data_has_changed() -> None:
    x = X.clone()
    data = DataLoader(TensorDataset(x, Y), batch_size=4)
    predictor = PyTorchModelPredictor(network(), data)
    before = predictor.model_predict()[0]
    x.zero_()
    assert not torch.equal(predictor.model_predict()[0], before)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_its_modes_and_randomness_is_untouched(training) -> None:
    model = network().train(training)
    model[2].train(not training)
    modes = [module.training for module in model.modules()]
    predictor = PyTorchModelPredictor(model, loader(), criterion=nn.MSELoss())
    before = _drawn()
    for call in (
        predictor.model_predict,
        predictor.model_get_loss,
        lambda: predictor.evaluate_metric_list([WholeMetric, Streamed()]),
        lambda: predictor.evaluate_result_package(Package()),
        lambda: list(predictor.predict_batches()),
    ):
        call()
        assert [module.training for module in model.modules()] == modes
        assert _drawn() == before
        assert torch.is_grad_enabled()


def _drawn():
    state = rng_state(torch.device("cpu"))
    numpy = state["numpy"]["state"]
    return state["python"], numpy["key"].tolist(), numpy["pos"], state["torch"].tolist()


def test_a_plain_module_predicts_without_a_criterion_but_has_no_loss() -> None:
    predictor = PyTorchModelPredictor(network(), loader())
    predictor.model_predict()
    with pytest.raises(LoopValueError, match=r"needs a criterion.*model_get_loss"):
        predictor.model_get_loss()


def test_what_cannot_be_predicted_is_refused() -> None:
    with pytest.raises(LoopValueError, match="needs a data_loader"):
        PyTorchModelPredictor(network(), None)
    with pytest.raises(LoopTypeError, match="must be a torch"):
        PyTorchModelPredictor(print, loader())


def test_collating_can_be_chosen_and_callbacks_see_the_batches_on_request() -> None:
    class Watch(Callback):
        seen = ()

        def on_after_batch_prediction(
            self, y_pred_batch, y_test_batch, metadata_batch, dataset_info
        ) -> None:
            self.seen = (*self.seen, len(y_pred_batch))

    watch = Watch("watch")
    predictor = PyTorchModelPredictor(
        network(), loader(), [watch], pred_transform_fn=lambda batches: batches
    )
    assert [len(batch) for batch in predictor.model_predict()[0]] == [4, 4, 3]
    assert watch.seen == ()
    predictor.model_predict(execute_callbacks=True)
    assert watch.seen == (4, 4, 3)


# Metrics, result packages, callbacks


def mean_error(model) -> float:
    return (expected(model) - Y).abs().mean().item()


def test_a_metric_class_gets_all_targets_and_predictions() -> None:
    model = network()
    predictor = PyTorchModelPredictor(model, loader())
    metric = predictor.evaluate_metric(WholeMetric)
    assert isinstance(metric, WholeMetric)
    assert metric.value == pytest.approx(mean_error(model))
    assert predictor.evaluate_metric(WholeMetric, return_metric=False) == metric.value
    assert predictor.evaluate_metric(lambda y, p: len(y), return_metric=False) == 11


def test_a_mergeable_metric_takes_the_batches() -> None:
    model = network()
    predictor = PyTorchModelPredictor(model, loader())
    metric = Streamed()
    assert predictor.evaluate_metric(metric) is metric
    numbers = {"mae": pytest.approx(mean_error(model)), "n": 11}
    assert metric.compute() == numbers
    assert predictor.evaluate_metric(metric, return_metric=False) == numbers


def test_the_class_of_a_mergeable_metric_is_called_like_any_other() -> None:
    class Both(Streamed):
        def __init__(self, y_true, y_predicted) -> None:
            self.n, self.total = len(y_true), 0.0

    assert PyTorchModelPredictor(network(), loader()).evaluate_metric(Both).n == 11


def test_a_list_of_metrics_comes_in_its_order_in_at_most_two_passes() -> None:
    class Counting(Callback):
        passes = 0

        def on_evaluate_begin(self, dataset_info) -> None:
            self.passes += 1

    model, count = network(), Counting("count")
    predictor = PyTorchModelPredictor(model, loader(), [count])
    first, second = Streamed(), Streamed()
    given = [first, WholeMetric, second, first, WholeMetric]
    found = predictor.evaluate_metric_list(given)
    assert count.passes == 2
    assert [found[0], found[2], found[3]] == [first, second, first]
    assert first.n == second.n == 11
    values = predictor.evaluate_metric_list(given, return_metric_list=False)
    error = pytest.approx(mean_error(model))
    assert values == [{"mae": error, "n": 11}, error, *[{"mae": error, "n": 11}] * 2, error]
    assert predictor.evaluate_metric_list([]) == []


def test_what_is_no_metric_is_refused_before_anything_is_predicted() -> None:
    predictor = PyTorchModelPredictor(Numbered(), loader())
    with pytest.raises(LoopTypeError, match="an object of WholeMetric: pass its class"):
        predictor.evaluate_metric(WholeMetric(X, X))
    with pytest.raises(LoopTypeError, match="ResultPackage, got int"):
        predictor.evaluate_result_package(3)


def test_a_result_package_gets_metadata_and_the_loss_it_needs() -> None:
    package = Package()
    package.requires_loss = True
    predictor = PyTorchModelPredictor(
        ModelWrap(network(), Feed()), [[X[:4], Y[:4]]], criterion=nn.MSELoss()
    )
    assert predictor.evaluate_result_package(package) is package
    results = predictor.evaluate_result_package(package, return_result_package=False)
    assert results["loss"] == pytest.approx(predictor.model_get_loss())
    assert results["of"] == ["f", "e", "e", "d"]


def test_results_are_saved_by_whoever_can() -> None:
    saved = []

    def save(results, predictions, /, *place, **options):
        saved.append((results, predictions, place, options))
        return "there"

    model = network()
    predictor = PyTorchModelPredictor(model, loader(), save_results=save)
    assert predictor.evaluate_model(Package(), "project", cloud_save_mode=None) == "there"
    predictor.evaluate_model(Package(), save_true_pred_labels=True)
    results = {"errors": {"mae": pytest.approx(mean_error(model))}}
    assert saved[0] == (results, None, ("project",), {"cloud_save_mode": None})
    y_true, y_predicted = saved[1][1]["errors"]
    assert torch.equal(y_true, Y)
    assert torch.equal(y_predicted, expected(model))


def test_without_somebody_who_saves_the_error_names_the_package() -> None:
    predictor = PyTorchModelPredictor(Numbered(), loader())
    with pytest.raises(MissingPackageError, match="pip install tt-experiment"):
        predictor.evaluate_model(Package(), "project", "experiment", "~/results")


def test_callbacks_run_on_the_loader() -> None:
    class Watch(Callback):
        batches = 0

        def on_batch_end(self) -> None:
            self.batches += 1

    model, watch = network(), Watch("watch")
    evaluation = ModelPerformanceEvaluation(Streamed())
    predictor = PyTorchModelPredictor(model, loader(), [watch, evaluation])
    predictor.execute_batch_end_callbacks()
    assert watch.batches == 1
    predictor.execute_epoch_end_callbacks()
    assert predictor.train_loop.train_history["val_mae"] == [pytest.approx(mean_error(model))]


# Predictions batch by batch


def loop_of(model, **options) -> TrainLoop:
    return TrainLoop(model, None, None, None, None, nn.MSELoss(), progress=False, **options)


BATCHES = [[x, y] for x, y in zip(X.split(4), Y.split(4), strict=True)]


@pytest.mark.parametrize(
    "data",
    [
        loader(),
        DataLoader(TensorDataset(X, Y), batch_size=4),
        DataLoader(TensorDataset(X, Y), batch_size=4, drop_last=True, shuffle=True),
        DataLoader(TensorDataset(X, Y), batch_size=4, collate_fn=lambda s: [*zip(*s, strict=True)]),
        BATCHES,
        TensorLoader(X, Y, batch_size=4),
        TensorLoader(X, Y, batch_size=5, shuffle=True),
        Prefetched(TensorLoader(X, Y, batch_size=3, shuffle=True)),
    ],
    ids=["shuffled", "in order", "drop_last", "collated", "list", "tensors", "mixed", "ahead"],
)
def test_every_sample_comes_once_with_its_number(data) -> None:
    class Rows(Numbered):
        def get_predictions(self, batch_data, device):
            return torch.stack(list(batch_data[0])), None, None

    found = list(loop_of(Rows()).predict_batches(data))
    ids = [number for batch in found for number in batch.ids]
    assert ids == list(range(11))
    assert torch.equal(torch.cat([batch.y_pred for batch in found]), X[ids])


def test_nested_outputs_and_metadata_come_as_they_are() -> None:
    for batch in loop_of(Numbered()).predict_batches(loader()):
        ids = list(batch.ids)
        whole, parts = batch.y_pred
        assert torch.equal(whole, X[ids])  # dropout is off
        torch.testing.assert_close(parts["sum"], X[ids].sum(1))
        assert torch.equal(batch.y_true, X[ids, 0])
        assert batch.metadata == {"name": [f"{v:.3f}" for v in X[ids, 0]]}


class Told(Callback):
    def __init__(self) -> None:
        super().__init__("told")
        self.hooks = []

    def on_evaluate_begin(self, dataset_info) -> None:
        self.hooks.append(("begin", dataset_info))

    def on_evaluate_end(self, dataset_info) -> None:
        self.hooks.append(("end", dataset_info))


DRAWS = DataLoader(TensorDataset(X, Y), batch_size=4, sampler=SubsetRandomSampler(range(11)))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("data", [loader(), BATCHES, DRAWS], ids=["loader", "list", "draws"])
def test_a_stream_that_is_left_early_leaves_nothing_behind(grad, taken, data) -> None:
    model, told = Numbered(), Told()
    modes = [module.training for module in model.modules()]
    loop = loop_of(model)
    loop.callbacks_handler.register_callbacks([told])
    with torch.set_grad_enabled(grad):
        before = _drawn()
        stream = loop.predict_batches(data, {"type": "test"})
        for _ in range(taken):
            next(stream, None)
            assert torch.is_grad_enabled() == grad
            assert [module.training for module in model.modules()] == modes
            assert _drawn() == before
        stream.close()
        assert torch.is_grad_enabled() == grad
        assert _drawn() == before
    assert [module.training for module in model.modules()] == modes
    assert told.hooks == [("begin", {"type": "test"}), ("end", {"type": "test"})] * (taken > 0)


def test_the_caller_may_train_and_draw_between_batches() -> None:
    model = network()
    loop = loop_of(model)
    torch.manual_seed(5)
    draws = []
    for batch in loop.predict_batches(loader()):
        assert model.training
        assert not batch.y_pred.requires_grad
        draws.append((torch.rand(1).item(), random.random(), float(np.random.rand())))
        model(X).sum().backward()
    assert len(draws) == len(set(draws)) == 3
    assert model[0].weight.grad is not None


def test_an_error_in_the_model_ends_the_stream_and_tells_the_hooks() -> None:
    class Fails(Numbered):
        def get_predictions(self, batch_data, device):
            if len(batch_data[0]) == 3:
                raise ArithmeticError
            return super().get_predictions(batch_data, device)

    told, model = Told(), Fails()
    loop = loop_of(model)
    loop.callbacks_handler.register_callbacks([told])
    before = _drawn()
    with pytest.raises(ArithmeticError):
        list(loop.predict_batches(loader()))
    assert [hook for hook, _ in told.hooks] == ["begin", "end"]
    assert _drawn() == before
    assert model.training
    assert torch.is_grad_enabled()
