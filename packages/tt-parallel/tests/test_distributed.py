"""What several processes do beside averaging gradients; the processes are started once for all.

Each function of `TASKS` runs in both processes and returns what its test looks at.
"""

import copy
from collections.abc import MutableMapping
from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from tt_parallel.api import (
    DistributedStrategy,
    ParallelStateError,
    ParallelValueError,
    Spawn,
    TTDistributedDataParallel,
    WorkerError,
)
from tt_parallel.errors import OutOfSync, UnusedParameters
from tt_parallel.strategies.batch_norm import synchronise, unsynchronise

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TASKS = {}


def task(function):
    TASKS[function.__name__] = function
    return function


class RunAll:
    def __call__(self, strategy) -> dict:
        return {name: function(strategy.comm.rank) for name, function in TASKS.items()}


@pytest.fixture(scope="module")
def results() -> list[dict]:
    return Spawn(2).run(RunAll())


class Branches(nn.Module):
    """Three branches, of which a batch says which it takes."""

    settings = "of the class"

    def __init__(self, dtype=torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        for name in "abc":
            setattr(self, name, nn.Linear(3, 2, dtype=dtype))
        self.calls = 0
        self.device_name = "mine"

    def forward(self, x, branches="abc"):
        return sum(getattr(self, name)(x).tanh() for name in branches)

    def get_loss(self, batch, criterion, device):
        self.calls += 1
        return self(*batch).square().sum()

    def scored(self, x):
        return self(x).sum()

    @staticmethod
    def twice(x):
        return 2 * x

    @classmethod
    def kind(cls):
        return cls.__name__

    @property
    def halved(self):
        return self.calls / 2


def inputs(rows: int = 6) -> torch.Tensor:
    return torch.linspace(-1, 1, rows * 3, dtype=torch.float64).reshape(rows, 3)


def share(rank: int) -> torch.Tensor:
    return inputs()[:2] if rank == 0 else inputs()[2:]


def gradients(model: nn.Module) -> dict:
    return {
        name: None if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def step(strategy, prepared, batch, *, sync=True) -> None:
    with strategy.micro(prepared, sync=sync):
        strategy.backward(prepared.get_loss(batch, None, CPU))


def error_of(kind, function) -> str:
    with pytest.raises(kind) as caught:
        function()
    return str(caught.value)


def collectives(function) -> list[str]:
    """Names of the collectives that a function makes."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        function()
    return sorted(e.name for e in profiled.events() if e.name.startswith("gloo:"))


# Gradients that were kept in each process


@task
def kept_gradients(rank: int) -> dict:
    strategy, model = DistributedStrategy(CPU), Branches()
    model.c.bias.requires_grad_(False)
    optimizers = [torch.optim.Adam(getattr(model, n).parameters(), weight_decay=1) for n in "abc"]
    prepared = strategy.prepare(model, optimizers)
    step(strategy, prepared, (share(rank), "a" if rank == 0 else "ab"), sync=False)
    messages = collectives(lambda: [strategy.reduce_gradients(o) for o in optimizers])
    found = gradients(model)
    for optimizer in optimizers:
        strategy.apply(optimizer)
    return {"gradients": found, "messages": messages, "state": dict(model.state_dict())}


def test_kept_gradients_are_averaged_and_the_missing_stay_so(results) -> None:
    model = Branches()
    (model(inputs()[:2], "a").square().sum() + model(inputs()[2:], "ab").square().sum()).backward()
    for found in results:
        for name, expected in gradients(model).items():
            got = found["kept_gradients"]["gradients"][name]
            if name.startswith("c"):
                assert expected is got is None
            else:
                torch.testing.assert_close(got, expected / 2, rtol=1e-12, atol=1e-14)
        state = found["kept_gradients"]["state"]
        assert torch.equal(state["c.weight"], model.c.weight)  # no decay without a gradient
        assert not torch.equal(state["b.weight"], model.b.weight)
        assert found["kept_gradients"]["messages"] == ["gloo:all_reduce"] * 3  # one per optimizer


@task
def gradients_of_many_types(rank: int) -> dict:
    shapes = {
        torch.float32: [(3,), (2, 2), ()],
        torch.float64: [(5,), (0,)],
        torch.complex64: [(2,)],
    }
    parameters = [
        nn.Parameter(torch.ones(shape, dtype=dtype)) for dtype in shapes for shape in shapes[dtype]
    ]
    parameters[1].data = torch.ones(1, 2, 2, 2).to(memory_format=torch.channels_last)
    large = [nn.Parameter(torch.zeros(4_000_000)) for _ in range(2)]  # 15 MiB each
    for number, parameter in enumerate([*parameters, *large]):
        if rank == 1 or number != 1:
            parameter.grad = torch.full_like(parameter, number + 10 * rank)
    parameters[5].grad *= 1j
    optimizer = torch.optim.SGD([*parameters, *large])
    messages = collectives(lambda: DistributedStrategy(CPU).reduce_gradients(optimizer))
    return {
        "small": [parameter.grad for parameter in parameters],
        "large": [bool((p.grad == n + 5).all()) for n, p in enumerate(large, len(parameters))],
        "messages": len(messages),
    }


def test_each_type_of_gradient_travels_apart_in_pieces(results) -> None:
    for found in results:
        first, second, *rest = found["gradients_of_many_types"]["small"]
        assert torch.equal(first, torch.full((3,), 5.0))
        assert torch.equal(second, torch.full((1, 2, 2, 2), 5.5))  # process 0 had none
        assert second.is_contiguous(memory_format=torch.channels_last)
        for number, gradient in enumerate(rest[:3], 2):
            assert torch.equal(gradient, torch.full_like(gradient, number + 5))
        assert torch.equal(rest[3], torch.full((2,), 10j))
        assert found["gradients_of_many_types"]["large"] == [True, True]
        assert found["gradients_of_many_types"]["messages"] == 4  # float32 in two


@task
def sparse_gradients(rank: int) -> str:
    embedding = nn.Embedding(3, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    optimizer = torch.optim.SGD(embedding.parameters())
    return error_of(
        ParallelValueError, lambda: DistributedStrategy(CPU).reduce_gradients(optimizer)
    )


def test_sparse_gradients_are_refused(results) -> None:
    assert "sparse=False" in results[0]["sparse_gradients"]


# Parameters that take no part


@task
def unused_parameters(rank: int) -> dict:
    def prepared(**options):
        strategy, model = DistributedStrategy(CPU, **options), Branches()
        return strategy, strategy.prepare(model, [])

    x, found = share(rank), {}
    strategy, model = prepared()
    found["first"] = error_of(UnusedParameters, lambda: step(strategy, model, (x, "ac")))
    strategy, model = prepared()
    mine = "ab" if rank == 0 else "ac"
    found["by rank"] = error_of(UnusedParameters, lambda: step(strategy, model, (x, mine)))
    strategy, model = prepared()
    step(strategy, model, (x, "abc"))
    step(strategy, model, (x, "a"), sync=False)
    found["later"] = error_of(UnusedParameters, lambda: step(strategy, model, (x, "a")))
    strategy, model = prepared()
    model.get_loss((x, "bc"), None, CPU).backward()  # not by the strategy: PyTorch's own check
    found["next"] = error_of(UnusedParameters, lambda: model(x))

    strategy, model = prepared(find_unused_parameters=True)
    for _ in range(2):
        model.zero_grad()
        step(strategy, model, (x, mine))
    found["allowed"] = gradients(strategy.evaluable(model))
    strategy, model = prepared()
    strategy.evaluable(model).b.requires_grad_(False)
    model = strategy.prepare(strategy.evaluable(model), [])
    step(strategy, model, (x, "ac"))
    strategy, model = prepared()
    with strategy.micro(model, sync=True):
        model.get_loss((x, "ac"), None, CPU)  # without a backward pass there is nothing to check
    return found


def test_parameters_that_take_no_part_are_named_at_once(results) -> None:
    for rank, result in enumerate(results):
        found, other = result["unused_parameters"], "cb"[rank]
        assert f"process {rank} these did not: 'b.weight', 'b.bias'." in found["first"]
        assert "find_unused_parameters" in found["first"]
        assert f"did not: '{other}.weight', '{other}.bias'." in found["by rank"]
        assert "did not: 'b.weight', 'b.bias', 'c.weight', 'c.bias'." in found["later"]
        assert "did not: 'a.weight', 'a.bias'." in found["next"]


def test_with_the_option_they_may_differ_between_processes(results) -> None:
    model = Branches()
    (model(inputs()[:2], "ab").square().sum() + model(inputs()[2:], "ac").square().sum()).backward()
    for result in results:
        for name, expected in gradients(model).items():
            got = result["unused_parameters"]["allowed"][name]
            torch.testing.assert_close(got, expected / 2, rtol=1e-12, atol=1e-14)


class UnusedInOne:
    def __call__(self, strategy) -> None:
        prepared = strategy.prepare(Branches(), [])
        step(strategy, prepared, (inputs(), "abc" if strategy.comm.rank else "ac"))


def test_the_others_do_not_wait_for_the_process_that_left_some_out() -> None:
    with pytest.raises(WorkerError, match=r"UnusedParameters.*process 0 these did not: 'b.weight'"):
        Spawn(2).run(UnusedInOne())


@task
def around_the_wrapper(rank: int) -> dict:
    """A loss that the wrapper has not seen."""
    bare = Branches()
    strategy = DistributedStrategy(CPU, default_model_methods=["scored"])
    model = strategy.prepare(bare, [])

    def backward(compute, kept=False) -> None:
        loss = compute() if kept else None
        with strategy.micro(model, sync=True):
            strategy.backward(compute() if loss is None else loss)

    def of_a_window() -> torch.Tensor:
        with strategy.micro(model, sync=False):
            return model.scored(share(rank))

    backward(lambda: model.scored(share(rank)))
    return {
        "bare": error_of(ParallelStateError, lambda: backward(lambda: bare.scored(share(rank)))),
        "method": error_of(ParallelStateError, lambda: backward(lambda: model.a(inputs()).sum())),
        "window": error_of(ParallelStateError, lambda: backward(of_a_window, kept=True)),
    }


@task
def a_step_of_kept_gradients(rank: int) -> dict:
    strategy, model = DistributedStrategy(CPU), Branches()
    own, other = (torch.optim.SGD(getattr(model, n).parameters(), lr=0.1) for n in "ab")
    prepared = strategy.prepare(model, [own, other])
    before = copy.deepcopy(model.state_dict())
    step(strategy, prepared, (share(rank), "ab"), sync=False)
    strategy.reduce_gradients(other)
    strategy.apply(other)
    error = error_of(ParallelStateError, lambda: strategy.apply(own))
    kept = all(
        torch.equal(value, before[name]) for name, value in model.a.state_dict(prefix="a.").items()
    )
    step(strategy, prepared, (share(rank), "abc"))
    strategy.apply(own)
    return {"error": error, "kept": kept, "b": model.b.weight.detach().clone()}


def test_a_step_of_gradients_that_were_kept_is_refused(results) -> None:
    for result in results:
        assert "reduce_gradients" in result["a_step_of_kept_gradients"]["error"]
        assert result["a_step_of_kept_gradients"]["kept"]
    first, second = (result["a_step_of_kept_gradients"]["b"] for result in results)
    assert torch.equal(first, second)


def test_a_loss_that_the_wrapper_has_not_seen_is_refused(results) -> None:
    for result in results:
        for error in result["around_the_wrapper"].values():
            assert "default_model_methods" in error


@task
def static_graph(rank: int) -> dict:
    strategy, model = DistributedStrategy(CPU, static_graph=True), Branches()
    prepared = strategy.prepare(model, [])
    for _ in range(3):
        model.zero_grad()
        step(strategy, prepared, (share(rank), "ab"))
    found = gradients(model)
    said = error_of(ParallelValueError, lambda: step(strategy, prepared, (inputs(),), sync=False))
    return {"gradients": found, "said": said}


def test_a_static_graph_keeps_no_gradients(results) -> None:
    model = Branches()
    model(inputs(), "ab").square().sum().backward()
    for result in results:
        assert "leave static_graph out" in result["static_graph"]["said"]
        found = result["static_graph"]["gradients"]["a.weight"]
        torch.testing.assert_close(found, model.a.weight.grad / 2, rtol=1e-12, atol=1e-14)


class Losses(MutableMapping):
    """Several losses by name, as tt-loop's ``MultiLoss``."""

    def __init__(self, losses: dict) -> None:
        self.losses = losses

    def __getitem__(self, name):
        return self.losses[name]

    def __setitem__(self, name, value):
        self.losses[name] = value

    def __delitem__(self, name):
        del self.losses[name]

    def __iter__(self):
        return iter(self.losses)

    def __len__(self):
        return len(self.losses)


class Several(Branches):
    def get_loss(self, batch, criterion, device):
        losses = Losses({name: self(batch[0], name).square().sum() for name in "ab"})
        return (losses, len(batch[0])) if len(batch) > 1 else losses


@task
def several_losses(rank: int) -> dict:
    found = {}
    for option in ("find_unused_parameters", "static_graph"):
        for weighted in (False, True):
            strategy, model = DistributedStrategy(CPU, **{option: True}), Several()
            prepared = strategy.prepare(model, [])
            for _ in range(2):
                model.zero_grad()
                with strategy.micro(prepared, sync=True):
                    losses = prepared.get_loss((share(rank), 1)[: 1 + weighted], None, CPU)
                    losses, weight = losses if weighted else (losses, len(share(rank)))
                    strategy.backward(sum(losses.values()))
            found[option, weighted] = (type(losses).__name__, weight, gradients(model))
    return found


def test_options_that_look_into_the_loss_find_several(results) -> None:
    model = Several()
    sum(model.get_loss((inputs(),), None, CPU).values()).backward()
    for rank, result in enumerate(results):
        for name, weight, found in result["several_losses"].values():
            assert (name, weight) == ("Losses", len(share(rank)))
            torch.testing.assert_close(found["b.weight"] * 2, model.b.weight.grad)
            assert found["c.weight"] is None


# The wrapper


@task
def wrapper(rank: int) -> dict:
    model = Branches()
    model._ddp_params_and_buffers_to_ignore = ["c.bias"]
    wrapped = TTDistributedDataParallel(
        model, ["get_loss", "scored"], add_model_attributes=["calls"]
    )
    bare = DistributedDataParallel(Branches())
    wrapped.scored(share(rank)).backward()
    bare(share(rank)).sum().backward()
    wrapped.load_state_dict(bare.state_dict())
    wrapped.calls, wrapped.settings, wrapped.of_the_wrapper = 3, "changed", 1
    wrapped.train(False)
    reread = copy.deepcopy(model)
    return {
        "names": list(wrapped.state_dict()) == list(bare.state_dict()),
        "reached": (wrapped.twice(2), wrapped.kind(), wrapped.halved, wrapped.device_name),
        "set": (model.calls, reread.settings, hasattr(model, "of_the_wrapper"), model.training),
        "averaged": torch.equal(model.a.weight.grad, bare.module.a.weight.grad),
        "ignored": "model.c.bias" in wrapped.parameters_to_ignore,
        "hidden": error_of(AttributeError, lambda: wrapped.nothing_of_the_kind),
        "unknown": error_of(ParallelValueError, lambda: TTDistributedDataParallel(model, ["no"])),
        "wrong": error_of(RuntimeError, lambda: wrapped.load_state_dict({"module.d": inputs()})),
    }


def test_the_wrapper_stands_for_the_model(results) -> None:
    found = results[0]["wrapper"]
    assert found["names"]
    assert found["reached"] == (4, "Branches", 1.5, "mine")
    assert found["set"] == (3, "changed", False, False)
    assert found["averaged"]  # what was named in default_model_methods
    assert found["ignored"]
    assert "nothing_of_the_kind" in found["hidden"]
    assert "no 'no'" in found["unknown"]
    assert "Unexpected" in found["wrong"]
    assert "Missing" in found["wrong"]


# Batch norm


class Normed(nn.Module):
    def __init__(self, norm: nn.Module, first: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.norm, self.last = first.double(), norm.double(), nn.Tanh()
        for parameter in norm.parameters():
            nn.init.uniform_(parameter)

    def forward(self, x):
        return self.last(self.norm(self.first(x)))

    def get_loss(self, batch, criterion, device):
        (x,) = batch
        return (self(x) * torch.arange(1, 5).view(1, 4, *[1] * (x.ndim - 2))).square().sum()


NORMS = {
    "2d input": (lambda: nn.BatchNorm1d(4), (11, 3)),
    "3d input": (lambda: nn.BatchNorm1d(4, momentum=None), (11, 3, 5)),
    "images": (lambda: nn.BatchNorm2d(4, eps=1e-3, momentum=0.3), (11, 3, 4, 2)),
    "no affine": (lambda: nn.BatchNorm1d(4, affine=False), (11, 3)),
    "no tracking": (lambda: nn.BatchNorm1d(4, track_running_stats=False), (11, 3)),
    "volumes": (lambda: nn.BatchNorm3d(4), (11, 3, 2, 2, 2)),
}
FIRST = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}


def normed(case: str) -> tuple[Normed, torch.Tensor]:
    make, shape = NORMS[case]
    torch.manual_seed(1)
    first = FIRST[len(shape)](3, 4, *([1] if len(shape) > 2 else []))
    model = Normed(make(), first)
    return model, torch.randn(shape, dtype=torch.float64) * 2 + 5


@task
def synchronised(rank: int) -> dict:
    found = {}
    for case in NORMS:
        strategy = DistributedStrategy(CPU, sync_batchnorm=True)
        model, x = normed(case)
        norm, kind, states = model.norm, type(model.norm), list(model.state_dict())
        prepared = strategy.prepare(model, [])
        for cut in (4, 0, 0):  # uneven, and none at all
            part = x[:cut] if rank == 0 else x[cut:]
            messages = collectives(partial(step, strategy, prepared, (part,)))
        model.eval()
        found[case] = {
            "gradients": gradients(model),
            "buffers": dict(model.named_buffers()),
            "eval": model(x),
            "messages": messages,
            "same": (model.norm is norm, list(model.state_dict()) == states),
        }
        strategy.release(model)
        assert type(model.norm) is kind
        assert vars(model.norm).keys() == vars(normed(case)[0].norm).keys()
    return found


@pytest.mark.parametrize("case", NORMS)
def test_a_synchronised_batch_norm_is_that_of_the_whole_batch(results, case: str) -> None:
    model, x = normed(case)
    for _ in range(3):
        model.get_loss((x,), None, CPU).backward()
    model.eval()
    for result in results:
        found = result["synchronised"][case]
        for name, expected in gradients(model).items():
            torch.testing.assert_close(
                found["gradients"][name] * 2, expected, rtol=1e-12, atol=1e-11
            )
        for name, expected in model.named_buffers():
            torch.testing.assert_close(found["buffers"][name], expected, rtol=1e-12, atol=0)
        torch.testing.assert_close(found["eval"], model(x), rtol=1e-11, atol=1e-12)
        assert found["messages"] == ["gloo:all_gather", "gloo:all_reduce", "gloo:all_reduce"]
        assert found["same"] == (True, True)


def test_on_cuda_it_is_that_of_pytorch() -> None:
    model, x = normed("2d input")
    (plain, _), names = normed("2d input"), list(model.state_dict())
    synchronise(model, torch.device("cuda"))
    assert type(model.norm) is nn.SyncBatchNorm
    assert list(model.state_dict()) == names
    assert torch.equal(model(x), plain(x))  # one process alone
    assert torch.equal(model.norm.running_var, plain.norm.running_var)
    synchronise(model, CPU)
    assert torch.equal(model(x), plain(x))
    unsynchronise(model)
    assert type(model.norm) is nn.BatchNorm1d
    assert vars(model.norm).keys() == vars(plain.norm).keys()


class TrainNormed:
    def __call__(self, strategy) -> dict:
        model, x = normed("images")
        prepared = strategy.prepare(model, [])
        x = x[:4] if strategy.comm.rank == 0 else x[4:]
        with strategy.micro(prepared, sync=True):
            strategy.backward(prepared(x.to(strategy.device)).square().sum())
        return gradients(model)


@pytest.mark.gpu
def test_a_synchronised_batch_norm_on_several_gpus() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    model, x = normed("images")
    model(x).square().sum().backward()
    make = partial(DistributedStrategy, sync_batchnorm=True)
    for found in Spawn(2, "cuda", make_strategy=make).run(TrainNormed()):
        for name, expected in gradients(model).items():
            torch.testing.assert_close(found[name].cpu() * 2, expected, rtol=1e-9, atol=1e-9)


class OwnNorm(nn.BatchNorm1d):
    def forward(self, x):
        return x


@task
def norms_that_cannot_be(rank: int) -> dict:
    strategy = DistributedStrategy(CPU, sync_batchnorm=True)
    own = error_of(ParallelValueError, lambda: strategy.prepare(nn.Sequential(OwnNorm(2)), []))
    prepared = strategy.prepare(nn.Sequential(nn.BatchNorm1d(2)), [])
    few = error_of(ParallelValueError, lambda: prepared(torch.ones(rank, 2)))
    wrong = error_of(ValueError, lambda: prepared(torch.ones(2, 2, 2, 2)))
    half = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to(torch.bfloat16)
    prepared = strategy.prepare(half, [])
    prepared(torch.randn(3, 2, dtype=torch.bfloat16)).float().square().sum().backward()
    return {"own": own, "few": few, "wrong": wrong, "half": half[1].bias.grad.dtype}


def test_batch_norms_that_cannot_be_synchronised_say_so(results) -> None:
    found = results[0]["norms_that_cannot_be"]
    assert "'0' is a OwnNorm" in found["own"]
    assert "more than one value per channel" in found["few"]
    assert "expected 2D or 3D input" in found["wrong"]
    assert found["half"] == torch.bfloat16


# Buffers


@task
def buffers(rank: int) -> dict:
    x = share(rank)

    def train(prepared, steps=3):
        optimizer = torch.optim.SGD(prepared.parameters(), lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            prepared(x).square().sum().backward()
            optimizer.step()

    def counted(prepared):  # without the first steps, in which the buckets are made
        train(prepared, 2)
        return collectives(lambda: train(prepared))

    def fresh(*more: nn.Module) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), *more).double()

    ours, bare, asked, further = fresh(), fresh(), fresh(), fresh(nn.Flatten())
    further.register_buffer("mask", torch.ones(3))
    strategy = DistributedStrategy(CPU)
    prepared = strategy.prepare(ours, [])
    reference = DistributedDataParallel(bare)
    asking = DistributedStrategy(CPU, broadcast_buffers=True)
    return {
        "ours": counted(prepared),
        "bare": counted(reference),
        "asked": counted(asking.prepare(asked, [])),
        "further": counted(strategy.prepare(further, [])),
        "evaluation": collectives(lambda: strategy.evaluable(prepared)),
        "ours state": {name: value.clone() for name, value in ours.state_dict().items()},
        "bare state": dict(bare.state_dict()),
    }


def test_statistics_of_batch_norms_travel_only_to_evaluation(results) -> None:
    first, second = (result["buffers"] for result in results)
    assert first["ours"] == ["gloo:all_reduce"] * 3
    for name, value in first["bare state"].items():
        assert torch.equal(first["ours state"][name], value)  # process 0 has the same bits
        assert torch.equal(first["ours state"][name], second["ours state"][name])
    assert first["evaluation"] == ["gloo:broadcast"] * 2  # one for each type
    for case in ("bare", "asked", "further"):  # what else there may be has an effect on training
        assert first[case].count("gloo:broadcast") >= 3


# Processes that have come apart


@task
def comparison(rank: int) -> dict:
    def run(change, every=2, steps=4):
        strategy, model = DistributedStrategy(CPU, check_sync_every=every), Branches()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)  # leaves changes as they are
        prepared = strategy.prepare(model, [optimizer])
        for number in range(steps):
            if number == 1 and rank == 1:
                change(model)
            step(strategy, prepared, (share(rank), "abc"))
            strategy.apply(optimizer)
        return strategy

    def flip(model):  # the signs of two places, and then of all
        model.b.weight.data[0, :2] *= -1

    def flip_all(model):
        model.c.weight.data *= -1

    def last_bit(model):
        model.b.bias.data[1] = torch.nextafter(model.b.bias.data[1], torch.tensor(9.0).double())
        model.c.weight.data[0] += 1

    run(lambda model: None, every=1)
    messages = collectives(lambda: run(lambda model: None, every=2))
    quiet = collectives(lambda: run(lambda model: None, every=0))
    run(flip, every=5)  # nobody looks
    return {
        "flip": error_of(OutOfSync, lambda: run(flip)),
        "flip_all": error_of(OutOfSync, lambda: run(flip_all)),
        "last_bit": error_of(OutOfSync, lambda: run(last_bit, every=1)),
        "further messages": len(messages) - len(quiet),
        "negative": error_of(
            ParallelValueError, lambda: DistributedStrategy(CPU, check_sync_every=-1)
        ),
    }


def test_parameters_that_differ_are_found_by_name(results) -> None:
    first, second = (result["comparison"] for result in results)
    assert first == second
    assert "after step 2 1 of 6 are not; the first is 'b.weight'" in first["flip"]
    assert "processes 0 | 1" in first["flip"]
    assert "'c.weight'" in first["flip_all"]
    assert "after step 2 2 of 6 are not; the first is 'b.bias'" in first["last_bit"]
    assert first["further messages"] == 2  # in four steps
    assert "at least 0" in first["negative"]


@task
def foreign_parameters(rank: int) -> str:
    strategy, criterion = DistributedStrategy(CPU), nn.Linear(1, 1)
    optimizer = torch.optim.SGD(criterion.parameters())
    assert dist.is_initialized()
    return error_of(ParallelValueError, lambda: strategy.prepare(Branches(), [optimizer]))


def test_parameters_that_are_not_the_models_are_refused(results) -> None:
    assert "make them the model's" in results[0]["foreign_parameters"]
