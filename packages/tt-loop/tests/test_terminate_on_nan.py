"""Ending training when a value is no longer a number."""

import logging
import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tt_loop.api import Callback, LoopValueError, TrainLoop, TTModel
from tt_loop.callbacks.terminate_on_nan import TerminateOnNaN
from tt_loop.training.multi_loss_optim import MultiLoss

BAD = [math.nan, math.inf, -math.inf]


class Given(TTModel):
    """Its losses are the numbers of the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(()))

    def get_loss(self, batch_data, criterion, device):
        if isinstance(batch_data, dict):
            return MultiLoss({name: value + 0 * self.zero for name, value in batch_data.items()})
        return batch_data + 0 * self.zero

    def get_predictions(self, batch_data, device):
        return batch_data, batch_data, {}


def loop_of(*losses, validation=None, **options) -> TrainLoop:
    model = Given()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    loader = [
        {name: torch.tensor(value) for name, value in loss.items()}
        if isinstance(loss, dict)
        else torch.tensor(loss)
        for loss in losses
    ]
    return TrainLoop(model, loader, validation, None, optimizer, None, progress=False, **options)


def told(caplog) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if record.name.endswith("terminate_on_nan")
    ]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(("place", "ended"), [(0, 2), (3, 5), (6, 7), (7, 7)])
def test_training_ends_two_batches_after_a_bad_loss(caplog, bad: float, place, ended) -> None:
    losses = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]
    newest = losses[place - 1] if place else math.nan
    losses[place] = bad
    loop = loop_of(*losses)
    loop.fit(num_epochs=3, callbacks=[TerminateOnNaN()])
    assert loop.total_iteration_idx == ended
    assert loop.epochs_done == 1
    where = f"the loss of step {place} (batch {place} of epoch 0) is not finite"
    assert told(caplog) == [f"{where}, the newest finite loss was {newest:g}: training ends"]
    assert [record.levelno for record in caplog.records if "step" in record.getMessage()] == [
        logging.ERROR
    ]


def test_sound_losses_end_nothing(caplog) -> None:
    loop = loop_of(1.0, -2.0, 3e38)
    loop.fit(num_epochs=3, callbacks=[TerminateOnNaN()])
    assert loop.epochs_done == 3
    assert caplog.records == []


@pytest.mark.parametrize("name", ["a", "b"])
def test_any_of_several_losses_ends_training(caplog, name: str) -> None:
    losses = [{"a": 1.0, "b": 2.0} for _ in range(6)]
    losses[2][name] = math.nan
    loop = loop_of(*losses)
    loop.fit(num_epochs=2, callbacks=[TerminateOnNaN()])
    assert loop.total_iteration_idx == 4
    assert told(caplog)[0].startswith("the loss of step 2 (batch 2 of epoch 0) is not finite")


def test_a_bad_loss_at_the_very_end_of_a_fit_is_told(caplog) -> None:
    loop = loop_of(1.0, math.nan)
    loop.fit(num_epochs=1, callbacks=[TerminateOnNaN()])
    assert len(told(caplog)) == 1


def test_it_may_look_only_now_and_then() -> None:
    looked_at = [1.0, math.nan, math.nan, 1.0, math.nan, math.nan] + [1.0] * 6
    loop = loop_of(*looked_at)
    loop.fit(num_epochs=1, callbacks=[TerminateOnNaN(every=4)])
    assert loop.total_iteration_idx == 11
    looked_at[3] = math.nan
    loop = loop_of(*looked_at, *[1.0] * 12)
    loop.fit(num_epochs=1, callbacks=[TerminateOnNaN(every=4)])
    assert loop.total_iteration_idx == 11  # two looks later


def test_a_window_is_finished_first(caplog) -> None:
    loop = loop_of(1.0, math.nan, *[1.0] * 10)
    loop.fit(num_epochs=1, grad_accumulation=5, callbacks=[TerminateOnNaN()])
    assert loop.total_iteration_idx == 4
    assert len(told(caplog)) == 1


def test_the_next_fit_looks_anew(caplog) -> None:
    loop, callback = loop_of(1.0, math.nan), TerminateOnNaN()
    for fit in (1, 2):
        loop.fit(num_epochs=3, callbacks=[callback])
        assert loop.epochs_done == fit
        assert len(told(caplog)) == fit


class Reads(TorchDispatchMode):
    """Counts the values that come to Python."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket.__name__ in {"_local_scalar_dense", "nonzero", "equal"}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("loss", [1.0, {"a": 1.0, "b": 2.0}])
def test_a_look_reads_nothing_of_its_own_step(loss) -> None:
    reads = Reads()

    class Count(Callback):
        def on_batch_begin(self) -> None:
            if self.train_loop_obj.iteration == 3:
                reads.__enter__()
            if self.train_loop_obj.iteration == 9:
                reads.__exit__(None, None, None)

    loop = loop_of(*[loss] * 10)
    loop.fit(num_epochs=1, callbacks=[TerminateOnNaN(), Count("count")])
    assert reads.count == 0


# Other values


class Values(Callback):
    """Puts values into the history, some in each epoch."""

    def __init__(self, *values) -> None:
        super().__init__("values")
        self.values = values

    def on_epoch_end(self) -> None:
        for value in self.values[self.train_loop_obj.epoch]:
            self.train_loop_obj.insert_metric_result_into_history("quality", value)


@pytest.mark.parametrize("bad", [*BAD, torch.tensor(math.nan)])
def test_training_ends_after_the_epoch_that_measured_a_bad_value(caplog, bad) -> None:
    loop = loop_of(1.0)
    values = Values([0.5], [], [bad], [0.5], [0.5])
    loop.fit(num_epochs=5, callbacks=[TerminateOnNaN("quality"), values])
    assert loop.epochs_done == 3
    assert told(caplog)[0].startswith("quality of epoch 2 is not finite")


def test_all_new_values_of_an_epoch_are_looked_at() -> None:
    loop = loop_of(1.0)
    loop.fit(num_epochs=3, callbacks=[TerminateOnNaN("quality"), Values([0.1], [math.nan, 0.2])])
    assert loop.epochs_done == 2


def test_a_value_is_looked_at_once_and_only_in_its_own_fit() -> None:
    loop = loop_of(1.0)
    loop.insert_metric_result_into_history("quality", math.nan)
    loop.fit(num_epochs=2, callbacks=[TerminateOnNaN("quality"), Values([], [], [math.nan], [])])
    assert loop.epochs_done == 2
    loop.fit(num_epochs=2)
    assert loop.epochs_done == 3
    loop.fit(num_epochs=1)
    assert loop.epochs_done == 4


def test_a_validation_inside_an_epoch_is_looked_at() -> None:
    validation = [torch.tensor(math.nan)]
    loop = loop_of(*[1.0] * 9, validation=validation)
    loop.fit(num_epochs=2, eval_every=3, callbacks=[TerminateOnNaN("val_loss")])
    assert loop.total_iteration_idx == 2


def test_a_bad_training_loss_is_no_matter_for_another_value() -> None:
    loop = loop_of(1.0, math.nan, 1.0, validation=[torch.tensor(1.0)])
    loop.fit(num_epochs=2, eval_every=2, callbacks=[TerminateOnNaN("val_loss")])
    assert loop.epochs_done == 2


def test_a_name_that_nothing_measures_is_refused_with_those_there_are() -> None:
    with pytest.raises(LoopValueError, match=r"TerminateOnNaN monitors 'los', .*'loss'"):
        loop_of(1.0).fit(num_epochs=1, callbacks=[TerminateOnNaN("los")])


@pytest.mark.parametrize("every", [0, -1])
def test_it_must_look_sometimes(every: int) -> None:
    with pytest.raises(LoopValueError, match="at least 1"):
        TerminateOnNaN(every=every)
