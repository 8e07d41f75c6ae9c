"""The learning rate finder: its curve, and that it leaves no trace."""

import copy
import math
import random
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from tt_loop.api import (
    Callback,
    GradNormClip,
    GradValueClip,
    LoopStateError,
    LoopValueError,
    MissingPackageError,
    SingleDevice,
    TrainLoop,
)
from tt_loop.callbacks import _untouched
from tt_loop.callbacks.averaging import EMA
from tt_loop.callbacks.lr_finder import LRFinder, LRFinderResult, _Sweep
from tt_loop.data.batches import Batches
from tt_loop.training.multi_loss_optim import MultiLoss, MultiOptimizer


class Noise(nn.Module):
    """A layer that draws from every generator and keeps a counter that it replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x):
        self.calls = self.calls + 1
        return x + 0 * (random.random() + np.random.rand() + torch.rand(()))


@pytest.fixture
def job():
    """A loop whose model has every kind of state."""

    def make(optimizer=torch.optim.SGD, lr: float = 0.05, **options) -> TrainLoop:
        torch.manual_seed(0)
        features = torch.randn(40, 4)
        data = TensorDataset(features, (features.sum(1) > 0).long())
        model = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), Noise(), nn.Linear(8, 2)
        )
        if optimizer is torch.optim.SGD:
            options = {"momentum": 0.9, **options}
        made = optimizer(model.parameters(), lr=lr, **options)
        loader = DataLoader(data, batch_size=8, shuffle=True)
        return TrainLoop(model, loader, None, None, made, nn.CrossEntropyLoss(), progress=False)

    return make


def everything(loop) -> list:
    """All that a loop, its parts and the generators hold, as values that can be compared."""
    state = copy.deepcopy(loop.state_dict())
    del state["fit"]["elapsed"]  # it tells the time
    parts = [*loop.model.named_parameters(), *loop.model.named_buffers()]
    return [
        state,
        [(name, tensor.clone(), tensor.grad) for name, tensor in parts],
        [module.training for module in loop.model.modules()],
        copy.deepcopy(loop.optimizer.param_groups),
        (loop.epoch, loop.iteration, loop.num_iterations, loop.early_stop, loop.last_loss),
        dict(loop.train_history.items()),
        [*loop.callbacks],
        (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()),
    ]


def equal(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return one is other or (one.dtype == other.dtype and torch.equal(one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return one is other or one == other


def by_hand(loop, lrs) -> list[float]:
    """The losses of the loop that one writes by hand, in the loop's order."""
    batches: list = []
    read = Batches(loop.train_loader, "training", rank=0, world_size=1, seed=loop.seed)
    epoch, losses = 0, []
    loop.model.train()
    for lr in lrs:
        if not batches:
            batches = list(read.epoch(epoch))
            epoch += 1
        inputs, target = batches.pop(0)
        for group in loop.optimizer.param_groups:
            group["lr"] = lr
        loss = loop.criterion(loop.model(inputs), target)
        loss.backward()
        loop.optimizer.step()
        loop.optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_the_losses_are_those_of_the_loop_written_by_hand(job, optimizer) -> None:
    loop = job(optimizer)
    result = LRFinder(1e-4, 1.0, 12, stop_factor=None).run(loop)
    assert result.lrs == pytest.approx(np.geomspace(1e-4, 1.0, 12).tolist())
    assert result.losses == by_hand(job(optimizer), result.lrs)
    assert not result.diverged


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("fitted", [False, True])
def test_everything_is_afterwards_as_it_was(job, optimizer, fitted: bool) -> None:
    loop = job(optimizer)
    loop.ready()
    if fitted:
        loop.fit(num_epochs=2, callbacks=[EMA(0.9), GradNormClip(1.0)])
        loop.model[0].eval()
        loop.model[0].weight.grad = torch.ones(8, 4)
    before = everything(loop)
    buffers = dict(loop.model.named_buffers())
    LRFinder(1e-4, 10.0, 12).run(loop)
    assert equal(before, everything(loop))
    assert all(buffers[name] is buffer for name, buffer in loop.model.named_buffers())


def test_a_fit_afterwards_has_the_same_bits(job) -> None:
    plain, tried = job(), job()
    for loop, find in ((plain, False), (tried, True)):
        torch.manual_seed(5)
        loop.fit(num_epochs=1)
        if find:
            LRFinder(num_steps=7).run(loop)
        loop.fit(num_epochs=1)
    assert equal(plain.model.state_dict(), tried.model.state_dict())
    assert plain.train_history.state_dict() == tried.train_history.state_dict()


def test_everything_is_put_back_after_a_failure_too(job) -> None:
    loop = job()
    loop.ready()

    def fail(output, target):
        loop.calls += 1
        if loop.calls == 4:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(output, target)

    loop.calls, loop.criterion = 0, fail
    before = everything(loop)
    with pytest.raises(KeyboardInterrupt):
        LRFinder().run(loop)
    assert loop.calls == 4
    assert equal(before, everything(loop))


def test_a_loaders_own_generator_is_put_back(job) -> None:
    loop = job()
    data = loop.train_loader.dataset
    generator = torch.Generator().manual_seed(3)
    sampler = RandomSampler(data, replacement=True, num_samples=40, generator=generator)
    loop.train_loader = DataLoader(data, batch_size=8, sampler=sampler)
    before = generator.get_state()
    LRFinder(num_steps=7).run(loop)
    assert torch.equal(generator.get_state(), before)


def test_a_loop_takes_the_finder_while_a_loaded_state_waits(job) -> None:
    first = job()
    first.fit(num_epochs=1, callbacks=[EMA(0.9)])
    state = copy.deepcopy(first.state_dict())
    first.fit(num_epochs=1)
    loop = job()
    loop.load_state_dict(state)
    LRFinder(num_steps=3).run(loop)
    loop.fit(num_epochs=1, callbacks=[EMA(0.9)])
    assert equal(first.model.state_dict(), loop.model.state_dict())


def test_gradients_are_bounded_as_in_the_loops_own_fit(job) -> None:
    def weights_moved(callbacks) -> float:
        moved = []

        class Loss(nn.CrossEntropyLoss):
            def forward(self, output, target):
                moved.append(loop.model[4].weight.detach().clone())
                return super().forward(output, target)

        loop = job(momentum=0)
        loop.criterion = Loss()
        loop.callbacks_handler.register_callbacks(callbacks)
        LRFinder(0.999, 1.0, 2, stop_factor=None).run(loop)
        assert all(callback.train_loop_obj is loop for callback in callbacks)
        return float((moved[1] - moved[0]).norm())

    assert weights_moved([GradNormClip(1e-3)]) <= 1e-3
    assert weights_moved([GradValueClip(1e-5)]) <= 1e-5 * 4
    assert weights_moved([]) > 1e-2


def test_groups_keep_the_ratio_of_their_rates(job) -> None:
    seen = []

    class Loss(nn.CrossEntropyLoss):
        def forward(self, output, target):
            seen.append([float(group["lr"]) for group in loop.optimizer.param_groups])
            return super().forward(output, target)

    loop = job()
    first, second = loop.model[0].parameters(), loop.model[4].parameters()
    rate = torch.tensor(0.3)
    loop.optimizer = torch.optim.SGD([{"params": first, "lr": 0.1}, {"params": second, "lr": rate}])
    loop.criterion = Loss()
    LRFinder(0.3, 0.6, 3, mode="linear").run(loop)
    assert np.allclose(seen, [[0.1, 0.3], [0.15, 0.45], [0.2, 0.6]])
    assert loop.optimizer.param_groups[0]["lr"] == 0.1
    assert loop.optimizer.param_groups[1]["lr"] == rate


def test_several_losses_are_added_up() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 1), nn.Linear(4, 1)

        def get_loss(self, batch, criterion, device):
            losses = {"a": self.a(batch).square().mean(), "b": self.b(batch).square().mean()}
            values.append(sum(loss.item() for loss in losses.values()))
            return MultiLoss(losses, {"a": 0, "b": 1})

    values: list = []
    model = Two()
    parts = (model.a, model.b)
    optimizer = MultiOptimizer([torch.optim.SGD(part.parameters(), lr=0.1) for part in parts])
    loop = TrainLoop(model, [torch.randn(8, 4)] * 3, None, None, optimizer, None, progress=False)
    result = LRFinder(1e-4, 1e-1, 5).run(loop)
    assert result.losses == pytest.approx(values)
    assert [each.param_groups[0]["lr"] for each in loop.optimizers] == [0.1, 0.1]


def test_it_stops_when_the_loss_explodes(job) -> None:
    result = LRFinder(1e-3, 1e6, 60, stop_factor=3, smoothing=0.5).run(job())
    assert result.diverged
    assert len(result.lrs) == len(result.losses) == len(result.smoothed) < 60
    assert result.smoothed[-1] > 3 * min(result.smoothed)
    for count, smoothed in enumerate(result.smoothed[:-1], 1):
        assert smoothed <= 3 * min(result.smoothed[:count])


def test_a_loss_that_is_not_finite_ends_the_curve(job) -> None:
    result = LRFinder(1e-3, 1e30, 60, stop_factor=None).run(job())
    assert result.diverged
    assert all(map(math.isfinite, result.losses))


def test_a_loss_that_is_never_finite_is_said(job) -> None:
    loop = job()
    with torch.no_grad():
        loop.model[4].weight.fill_(math.nan)
    with pytest.raises(LoopStateError, match="finite at the smallest"):
        LRFinder().run(loop)


@settings(deadline=None)
@given(losses=st.lists(st.floats(0.01, 100), min_size=2, max_size=40), smoothing=st.floats(0, 0.99))
def test_smoothing_is_the_corrected_exponential_average(losses, smoothing) -> None:
    sweep = _Sweep([0.1] * len(losses), None, smoothing)
    sweep.train_loop_obj = type("Loop", (), {})()
    for loss in losses:
        sweep.train_loop_obj.last_loss = torch.tensor(loss, dtype=torch.float64)
        sweep.on_batch_end()
    for count, smoothed in enumerate(sweep.smoothed, 1):
        weights = smoothing ** np.arange(count)[::-1].astype(float)
        assert smoothed == pytest.approx(float(np.average(losses[:count], weights=weights)))


def test_the_suggestion_is_the_steepest_point_of_the_curve() -> None:
    lrs = np.geomspace(1e-5, 1, 101)
    x = np.log10(lrs)
    curve = 2 - 1 / (1 + np.exp(-4 * (x + 3))) + np.where(x > -1, (x + 1) * 5, 0)
    result = LRFinderResult(lrs.tolist(), curve.tolist(), curve.tolist())
    assert result.suggestion() == pytest.approx(1e-3)  # where the logistic curve is steepest


@pytest.mark.parametrize("losses", [[1.0, 2.0, 3.0, 4.0], [1.0, 1.0], [1.0]])
def test_there_is_no_suggestion_where_nothing_falls(losses) -> None:
    lrs = [10.0**-exponent for exponent in range(len(losses), 0, -1)]
    with pytest.raises(LoopStateError, match="falls somewhere"):
        LRFinderResult(lrs, losses, losses).suggestion()


def test_a_suggestion_trains(job) -> None:
    loop = job()
    lr = LRFinder(1e-4, 100.0, 60).run(loop).suggestion()
    for group in loop.optimizer.param_groups:
        group["lr"] = lr
    loop.fit(num_epochs=6)
    losses = loop.train_history["loss"]
    assert losses[-1] < losses[0]


def test_the_curve_is_drawn_into_axes() -> None:
    class Axes:
        def __init__(self) -> None:
            self.calls = []

        def __getattr__(self, name):
            return lambda *args, **options: self.calls.append((name, *args))

    axes = Axes()
    result = LRFinderResult([0.1, 0.2], [2.0, 1.0], [2.0, 1.5])
    assert result.plot(axes) is axes
    assert ("plot", [0.1, 0.2], [2.0, 1.5]) in axes.calls
    assert ("set_xscale", "log") in axes.calls


def test_new_axes_are_matplotlibs() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    axes = LRFinderResult([0.1, 0.2], [2.0, 1.0], [2.0, 1.5]).plot()
    assert [line.get_label() for line in axes.lines] == ["loss", "smoothed loss"]
    matplotlib.pyplot.close(axes.figure)


def test_without_matplotlib_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingPackageError, match=r"tt-loop\[plot\]"):
        LRFinderResult([0.1, 0.2], [2.0, 1.0], [2.0, 1.5]).plot()


def test_a_loop_of_several_processes_is_refused(job, monkeypatch) -> None:
    class Elsewhere:
        in_process = False

        def run(self, fn, /):
            raise AssertionError

    class Two(SingleDevice):
        class comm:  # noqa: N801  # stands for an attribute
            world_size, rank = 2, 0

        def __init__(self) -> None:
            super().__init__()
            del self.comm

    def factory(*, device, precision, num_gpus=None):
        raise ValueError("say how many processes to start")

    find = _untouched.find_strategy
    monkeypatch.setattr(
        _untouched, "find_strategy", lambda mode: factory if mode == "asks" else find(mode)
    )
    loop = job()
    for mode in (Elsewhere(), Two(), "asks"):
        loop.gpu_mode = mode
        with pytest.raises(LoopStateError, match="one process"):
            LRFinder().run(loop)


def test_a_loop_in_the_midst_of_a_fit_is_refused(job) -> None:
    class Find(Callback):
        def on_epoch_end(self) -> None:
            LRFinder().run(self.train_loop_obj)

    with pytest.raises(LoopStateError, match="under way"):
        job().fit(num_epochs=1, callbacks=[Find("find")])


def test_a_loop_without_optimizer_or_data_is_refused(job) -> None:
    loop = job()
    loop.optimizer = None
    with pytest.raises(LoopValueError, match="an optimizer"):
        LRFinder().run(loop)
    loop = job()
    loop.train_loader = None
    with pytest.raises(LoopValueError, match="a train_loader"):
        LRFinder().run(loop)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LRFinder(0, 1),
        lambda: LRFinder(1, 0.1),
        lambda: LRFinder(1, math.inf),
        lambda: LRFinder(num_steps=1),
        lambda: LRFinder(mode="cosine"),
        lambda: LRFinder(stop_factor=1),
        lambda: LRFinder(smoothing=1),
    ],
)
def test_settings_that_cannot_work_are_refused(make) -> None:
    with pytest.raises(LoopValueError):
        make()
