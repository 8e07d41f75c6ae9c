"""What goes wrong outside the loop is told so that one knows what to mend."""

import os
import random
import re
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tt_loop.api import (
    Callback,
    EarlyStopping,
    EmptyLoaderError,
    LoopTypeError,
    LoopValueError,
    SingleDevice,
    TrainLoop,
    TTModel,
)
from tt_loop.seeds import seed_everything
from tt_loop.training.multi_loss_optim import MultiLoss


def all_text(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


class Model(TTModel):
    """Its loss and predictions are what a test wants."""

    def __init__(self, loss=None, predict=None) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.loss, self.predict = loss, predict

    def get_loss(self, batch_data, criterion, device):
        return self.loss(self.layer(batch_data[0]))

    def get_predictions(self, batch_data, device):
        return self.predict(batch_data[0])


BATCH = [torch.ones(3, 2), torch.zeros(3)]


def loop_of(model=None, loader=None, **options) -> TrainLoop:
    model = model or Model(torch.mean)
    optimizer = options.pop("optimizer", None) or torch.optim.SGD(model.parameters(), lr=0.1)
    arguments = {"progress": False, **options}
    return TrainLoop(model, loader or [BATCH], [BATCH], None, optimizer, None, **arguments)


@pytest.mark.parametrize(
    ("loss", "rule"),
    [
        (lambda out: out, r"scalar tensor.*got a tensor of shape \(3, 1\)"),
        (lambda out: (out, 3), r"got a tensor of shape \(3, 1\)"),
        (lambda out: out.mean().item(), "scalar tensor.*got float"),
        (lambda out: None, "scalar tensor.*got NoneType"),
        (lambda out: {"loss": out.mean()}, "a MultiLoss.*got dict"),
        (lambda out: out.mean().detach(), "neither detaches it"),
        (lambda out: (torch.tensor(0.5), 3), "depend on parameters that require gradients"),
        (lambda out: MultiLoss({"a": out.mean().detach()}), "neither detaches it"),
        (lambda out: MultiLoss({"a": out}), r"'a' is \(3, 1\)"),
    ],
)
def test_a_loss_that_cannot_be_differentiated_is_refused(loss, rule: str) -> None:
    with pytest.raises(LoopTypeError, match=rule):
        loop_of(Model(loss)).fit(num_epochs=1)


def test_a_frozen_model_has_no_loss_to_differentiate() -> None:
    model = Model(torch.mean).requires_grad_(False)
    with pytest.raises(LoopTypeError, match="require gradients"):
        loop_of(model).fit(num_epochs=1)


@pytest.mark.parametrize(
    "predicted",
    [
        (torch.zeros(3), torch.zeros(2)),
        (np.zeros((3, 2)), [0, 0]),
        (["a", "b", "c"], torch.zeros(2, 3)),
    ],
)
def test_predictions_and_targets_of_unequal_lengths_are_refused(predicted) -> None:
    loop = loop_of(Model(torch.mean, lambda x: (*predicted, {})))
    with pytest.raises(LoopValueError, match="in batch 0 there are 3 predictions and 2 targets"):
        loop.predict_on_validation_set()


def test_a_batch_on_another_device_is_told_with_what_to_do() -> None:
    on_meta = [tensor.to("meta") for tensor in BATCH]
    with pytest.raises((RuntimeError, NotImplementedError)) as caught:
        loop_of(loader=[BATCH, on_meta], gpu_mode=SingleDevice("cpu")).fit(num_epochs=1)
    text = all_text(caught.value)
    assert re.search("The model is on cpu, the batch on meta: .*to_device", text), text
    with pytest.raises(ZeroDivisionError) as caught:
        loop_of(Model(lambda out: 1 / 0)).fit(num_epochs=1)
    assert "to_device" not in all_text(caught.value)


def test_the_meta_device_is_refused() -> None:
    with pytest.raises(LoopValueError, match="'meta' holds none"):
        SingleDevice("meta")


def test_an_optimizer_without_the_models_parameters_is_refused() -> None:
    other = torch.optim.Adam(nn.Linear(2, 1).parameters())
    rule = r"optimizer 0 \(Adam\) has none of them. Make it from model.parameters\(\)"
    with pytest.raises(LoopValueError, match=rule):
        loop_of(optimizer=other)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(LoopValueError, match="None or one of stop, skip, rollback, got 'ignore'"):
        loop_of(nan_policy="ignore")


class Slip(Callback):
    def on_epoch_ends(self) -> None: ...


class Invented(Callback):
    def on_coffee(self) -> None: ...


@pytest.mark.parametrize(
    ("callback", "rule"),
    [
        (Slip("slip"), r"Slip has a hook on_epoch_ends.* did you mean on_epoch_end\?"),
        (Invented("invented"), "a hook on_coffee, which nobody calls.*on_train_begin"),
        (Slip, "got <class .*pass an instance"),
        (print, "subclass it"),
    ],
)
def test_a_callback_that_would_never_be_called_is_refused(callback, rule: str) -> None:
    with pytest.raises(LoopTypeError, match=rule):
        loop_of().fit(num_epochs=1, callbacks=[callback])


def test_a_metric_that_never_comes_is_told_with_those_that_do() -> None:
    rule = r"EarlyStopping monitors 'accuracy'.*after epoch 0; it has \[.*'loss', 'val_loss'\]"
    with pytest.raises(LoopValueError, match=rule):
        loop_of().fit(num_epochs=3, callbacks=[EarlyStopping("accuracy", mode="max")])


def test_a_generator_that_is_exhausted_after_an_epoch_is_told() -> None:
    loop = loop_of(loader=(BATCH for _ in range(2)))
    with pytest.raises(EmptyLoaderError, match="it is an iterator, which can be read only once"):
        loop.fit(num_epochs=2)
    assert loop.epochs_done == 1


# Data sets and workers


class Failing(Dataset):
    """Does something else than giving its sample 5."""

    def __init__(self, fail) -> None:
        self.fail = fail

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int):
        if index == 5:
            self.fail()
        return torch.ones(2), torch.zeros(1)


def divide() -> None:
    raise ZeroDivisionError("mine")


def die() -> None:
    os._exit(3)


def hang() -> None:
    threading.Event().wait()


WHERE = r"batch {} of epoch 0 of the {} loader was read; its samples are \[{}\]"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_cannot_be_read_is_named(workers: int) -> None:
    loader = DataLoader(Failing(divide), 2, num_workers=workers)
    with pytest.raises(ZeroDivisionError) as caught:
        loop_of(loader=loader).fit(num_epochs=1)
    text = all_text(caught.value)
    assert "mine" in text
    assert "Raised by the data set's sample 5." in text
    assert re.search(WHERE.format(2, "training", "4, 5"), text), text


def test_the_samples_of_a_shuffled_batch_are_named() -> None:
    loader = DataLoader(Failing(divide), 2, shuffle=True)
    with pytest.raises(ZeroDivisionError) as caught:
        loop_of(loader=loader).fit(num_epochs=1)
    text = all_text(caught.value)
    assert re.search(WHERE.format(".", "training", r"(5, \d|\d, 5)"), text), text


def test_a_sample_of_an_evaluation_is_named_too() -> None:
    loop = loop_of()
    loop.validation_loader = DataLoader(Failing(divide), 4)
    with pytest.raises(ZeroDivisionError) as caught:
        loop.fit(num_epochs=1)
    text = all_text(caught.value)
    assert "sample 5" in text
    assert re.search(WHERE.format(1, "validation", "4, 5, 6, 7"), text), text


def test_the_batch_of_a_loader_of_any_kind_is_counted() -> None:
    def batches():
        yield BATCH
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        loop_of(loader=batches()).fit(num_epochs=1)
    assert "batch 1 of epoch 0 of the training loader was read." in all_text(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fail", "timeout", "message"),
    [(die, 0, "exited unexpectedly"), (hang, 0.5, "timed out after 0.5 seconds")],
)
def test_a_worker_that_dies_or_hangs_is_told_with_its_batch(
    monkeypatch, fail, timeout: float, message: str
) -> None:
    # How long torch waits for a worker to end before it is killed.
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)
    loader = DataLoader(Failing(fail), 8, num_workers=1, timeout=timeout)
    with pytest.raises(RuntimeError, match=message) as caught:
        loop_of(loader=loader).fit(num_epochs=1)
    text = all_text(caught.value)
    assert re.search(WHERE.format(0, "training", "0, 1, 2, 3, 4, 5, 6, 7"), text), text


# Seeds


@pytest.mark.parametrize("seed", [0, 7, -1, 2**32, 2**64 - 1, 2**70])
def test_seeding_everything_makes_all_generators_begin_anew(seed: int) -> None:
    def draws() -> list:
        assert seed_everything(seed) == seed
        return [random.random(), float(np.random.rand()), torch.rand(2).tolist()]

    assert draws() == draws()


def test_every_generator_follows_the_seed() -> None:
    draws = []
    for seed in (0, 1, 2):
        seed_everything(seed)
        draws += [random.random(), float(np.random.rand()), float(torch.rand(()))]
    assert len({*draws}) == 9


def test_deterministic_algorithms_are_asked_for_on_request() -> None:
    before = torch.backends.cudnn.benchmark
    try:
        seed_everything(1)
        assert not torch.are_deterministic_algorithms_enabled()
        seed_everything(1, deterministic=True)
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(mode=False)
        torch.backends.cudnn.benchmark = before
