"""Losses and predictions are computed once for the same weights, and never given for others."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import Callback, TrainLoop, TTBasicModel
from tt_loop.callbacks.averaging import EMA

BATCHES = 3


class Counted(TTBasicModel):
    """Counts the batches that it evaluates."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
        self.passes = 0

    def forward(self, x):
        self.passes += not self.training
        return self.norm(self.layer(x))


def loader(seed: int = 0, samples: int = 2 * BATCHES) -> DataLoader:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, 2, generator=generator)
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=2)


@pytest.fixture
def loop() -> TrainLoop:
    torch.manual_seed(0)
    model = Counted()
    return TrainLoop(
        model,
        loader(0),
        loader(1),
        loader(2),
        torch.optim.SGD(model.parameters(), lr=0.1),
        nn.CrossEntropyLoss(),
        progress=False,
    )


PARTS = ["train", "validation", "test"]
WHAT = {
    "loss": lambda loop, part, **options: getattr(loop, f"evaluate_loss_on_{part}_set")(**options),
    "predictions": lambda loop, part, **options: getattr(loop, f"predict_on_{part}_set")(**options),
}


def passes(loop: TrainLoop, what: str, part: str = "validation", **options) -> int:
    """How many batches asking takes; what comes is what an evaluation from scratch gives."""
    before = loop.model.passes
    found = WHAT[what](loop, part, **options)
    taken = loop.model.passes - before
    fresh = {
        "loss": lambda: loop.evaluate_model_loss(loop.loader(part)),
        "predictions": lambda: loop.predict_with_model(loop.loader(part)),
    }[what]()
    torch.testing.assert_close(found, fresh, rtol=0, atol=0)
    return taken


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("what", WHAT)
def test_each_is_computed_once(loop, what: str, part: str) -> None:
    assert passes(loop, what, part) == BATCHES
    assert passes(loop, what, part) == 0
    loop.model.train()
    assert passes(loop, what, part) == 0
    assert passes(loop, what, part, force_prediction=True) == BATCHES
    assert passes(loop, what, part) == 0


def test_all_that_is_known_of_all_parts_is_kept_together(loop) -> None:
    every = [(what, part) for what in WHAT for part in PARTS]
    assert [passes(loop, *each) for each in every] == [BATCHES] * 6
    assert [passes(loop, *each) for each in every] == [0] * 6


def train(loop) -> None:
    loop.end_auto_eval = False
    loop.fit(num_iterations=1)


def step_by_hand(loop) -> None:
    for parameter in loop.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    loop.optimizer.step()


def edit_in_place(loop) -> None:
    with torch.no_grad():
        loop.model.layer.weight.mul_(2)


def edit_data(loop) -> None:
    loop.model.layer.bias.data.add_(1)


def replace_data(loop) -> None:
    for _ in range(2):  # the second time, perhaps where the first ones were
        loop.model.layer.bias.data = loop.model.layer.bias.data + 1


def replace_parameter(loop) -> None:
    loop.model.layer.bias = nn.Parameter(loop.model.layer.bias.detach() + 1)


def edit_buffer(loop) -> None:
    loop.model.norm.running_mean.add_(1)


def load_weights(loop) -> None:
    other = {name: value + 1 for name, value in loop.model.state_dict().items()}
    loop.model.load_state_dict(other)


def load_state(loop) -> None:
    state = copy.deepcopy(loop.state_dict())
    state["model"]["layer.bias"] += 1
    loop.load_state_dict(state)


def replace_loader(loop) -> None:
    loop.validation_loader = loader(7)


@pytest.mark.parametrize(
    "change",
    [
        train,
        step_by_hand,
        edit_in_place,
        edit_data,
        replace_data,
        replace_parameter,
        edit_buffer,
        load_weights,
        load_state,
        replace_loader,
    ],
)
@pytest.mark.parametrize("what", WHAT)
def test_nothing_is_given_that_was_of_other_weights_or_data(loop, what: str, change) -> None:
    passes(loop, what)
    change(loop)
    assert passes(loop, what) == BATCHES


def test_a_new_criterion_makes_another_loss(loop) -> None:
    passes(loop, "loss")
    loop.criterion = nn.CrossEntropyLoss(label_smoothing=0.5)
    assert passes(loop, "loss") == BATCHES


def test_what_predictions_are_made_of_counts(loop) -> None:
    assert passes(loop, "predictions") == BATCHES
    loop.pred_transform_fn = lambda batches: batches
    assert len(loop.predict_on_validation_set()[0]) == BATCHES
    loop.collate_batch_pred_fn = lambda batch, known: [*known, batch, batch]
    assert len(loop.predict_on_validation_set()[0]) == 2 * BATCHES


def test_a_criterion_with_weights_of_its_own_is_watched(loop) -> None:
    loop.criterion = nn.CrossEntropyLoss(weight=torch.ones(2))
    passes(loop, "loss")
    loop.criterion.weight[0] = 3
    assert passes(loop, "loss") == BATCHES


def test_a_dry_run_leaves_nothing_behind(loop) -> None:
    loop.fit(dry_run=1)
    for part in ("validation", "test"):
        assert passes(loop, "loss", part) == BATCHES
        assert passes(loop, "predictions", part) == BATCHES


def test_what_is_known_is_not_what_a_dry_run_asks_for(loop) -> None:
    class Predict(Callback):
        def on_epoch_end(self) -> None:
            self.seen = self.train_loop_obj.predict_on_validation_set()

    for group in loop.optimizer.param_groups:
        group["lr"] = 0.0
    predict = Predict("predict")
    loop.fit(dry_run=1, callbacks=[predict])
    assert len(predict.seen[0]) == 2


def test_callbacks_see_every_batch_whatever_is_known(loop) -> None:
    class Watch(Callback):
        count = 0

        def on_after_batch_prediction(self, y_pred, y_test, metadata, dataset_info) -> None:
            self.count += 1

    watch = Watch("watch")
    loop.callbacks_handler.register_callbacks([watch])
    for times in (1, 2):
        for part in PARTS:
            passes(loop, "predictions", part)
            assert passes(loop, "predictions", part, execute_callbacks=True) == BATCHES
        assert watch.count == times * 3 * BATCHES


def test_a_whole_fit_evaluates_each_set_once_an_epoch(loop) -> None:
    class Ask(Callback):
        def on_epoch_end(self) -> None:
            loop = self.train_loop_obj
            for part in ("validation", "validation", "train"):
                WHAT["loss"](loop, part)
                WHAT["predictions"](loop, part)

    loop.fit(num_epochs=2, callbacks=[Ask("ask"), Ask("again")])
    assert loop.model.passes == BATCHES * (2 * 4 + 1)  # and the test set's loss at the end


def test_averaged_and_trained_weights_are_not_taken_for_one_another(loop) -> None:
    seen = []

    class Look(Callback):
        def on_epoch_end(self) -> None:
            seen.append(self.train_loop_obj.evaluate_loss_on_validation_set())

    loop.fit(num_epochs=2, callbacks=[EMA(0.5, at_end="trained"), Look("look")])
    assert seen == loop.train_history["val_loss"]
    assert loop.evaluate_loss_on_validation_set() != seen[-1]
    assert passes(loop, "loss") == 0
    weights = copy.deepcopy(loop.model)
    alone = TrainLoop(weights, None, loader(1), None, None, nn.CrossEntropyLoss())
    assert alone.evaluate_loss_on_validation_set() == loop.evaluate_loss_on_validation_set()


@pytest.mark.parametrize("what", WHAT)
def test_what_is_of_weights_that_are_not_finite_is_known_too(loop, what: str) -> None:
    loop.model.layer.weight.data[0, 0] = float("nan")
    before = loop.model.passes
    for _ in range(2):
        WHAT[what](loop, "validation")
    assert loop.model.passes - before == BATCHES


def test_a_buffer_edited_through_data_counts(loop) -> None:
    passes(loop, "loss")
    loop.model.norm.running_mean.data.add_(1)
    assert passes(loop, "loss") == BATCHES
