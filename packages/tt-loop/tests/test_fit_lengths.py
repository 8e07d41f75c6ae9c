"""How long a fit is: clocks, endless loaders, and how many steps there will be."""

import contextlib
import copy
import itertools
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from tt_loop.api import Callback, LoopStateError, LoopTypeError, LoopValueError, TrainLoop

BATCHES = 5


def batch(number: int) -> list[torch.Tensor]:
    return [torch.full((2, 1), float(number)), torch.zeros(2, 1)]


def forever():
    return map(batch, itertools.count())


class Stream(IterableDataset):
    """Samples, how many nobody knows."""

    def __init__(self, samples: int | None = 2 * BATCHES) -> None:
        self.samples = samples

    def __iter__(self):
        samples = ((torch.full((1,), float(n // 2)), torch.zeros(1)) for n in itertools.count())
        return itertools.islice(samples, self.samples)


def loop_of(train_loader=None) -> TrainLoop:
    model = nn.Linear(1, 1)
    return TrainLoop(
        model,
        [batch(number) for number in range(BATCHES)] if train_loader is None else train_loader,
        None,
        None,
        torch.optim.SGD(model.parameters(), lr=1e-4),
        nn.MSELoss(),
        progress=False,
    )


class Seen(Callback):
    """Notes the batches, and does something after each."""

    def __init__(self, action=None) -> None:
        super().__init__("seen")
        self.action = action
        self.batches: list[list[float]] = []
        self.steps: int | None = None

    def on_train_begin(self) -> None:
        with contextlib.suppress(LoopStateError):
            self.steps = self.train_loop_obj.get_num_training_steps()

    def on_batch_begin(self) -> None:
        self.batches.append(self.train_loop_obj.batch[0].flatten().tolist())

    def on_batch_end(self) -> None:
        if self.action:
            self.action(self.train_loop_obj)


class Slow(Callback):
    """Every batch takes ten seconds."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.later = 0.0

    def on_train_begin(self) -> None:
        self.later = 0.0

    def on_batch_begin(self) -> None:
        self.later += 10


@pytest.fixture
def slow(monkeypatch) -> Slow:
    callback = Slow()
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + callback.later)
    monkeypatch.setattr("tt_loop.training.settings.time", clock)
    return callback


@pytest.mark.parametrize("duration", [35, 35.0, timedelta(seconds=35), "0:35", "0:00:35"])
@pytest.mark.parametrize("loader", [None, forever()])
def test_the_clock_ends_a_fit_after_a_step(slow, duration, loader) -> None:
    loop = loop_of(loader)
    loop.fit(max_time=duration, callbacks=[slow])
    assert loop.total_iteration_idx + 1 == 4
    loop.fit(max_time=duration)  # its time begins anew
    assert loop.total_iteration_idx + 1 == 8


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        ({"num_epochs": 1, "max_time": 35}, 4),
        ({"num_epochs": 2, "max_time": "1:35"}, 10),
        ({"num_epochs": 2, "max_time": "1:1:00:00"}, 10),
        ({"num_iterations": 3, "max_time": 35}, 3),
        ({"num_iterations": 9, "max_time": 75}, 8),
        ({"max_time": 35, "grad_accumulation": 3}, 5),  # the window's end, here the epoch's
        ({"max_time": 15, "grad_accumulation": 3}, 3),
    ],
)
def test_the_first_of_two_lengths_counts(slow, lengths, batches: int) -> None:
    loop = loop_of()
    loop.fit(callbacks=[slow], **lengths)
    assert loop.total_iteration_idx + 1 == batches


def test_time_before_a_resume_counts(slow) -> None:
    saved = {}

    def save(loop: TrainLoop) -> None:
        if loop.total_iteration_idx == 1:
            saved.update(copy.deepcopy(loop.state_dict()))

    loop_of().fit(max_time=45, callbacks=[slow, Seen(save)])
    loop = loop_of()
    loop.load_state_dict(saved)
    loop.fit(max_time=45, callbacks=[slow])
    assert loop.total_iteration_idx + 1 == 5


@pytest.mark.parametrize(
    ("duration", "error"),
    [
        (0, LoopValueError),
        (-1.0, LoopValueError),
        (float("nan"), LoopValueError),
        (timedelta(0), LoopValueError),
        ("soon", LoopValueError),
        ("1:", LoopValueError),
        ("1:1:1:1:1", LoopValueError),
        (True, LoopTypeError),
        ([3], LoopTypeError),
    ],
)
def test_a_time_that_is_none_is_refused(duration, error) -> None:
    with pytest.raises(error, match="max_time"):
        loop_of().fit(num_epochs=1, max_time=duration)


@pytest.mark.parametrize("loader", [forever, lambda: DataLoader(Stream(None), 2)])
def test_an_endless_loader_trains_for_a_number_of_iterations(loader) -> None:
    loop, seen = loop_of(loader()), Seen()
    loop.fit(num_iterations=7, callbacks=[seen], grad_accumulation=2)
    assert [values[0] for values in seen.batches] == [*range(7)]
    assert seen.steps == loop.updates_done == 4
    assert len(loop.train_history["loss"]) == 1


def test_an_endless_iterator_goes_on_in_the_next_fit() -> None:
    loop, seen = loop_of(forever()), Seen()
    for _ in range(3):
        loop.fit(num_iterations=2, callbacks=[seen])
    assert [values[0] for values in seen.batches] == [*range(6)]


def test_epochs_of_a_stream_end_with_it() -> None:
    loop, seen = loop_of(DataLoader(Stream(), 2)), Seen()
    loop.fit(num_epochs=2, callbacks=[seen], grad_accumulation=2)
    assert [values[0] for values in seen.batches] == [*range(BATCHES)] * 2
    assert loop.updates_done == 6
    assert seen.steps is None  # nobody knows
    with pytest.raises(LoopStateError, match="say the number yourself"):
        loop.get_num_training_steps()


@settings(max_examples=40, deadline=None)
@given(
    batches=st.integers(1, 6),
    window=st.integers(1, 4),
    number=st.integers(1, 15),
    unit=st.sampled_from(["num_epochs", "num_iterations"]),
    option=st.sampled_from([{}, {"overfit": 2}, {"dry_run": 2}]),
)
def test_the_number_of_training_steps_is_known_before(batches, window, number, unit, option):
    loop = loop_of([batch(n) for n in range(batches)])
    for _ in range(2):
        before, seen = loop.updates_done, Seen()
        loop.fit(**{unit: number}, grad_accumulation=window, callbacks=[seen], **option)
        assert seen.steps == loop.updates_done - before


class Liar:
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        return map(batch, range(BATCHES))


@pytest.mark.parametrize("length", [2, 9])
@pytest.mark.parametrize("window", [1, 3])
def test_a_length_that_is_wrong_is_told_and_every_batch_trained_on(caplog, length, window) -> None:
    seen = Seen()
    loop_of(Liar(length)).fit(num_epochs=1, grad_accumulation=window, callbacks=[seen])
    assert f"has length {length} and gave {BATCHES} batches" in caplog.text
    assert len(seen.batches) == BATCHES
    caplog.clear()
    loop_of(Liar(BATCHES)).fit(num_epochs=1)
    assert caplog.text == ""
