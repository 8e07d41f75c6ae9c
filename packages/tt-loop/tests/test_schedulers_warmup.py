"""Warm-up and decay: the rates of transformers to the last bit, over the updates of a fit."""

import copy
import logging
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD

from tt_loop.api import Callback, LoopStateError, LoopValueError, SingleDevice
from tt_loop.schedulers.basic import AbstractScheduler
from tt_loop.schedulers.curves import (
    constant_with_warmup,
    cosine_with_warmup,
    hard_restarts_cosine_with_warmup,
    inverse_sqrt_with_warmup,
    linear_with_warmup,
    polynomial_with_warmup,
    warmup_stable_decay,
)
from tt_loop.schedulers.decay import (
    InverseSqrtWithWarmupScheduler,
    PolynomialWithWarmupScheduler,
    WarmupStableDecayScheduler,
)
from tt_loop.schedulers.warmup import (
    ConstantWithWarmupScheduler,
    CosineWithWarmupScheduler,
    HardRestartsCosineWithWarmupScheduler,
    LinearWithWarmupScheduler,
)
from tt_loop.training.multi_loss_optim import MultiOptimizer

# Ours, theirs, and the arguments besides the number of updates in all.
PAIRS = [
    (LinearWithWarmupScheduler, "get_linear_schedule_with_warmup", {}),
    (CosineWithWarmupScheduler, "get_cosine_schedule_with_warmup", {}),
    (CosineWithWarmupScheduler, "get_cosine_schedule_with_warmup", {"num_cycles": 1.7}),
    (
        CosineWithWarmupScheduler,
        "get_cosine_with_min_lr_schedule_with_warmup",
        {"min_lr": 0.007},
    ),
    (
        CosineWithWarmupScheduler,
        "get_cosine_with_min_lr_schedule_with_warmup",
        {"min_lr_rate": 0.3, "num_cycles": 1.5},
    ),
    (
        HardRestartsCosineWithWarmupScheduler,
        "get_cosine_with_hard_restarts_schedule_with_warmup",
        {},
    ),
    (
        HardRestartsCosineWithWarmupScheduler,
        "get_cosine_with_hard_restarts_schedule_with_warmup",
        {"num_cycles": 3},
    ),
    (PolynomialWithWarmupScheduler, "get_polynomial_decay_schedule_with_warmup", {}),
    (
        PolynomialWithWarmupScheduler,
        "get_polynomial_decay_schedule_with_warmup",
        {"lr_end": 0.003, "power": 2.5},
    ),
    (WarmupStableDecayScheduler, "get_wsd_schedule", {"num_decay_steps": 5}),
    *(
        (
            WarmupStableDecayScheduler,
            "get_wsd_schedule",
            {
                "num_decay_steps": 4,
                "warmup_type": rise,
                "decay_type": fall,
                "min_lr_ratio": 0.1,
            },
        )
        for rise, fall in [("linear", "1-sqrt"), ("cosine", "linear"), ("1-sqrt", "cosine")]
    ),
]
ENDLESS = [
    (ConstantWithWarmupScheduler, "get_constant_schedule_with_warmup", {}),
    (InverseSqrtWithWarmupScheduler, "get_inverse_sqrt_schedule", {}),
    (InverseSqrtWithWarmupScheduler, "get_inverse_sqrt_schedule", {"timescale": 3}),
]


@pytest.fixture(scope="module")
def theirs():
    pytest.importorskip("transformers")
    from transformers import optimization

    return optimization


class Rates(Callback):
    """Notes the learning rate of every update."""

    def __init__(self) -> None:
        super().__init__("rates")
        self.seen: list = []

    def on_before_optimizer_step(self, optimizer_idx: int) -> None:
        groups = self.train_loop_obj.optimizers[optimizer_idx].param_groups
        self.seen.append([group["lr"] for group in groups])


def sgd(model) -> SGD:
    return SGD(model.parameters(), lr=0.037)


def rates_of(loop, scheduler, **fit) -> list:
    noted = Rates()
    loop.fit(callbacks=[scheduler, noted], **fit)
    return noted.seen


def expected(schedule, steps: int, **arguments) -> list:
    optimizer = SGD(nn.Linear(1, 1).parameters(), lr=0.037)
    scheduler = schedule(optimizer, **arguments)
    trace = []
    for _ in range(steps):
        trace.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return trace


@pytest.fixture
def job(make_loop):
    """A loop of 5 updates an epoch at a learning rate of 0.037."""

    def make(**options):
        loop = make_loop(validation=False, **options)
        for group in loop.optimizer.param_groups:
            group["lr"] = 0.037
        loop.optimizer.defaults["lr"] = 0.037
        return loop

    return make


@pytest.mark.parametrize("total", [15, None])
@pytest.mark.parametrize("warmup", [0, 1, 4])
@pytest.mark.parametrize(("ours", "name", "arguments"), PAIRS)
def test_schedules_equal_those_of_transformers(
    job, theirs, ours, name, arguments, warmup, total
) -> None:
    scheduler = ours(num_warmup_steps=warmup, num_training_steps=total, **arguments)
    found = rates_of(job(), scheduler, num_epochs=3)
    schedule = getattr(theirs, name)
    assert found == expected(
        schedule, 15, num_warmup_steps=warmup, num_training_steps=15, **arguments
    )
    assert isinstance(scheduler, AbstractScheduler)


@pytest.mark.parametrize("warmup", [0, 1, 4])
@pytest.mark.parametrize(("ours", "name", "arguments"), ENDLESS)
def test_schedules_without_an_end_equal_those_of_transformers(
    job, theirs, ours, name, arguments, warmup
) -> None:
    found = rates_of(job(), ours(warmup, **arguments), num_epochs=3)
    assert found == expected(getattr(theirs, name), 15, num_warmup_steps=warmup, **arguments)


@pytest.mark.parametrize(("ours", "name", "arguments"), PAIRS)
def test_schedules_equal_those_of_transformers_beyond_their_end(
    job, theirs, ours, name, arguments
) -> None:
    scheduler = ours(num_warmup_steps=2, num_training_steps=8, **arguments)
    found = rates_of(job(), scheduler, num_epochs=3)
    schedule = getattr(theirs, name)
    assert found == expected(schedule, 15, num_warmup_steps=2, num_training_steps=8, **arguments)


def test_aitoolboxs_arguments_may_be_given_by_position() -> None:
    assert CosineWithWarmupScheduler(1, 2, 1.5, 3).kwargs["last_epoch"] == 3
    assert HardRestartsCosineWithWarmupScheduler(1, 2, 2, 3).kwargs["last_epoch"] == 3
    assert LinearWithWarmupScheduler(1, 2, 3).kwargs["last_epoch"] == 3
    assert ConstantWithWarmupScheduler(1, 3).kwargs["last_epoch"] == 3


def test_hard_restarts_fall_once_by_default() -> None:
    curve = hard_restarts_cosine_with_warmup(0, 100)
    values = [curve(step) for step in range(101)]
    assert values == sorted(values, reverse=True)
    assert values[99] < 0.001


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_fits_own_updates_are_the_schedule(job, accumulation) -> None:
    scheduler = LinearWithWarmupScheduler(num_warmup_steps=1)
    found = rates_of(job(), scheduler, num_epochs=2, grad_accumulation=accumulation)
    updates = len(found)
    curve = linear_with_warmup(1, updates)
    assert found == [[0.037 * curve(step)] for step in range(updates)]
    assert scheduler.num_training_steps == updates == {1: 10, 2: 6}[accumulation]
    assert scheduler.last_lr == [[0.0]]


def test_iterations_are_counted_as_updates(job) -> None:
    scheduler = LinearWithWarmupScheduler(num_warmup_steps=1)
    rates_of(job(), scheduler, num_iterations=7)
    assert scheduler.num_training_steps == 7
    assert scheduler.last_lr == [[0.0]]


class Elsewhere:
    """Trains a copy, as a launcher of processes does."""

    in_process = False

    def run(self, fn):
        copied = pickle.loads(pickle.dumps(fn))
        return [pickle.loads(pickle.dumps(copied(SingleDevice("cpu"))))]


@pytest.mark.parametrize("total", [None, 10])
def test_a_fit_in_another_process_leaves_the_schedule_where_it_was(job, total) -> None:
    scheduler = CosineWithWarmupScheduler(1, total)
    loop = job(gpu_mode=Elsewhere())
    loop.fit(num_epochs=2, callbacks=[scheduler])
    assert scheduler.num_training_steps == 10
    assert scheduler.schedulers[0].last_epoch == 10
    assert loop.optimizer.param_groups[0]["lr"] == 0.0


class Break(Exception):  # noqa: N818  # it is no error
    pass


class SaveAndBreak(Callback):
    """Keeps the loop's state after an epoch and ends training like a crash."""

    def __init__(self, epochs: int) -> None:
        super().__init__("save", execution_order=100)
        self.epochs = epochs
        self.saved: dict = {}

    def on_epoch_end(self) -> None:
        if self.train_loop_obj.epochs_done == self.epochs:
            self.saved = copy.deepcopy(self.train_loop_obj.state_dict())
            raise Break


@pytest.mark.parametrize("mode", ["single", Elsewhere()])
@pytest.mark.parametrize("total", [None, 15])
def test_a_resumed_run_goes_on_with_the_same_rates(job, total, mode) -> None:
    whole = rates_of(job(), CosineWithWarmupScheduler(4, total), num_epochs=3)
    saver, noted = SaveAndBreak(2), Rates()
    with pytest.raises(Break):
        job().fit(num_epochs=3, callbacks=[CosineWithWarmupScheduler(4, total), noted, saver])
    resumed = job(gpu_mode=mode)
    resumed.load_state_dict(saver.saved)
    scheduler = CosineWithWarmupScheduler(4, total)
    after = rates_of(resumed, scheduler, num_epochs=3)
    if mode == "single":
        assert noted.seen + after == whole
    assert scheduler.num_training_steps == 15
    assert scheduler.schedulers[0].last_epoch == 15


def test_a_state_may_be_loaded_before_the_callback_joins_a_loop(job) -> None:
    first = LinearWithWarmupScheduler(1)
    job().fit(num_epochs=2, callbacks=[first])
    second = LinearWithWarmupScheduler(1)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    job().fit(num_iterations=1, callbacks=[second])
    assert second.num_training_steps == 10
    assert second.schedulers[0].last_epoch == 11


def test_a_fit_after_the_schedule_is_told(job, caplog) -> None:
    loop, scheduler = job(), LinearWithWarmupScheduler(1)
    with caplog.at_level(logging.WARNING):
        loop.fit(num_epochs=1, callbacks=[scheduler])
        assert "is over" not in caplog.text
        loop.fit(num_epochs=1)
    assert "the schedule of 5 steps is over" in caplog.text
    assert scheduler.last_lr == [[0.0]]


def test_epochs_may_be_the_steps(job) -> None:
    scheduler = LinearWithWarmupScheduler(1, 3, step_on="epoch")
    found = rates_of(job(), scheduler, num_epochs=3)
    assert [rate for [rate] in found[::5]] == [0.0, 0.037, 0.037 * 0.5]
    with pytest.raises(LoopValueError, match="pass their number"):
        LinearWithWarmupScheduler(1, step_on="epoch")


@pytest.mark.parametrize("kind", [LinearWithWarmupScheduler, CosineWithWarmupScheduler])
def test_numbers_that_cannot_be_are_errors(job, kind) -> None:
    for warmup, total in [(-1, None), (-1, 4), (1, -4)]:
        with pytest.raises(LoopValueError, match="must not be negative"):
            kind(warmup, total)
    with pytest.raises(LoopValueError, match="num_warmup_steps=5 and num_training_steps=4"):
        kind(5, 4)
    with pytest.raises(LoopValueError, match="num_warmup_steps=6 and num_training_steps=5"):
        job().fit(num_epochs=1, callbacks=[kind(6)])
    with pytest.raises(LoopValueError, match="must not be negative"):
        ConstantWithWarmupScheduler(-1)


def test_settings_that_cannot_be_are_errors(job) -> None:
    with pytest.raises(LoopValueError, match="min_lr or min_lr_rate, got both"):
        CosineWithWarmupScheduler(1, 4, min_lr=0.1, min_lr_rate=0.1)
    with pytest.raises(LoopValueError, match=r"lr_end must be below .* got 0.5 and 0.037"):
        job().fit(num_epochs=1, callbacks=[PolynomialWithWarmupScheduler(1, lr_end=0.5)])
    with pytest.raises(LoopValueError, match=r"one of .*, got 'sine'"):
        warmup_stable_decay(1, 2, 4, decay_type="sine")
    with pytest.raises(LoopValueError, match="must end before training"):
        warmup_stable_decay(2, 3, 4)


numbers = st.integers(0, 50)


@given(warmup=numbers, more=numbers, cycles=st.integers(1, 4))
def test_curves_rise_to_one_and_stay_within_bounds(warmup: int, more: int, cycles: int) -> None:
    total = warmup + more
    curves = [
        constant_with_warmup(warmup),
        linear_with_warmup(warmup, total),
        cosine_with_warmup(warmup, total, cycles / 2, 0.25),
        hard_restarts_cosine_with_warmup(warmup, total, cycles),
        polynomial_with_warmup(warmup, total, 0.1, 0.01, cycles),
        inverse_sqrt_with_warmup(warmup),
        warmup_stable_decay(warmup, more // 2, total),
    ]
    for curve in curves:
        values = [pickle.loads(pickle.dumps(curve))(step) for step in range(total + 3)]
        assert values[:warmup] == [step / warmup for step in range(warmup)]
        assert all(0.0 <= value <= 1.0 for value in values)
        if more > 1:
            assert math.isclose(values[warmup], 1.0)


def test_a_rate_may_be_a_tensor(job) -> None:
    def tensor_job(**options):
        loop = job(**options)
        loop.optimizer = torch.optim.Adam(loop.model.parameters(), lr=torch.tensor(0.5))
        return loop

    for mode in ("single", Elsewhere()):
        for total in (None, 10):
            scheduler = CosineWithWarmupScheduler(1, total, min_lr=0.25)
            loop = tensor_job(gpu_mode=mode)
            loop.fit(num_epochs=2, callbacks=[scheduler])
            assert scheduler.last_lr == [[0.25]]
            assert loop.optimizer.param_groups[0]["lr"] == torch.tensor(0.25)


def test_an_optimizer_that_steps_seldom_has_a_shorter_schedule(job) -> None:
    loop = job()
    first, second = (nn.Parameter(torch.ones(1)) for _ in range(2))
    loop.model.register_parameter("first", first)
    loop.model.register_parameter("second", second)
    optimizers = [SGD([first], lr=0.1), SGD(loop.model[0].parameters(), lr=0.1)]
    loop.optimizer = MultiOptimizer(optimizers, every=[1, 3])
    scheduler = LinearWithWarmupScheduler(1)
    loop.fit(num_epochs=3, callbacks=[scheduler])
    assert [inner.last_epoch for inner in scheduler.schedulers] == [15, 5]
    assert scheduler.last_lr == [[0.0], [0.0]]


def test_a_dry_run_does_not_fix_the_length(job) -> None:
    schedulers = [
        LinearWithWarmupScheduler(4),
        WarmupStableDecayScheduler(num_warmup_steps=2, num_decay_steps=3),
    ]
    for mode in ("single", Elsewhere()):
        for scheduler in schedulers:
            loop = job(gpu_mode=mode)
            loop.fit(num_epochs=2, callbacks=[scheduler], dry_run=2)
            assert scheduler.num_training_steps is None
            loop.fit(num_epochs=2)
            assert scheduler.num_training_steps == 10
            assert scheduler.last_lr == [[0.0]]


def test_a_loader_without_a_length_needs_the_number(job) -> None:
    class Endless:
        def __iter__(self):
            yield from loader

    loop = job()
    loader = loop.train_loader
    loop.train_loader = Endless()
    with pytest.raises(LoopStateError, match="say the number yourself"):
        loop.fit(num_epochs=1, callbacks=[LinearWithWarmupScheduler(1)])
