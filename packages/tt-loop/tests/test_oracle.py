"""`fit` against the loop that one writes by hand: equal bits."""

import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tt_loop.api import (
    AbstractModelFeedDefinition,
    GradNormClip,
    GradValueClip,
    ModelWrap,
    Precision,
    SingleDevice,
    TrainLoop,
    TTBasicModel,
    TTModel,
)
from tt_loop.data.tensor_loader import TensorLoader
from tt_loop.model import MultiGPUModelWrap
from tt_loop.schedulers.basic import GeneralLRSchedulerCallback
from tt_loop.schedulers.warmup import LinearWithWarmupScheduler

EPOCHS, BATCHES, SIZE, SEED = 2, 8, 4, 11


def by_hand(model, optimizer, epochs, window=1, clip=None, schedules=(), forward=nullcontext):
    """The reference: what fit has to compute, and the epochs' mean losses."""
    criterion, means = nn.CrossEntropyLoss(), []
    for batches in epochs:
        losses, samples = 0.0, 0
        for start in range(0, len(batches), window):
            together = batches[start : start + window]
            weight = sum(len(target) for _, target in together)
            for inputs, target in together:
                with forward():
                    loss = criterion(model(inputs), target)
                (loss if window == 1 else loss * (len(target) / weight)).backward()
                losses, samples = losses + loss.item() * len(target), samples + len(target)
            if clip:
                clip(model.parameters())
            optimizer.step()
            optimizer.zero_grad()
            for schedule in [schedule for schedule, unit in schedules if unit == "update"]:
                schedule.step()
        for schedule in [schedule for schedule, unit in schedules if unit == "epoch"]:
            schedule.step()
        means.append(losses / samples)
    return means


def data(samples: int = BATCHES * SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(samples, 6, generator=torch.Generator().manual_seed(7))
    return x, (x.sum(1) > 0).long()


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
    )


class Basic(TTBasicModel):
    def __init__(self, network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)


class Own(TTModel):
    def __init__(self, network) -> None:
        super().__init__()
        self.network = network

    def get_loss(self, batch_data, criterion, device):
        return criterion(self.network(batch_data[0]), batch_data[1])

    def get_predictions(self, batch_data, device):
        return self.network(batch_data[0]), batch_data[1], {}


class Feed(AbstractModelFeedDefinition):
    def get_loss(self, model, batch_data, criterion, device):
        return criterion(model(batch_data[0]), batch_data[1])

    def get_predictions(self, model, batch_data, device):
        return model(batch_data[0]), batch_data[1], {}


class Bfloat16:
    """Mixed precision that needs no scaling of losses."""

    def forward(self):
        return torch.autocast("cpu", torch.bfloat16)

    def prepare(self, model, optimizers, /) -> None: ...

    def backward(self, loss, /, **options) -> None:
        loss.backward(**options)

    def unscale(self, optimizer, /) -> None: ...

    def step(self, optimizer, /) -> bool:
        optimizer.step()
        return False

    def state_dict(self):
        return {}

    def load_state_dict(self, state, /) -> None: ...


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "fused adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, fused=True),
}
CLIPS = {
    "none": (None, None),
    "norm": (GradNormClip(0.05), lambda p: nn.utils.clip_grad_norm_(p, 0.05)),
    "value": (GradValueClip(0.01), lambda p: nn.utils.clip_grad_value_(p, 0.01)),
}
LOADERS = {
    "list": lambda: [*map(list, zip(*(t.split(SIZE) for t in data()), strict=True))],
    "DataLoader": lambda: DataLoader(TensorDataset(*data()), SIZE, generator=torch.Generator()),
    "DataLoader of samples": lambda: DataLoader(
        [*zip(*data(), strict=True)], SIZE, generator=torch.Generator()
    ),
    "TensorLoader": lambda: TensorLoader(*data(), batch_size=SIZE, seed=0),
}
MODELS = {
    "plain": lambda network: network,
    "TTModel": Own,
    "TTBasicModel": Basic,
    "MultiGPUModelWrap": MultiGPUModelWrap,
    "ModelWrap": lambda network: ModelWrap(network, Feed()),
}


def warmup(updates: int):
    return lambda step: step / 3 if step < 3 else (updates - step) / (updates - 3)


SCHEDULES = {
    "none": lambda updates: (None, None, ""),
    "epoch": lambda updates: (
        GeneralLRSchedulerCallback(StepLR, step_size=1, gamma=0.5),
        lambda optimizer: StepLR(optimizer, 1, gamma=0.5),
        "epoch",
    ),
    "update": lambda updates: (
        GeneralLRSchedulerCallback(ExponentialLR, step_on="update", gamma=0.9),
        lambda optimizer: ExponentialLR(optimizer, 0.9),
        "update",
    ),
    "warm-up": lambda updates: (
        LinearWithWarmupScheduler(3),
        lambda optimizer: LambdaLR(optimizer, warmup(updates)),
        "update",
    ),
}


def assert_equal_bits(model, optimizer, other, other_optimizer) -> None:
    torch.testing.assert_close(dict(model.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    state, other_state = optimizer.state_dict(), other_optimizer.state_dict()
    torch.testing.assert_close(state, other_state, rtol=0, atol=0)


@settings(max_examples=60, deadline=None)
@given(
    make_optimizer=st.sampled_from([*OPTIMIZERS]),
    clip=st.sampled_from([*CLIPS]),
    schedule=st.sampled_from([*SCHEDULES]),
    loader=st.sampled_from([*LOADERS]),
    kind=st.sampled_from([*MODELS]),
    window=st.sampled_from([1, 2, 4]),
    half=st.booleans(),
    policy=st.sampled_from([None, "skip", "stop", "rollback"]),
)
def test_fit_equals_the_hand_written_loop_bit_for_bit(
    make_optimizer, clip, schedule, loader, kind, window, half, policy
) -> None:
    callback, clip_by_hand = copy.deepcopy(CLIPS[clip])
    scheduler, make_schedule, unit = SCHEDULES[schedule](EPOCHS * BATCHES // window)
    model, other = network(), network()
    optimizer = OPTIMIZERS[make_optimizer](model.parameters())
    other_optimizer = OPTIMIZERS[make_optimizer](other.parameters())

    torch.manual_seed(3)
    losses = by_hand(
        model,
        optimizer,
        [[*LOADERS[loader]()] for _ in range(EPOCHS)],
        window,
        clip_by_hand,
        [(make_schedule(optimizer), unit)] if make_schedule else (),
        Bfloat16().forward if half else nullcontext,
    )
    torch.manual_seed(3)
    loop = TrainLoop(
        MODELS[kind](other),
        LOADERS[loader](),
        None,
        None,
        other_optimizer,
        nn.CrossEntropyLoss(),
        gpu_mode=SingleDevice("cpu", Bfloat16() if half else None),
        nan_policy=policy,
        progress=False,
    )
    callbacks = [each for each in (callback, scheduler) if each]
    loop.fit(num_epochs=EPOCHS, callbacks=callbacks, grad_accumulation=window)

    assert_equal_bits(model, optimizer, other, other_optimizer)
    assert loop.train_history["loss"] == pytest.approx(losses, rel=1e-12)


def test_the_precision_of_these_tests_is_one() -> None:
    assert isinstance(Bfloat16(), Precision)


def plain_loop(model, loader, **options) -> TrainLoop:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    return TrainLoop(model, loader, None, None, optimizer, criterion, progress=False, **options)


def train_plain(model, loader, window: int = 1, **options) -> TrainLoop:
    loop = plain_loop(model, loader, **options)
    torch.manual_seed(3)
    loop.fit(num_epochs=EPOCHS, grad_accumulation=window)
    return loop


@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("drop_last", [False, True])
def test_uneven_batches_and_partial_windows(window: int, drop_last: bool) -> None:
    generator = torch.Generator()  # else a DataLoader draws from the global one
    loader = DataLoader(TensorDataset(*data(45)), 8, drop_last=drop_last, generator=generator)
    batches = [*loader]
    assert len(batches[-1][1]) == (8 if drop_last else 5)
    model = network()
    loop = train_plain(copy.deepcopy(model), loader, window)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(3)
    losses = by_hand(model, optimizer, [batches] * EPOCHS, window)
    rounding = 0.0 if window == 1 else 1e-6
    expected, got = dict(model.state_dict()), dict(loop.model.state_dict())
    torch.testing.assert_close(got, expected, rtol=rounding, atol=rounding)
    assert loop.train_history["loss"] == pytest.approx(losses, rel=max(rounding, 1e-12))
    assert loop.updates_done == EPOCHS * -(-len(batches) // window)


@pytest.mark.parametrize(("iterations", "window"), [(3, 1), (11, 1), (6, 4), (13, 2), (15, 3)])
def test_a_number_of_iterations_equals_it_on_so_many_batches(iterations: int, window: int) -> None:
    model, batches = network(), LOADERS["list"]()
    epochs = [batches[: max(0, iterations - done)] for done in range(0, iterations, BATCHES)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loop = plain_loop(copy.deepcopy(model), batches)
    torch.manual_seed(3)
    losses = by_hand(model, optimizer, epochs, window)
    torch.manual_seed(3)
    loop.fit(num_iterations=iterations, grad_accumulation=window)
    expected, got = dict(model.state_dict()), dict(loop.model.state_dict())
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    assert loop.train_history["loss"] == pytest.approx(losses, rel=1e-6)


def test_many_batches_and_several_fits() -> None:
    model = nn.Linear(6, 2)
    x, y = data(700)
    loop = plain_loop(copy.deepcopy(model), TensorLoader(x, y, batch_size=2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batches = [*zip(x.split(2), y.split(2), strict=True)]
    losses = by_hand(model, optimizer, [batches] * 2)
    loop.fit(num_epochs=1)
    loop.fit(num_epochs=1)
    assert_equal_bits(model, optimizer, loop.model, loop.optimizer)
    assert loop.train_history["loss"] == pytest.approx(losses, rel=1e-12)


class Recording(Dataset):
    """Writes down which samples are read."""

    def __init__(self) -> None:
        self.x, self.y = data()
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int):
        self.read.append(index)
        return self.x[index], self.y[index]


def test_with_a_shuffling_loader_it_equals_it_on_the_order_that_was_read() -> None:
    samples, model = Recording(), network()
    loop = train_plain(copy.deepcopy(model), DataLoader(samples, SIZE, shuffle=True), seed=SEED)
    order = torch.tensor(samples.read).reshape(EPOCHS, BATCHES, SIZE)
    assert all(sorted(epoch.flatten().tolist()) == [*range(BATCHES * SIZE)] for epoch in order)
    assert not torch.equal(order[0], order[1])

    epochs = [[(samples.x[batch], samples.y[batch]) for batch in epoch] for epoch in order]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(3)
    by_hand(model, optimizer, epochs)
    assert_equal_bits(model, optimizer, loop.model, loop.optimizer)

    for loader in (
        DataLoader(TensorDataset(*data()), SIZE, shuffle=True),
        TensorLoader(*data(), batch_size=SIZE, shuffle=True),
    ):
        again = train_plain(network(), loader, seed=SEED)
        assert_equal_bits(model, optimizer, again.model, again.optimizer)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_trains_as_in_the_hand_written_loop(backend: str) -> None:
    def compiled() -> nn.Module:
        torch._dynamo.reset()
        return torch.compile(network(), backend=backend)

    loop = train_plain(compiled(), LOADERS["list"]())
    model = compiled()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(3)
    by_hand(model, optimizer, [LOADERS["list"]()] * EPOCHS)
    assert_equal_bits(model, optimizer, loop.model, loop.optimizer)
