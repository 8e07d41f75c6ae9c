"""Two processes that share a model's parameters: the same as one process."""

import copy
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.debug import CommDebugMode

from tt_parallel.api import (
    FullPrecision,
    ParallelStateError,
    ParallelValueError,
    ShardedStrategy,
    SingleStrategy,
    Spawn,
    TorchAmp,
)

STEPS = 4
CPU = torch.device("cpu")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 5)
        self.shift = nn.Parameter(torch.zeros(1))  # fewer elements than processes

    def forward(self, x):
        return torch.tanh(self.linear(x)) + self.shift


class Stack(nn.Module):
    """Its loss does not call its forward, but its parts."""

    scale = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm = nn.BatchNorm1d(5)
        self.last = nn.Linear(5, 1)

    def hidden(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, x):
        return self.last(self.hidden(x)).squeeze(1)

    def get_loss(self, batch, criterion, device):
        x, y = batch
        return criterion(self.last(self.hidden(x)).squeeze(1) * self.scale, y)

    def get_loss_eval(self, batch, criterion, device):
        return self.get_loss(batch, criterion, device)

    def get_predictions(self, batch, device):
        return self(batch[0]), batch[1], {}


def fresh(lr: float = 0.1, dtype: torch.dtype = torch.float64) -> tuple[Stack, Any]:
    torch.manual_seed(1)
    model = Stack().to(dtype)
    groups = [
        {"params": [*model.blocks.parameters()], "weight_decay": 0.1},
        {"params": [*model.last.parameters(), *model.first.parameters()]},
    ]
    return model, torch.optim.SGD(groups, lr=lr, momentum=0.9, dampening=0.1)


def data(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 3, generator=generator, dtype=dtype)
    return x, x.sum(1)


def alone(steps: int = STEPS, after: int = 0) -> tuple[Stack, Any, list[float]]:
    """Plain PyTorch on batches of six."""
    model, optimizer = fresh()
    return model, optimizer, train_alone(model, optimizer, range(after, steps))


def train_alone(model: Stack, optimizer: Any, steps: range) -> list[float]:
    x, y = data()
    norms = []
    for start in (6 * step for step in steps):
        part = slice(start, start + 6)
        model.get_loss((x[part], y[part]), nn.MSELoss(), None).backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 0.5).item())
        optimizer.step()
        optimizer.zero_grad()
    return norms


def shares(rank: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Two micro-batches for each step: of one sample or two, of one or two."""
    x, y = data()
    for start in range(0, 24, 6):
        for place in [(0, 1), (1, 3)] if rank == 0 else [(3, 5), (5, 6)]:
            part = slice(start + place[0], start + place[1])
            yield x[part], y[part]


def train(strategy: Any, model: Any, optimizer: Any, steps: int = STEPS) -> list[Any]:
    """As a hand-written loop does it, in windows of two."""
    reports, comm = [], strategy.comm
    for number, batch in enumerate(shares(comm.rank)):
        if number >= 2 * steps:
            break
        with strategy.micro(model, sync=number % 2 == 1):
            with strategy.forward():
                loss = model.get_loss(batch, nn.MSELoss(), strategy.device)
            strategy.backward(loss * len(batch[0]))
        if number % 2 == 1:
            reports.append(strategy.apply(optimizer, grad_scale=2 / 6, max_norm=0.5))
    return reports


def kinds(model: nn.Module) -> set[type]:
    return {type(parameter) for parameter in model.parameters()}


class TrainShare:
    """Everything about training and states that one run of two processes can show."""

    def __init__(self) -> None:
        self.model, self.optimizer = fresh()

    def __call__(self, strategy: Any) -> dict[str, Any]:
        model, optimizer = self.model, self.optimizer
        if strategy.comm.rank == 1:
            with torch.no_grad():
                model.first.weight.add_(1.0)  # rank 0's weights count
        prepared = strategy.prepare(model, [optimizer])
        assert kinds(model) == {DTensor}
        assert all(isinstance(p, DTensor) for g in optimizer.param_groups for p in g["params"])
        assert prepared.scale == 2.0
        assert strategy.evaluable(prepared) is prepared
        found: dict[str, Any] = {"reports": train(strategy, prepared, optimizer)}
        with torch.no_grad():
            found["loss"] = prepared.get_loss_eval(data(), nn.MSELoss(), None).item()
            found["predicted"] = prepared.get_predictions(data(), None)[0]
            found["hidden"] = prepared.hidden(data()[0])
            assert torch.equal(prepared(data()[0]), found["predicted"])
        assert kinds(model) == {DTensor}
        found["rounds"] = strategy.eval_rounds(3 + strategy.comm.rank)
        found["state"] = copy.deepcopy(strategy.state_dict(model, [optimizer]))
        self.again(strategy, found)
        return found

    def again(self, strategy: Any, found: dict[str, Any]) -> None:
        """Go back to the state, twice on: with the same objects, and with others."""
        state = found["state"]
        for model, optimizer in ((self.model, self.optimizer), fresh(lr=7.0)):
            prepared = strategy.prepare(model, [optimizer])
            train(strategy, prepared, optimizer, steps=1)
            strategy.load_state_dict(model, [optimizer], state)
            train(strategy, prepared, optimizer, steps=2)
            found.setdefault("again", []).append(strategy.state_dict(model, [optimizer])["model"])
            found.setdefault("lr", []).append([g["lr"] for g in optimizer.param_groups])


SHARDED = partial(ShardedStrategy, shard_modules=["Block"], default_model_methods=["hidden"])


@pytest.fixture(scope="module")
def shared() -> list[dict[str, Any]]:
    return Spawn(2, make_strategy=SHARDED).run(TrainShare())


pytestmark = pytest.mark.slow


def test_uneven_shares_equal_the_whole_batch(shared) -> None:
    model, optimizer, norms = alone()
    first, second = shared
    for name, value in model.state_dict().items():
        if not name.startswith("norm"):
            torch.testing.assert_close(first["state"]["model"][name], value, rtol=0, atol=1e-12)
    for number, norm in enumerate(norms):
        for process in shared:
            report = process["reports"][number]
            assert type(report.grad_norm) is torch.Tensor
            assert report.grad_norm.item() == pytest.approx(norm, abs=1e-12)
            assert report.skipped is False
    saved = first["state"]["optimizers"][0]
    assert [g["params"] for g in saved["param_groups"]][1] == [
        "last.weight",
        "last.bias",
        "first.weight",
        "first.bias",
    ]
    for name, parameter in model.named_parameters():
        if not name.startswith("norm"):
            momentum = saved["state"][name]["momentum_buffer"]
            expected = optimizer.state[parameter]["momentum_buffer"]
            torch.testing.assert_close(momentum, expected, rtol=0, atol=1e-12)
    assert second["state"]["model"] == {}
    assert second["state"]["optimizers"][0]["param_groups"] == saved["param_groups"]


def test_every_process_evaluates_with_the_whole_model(shared) -> None:
    model, _, _ = alone()
    with torch.no_grad():
        expected = model.get_predictions(data(), None)[0]
        loss = model.get_loss_eval(data(), nn.MSELoss(), None).item()
    for process in shared:
        torch.testing.assert_close(process["predicted"], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(process["hidden"], model.hidden(data()[0]), rtol=0, atol=1e-12)
        assert process["loss"] == pytest.approx(loss, abs=1e-12)
        assert process["rounds"] == 4


def test_a_state_goes_to_one_process_and_back(shared) -> None:
    model, optimizer, _ = alone()
    train_alone(model, optimizer, range(2))
    other, other_optimizer = fresh(lr=7.0)
    state = shared[0]["state"]
    SingleStrategy(CPU).load_state_dict(other, [other_optimizer], state)
    train_alone(other, other_optimizer, range(2))
    for went_on in (other.state_dict(), *shared[0]["again"]):
        for name, value in model.state_dict().items():
            if not name.startswith("norm"):
                torch.testing.assert_close(went_on[name], value, rtol=0, atol=1e-12)
    assert shared[0]["lr"] == shared[1]["lr"] == [[0.1, 0.1], [0.1, 0.1]]


def prepared(**options: Any) -> tuple[Any, Any, Any, Any]:
    """A strategy, a fresh model, its optimizer, and the model as the strategy prepares it."""
    strategy = ShardedStrategy(CPU, shard_modules=["Block"], **options)
    model, optimizer = fresh()
    return strategy, model, optimizer, strategy.prepare(model, [optimizer])


def step(strategy: Any, model: Any, optimizer: Any, batch: Any, **options: Any) -> Any:
    strategy.backward(model.get_loss(batch, nn.MSELoss(), CPU))
    return strategy.apply(optimizer, **options)


def reductions(strategy: Any, model: Any, *, sync: bool) -> int:
    """How many times a micro-batch communicates gradients."""
    with warnings.catch_warnings(), CommDebugMode() as counter, strategy.micro(model, sync=sync):
        warnings.simplefilter("ignore")  # the counter's own hooks are warned of
        strategy.backward(model.get_loss(data(), nn.MSELoss(), CPU))
    counts = counter.get_comm_counts()
    return sum(n for kind, n in counts.items() if "reduce" in str(kind))


def gradients_travel_once_for_a_window(rank: int) -> None:
    strategy, model, optimizer, sharded = prepared()
    assert reductions(strategy, sharded, sync=False) == 0
    with pytest.raises(ParallelStateError, match="after an update"):
        strategy.state_dict(model, [optimizer])
    assert reductions(strategy, sharded, sync=False) == 0
    assert reductions(strategy, sharded, sync=True) == 3  # one for each unit
    strategy.apply(optimizer)
    assert strategy.state_dict(model, [optimizer])["precision"] == {}


def steps_that_are_not_finite_are_left_out_in_all(rank: int) -> None:
    strategy, model, optimizer, sharded = prepared()
    before = strategy.state_dict(model, [])["model"]
    x, y = data()
    bad = (x, torch.full_like(y, float("nan"))) if rank == 1 else (x, y)
    report = step(strategy, sharded, optimizer, bad, require_finite=True)
    assert report.skipped is True
    assert type(report.grad_norm) is torch.Tensor
    assert not report.grad_norm.isfinite()
    for name, value in strategy.state_dict(model, [])["model"].items():
        assert torch.equal(value, before[name])
    assert step(strategy, sharded, optimizer, (x, y), require_finite=True).skipped is False


def loss_scaling_adapts_in_all(rank: int) -> None:
    precision = TorchAmp(CPU, torch.float16, init_scale=2.0**10)
    strategy = ShardedStrategy(CPU, precision, shard_modules=Block)
    model, optimizer = fresh(dtype=torch.float32)
    sharded = strategy.prepare(model, [optimizer])
    x, y = data(torch.float32)
    with strategy.forward():
        loss = sharded.get_loss((x, y), nn.MSELoss(), CPU)
    strategy.backward(loss * (float("inf") if rank == 1 else 1.0))
    assert bool(strategy.apply(optimizer).skipped)
    assert precision.state_dict()["scaler"]["scale"] == 2.0**9
    with strategy.forward():
        loss = sharded.get_loss((x, y), nn.MSELoss(), CPU)
    strategy.backward(loss)
    assert not strategy.apply(optimizer).skipped
    plain, plain_optimizer = fresh(dtype=torch.float32)
    plain.get_loss((x, y), nn.MSELoss(), CPU).backward()
    plain_optimizer.step()
    state = strategy.state_dict(model, [])
    for name, value in plain.state_dict().items() if rank == 0 else ():
        torch.testing.assert_close(state["model"][name], value, rtol=0.02, atol=0.02)


def half_precision_is_a_policy(rank: int) -> None:
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    strategy = ShardedStrategy(CPU, shard_modules=["Block"], mp_policy=policy)
    model, optimizer = fresh(dtype=torch.float32)
    sharded = strategy.prepare(model, [optimizer])
    x, y = data(torch.float32)
    with torch.no_grad():
        assert sharded(x).dtype == torch.bfloat16
    loss = sharded.get_loss((x, y), nn.MSELoss(), CPU)
    assert loss.dtype == torch.float32  # targets keep their precision
    strategy.backward(loss)
    plain, _ = fresh(dtype=torch.float32)
    plain.get_loss((x, y), nn.MSELoss(), CPU).backward()
    for own, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert own.dtype == torch.float32
        if other.grad is not None:
            whole = own.grad.full_tensor()
            torch.testing.assert_close(whole, other.grad, rtol=0.1, atol=0.02)


def replicas_of_shards_train_alike(rank: int) -> None:
    strategy, model, optimizer, sharded = prepared(mesh=(2, 1), reshard_after_forward=False)
    assert all(p.to_local().shape == p.shape for p in model.parameters())
    train(strategy, sharded, optimizer)
    state = strategy.state_dict(model, [optimizer])
    for name, value in alone()[0].state_dict().items() if rank == 0 else ():
        if not name.startswith("norm"):
            torch.testing.assert_close(state["model"][name], value, rtol=0, atol=1e-12)


class Normed(nn.Sequential):
    def get_loss(self, batch, criterion, device):
        return criterion(self(batch[0]).squeeze(1), batch[1])


def normed() -> Any:
    torch.manual_seed(2)
    return Normed(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()


def batch_norms_can_see_all_samples(rank: int) -> None:
    whole, model = normed(), normed()
    x, y = data()
    whole.get_loss((x, y), nn.MSELoss(), CPU).backward()
    strategy = ShardedStrategy(CPU, sync_batchnorm=True)
    sharded = strategy.prepare(model, [])
    half = slice(12 * rank, 12 * rank + 12)
    strategy.backward(sharded.get_loss((x[half], y[half]), nn.MSELoss(), CPU))
    for own, other in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(own.grad.full_tensor(), other.grad, rtol=0, atol=1e-12)
    strategy.release(model)
    assert type(model[1]) is nn.BatchNorm1d


def evaluation_takes_the_statistics_of_rank_0(rank: int) -> None:
    strategy = ShardedStrategy(CPU)
    model = normed()
    sharded = strategy.prepare(model, [])
    x, y = data()
    half = slice(12 * rank, 12 * rank + 12)
    strategy.backward(sharded.get_loss((x[half], y[half]), nn.MSELoss(), CPU))
    plain = normed()
    plain(x[:12])
    strategy.evaluable(sharded)
    assert torch.equal(model[1].running_mean, plain[1].running_mean)


def a_pass_that_was_cut_short_is_forgotten(rank: int) -> None:
    strategy, model, optimizer, sharded = prepared()
    with pytest.raises(AttributeError):
        sharded.get_loss((data()[0], None), nn.MSELoss(), CPU)
    with strategy.micro(sharded, sync=False):
        strategy.backward(sharded.get_loss(data(), nn.MSELoss(), CPU))
    again = strategy.prepare(model, [optimizer])
    train(strategy, again, optimizer)
    state = strategy.state_dict(model, [optimizer])
    for name, value in alone()[0].state_dict().items() if rank == 0 else ():
        if not name.startswith("norm"):
            torch.testing.assert_close(state["model"][name], value, rtol=0, atol=1e-12)


def what_cannot_be_is_refused(rank: int) -> None:
    strategy, model, optimizer, sharded = prepared()
    with pytest.raises(ParallelValueError, match="got inputs="):
        strategy.backward(sharded.get_loss(data(), nn.MSELoss(), CPU), inputs=[])
    with pytest.raises(ParallelStateError, match="sync=True"):
        strategy.reduce_gradients(optimizer)
    with strategy.micro(sharded, sync=False):
        strategy.backward(sharded.get_loss(data(), nn.MSELoss(), CPU))
    with pytest.raises(ParallelStateError, match="sync=True"):
        strategy.apply(optimizer)
    sharded = strategy.prepare(model, [optimizer])  # forgets them
    groups = [{"params": ["last.bias"]}, {"params": ["first.bias"]}]
    state = {"optimizers": [{"state": {"last.bias": {}}, "param_groups": groups}]}
    with pytest.raises(ParallelValueError, match="this has others"):
        strategy.load_state_dict(model, [optimizer], state)
    saved = strategy.state_dict(model, [])["model"]
    if rank == 0:
        saved["last.bias"] = torch.zeros(2)
        del saved["first.bias"]
    with pytest.raises(ParallelValueError, match=r"another's in first\.bias, last\.bias"):
        strategy.load_state_dict(model, [], {"model": saved})
    plain, other = fresh()
    with pytest.raises(ParallelValueError, match="one optimizer, got 2"):
        strategy.prepare(plain, [other, other])
    with pytest.raises(ParallelValueError, match="the optimizer has others"):
        strategy.prepare(model, [other])
    with pytest.raises(ParallelValueError, match=r"chooses none of \['BatchNorm1d', 'Block'"):
        ShardedStrategy(CPU, shard_modules=["Layer"]).prepare(plain, [])
    with pytest.raises(ParallelValueError, match="got reshard"):
        ShardedStrategy(CPU, reshard=True)
    with pytest.raises(ParallelValueError, match=r"mp_policy=MixedPrecisionPolicy"):
        ShardedStrategy(CPU, Swaps())


class Wide(nn.Linear):
    def __init__(self) -> None:
        super().__init__(1000, 1000)


def blocks_that_repeat_are_units(rank: int) -> None:
    model = nn.Module()
    tied = Wide()
    model.add_module("list", nn.ModuleList([nn.Sequential(Wide(), Wide()), nn.Linear(2, 2)]))
    model.add_module("alone", nn.Sequential(Wide(), nn.Tanh()))
    model.add_module("small", nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    model.add_module("tied", nn.Sequential(tied, Wide()))
    model.add_module("head", tied)
    model.add_module("named", nn.ModuleDict({"a": Wide(), "b": Wide()}))
    ShardedStrategy(CPU).prepare(model, [])
    units = [name for name, part in model.named_modules() if isinstance(part, FSDPModule)]
    assert units == ["list.0.0", "list.0.1", "tied.1"]


class Swaps(FullPrecision):
    swaps_parameters = True


DETAILS = (
    gradients_travel_once_for_a_window,
    steps_that_are_not_finite_are_left_out_in_all,
    loss_scaling_adapts_in_all,
    half_precision_is_a_policy,
    replicas_of_shards_train_alike,
    batch_norms_can_see_all_samples,
    evaluation_takes_the_statistics_of_rank_0,
    a_pass_that_was_cut_short_is_forgotten,
    what_cannot_be_is_refused,
    blocks_that_repeat_are_units,
)


class Details:
    def __call__(self, strategy: Any) -> list[str]:
        done = []
        for detail in DETAILS:
            detail(strategy.comm.rank)
            done.append(detail.__name__)
        return done


def test_details_in_two_processes() -> None:
    names = [detail.__name__ for detail in DETAILS]
    assert Spawn(2, make_strategy=SHARDED).run(Details()) == [names, names]
