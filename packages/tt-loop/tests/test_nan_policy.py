"""What happens to a step whose gradients are no numbers: loops by hand leave it out."""

import contextlib
import copy
import itertools
import logging
import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tt_loop.api import (
    Callback,
    GradNormClip,
    LoopValueError,
    NonFiniteError,
    SingleDevice,
    TrainLoop,
    TTModel,
)
from tt_loop.schedulers.basic import GeneralLRSchedulerCallback
from tt_loop.training.multi_loss_optim import MultiLoss, MultiOptimizer

CRITERION = nn.CrossEntropyLoss()
BATCHES = 6


def batches(count: int = BATCHES) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(count, 4, 3, generator=generator)
    return [[x, (x.sum(1) > 0).long()] for x in features]


class Net(TTModel):
    """Some of its training losses are spoilt, by the number of the training step."""

    def __init__(self, spoilt=(), how: str = "loss", momentum: float | None = 0.1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Linear(3, 5), nn.BatchNorm1d(5, momentum=momentum), nn.ReLU(), nn.Linear(5, 2)
        )
        self.spoilt, self.how = set(spoilt), how
        self.number = 0

    def loss(self, batch, bad: bool = False):
        x, y = batch
        if bad and self.how == "inputs":
            x = torch.full_like(x, math.nan)
        loss = CRITERION(self.layers(x), y)
        return loss * math.inf if bad and self.how == "loss" else loss

    def get_loss(self, batch_data, criterion, device):
        self.number += 1
        return self.loss(batch_data, self.number - 1 in self.spoilt)

    def get_loss_eval(self, batch_data, criterion, device):
        return self.loss(batch_data)

    def get_predictions(self, batch_data, device):
        return self.layers(batch_data[0]), batch_data[1], {}


OPTIMIZERS = {
    "SGD": lambda ps, **fused: torch.optim.SGD(ps, lr=0.1, momentum=0.9, **fused),
    "Adam": lambda ps, **fused: torch.optim.Adam(ps, lr=0.05, **fused),
    "AdamW": lambda ps, **fused: torch.optim.AdamW(ps, lr=0.05, weight_decay=0.1, **fused),
}


def make(name: str, fused: bool):
    return lambda parameters: OPTIMIZERS[name](parameters, fused=fused)


def sgd(parameters):
    return OPTIMIZERS["SGD"](parameters)


def fused_adam(parameters):
    return OPTIMIZERS["Adam"](parameters, fused=True)


def loop_of(model, optimizer=sgd, policy="skip", count: int = BATCHES, **options) -> TrainLoop:
    made = optimizer(model.parameters()) if callable(optimizer) else optimizer
    options = {"criterion": None, **options}
    criterion = options.pop("criterion")
    return TrainLoop(
        model,
        batches(count),
        None,
        None,
        made,
        criterion,
        seed=0,
        progress=False,
        nan_policy=policy,
        **options,
    )


def fitted(model, optimizer=sgd, policy="skip", count: int = BATCHES, **fit) -> TrainLoop:
    loop = loop_of(model, optimizer, policy, count)
    loop.fit(**{"num_epochs": 2, **fit})
    return loop


def by_hand(steps, optimizer=sgd, window: int = 1, clip: float = 0.0, **net):
    """A bare loop over batches of these numbers; returns the model and the optimizer."""
    model, data = Net(**net), batches()
    made, losses = optimizer(model.parameters()), []
    for start in range(0, len(steps), window):
        numbers = steps[start : start + window]
        for number in numbers:
            loss = model.loss(data[number % BATCHES])
            losses.append(float(loss.detach()))
            (loss / len(numbers)).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        made.zero_grad()
    return model, made, losses


def assert_equal(model: nn.Module, other: nn.Module) -> None:
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def assert_equal_states(some: torch.optim.Optimizer, other: torch.optim.Optimizer) -> None:
    states = [optimizer.state_dict()["state"] for optimizer in (some, other)]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


def without(*left_out: int, count: int = 2 * BATCHES) -> list[int]:
    return [number for number in range(count) if number not in left_out]


# skip


@pytest.mark.parametrize("how", ["inputs", "loss"])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("spoilt", [(1,), (2, 3, 8), (5, 6, 11)])
def test_skip_leaves_no_trace_of_a_bad_batch(spoilt, name: str, fused: bool, how: str) -> None:
    optimizer = make(name, fused)
    loop = fitted(Net(spoilt, how), optimizer)
    model, made, losses = by_hand(without(*spoilt), optimizer)
    assert_equal(model, loop.model)
    assert_equal_states(made, loop.optimizer)
    first = [number for number in without(*spoilt) if number < BATCHES]
    expected = [losses[: len(first)], losses[len(first) :]]
    means = [sum(epoch) / len(epoch) for epoch in expected]
    assert loop.train_history["loss"] == pytest.approx(means, rel=1e-12)


@pytest.fixture
def uninitialized_is_nan():
    """Memory that nobody has written is NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("uninitialized_is_nan")
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("fused", [False, True])
def test_skip_of_the_very_first_step(name: str, fused: bool) -> None:
    optimizer = make(name, fused)
    loop = fitted(Net([0]), optimizer)
    model, made, _ = by_hand(without(0), optimizer)
    assert_equal(model, loop.model)
    assert_equal_states(made, loop.optimizer)


@pytest.mark.parametrize("optimizer", [sgd, fused_adam])
@pytest.mark.parametrize("spoilt", [0, 3, 7])
def test_a_window_with_a_bad_batch_is_left_out_whole(spoilt: int, optimizer) -> None:
    loop = fitted(Net([spoilt]), optimizer, grad_accumulation=2)
    first = spoilt - spoilt % 2
    model, made, _ = by_hand(without(first, first + 1), optimizer, window=2)
    assert_equal(model, loop.model)
    assert_equal_states(made, loop.optimizer)
    assert loop.updates_done == BATCHES


@pytest.mark.parametrize("optimizer", [sgd, fused_adam])
def test_a_bad_batch_in_a_last_partial_window(optimizer) -> None:
    loop = fitted(Net([5]), optimizer, grad_accumulation=4, num_epochs=1)
    model, _, _ = by_hand([0, 1, 2, 3], optimizer, window=4)
    assert_equal(model, loop.model)


def test_the_other_losses_of_a_window_that_is_left_out_count() -> None:
    loop = fitted(Net([3]), grad_accumulation=2, num_epochs=1)
    start, data = Net(), batches()
    losses = [start.loss(data[number]) for number in (0, 1)]
    for loss in losses:
        (loss / 2).backward()
    sgd(start.parameters()).step()
    losses.append(start.loss(data[2]))
    after = by_hand([0, 1], window=2)[0]
    losses += [after.loss(data[number]) for number in (4, 5)]
    expected = sum(float(loss.detach()) for loss in losses) / 5
    assert loop.train_history["loss"] == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("optimizer", [sgd, fused_adam])
def test_skip_goes_with_clipping(optimizer) -> None:
    loop = fitted(Net([2, 9]), optimizer, callbacks=[GradNormClip(0.05)])
    model, _, _ = by_hand(without(2, 9), optimizer, clip=0.05)
    assert_equal(model, loop.model)


@pytest.mark.parametrize("optimizer", [sgd, fused_adam])
def test_statistics_over_all_batches_do_not_count_the_bad_one(optimizer) -> None:
    loop = fitted(Net([4], "inputs", momentum=None), optimizer)
    model, _, _ = by_hand(without(4), optimizer, momentum=None)
    assert_equal(model, loop.model)
    assert int(loop.model.layers[1].num_batches_tracked) == 2 * BATCHES - 1


class Replacing(Net):
    """Puts new tensors into its buffers; one of them grows."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.register_buffer("average", torch.zeros(3))
        self.register_buffer("seen", torch.zeros(0))
        self.register_buffer("nothing", None)

    def loss(self, batch, bad: bool = False):
        x = batch[0].fill_(math.nan) if bad else batch[0]
        self.average = 0.9 * self.average + 0.1 * x.mean(0)
        self.seen = torch.cat([self.seen, x.mean().reshape(1)])
        return super().loss(batch, bad)


@pytest.mark.parametrize("optimizer", [sgd, fused_adam])
def test_buffers_that_a_forward_pass_replaces_go_back_too(optimizer) -> None:
    loop = loop_of(Replacing([3]), optimizer)
    loop.fit(num_epochs=1)
    model = Replacing()
    for number, batch in enumerate(batches()):
        if number != 3:
            model.loss(batch)
    assert torch.equal(model.average, loop.model.average)
    assert torch.equal(model.seen, loop.model.seen)


@pytest.mark.parametrize("optimizer", [sgd, fused_adam])
def test_a_schedule_of_updates_does_not_go_on_at_a_bad_one(optimizer) -> None:
    schedule = GeneralLRSchedulerCallback(
        torch.optim.lr_scheduler.ExponentialLR, step_on="update", gamma=0.5
    )
    loop = fitted(Net([1, 4]), optimizer, num_epochs=1, callbacks=[schedule])
    model = Net()
    made = optimizer(model.parameters())
    scheduler = torch.optim.lr_scheduler.ExponentialLR(made, gamma=0.5)
    for number in (0, 2, 3, 5):
        model.loss(batches()[number]).backward()
        made.step()
        made.zero_grad()
        scheduler.step()
    assert_equal(model, loop.model)
    assert loop.optimizer.param_groups[0]["lr"] == made.param_groups[0]["lr"]


def test_each_bad_step_is_told_once(caplog) -> None:
    for optimizer in (sgd, fused_adam):
        caplog.clear()
        fitted(Net([1, 8, 11]), optimizer, num_epochs=2)
        told = [r.getMessage() for r in caplog.records if r.name == "tt_loop.training.nonfinite"]
        places = [(1, 1, 0), (8, 2, 1), (11, 5, 1)]
        for text, (step, batch, epoch) in zip(told, places, strict=True):
            assert f"step {step} (batch {batch} of epoch {epoch})" in text
            assert "nan_policy='skip'" in text


class Reads(TorchDispatchMode):
    """Counts the values that come to Python."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket.__name__ in {"_local_scalar_dense", "nonzero", "equal"}
        return func(*args, **(kwargs or {}))


class CountReads(Callback):
    """Counts between two batches."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__("count reads", execution_order=-1000)
        self.first, self.last = first, last
        self.reads = Reads()

    def on_batch_begin(self) -> None:
        if self.train_loop_obj.iteration == self.first:
            self.reads.__enter__()
        if self.train_loop_obj.iteration == self.last:
            self.reads.__exit__(None, None, None)


def reads_of(optimizer, policy, between=(245, 265), callbacks=(), **fit) -> int:
    counting = CountReads(*between)  # the losses of 256 batches are added up at once
    loop = loop_of(Net(), optimizer, policy, count=between[1] + 1)
    loop.fit(num_epochs=1, callbacks=[counting, *callbacks], **fit)
    return counting.reads.count


@pytest.mark.parametrize("policy", ["stop", "skip"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fused_optimizer_waits_for_nothing(name: str, policy: str) -> None:
    assert reads_of(make(name, True), policy, callbacks=[GradNormClip(1.0)]) == 0
    assert reads_of(make(name, True), policy, grad_accumulation=3) == 0


def test_a_fused_optimizer_waits_only_for_a_snapshot() -> None:
    assert reads_of(fused_adam, "rollback", (102, 112)) == 0


def test_another_optimizer_has_one_flag_read_a_step() -> None:
    assert reads_of(sgd, "skip") == 20


# stop


@pytest.mark.parametrize("how", ["inputs", "loss"])
@pytest.mark.parametrize("optimizer", [sgd, fused_adam], ids=["plain", "fused"])
@pytest.mark.parametrize(
    ("spoilt", "where"), [(3, "batch 3 of epoch 0"), (8, "batch 2 of epoch 1")]
)
def test_stop_raises_and_leaves_what_was_before_the_bad_step(spoilt, where, optimizer, how) -> None:
    loop = loop_of(Net([spoilt], how), optimizer, "stop")
    model, made, losses = by_hand([*range(spoilt)], optimizer)
    told = rf"of step {spoilt} \({where}\) are not finite; .* finite loss was {losses[-1]:g}\."
    with pytest.raises(NonFiniteError, match=told):
        loop.fit(num_epochs=2)
    assert_equal(model, loop.model)
    assert_equal_states(made, loop.optimizer)


@pytest.mark.parametrize("spoilt", [4, 5])
def test_stop_comes_at_the_latest_at_the_epochs_end(spoilt: int) -> None:
    loop = loop_of(Net([spoilt]), fused_adam, "stop")
    with pytest.raises(NonFiniteError, match=f"step {spoilt} "):
        loop.fit(num_epochs=1)
    assert_equal(by_hand([*range(spoilt)], fused_adam)[0], loop.model)


@pytest.mark.parametrize("optimizer", [sgd, fused_adam], ids=["plain", "fused"])
def test_stop_with_accumulation_leaves_the_weights_before_the_window(optimizer) -> None:
    loop = loop_of(Net([2]), optimizer, "stop")
    with pytest.raises(NonFiniteError, match=r"step 3 \(batch 3"):
        loop.fit(num_epochs=1, grad_accumulation=2)
    assert_equal(by_hand([0, 1], optimizer, window=2)[0], loop.model)


@pytest.mark.parametrize("optimizer", [sgd, fused_adam], ids=["plain", "fused"])
def test_a_sound_run_is_that_of_no_policy(optimizer) -> None:
    bare = fitted(Net(), optimizer, None)
    for policy in ("stop", "skip", "rollback"):
        guarded = fitted(Net(), optimizer, policy)
        assert_equal(bare.model, guarded.model)
        assert_equal_states(bare.optimizer, guarded.optimizer)
        assert bare.train_history.state_dict() == guarded.train_history.state_dict()


def test_after_a_stop_a_loop_can_go_on() -> None:
    loop = loop_of(Net([2]), fused_adam, "stop")
    with pytest.raises(NonFiniteError):
        loop.fit(num_epochs=1)
    before = copy.deepcopy(loop.model.state_dict())
    loop.fit(num_epochs=1)
    assert not torch.equal(before["layers.0.weight"], loop.model.layers[0].weight)


class Rooted(Net):
    """The loss is finite where its gradient is not."""

    def get_loss(self, batch_data, criterion, device):
        loss = super().get_loss(batch_data, criterion, device)
        bad = self.number == 4
        return loss + (self.layers[0].weight.sum() * 0).sqrt() * 0 if bad else loss


@pytest.mark.parametrize("optimizer", [sgd, fused_adam], ids=["plain", "fused"])
def test_the_newest_finite_loss_is_told_where_all_losses_are_finite(optimizer) -> None:
    loop = loop_of(Rooted(), optimizer, "stop")
    with pytest.raises(NonFiniteError, match=r"step 3 \(batch 3 .* finite loss was \d\."):
        loop.fit(num_epochs=1)


# rollback


def rolled_back(spoilt, optimizer, lag: int, epochs: int = 2, gamma: float = 1.0):
    """By hand: back to the beginning ``lag`` steps after the first of some bad ones."""
    model = Net()
    made = optimizer(model.parameters())
    start = copy.deepcopy((model.state_dict(), made.state_dict()["state"]))
    rate, due = made.param_groups[0]["lr"], []
    for number in range(epochs * BATCHES):
        made.param_groups[0]["lr"] = rate
        if number in spoilt:
            due.append(number + lag)
        else:
            model.loss(batches()[number % BATCHES]).backward()
            made.step()
            made.zero_grad()
            rate *= gamma
        if number in due or (due and (number + 1) % BATCHES == 0):
            model.load_state_dict(start[0])
            groups = made.state_dict()["param_groups"]
            made.load_state_dict({"state": copy.deepcopy(start[1]), "param_groups": groups})
            due = []
    return model, made, rate


@pytest.mark.parametrize(("optimizer", "lag"), [(sgd, 0), (fused_adam, 2)], ids=["plain", "fused"])
@pytest.mark.parametrize("spoilt", [(4,), (2, 8), (5, 6)])
def test_rollback_goes_back_to_the_snapshot_and_on_with_the_next_batch(
    spoilt, optimizer, lag
) -> None:
    loop = fitted(Net(spoilt), optimizer, "rollback")
    model, made, _ = rolled_back(spoilt, optimizer, lag)
    assert_equal(model, loop.model)
    assert_equal_states(made, loop.optimizer)


@pytest.mark.parametrize(("optimizer", "lag"), [(sgd, 0), (fused_adam, 2)], ids=["plain", "fused"])
def test_rollback_leaves_learning_rates_to_the_schedule(optimizer, lag) -> None:
    schedule = GeneralLRSchedulerCallback(
        torch.optim.lr_scheduler.ExponentialLR, step_on="update", gamma=0.5
    )
    loop = fitted(Net([4]), optimizer, "rollback", callbacks=[schedule])
    model, made, rate = rolled_back((4,), optimizer, lag, gamma=0.5)
    assert loop.optimizer.param_groups[0]["lr"] == rate == schedule.last_lr[0][0]
    assert_equal(model, loop.model)
    assert_equal_states(made, loop.optimizer)


class Exploding(TTModel):
    """A weight that grows tenfold in each step until its loss is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))
        self.seen: list[float] = []

    def get_loss(self, batch_data, criterion, device):
        self.seen.append(self.weight.item())
        return -9 * self.weight.square() / 2

    def get_predictions(self, batch_data, device):
        return batch_data[0], batch_data[1], {}


def test_exploding_weights_go_back_and_too_many_rollbacks_raise() -> None:
    model = Exploding()
    loop = loop_of(model, torch.optim.SGD(model.parameters(), lr=1.0), "rollback", count=10)
    with pytest.raises(NonFiniteError, match="after 5 rollbacks in a row"):
        loop.fit(num_epochs=90)
    starts = [number for number, weight in enumerate(model.seen) if weight == 1.0]
    assert len(starts) == 6  # the snapshot's weight, at first and after each rollback
    assert len({after - before for before, after in itertools.pairwise(starts)}) == 1


def test_bad_batches_one_after_another_are_too_many_rollbacks() -> None:
    loop = loop_of(Net(range(2, 100)), policy="rollback")
    with pytest.raises(NonFiniteError, match="after 5 rollbacks in a row"):
        loop.fit(num_epochs=5)
    assert loop.total_iteration_idx == 2 + 5
    assert_equal(Net(), loop.model)


@pytest.mark.parametrize("optimizer", [sgd, fused_adam], ids=["plain", "fused"])
def test_a_snapshot_is_taken_after_a_hundred_good_updates(optimizer) -> None:
    loop = fitted(Net([130]), optimizer, "rollback", count=140, num_epochs=1)
    data, model = batches(140), Net()
    made = optimizer(model.parameters())

    def train(numbers) -> None:
        for number in numbers:
            model.loss(data[number]).backward()
            made.step()
            made.zero_grad()

    lag = 2 if optimizer is fused_adam else 0
    train(range(100))
    train(range(131 + lag, 140))
    assert_equal(model, loop.model)
    assert_equal_states(made, loop.optimizer)


def test_rare_bad_batches_may_be_many() -> None:
    spoilt = range(101, 1100, 150)
    loop = fitted(Net(spoilt), policy="rollback", count=50, num_epochs=22)
    assert loop.epochs_done == 22
    assert all(parameter.isfinite().all() for parameter in loop.model.parameters())


class Learned(nn.Module):
    """A criterion with a parameter and a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, output, target):
        self.calls += 1
        bad = bool(output.isnan().any())
        return CRITERION(output * self.temperature, target) * (math.nan if bad else 1)


@pytest.mark.parametrize(("policy", "calls"), [("rollback", 2), ("skip", 5)])
def test_a_criterion_goes_back_with_the_model(policy, calls: int) -> None:
    torch.manual_seed(0)
    model, criterion = nn.Linear(3, 2), Learned()
    loader = batches()
    loader[3][0].fill_(math.nan)
    parameters = [*model.parameters(), *criterion.parameters()]
    loop = TrainLoop(
        model, loader, None, None, sgd(parameters), criterion, progress=False, nan_policy=policy
    )
    loop.fit(num_epochs=1)
    assert int(criterion.calls) == calls
    assert criterion.temperature.isfinite()


# Loss scaling


class Scaled:
    """Loss scaling on the CPU, as for float16."""

    def __init__(self, **options) -> None:
        self.scaler = torch.amp.GradScaler("cpu", **options)

    def prepare(self, model, optimizers, /) -> None: ...

    def forward(self):
        return contextlib.nullcontext()

    def backward(self, loss, /, **options) -> None:
        self.scaler.scale(loss).backward(**options)

    def unscale(self, optimizer, /) -> None:
        self.scaler.unscale_(optimizer)

    def step(self, optimizer, /) -> bool:
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() < before

    def state_dict(self):
        return self.scaler.state_dict()

    def load_state_dict(self, state, /) -> None:
        self.scaler.load_state_dict(state)


SCALING = {"init_scale": 2.0**10, "growth_interval": 3}


class Scales(Callback):
    """Writes down the scale after each update."""

    def __init__(self, precision: Scaled) -> None:
        super().__init__("scales")
        self.precision, self.seen, self.skipped = precision, [], []

    def on_after_optimizer_step(self) -> None:
        self.seen.append(self.precision.scaler.get_scale())
        self.skipped.append(self.train_loop_obj.skipped())


@pytest.mark.parametrize("optimizer", [sgd, fused_adam], ids=["plain", "fused"])
@pytest.mark.parametrize("policy", ["skip", None])
def test_loss_scaling_goes_on_adapting(optimizer, policy) -> None:
    spoilt = (1, 7, 8)
    precision = Scaled(**SCALING)
    scales = Scales(precision)
    strategy = SingleDevice("cpu", precision)
    loop = loop_of(Net(spoilt), optimizer, policy, gpu_mode=strategy)
    loop.fit(num_epochs=2, callbacks=[scales])

    model, scaler, seen = Net(), torch.amp.GradScaler("cpu", **SCALING), []
    made = optimizer(model.parameters())
    for number in range(2 * BATCHES):
        before = copy.deepcopy(model.state_dict())
        scaler.scale(model.loss(batches()[number % BATCHES], number in spoilt)).backward()
        scaler.unscale_(made)
        scaler.step(made)
        scaler.update()
        made.zero_grad()
        seen.append(scaler.get_scale())
        if policy and number in spoilt:
            model.load_state_dict(before)  # the statistics of the batch norm
    assert scales.seen == seen
    assert scales.skipped == [number in spoilt for number in range(2 * BATCHES)]
    assert precision.scaler.state_dict() == scaler.state_dict()
    assert_equal(model, loop.model)
    assert_equal_states(made, loop.optimizer)


# No policy


def test_without_a_policy_the_epochs_end_names_the_first_bad_batch(caplog) -> None:
    loop = fitted(Net([8]), policy=None, num_epochs=2)
    losses = by_hand([*range(8)])[2]
    (told,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert told.getMessage().startswith("the loss of batch 2 of epoch 1 is not finite")
    assert f"was {losses[-1]:g} " in told.getMessage()
    assert [math.isfinite(loss) for loss in loop.train_history["loss"]] == [True, False]


@pytest.mark.parametrize("policy", ["ignore", True, 1])
def test_an_unknown_policy_is_refused(policy) -> None:
    with pytest.raises(LoopValueError, match="one of stop, skip, rollback"):
        loop_of(Net(), policy=policy)


# Several optimizers


class Pair(TTModel):
    """Two layers with a loss each; that of the named one is spoilt in step 2."""

    def __init__(self, spoilt: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)
        self.spoilt, self.number = spoilt, 0

    def losses(self, batch):
        return {name: CRITERION(getattr(self, name)(batch[0]), batch[1]) for name in "ab"}

    def get_loss(self, batch_data, criterion, device):
        losses = self.losses(batch_data)
        if self.number == 2 and self.spoilt:
            losses[self.spoilt] = losses[self.spoilt] * math.inf
        self.number += 1
        return MultiLoss(losses)

    def get_predictions(self, batch_data, device):
        return self.a(batch_data[0]), batch_data[1], {}


def optimizers_of(model, first=sgd, second=fused_adam) -> MultiOptimizer:
    return MultiOptimizer([first(model.a.parameters()), second(model.b.parameters())])


@pytest.mark.parametrize("spoilt", ["a", "b"])
@pytest.mark.parametrize(("first", "second"), [(sgd, fused_adam), (fused_adam, sgd), (sgd, sgd)])
def test_of_several_optimizers_only_the_one_with_bad_gradients_stays(spoilt, first, second) -> None:
    model, other, watch = Pair(spoilt), Pair(""), []

    class Watch(Callback):
        def on_after_optimizer_step(self) -> None:
            watch.append([self.train_loop_obj.skipped(number) for number in (0, 1)])

    loop = loop_of(model, optimizers_of(model, first, second))
    loop.fit(num_epochs=1, callbacks=[Watch("watch")])
    made = optimizers_of(other, first, second)
    for number, batch in enumerate(batches()):
        for name, optimizer in zip("ab", made, strict=True):
            if (number, name) != (2, spoilt):
                other.losses(batch)[name].backward()
                optimizer.step()
                other.zero_grad()
    assert_equal(other, model)
    sound = [False, False]
    assert watch == [sound, sound, [spoilt == "a", spoilt == "b"], sound, sound, sound]
    clean = Pair("")
    means = fitted(clean, optimizers_of(clean, first, second), num_epochs=1).train_history
    name = "b" if spoilt == "a" else "a"
    assert loop.train_history[f"loss_{name}"] == means[f"loss_{name}"]
    assert math.isfinite(loop.train_history[f"loss_{spoilt}"][0])


@pytest.mark.parametrize("spoilt", ["a", "b"])
@pytest.mark.parametrize(("first", "second"), [(sgd, fused_adam), (fused_adam, sgd)])
def test_bad_gradients_of_any_optimizer_stop_training(spoilt, first, second) -> None:
    model = Pair(spoilt)
    loop = loop_of(model, optimizers_of(model, first, second), "stop")
    with pytest.raises(NonFiniteError, match=r"step 2 \(batch 2 of epoch 0\)"):
        loop.fit(num_epochs=1)


def test_the_warning_of_an_epoch_names_the_loss_and_its_batch(caplog) -> None:
    class Alternating(Pair):
        def get_loss(self, batch_data, criterion, device):
            number = self.number
            losses = super().get_loss(batch_data, criterion, device)
            name = "ab"[number % 2]
            return MultiLoss({name: losses[name]}, {"a": 0, "b": 1})

    model = Alternating("a")
    fitted(model, optimizers_of(model), None, num_epochs=1)
    (told,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert told.startswith("the loss 'a' of batch 2 of epoch 0 is not finite")


# Resume


class Cut(Exception):  # noqa: N818  # it is no error
    pass


class CutAfter(Callback):
    """Copies the state after so many batches and ends the run."""

    def __init__(self, batches: int) -> None:
        super().__init__("cut", execution_order=100)
        self.batches = batches
        self.state: dict = {}

    def on_batch_end(self) -> None:
        if self.train_loop_obj.total_iteration_idx + 1 == self.batches:
            self.state = copy.deepcopy(self.train_loop_obj.state_dict())
            raise Cut


def cut_and_resumed(after: int, spoilt, optimizer, policy, **fit) -> TrainLoop:
    cut, broken = CutAfter(after), loop_of(Net(spoilt), optimizer, policy)
    with pytest.raises(Cut):
        broken.fit(num_epochs=2, callbacks=[cut], **fit)
    model = Net(spoilt)
    model.number = after
    resumed = loop_of(model, optimizer, policy)
    resumed.load_state_dict(cut.state)
    resumed.fit(num_epochs=2, **fit)
    return resumed


@pytest.mark.parametrize("policy", ["stop", "skip", "rollback"])
@pytest.mark.parametrize("optimizer", [sgd, fused_adam], ids=["plain", "fused"])
@pytest.mark.parametrize("after", [1, 3, 6, 8])
def test_a_sound_run_goes_on_exactly_with_a_policy(after: int, optimizer, policy) -> None:
    resumed = cut_and_resumed(after, (), optimizer, policy, grad_accumulation=4)
    whole = fitted(Net(), optimizer, policy, grad_accumulation=4)
    assert_same(whole, resumed)


@pytest.mark.parametrize("optimizer", [sgd, fused_adam], ids=["plain", "fused"])
@pytest.mark.parametrize("after", [1, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("window", [1, 2, 4])
def test_a_run_with_bad_batches_goes_on_exactly(after: int, window: int, optimizer) -> None:
    spoilt = (2, 4, 9)
    resumed = cut_and_resumed(after, spoilt, optimizer, "skip", grad_accumulation=window)
    assert_same(fitted(Net(spoilt), optimizer, "skip", grad_accumulation=window), resumed)


@pytest.mark.parametrize("after", [4, 5])
def test_a_stop_that_was_on_its_way_comes_after_a_resume(after: int) -> None:
    with pytest.raises(NonFiniteError, match=r"step 3 \(batch 3 of epoch 0\)"):
        cut_and_resumed(after, [3], fused_adam, "stop")


def assert_same(whole: TrainLoop, resumed: TrainLoop) -> None:
    assert_equal(whole.model, resumed.model)
    assert_equal_states(whole.optimizer, resumed.optimizer)
    assert whole.train_history.state_dict() == resumed.train_history.state_dict()
    assert whole.updates_done == resumed.updates_done
