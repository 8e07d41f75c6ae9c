"""What only CUDA shows: float16, NCCL, steps that do not wait. Several GPUs where there are."""

from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tt_parallel.api import (
    DistributedStrategy,
    OptLevel,
    ShardedStrategy,
    SingleStrategy,
    Spawn,
    TorchAmp,
    amp,
    apply_step,
    ddp,
)

pytestmark = pytest.mark.gpu

GPUS = torch.cuda.device_count()
several = pytest.mark.skipif(GPUS < 2, reason="needs two CUDA devices")


class Regression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        return self.head(self.layers(x))

    def get_loss(self, batch, criterion, device):
        x, y = batch
        return criterion(self(x.to(device)).float(), y.to(device))

    get_loss_eval = get_loss


MOMENTUM = partial(torch.optim.SGD, lr=0.05, momentum=0.9)


def job(make=MOMENTUM):
    torch.manual_seed(2)
    model = Regression()
    x = torch.randn(64, 8)
    return model, make(model.parameters()), (x, x.sum(1, keepdim=True))


def by_strategy(strategy, steps: int = 4, make=MOMENTUM):
    bare, optimizer, (x, y) = job(make)
    model = strategy.prepare(bare, [optimizer])
    rank, world = strategy.comm.rank, strategy.comm.world_size
    share = (x[rank::world], y[rank::world])
    reports = []
    for _ in range(steps):
        with strategy.micro(model, sync=True):
            with strategy.forward():
                loss = model.get_loss(share, nn.MSELoss(), strategy.device)
            strategy.backward(loss)
        reports.append(strategy.apply(optimizer, max_norm=5.0))
    state = strategy.state_dict(bare, [optimizer])
    return {
        "weights": {name: value.cpu() for name, value in state["model"].items()},
        "skipped": [bool(report.skipped) for report in reports],
        "device": str(strategy.device),
        "sum": strategy.comm.all_reduce(torch.ones(2, device=strategy.device)).cpu(),
        "host sum": strategy.comm.all_reduce(torch.ones(2)),
        "names": strategy.comm.gather_objects({"rank": rank, "tensor": loss.detach()}),
        "backend": dist.get_backend() if dist.is_initialized() else None,
    }


def by_hand(steps: int = 4):
    model, optimizer, (x, y) = job()
    model, x, y = model.cuda(), x.cuda(), y.cuda()
    scaler = torch.amp.GradScaler("cuda")
    for _ in range(steps):
        with torch.autocast("cuda", torch.float16):
            loss = nn.functional.mse_loss(model(x).float(), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    return {name: value.cpu() for name, value in model.state_dict().items()}


def assert_same(found, expected, **tolerance) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name, **tolerance)


def test_float16_on_cuda_is_that_of_the_hand_written_loop() -> None:
    cuda = torch.device("cuda", 0)
    precision = amp(device=cuda)
    assert isinstance(precision, TorchAmp)
    assert precision.dtype is torch.float16
    found = by_strategy(SingleStrategy(cuda, precision))
    assert_same(found["weights"], by_hand(), rtol=0, atol=0)


def test_one_process_by_nccl_is_one_device() -> None:
    cuda = torch.device("cuda", 0)
    alone = by_strategy(SingleStrategy(cuda))
    (found,) = ddp(num_gpus=1).run(by_strategy)
    assert_same(found["weights"], alone["weights"])
    assert found["device"] == "cuda:0"
    assert found["sum"].tolist() == found["host sum"].tolist() == [1.0, 1.0]
    assert found["names"][0]["rank"] == 0


def test_one_process_of_shards_is_one_device() -> None:
    cuda = torch.device("cuda", 0)
    alone = by_strategy(SingleStrategy(cuda))
    (found,) = Spawn(1, "cuda", make_strategy=ShardedStrategy).run(by_strategy)
    assert_same(found["weights"], alone["weights"])


def on_the_first_gpu(_) -> dict:
    return by_strategy(DistributedStrategy(torch.device("cuda", 0)))


def test_two_processes_on_one_gpu_agree() -> None:
    first, second = Spawn(2).run(on_the_first_gpu)  # Gloo takes CUDA tensors too
    for name, value in first["weights"].items():
        if "running" not in name and "batches" not in name:  # statistics are each one's own
            assert torch.equal(value, second["weights"][name]), name
    assert first["sum"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize("level", ["O0", "O1", "O2", "O3"])
def test_the_levels_of_apex_train_in_float16(level: str) -> None:
    cuda = torch.device("cuda", 0)
    strategy = SingleStrategy(cuda, OptLevel(cuda, level))
    bare, optimizer, batch = job(partial(torch.optim.SGD, lr=0.01))
    model = strategy.prepare(bare, [optimizer])
    losses = []
    for _ in range(60):
        with strategy.forward():
            loss = model.get_loss(batch, nn.MSELoss(), cuda)
        strategy.backward(loss)
        strategy.apply(optimizer)
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    half = {p.dtype for p in bare.head.parameters()}
    assert half == {torch.float16 if level == "O3" else torch.float32}


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("precision", ["full", "float16", "bfloat16", "O2"])
def test_a_step_of_a_fused_optimizer_does_not_wait(precision: str) -> None:
    cuda = torch.device("cuda", 0)
    kinds = {
        "full": lambda: None,
        "O2": lambda: OptLevel(cuda, "O2"),
        "float16": lambda: TorchAmp(cuda, torch.float16),
        "bfloat16": lambda: TorchAmp(cuda, torch.bfloat16),
    }
    strategy = SingleStrategy(cuda, kinds[precision]())
    bare, optimizer, batch = job(partial(torch.optim.AdamW, lr=0.01, fused=True))
    model = strategy.prepare(bare, [optimizer])
    batch = tuple(part.to(cuda) for part in batch)
    scale = torch.tensor(0.5, device=cuda)
    criterion = nn.MSELoss()
    try:
        for number in range(4):
            torch.cuda.set_sync_debug_mode("error" if number > 1 else "default")
            with strategy.forward():
                loss = model.get_loss(batch, criterion, cuda)
            strategy.backward(loss)
            strategy.apply(optimizer, grad_scale=scale, max_norm=1.0, require_finite=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("fused", [False, True])
def test_an_overflow_leaves_the_step_out(fused: bool) -> None:
    cuda = torch.device("cuda", 0)
    precision = TorchAmp(cuda, torch.float16, init_scale=1024.0)
    weight = nn.Parameter(torch.ones(4, device=cuda))
    optimizer = torch.optim.Adam([weight], lr=0.1, fused=fused)
    precision.backward((weight * float("inf")).sum())
    report = apply_step(optimizer, precision)
    assert isinstance(report.skipped, torch.Tensor) == fused
    assert bool(report.skipped)
    assert torch.equal(weight.detach().cpu(), torch.ones(4))
    assert precision.state_dict()["scaler"]["scale"] == 512.0


def test_a_state_that_was_loaded_on_the_cpu_follows_the_model() -> None:
    cuda = torch.device("cuda", 0)
    bare, optimizer, batch = job(partial(torch.optim.Adam, lr=0.01))
    bare.get_loss(batch, nn.MSELoss(), torch.device("cpu")).backward()
    optimizer.step()
    optimizer.zero_grad()
    strategy = SingleStrategy(cuda)
    model = strategy.prepare(bare, [optimizer])
    strategy.backward(model.get_loss(batch, nn.MSELoss(), cuda))
    strategy.apply(optimizer)
    assert {str(state["exp_avg"].device) for state in optimizer.state.values()} == {"cuda:0"}


@several
@pytest.mark.parametrize("make", [DistributedStrategy, ShardedStrategy])
def test_two_gpus_by_nccl_equal_one(make) -> None:
    one = Spawn(1, "cuda", make_strategy=make).run(by_strategy_without_norm)
    two = Spawn(2, "cuda", make_strategy=make).run(by_strategy_without_norm)
    for found in two:
        assert_same(found, one[0], rtol=1e-5, atol=1e-6)


def by_strategy_without_norm(strategy) -> dict:
    torch.manual_seed(2)
    bare = Regression()
    bare.layers[1] = nn.Identity()
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.05, momentum=0.9)
    x = torch.randn(64, 8)
    y = x.sum(1, keepdim=True)
    model = strategy.prepare(bare, [optimizer])
    rank, world = strategy.comm.rank, strategy.comm.world_size
    for _ in range(4):
        with strategy.micro(model, sync=True):
            batch = (x[rank::world], y[rank::world])
            strategy.backward(model.get_loss(batch, nn.MSELoss(), strategy.device))
        strategy.apply(optimizer, max_norm=5.0)
    state = strategy.state_dict(bare, [optimizer])
    return {name: value.cpu() for name, value in state["model"].items()}
