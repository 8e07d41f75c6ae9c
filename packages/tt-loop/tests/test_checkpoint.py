"""Saves beside training: what is saved is the state at the save, however late it is copied."""

import copy
import math
import signal

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import (
    EMA,
    SWA,
    Callback,
    Checkpoint,
    CheckpointRef,
    EarlyStopping,
    LoopStateError,
    LoopValueError,
    ModelPerformanceEvaluation,
    MultiOptimizer,
    StepLRScheduler,
    ThroughputMonitor,
    TrainLoop,
)

SAMPLES = 26  # 7 batches of 4


class Ticket:
    """Copies as late as it may."""

    def __init__(self, tree, step: int) -> None:
        self.expected, self.tree, self.step = copy.deepcopy(tree), tree, step
        self.found = None

    def wait_staged(self) -> None:
        if self.found is None:
            self.found = copy.deepcopy(self.tree)

    def wait_committed(self, timeout=None, /) -> CheckpointRef:
        self.wait_staged()
        return CheckpointRef(self.step, "", {})


class Late:
    """A store whose saves read the state only when training waits for them."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.scores: list[dict] = []

    def save(self, tree, /, *, step: int, scores) -> Ticket:
        self.tickets.append(Ticket(tree, step))
        self.scores.append(scores)
        return self.tickets[-1]

    @property
    def steps(self) -> list[int]:
        return [ticket.step for ticket in self.tickets]


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return same(one.detach().numpy(), other.detach().numpy())
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


class Net(nn.Module):
    """With statistics, and a weight that its own forward pass moves."""

    def __init__(self, max_norm: float | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
        self.embedding = nn.Embedding(3, 4, max_norm=max_norm)
        self.slow = nn.Parameter(torch.zeros(4), requires_grad=False)

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.slow.add_(x.mean(0))
        return self.layers(x + self.slow + self.embedding(x[:, 0].gt(0).long()))


def loop_of(
    max_norm: float | None = None, several: bool = False, fused: bool = False, **options
) -> TrainLoop:
    torch.manual_seed(2)
    x = torch.randn(SAMPLES, 4)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 4, shuffle=True)
    model = Net(max_norm)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
    if several:
        parts = [model.layers.parameters(), [*model.embedding.parameters(), model.slow]]
        optimizer = MultiOptimizer([torch.optim.SGD(part, lr=0.1, momentum=0.9) for part in parts])
    return TrainLoop(
        model, loader, loader, loader, optimizer, nn.CrossEntropyLoss(), seed=0, progress=False,
        **options,
    )  # fmt: skip


class Meddler(Callback):
    """Changes weights in a hook, in an order."""

    def __init__(self, hook: str, order: int = 200) -> None:
        super().__init__("meddler", execution_order=order)
        setattr(self, hook, self.meddle)

    def meddle(self, *_) -> None:
        with torch.no_grad():
            for parameter in self.train_loop_obj.model.parameters():
                parameter.add_(0.125)


class Poison(Callback):
    """Makes some gradients infinite, so that the weights go back."""

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        if self.train_loop_obj.total_iteration_idx % 5 == 3:
            self.train_loop_obj.model.layers[0].weight.grad.fill_(math.inf)


class Loads(Callback):
    """Loads a state in the middle of training."""

    may_change_weights = False  # by itself

    def __init__(self) -> None:
        super().__init__("loads", execution_order=300)

    def on_epoch_end(self) -> None:
        loop = self.train_loop_obj
        state = copy.deepcopy(loop.state_dict())
        with torch.no_grad():
            state["model"]["layers.0.weight"].zero_()
        loop.load_state_dict({**state, "rng": None, "callbacks": None, "precision": None})
        loop.pending = {}


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize(
    ("given", "options", "fit"),
    [
        ([], {}, {}),
        ([], {"several": True}, {}),
        ([], {"max_norm": 0.5}, {}),
        ([EMA(0.9)], {}, {"eval_every": 2}),
        ([SWA(1)], {}, {}),
        ([StepLRScheduler(1), EarlyStopping(patience=9), ThroughputMonitor()], {}, {}),
        ([Poison("poison")], {"nan_policy": "rollback"}, {}),
        ([Poison("poison")], {"nan_policy": "rollback", "fused": True}, {}),  # told later
        ([Meddler("on_batch_begin")], {}, {}),
        ([Meddler("on_batch_end")], {}, {}),
        ([Meddler("on_batch_end", 0)], {}, {}),
        ([Meddler("on_epoch_end")], {}, {}),
        ([Meddler("on_epoch_begin")], {}, {}),
        ([Meddler("on_evaluate_begin")], {}, {"eval_every": 2}),
        ([Meddler("on_after_gradient_update")], {}, {}),
        ([Meddler("on_train_end", 0)], {}, {}),
        ([Loads()], {}, {}),
    ],
)
def test_what_is_saved_is_the_state_at_the_save(given, options, fit, window: int) -> None:
    store = Late()
    checkpoint = Checkpoint(store, every_batches=1)
    fit = {"num_epochs": 3, "grad_accumulation": window, **fit}
    loop = loop_of(**options)
    loop.fit(callbacks=[checkpoint, *copy.deepcopy(given)], **fit)
    assert len(store.tickets) >= 21
    for ticket in store.tickets:
        assert same(ticket.expected, ticket.found), ticket.step

    undisturbed = loop_of(**options)
    undisturbed.fit(callbacks=copy.deepcopy(given), **fit)
    assert same(undisturbed.model.state_dict(), loop.model.state_dict())


class Overlaps(Late):
    """Notes whether the state was still lent when the next batch began."""

    def __init__(self) -> None:
        super().__init__()
        self.late: list[bool] = []


class Looks(Callback):
    may_change_weights = False

    def __init__(self, store: Overlaps) -> None:
        super().__init__("looks")
        self.store = store

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        assert not self.train_loop_obj.lending.waits  # the optimizer is about to step

    def on_batch_begin(self) -> None:
        if self.store.tickets:
            self.store.late.append(self.store.tickets[-1].found is None)


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        ([], {}, True),
        ([StepLRScheduler(1), EarlyStopping(patience=9), ThroughputMonitor()], {}, True),
        ([ModelPerformanceEvaluation, EMA(0.9)], {}, True),
        ([Meddler("on_batch_end", 0)], {}, True),  # before the save
        ([Meddler("on_batch_end", 200)], {}, False),
        ([Meddler("on_batch_begin")], {}, False),
        ([], {"max_norm": 1.0}, False),
    ],
)
def test_training_goes_on_while_the_state_is_copied(given, options, expected: bool) -> None:
    store = Overlaps()
    given = [each for each in given if isinstance(each, Callback)]
    loop = loop_of(**options)
    loop.fit(num_epochs=2, callbacks=[Checkpoint(store, every_batches=1), Looks(store), *given])
    assert set(store.late) <= {True, False}
    assert (True in store.late) == expected
    late = loop_of()
    store = Overlaps()
    late.fit(
        num_epochs=2, callbacks=[Checkpoint(store, every_batches=1, overlap=False), Looks(store)]
    )
    assert set(store.late) == {False}


def test_tied_weights_are_not_copied_for_their_second_name() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    x = torch.randn(SAMPLES, 4)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = TrainLoop(model, loader, None, None, optimizer, nn.CrossEntropyLoss(), progress=False)
    store = Overlaps()
    loop.fit(num_epochs=1, callbacks=[Checkpoint(store, every_batches=3)])
    saved = store.tickets[0].tree["model"]
    assert saved["0.weight"].data_ptr() == saved["1.weight"].data_ptr()


def test_a_save_that_fails_is_followed_by_one_that_is_waited_for() -> None:
    class FailsOnce(Overlaps):
        def save(self, tree, /, *, step, scores):
            ticket = super().save(tree, step=step, scores=scores)
            if step == 2:

                def fail(timeout=None, /):
                    raise RuntimeError("a tensor was changed")

                ticket.wait_committed = fail
            return ticket

    store = FailsOnce()
    loop_of().fit(num_epochs=1, callbacks=[Checkpoint(store, every_batches=1), Looks(store)])
    assert store.late == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("options", "fit", "steps"),
    [
        ({}, {"num_epochs": 3}, [7, 14, 21]),
        ({"every_epochs": 2}, {"num_epochs": 3}, [14, 21]),
        ({"every_epochs": 2, "at_end": False}, {"num_epochs": 3}, [14]),
        ({"every_epochs": None}, {"num_iterations": 10}, [10]),
        ({"every_epochs": None, "every_batches": 4}, {"num_iterations": 10}, [4, 8, 10]),
        ({"every_epochs": None, "every_batches": 7, "at_end": False}, {"num_epochs": 2}, [7, 14]),
        ({"every_epochs": None, "every_minutes": 1e9}, {"num_epochs": 1}, [7]),
        (
            {"every_epochs": None, "every_minutes": 1e-9},
            {"num_epochs": 1},
            [1, 2, 3, 4, 5, 6, 7, 7],
        ),
    ],
)
def test_when_it_saves(options, fit, steps) -> None:
    store = Late()
    loop_of().fit(**fit, callbacks=[Checkpoint(store, **options)])
    assert store.steps == steps


def test_minutes_are_counted_from_the_last_save(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("tt_loop.callbacks.checkpoint.time.monotonic", lambda: now[0])

    class Clock(Callback):
        def on_batch_begin(self) -> None:
            now[0] += 60

    store = Late()
    checkpoint = Checkpoint(store, None, every_batches=5, every_minutes=2, at_end=False)
    loop_of().fit(num_epochs=2, callbacks=[Clock("clock"), checkpoint])
    assert store.steps == [2, 4, 5, 7, 9, 10, 12, 14]


def test_scores_are_those_of_the_moment() -> None:
    store = Late()
    loop_of().fit(num_epochs=2, callbacks=[Checkpoint(store)])
    assert [set(scores) for scores in store.scores] == [{"loss", "val_loss"}] * 2
    assert store.scores[0] != store.scores[1]


@pytest.mark.parametrize(
    "options", [{"every_epochs": 0}, {"every_batches": 0}, {"every_minutes": 0.0}]
)
def test_settings_that_cannot_be_are_refused(options) -> None:
    with pytest.raises(LoopValueError, match=next(iter(options))):
        Checkpoint(Late(), **options)


class Fails(Callback):
    """Fails at the end of a batch: the schedulers after it have not seen that batch."""

    def on_batch_end(self) -> None:
        if self.train_loop_obj.total_iteration_idx == 8:
            raise ZeroDivisionError


@pytest.mark.parametrize(("on_exception", "steps"), [(True, [7, 8]), (False, [7])])
def test_a_loader_that_fails_leaves_a_state_to_save(on_exception: bool, steps) -> None:
    class Broken(TensorDataset):
        def __getitem__(self, index):
            if self.reads > SAMPLES + 8:
                raise OSError("gone")
            self.reads += 1
            return super().__getitem__(index)

        def __getitems__(self, indices):
            return [self[index] for index in indices]

    loop, store = loop_of(), Late()
    data = Broken(*loop.train_loader.dataset.tensors)
    data.reads = 0
    loop.train_loader = DataLoader(data, 4, shuffle=True)
    with pytest.raises(OSError, match="gone"):
        loop.fit(num_epochs=2, callbacks=[Checkpoint(store, on_exception=on_exception)])
    assert store.steps == steps
    other, store = loop_of(), Late()
    with pytest.raises(ZeroDivisionError):
        other.fit(num_epochs=2, callbacks=[Fails("fails"), Checkpoint(store)])
    assert store.steps == [7]  # that state would not go on to the same bits


def test_a_signal_is_heeded_between_two_steps_where_a_callback_asks_for_it() -> None:
    class Signal(Callback):
        def on_after_gradient_update(self, optimizer_idx: int) -> None:
            if self.train_loop_obj.total_iteration_idx == 8:
                signal.raise_signal(signal.SIGTERM)

    store, loop = Late(), loop_of()
    with pytest.raises(SystemExit) as caught:
        loop.fit(num_epochs=2, callbacks=[Signal("signal"), Checkpoint(store)])
    assert caught.value.code == 128 + signal.SIGTERM
    assert store.steps == [7, 9]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ignored_signals_stay_ignored() -> None:
    class Signal(Callback):
        def on_batch_end(self) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        loop_of().fit(num_epochs=1, callbacks=[Signal("signal"), Checkpoint(Late())])
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_fit_can_be_asked_to_end_from_anywhere() -> None:
    class Asks(Callback):
        def on_batch_begin(self) -> None:
            if self.train_loop_obj.total_iteration_idx == 8:
                self.train_loop_obj.interrupt()

    loop, store = loop_of(), Late()
    loop.exception_for_signal = lambda number: LookupError(number)
    loop.interrupt()  # nothing is under way
    with pytest.raises(LookupError, match=str(int(signal.SIGTERM))):
        loop.fit(num_epochs=2, callbacks=[Asks("asks"), Checkpoint(store)])
    assert store.steps == [7, 9]


def test_a_state_without_classes_still_loads() -> None:
    """Those of earlier versions."""
    loop = loop_of()
    loop.fit(num_epochs=1, callbacks=[StepLRScheduler(1)])
    state = copy.deepcopy(loop.state_dict())
    del state["kinds"], state["recorded"]
    other = loop_of()
    other.load_state_dict(state)
    other.check_state_dict(state)
    assert same(other.model.state_dict(), loop.model.state_dict())


def test_a_state_is_looked_at_before_anything_of_it_is_loaded() -> None:
    loop = loop_of()
    loop.fit(num_epochs=1, callbacks=[StepLRScheduler(1)])
    state = copy.deepcopy(loop.state_dict())
    other = loop_of()
    before = copy.deepcopy(other.model.state_dict())
    with pytest.raises(LoopStateError, match=r"scheduler 0 +StepLRScheduler\(StepLR\) +-"):
        other.check_state_dict(state)
    mixed = {**state, "precision": {"dtype": "bfloat16", "scaler": {}}}
    with pytest.raises(LoopStateError, match=r"precision +mixed bfloat16 +full"):
        other.check_state_dict(mixed)
    other.optimizer = torch.optim.SGD(other.model.parameters(), lr=0.1)
    with pytest.raises(LoopStateError, match=r"optimizer 0 +AdamW +SGD"):
        other.load_state_dict(state)
    assert same(before, dict(other.model.state_dict()))
    several = loop_of(several=True)
    with pytest.raises(LoopStateError, match=r"number of optimizers +1 +2"):
        several.load_state_dict(state)
