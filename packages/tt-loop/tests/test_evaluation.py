"""Losses, predictions and metrics over a loader."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import (
    AbstractModelFeedDefinition,
    EmptyLoaderError,
    LoopValueError,
    ModelWrap,
    TrainLoop,
    TTModel,
    keep_list_transf,
    torch_cat_transf,
)


class Echo(TTModel):
    """Predicts its input; the loss is the mean input."""

    def __init__(self, extra=None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.frozen = nn.Dropout().eval()
        self.extra = extra

    def get_loss(self, batch_data, criterion, device):
        return batch_data[0].mean() + 0 * self.norm.weight.sum()

    def get_loss_eval(self, batch_data, criterion, device):
        assert not self.training
        return batch_data[0].mean()

    def get_predictions(self, batch_data, device):
        assert not self.training
        assert not torch.is_grad_enabled()
        (x,) = batch_data
        return x, -x, self.extra(x) if self.extra else None


def loop_of(model, values, batch_size: int = 4, **options) -> TrainLoop:
    loader = DataLoader(TensorDataset(torch.tensor(values)), batch_size=batch_size, shuffle=True)
    return TrainLoop(model, loader, loader, loader, None, None, progress=False, **options)


def test_the_loss_is_the_mean_over_samples_not_over_batches() -> None:
    values = [0.0] * 8 + [9.0, 9.0]
    loop = loop_of(Echo(), values)
    expected = pytest.approx(1.8)
    assert loop.evaluate_loss_on_train_set() == expected
    assert loop.evaluate_loss_on_validation_set() == expected
    assert loop.evaluate_loss_on_test_set() == expected


def test_modules_come_back_in_the_mode_in_which_they_were() -> None:
    model = Echo()
    loop = loop_of(model, [1.0, 2.0])
    loop.evaluate_loss_on_test_set()
    assert model.training
    assert not model.frozen.training
    model.eval()
    loop.predict_on_test_set()
    assert not model.training


def test_predictions_stand_in_the_datasets_order() -> None:
    loop = loop_of(
        Echo(extra=lambda x: {"double": 2 * x, "name": [f"{v:.0f}" for v in x]}),
        [5.0, 3.0, 4.0, 1.0, 2.0],
    )
    for predict in (
        loop.predict_on_train_set,
        loop.predict_on_validation_set,
        loop.predict_on_test_set,
    ):
        y_pred, y_true, metadata = predict()
        assert y_pred.tolist() == [5, 3, 4, 1, 2]
        assert torch.equal(y_true, -y_pred)
        assert torch.equal(metadata["double"], 2 * y_pred)
        assert metadata["name"] == ["5", "3", "4", "1", "2"]


def test_metadata_that_some_batches_lack_is_refused() -> None:
    loop = loop_of(Echo(extra=lambda x: {"k": x} if len(x) == 4 else {}), [1.0] * 6)
    with pytest.raises(LoopValueError, match="'k' is missing in 1 of 2 batches"):
        loop.predict_on_test_set()


def test_transform_of_predictions_can_be_chosen() -> None:
    loop = loop_of(Echo(), [1.0, 2.0, 3.0, 4.0, 5.0], pred_transform_fn=keep_list_transf)
    assert [len(batch) for batch in loop.predict_on_test_set()[0]] == [4, 1]


def test_joining_predictions_of_each_kind() -> None:
    assert torch_cat_transf([torch.ones(2), torch.zeros(1)]).tolist() == [1, 1, 0]
    assert torch_cat_transf([np.ones(2), np.zeros(1)]).tolist() == [1, 1, 0]
    assert torch_cat_transf([["a"], ["b", "c"]]) == ["a", "b", "c"]


class Count:
    """A metric: how many samples and their sum."""

    def __init__(self) -> None:
        self.reset()

    @property
    def state(self):
        return {"n": self.n, "total": self.total}

    def reset(self) -> None:
        self.n, self.total = 0, 0.0

    def update(self, y_true, y_predicted, /) -> None:
        self.n += len(y_true)
        self.total += float(y_predicted.sum())

    def merge(self, state, /) -> None:
        self.n += state["n"]
        self.total += state["total"]

    def compute(self):
        return {"mean": self.total / self.n, "n": self.n}


def test_a_mergeable_metric_takes_batches() -> None:
    loop = loop_of(Echo(), [1.0, 2.0, 3.0, 4.0, 5.0])
    assert loop.evaluate_metric(loop.loader("test"), Count()) == {"mean": 3.0, "n": 5}


def test_after_batch_hooks_are_called_on_request() -> None:
    from tt_loop.api import Callback

    class Watch(Callback):
        def __init__(self) -> None:
            super().__init__("watch")
            self.seen = []

        def on_after_batch_prediction(
            self, y_pred_batch, y_test_batch, metadata_batch, dataset_info
        ) -> None:
            self.seen.append((len(y_pred_batch), dataset_info))

    watch, loop = Watch(), loop_of(Echo(), [1.0] * 6)
    loop.callbacks_handler.register_callbacks([watch])
    loop.predict_on_test_set()
    assert watch.seen == []
    loop.predict_on_test_set(execute_callbacks=True)
    assert watch.seen == [(4, {"type": "test"}), (2, {"type": "test"})]


def test_an_exhausted_generator_is_an_error() -> None:
    generator = (batch for batch in [[torch.ones(2)]])
    loop = TrainLoop(Echo(), None, generator, None, None, None, progress=False)
    assert loop.evaluate_loss_on_validation_set() == 1.0
    assert loop.evaluate_loss_on_validation_set() == 1.0  # known
    with pytest.raises(EmptyLoaderError, match=r"validation.* read only once"):
        loop.evaluate_loss_on_validation_set(force_prediction=True)


def test_a_part_without_loader_is_an_error() -> None:
    loop = TrainLoop(Echo(), None, None, None, None, None)
    with pytest.raises(LoopValueError, match="test_loader"):
        loop.predict_on_test_set()


class Feed(AbstractModelFeedDefinition):
    def get_loss(self, model, batch_data, criterion, device):
        return criterion(model(batch_data[0][:, None]).squeeze(1), batch_data[0])

    def get_predictions(self, model, batch_data, device):
        return model(batch_data[0][:, None]).squeeze(1), batch_data[0], {}


def test_a_wrapped_module_is_trained_by_its_feed_definition() -> None:
    module = nn.Linear(1, 1)
    loader = DataLoader(TensorDataset(torch.linspace(-1, 1, 32)), batch_size=8)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    loop = TrainLoop(
        ModelWrap(module, Feed()), loader, loader, None, optimizer, nn.MSELoss(), progress=False
    )
    trained = loop.fit(num_epochs=20)
    assert trained is module
    assert loop.train_history["val_loss"][-1] < 1e-3
    y_pred, y_true, _ = loop.predict_on_validation_set()
    torch.testing.assert_close(y_pred, y_true, atol=0.1, rtol=0)
    assert set(loop.state_dict()["model"]) == {"weight", "bias"}


def test_a_criterion_is_evaluated_in_evaluation_mode_and_left_as_it_was() -> None:
    class Watched(nn.Module):
        modes: list[bool] = []  # noqa: RUF012  # shared on purpose

        def forward(self, out, target):
            self.modes.append(self.training)
            return nn.functional.mse_loss(out, target)

    loader = [[torch.ones(2, 1), torch.ones(2, 1)]]
    loop = TrainLoop(nn.Linear(1, 1), None, loader, None, None, Watched(), progress=False)
    loop.evaluate_loss_on_validation_set()
    assert loop.criterion.modes == [False]
    assert loop.criterion.training


def test_nested_predictions_are_joined_part_by_part() -> None:
    batches = [{"a": torch.ones(2), "b": (torch.zeros(2), torch.zeros(2))}] * 3
    joined = torch_cat_transf(batches)
    assert joined["a"].shape == joined["b"][0].shape == joined["b"][1].shape == (6,)
