"""A learning rate that falls on a plateau: torch's own decisions on what was measured."""

import copy

import pytest
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from tt_loop.api import Callback, LoopValueError, TrainLoop, TTModel
from tt_loop.schedulers.basic import AbstractScheduler
from tt_loop.schedulers.plateau import (
    ReduceLROnPlateauMetricScheduler,
    ReduceLROnPlateauScheduler,
)
from tt_loop.training.multi_loss_optim import MultiLoss

VALUES = [3.0, 2.0, 2.5, 2.4, 1.9, 2.2, 2.1, 2.3, 2.0, 2.0]


class Measure(Callback):
    """Puts given values into the history, after every n epochs."""

    def __init__(self, values, name: str = "val_loss", every: int = 1) -> None:
        super().__init__("measure", execution_order=1)
        self.values, self.name, self.eval_frequency = values, name, every

    def on_epoch_end(self) -> None:
        loop = self.train_loop_obj
        number, left = divmod(loop.epochs_done, self.eval_frequency)
        if not left:
            loop.insert_metric_result_into_history(self.name, self.values[number - 1])


class Rates(Callback):
    """Notes the learning rate after every epoch."""

    def __init__(self) -> None:
        super().__init__("rates", execution_order=99)
        self.seen: list = []

    def on_epoch_end(self) -> None:
        self.seen.append(self.train_loop_obj.optimizer.param_groups[0]["lr"])


def by_hand(values, **arguments) -> list:
    optimizer = SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    scheduler = ReduceLROnPlateau(optimizer, **arguments)
    trace = []
    for value in values:
        scheduler.step(value)
        trace.append(optimizer.param_groups[0]["lr"])
    return trace


def rates_of(loop, scheduler, *others, epochs: int) -> list:
    noted = Rates()
    loop.fit(num_epochs=epochs, callbacks=[scheduler, *others, noted])
    return noted.seen


ARGUMENTS = {"patience": 1, "factor": 0.5, "cooldown": 1, "threshold": 0.01}


def test_the_validation_loss_decides_as_in_torch(make_loop) -> None:
    loop = make_loop(validation=False)
    scheduler = ReduceLROnPlateauScheduler(**ARGUMENTS)
    found = rates_of(loop, scheduler, Measure(VALUES), epochs=10)
    assert found == by_hand(VALUES, **ARGUMENTS)
    assert len(set(found)) > 2
    assert scheduler.last_lr == [[found[-1]]]
    assert isinstance(scheduler, AbstractScheduler)


def test_the_loops_own_validation_loss_is_taken(make_loop) -> None:
    loop = make_loop()
    found = rates_of(loop, ReduceLROnPlateauScheduler(patience=0, threshold=0.2), epochs=6)
    assert found == by_hand(loop.train_history["val_loss"], patience=0, threshold=0.2)


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        ("val_Accuracy", None, "max"),
        ("val_MSE", None, "min"),
        ("val_Accuracy", "min", "min"),
    ],
)
def test_the_metric_decides_as_in_torch(make_loop, name, mode, expected) -> None:
    scheduler = ReduceLROnPlateauMetricScheduler(name, mode=mode, patience=0)
    loop = make_loop(validation=False)
    found = rates_of(loop, scheduler, Measure(VALUES, name), epochs=10)
    assert found == by_hand(VALUES, mode=expected, patience=0)


def test_a_value_counts_once(make_loop) -> None:
    loop = make_loop(validation=False)
    measure = Measure([2.0, 2.0], every=3)
    found = rates_of(loop, ReduceLROnPlateauScheduler(patience=0), measure, epochs=8)
    assert found == pytest.approx([0.1] * 5 + [0.01] * 3)


def test_values_of_an_earlier_fit_do_not_count(make_loop) -> None:
    loop = make_loop(validation=False)
    loop.fit(num_epochs=2, callbacks=[Measure([0.5, 0.5, 9.0, 9.0])])
    found = rates_of(loop, ReduceLROnPlateauScheduler(patience=0), epochs=2)
    assert found == pytest.approx([0.1, 0.01])


def test_a_value_that_never_comes_is_an_error(make_loop) -> None:
    with pytest.raises(LoopValueError, match=r"steps on 'val_loss', .* after epoch 0; it has \["):
        make_loop(validation=False).fit(num_epochs=3, callbacks=[ReduceLROnPlateauScheduler()])
    with pytest.raises(LoopValueError, match=r"'val_F1', .* after epoch 0; it has \[.*'val_loss'"):
        make_loop().fit(num_epochs=3, callbacks=[ReduceLROnPlateauMetricScheduler("val_F1")])
    late = [ReduceLROnPlateauMetricScheduler("val_F1"), Measure(VALUES, "val_other", every=2)]
    with pytest.raises(LoopValueError, match="after epoch 1"):
        make_loop(validation=False).fit(num_epochs=3, callbacks=late)


def test_a_plateau_is_looked_for_after_epochs() -> None:
    with pytest.raises(LoopValueError, match="leave out step_on"):
        ReduceLROnPlateauScheduler(step_on="update")


class TwoLosses(TTModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def get_loss(self, batch_data, criterion, device):
        loss = criterion(self.layer(batch_data[0]), batch_data[1])
        return MultiLoss({"good": loss, "bad": -loss}, {"good": 0, "bad": 0})

    def get_predictions(self, batch_data, device):
        return self.layer(batch_data[0]), batch_data[1], {}


def two_losses(make_loop) -> TrainLoop:
    loader, model = make_loop().train_loader, TwoLosses()
    optimizer = SGD(model.parameters(), lr=0.1)
    return TrainLoop(model, loader, loader, None, optimizer, nn.CrossEntropyLoss(), progress=False)


def test_one_of_several_losses_is_chosen(make_loop) -> None:
    loop = two_losses(make_loop)
    found = rates_of(loop, ReduceLROnPlateauScheduler("bad", patience=0, threshold=0.5), epochs=4)
    assert found == by_hand(loop.train_history["val_loss_bad"], patience=0, threshold=0.5)


def test_without_a_choice_several_losses_are_an_error(make_loop) -> None:
    with pytest.raises(LoopValueError, match=r"this model has \['bad', 'good'\]: name one"):
        two_losses(make_loop).fit(num_epochs=1, callbacks=[ReduceLROnPlateauScheduler()])
    with pytest.raises(LoopValueError, match=r"'val_loss_best', .* it has \[.*'val_loss_bad'"):
        two_losses(make_loop).fit(num_epochs=1, callbacks=[ReduceLROnPlateauScheduler("best")])


class Break(Exception):  # noqa: N818  # it is no error
    pass


@pytest.mark.parametrize("epochs", [1, 4, 7])
def test_a_resumed_run_goes_on_waiting(make_loop, epochs) -> None:
    class SaveAndBreak(Callback):
        def __init__(self) -> None:
            super().__init__("save", execution_order=100)
            self.saved: dict = {}

        def on_epoch_end(self) -> None:
            if self.train_loop_obj.epochs_done == epochs:
                self.saved = copy.deepcopy(self.train_loop_obj.state_dict())
                raise Break

    saver = SaveAndBreak()
    with pytest.raises(Break):
        rates_of(
            make_loop(validation=False),
            ReduceLROnPlateauScheduler(**ARGUMENTS),
            Measure(VALUES),
            saver,
            epochs=10,
        )
    resumed = make_loop(validation=False)
    resumed.load_state_dict(saver.saved)
    scheduler = ReduceLROnPlateauScheduler(**ARGUMENTS)
    found = rates_of(resumed, scheduler, Measure(VALUES), epochs=10)
    assert found == by_hand(VALUES, **ARGUMENTS)[epochs:]
