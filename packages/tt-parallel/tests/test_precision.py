"""Mixed precision against torch.amp used by hand."""

import copy
import pickle

import pytest
import torch
from torch import nn

from tt_parallel.api import FullPrecision, ParallelValueError, TorchAmp, amp, apply_step

CPU = torch.device("cpu")


def network() -> tuple[nn.Module, torch.optim.Optimizer, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.1), torch.randn(32, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_steps_equal_those_by_hand(dtype: torch.dtype) -> None:
    model, optimizer, x = network()
    scaler = torch.amp.GradScaler("cpu", enabled=dtype is torch.float16, init_scale=1024.0)
    for _ in range(3):
        with torch.autocast("cpu", dtype):
            loss = model(x).square().mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    other, optimizer, x = network()
    precision = TorchAmp(CPU, dtype, **({"init_scale": 1024.0} if dtype is torch.float16 else {}))
    for _ in range(3):
        with precision.forward():
            loss = other(x).square().mean()
        precision.backward(loss)
        report = apply_step(optimizer, precision, max_norm=0.05)
        assert not report.skipped
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_gradient_that_is_not_finite_skips_the_step() -> None:
    model, optimizer, x = network()
    before = [p.clone() for p in model.parameters()]
    precision = TorchAmp(CPU, torch.float16, init_scale=256.0)
    precision.backward(model(x).sum() * float("inf"))
    assert apply_step(optimizer, precision).skipped
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert precision.state_dict()["scaler"]["scale"] == 128.0

    fresh = TorchAmp(CPU, torch.float16)
    fresh.load_state_dict(precision.state_dict())
    assert fresh.state_dict()["scaler"]["scale"] == 128.0


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("precision", ["full", "bfloat16", "float16"])
@pytest.mark.parametrize("worst", [1.0, float("inf"), float("nan")])
def test_a_step_is_left_out_when_finite_gradients_are_required(
    fused: bool, name: str, precision: str, worst: float
) -> None:
    model, _, _ = network()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1, fused=fused)
    kind = FullPrecision() if precision == "full" else TorchAmp(CPU, getattr(torch, precision))
    before = [p.clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, worst)
    kind.backward(torch.zeros((), requires_grad=True))  # loss scaling begins with a loss
    report = apply_step(optimizer, kind, require_finite=True)
    same = all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert (bool(report.skipped), same) == ((False, False) if worst == 1.0 else (True, True))
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("precision", [FullPrecision, lambda: TorchAmp(CPU, torch.float16)])
def test_a_first_step_with_momentum_is_left_out_whole(precision) -> None:
    model, _, _ = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    kind = precision()
    scaled = isinstance(kind, TorchAmp)
    for worst in (float("nan"), 1.0):
        kind.backward(sum(parameter.sum() for parameter in model.parameters()) * worst)
        apply_step(optimizer, kind, require_finite=not scaled)  # scaling looks by itself
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    buffers = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert all(torch.equal(buffer, torch.ones_like(buffer)) for buffer in buffers)


def test_order_of_a_step() -> None:
    model, optimizer, x = network()
    seen = []
    precision = TorchAmp(CPU, torch.float16, init_scale=1024.0)
    precision.backward(model(x).square().mean())

    def look() -> None:
        seen.append(torch.cat([p.grad.flatten() for p in model.parameters()]).clone())

    true, _, x = network()
    true(x).square().mean().backward()
    expected = torch.cat([p.grad.flatten() for p in true.parameters()]) / 2
    report = apply_step(optimizer, precision, grad_scale=0.5, max_norm=1e-4, on_gradients=look)
    torch.testing.assert_close(seen[0], expected)  # unscaled and normalised, not yet clipped
    torch.testing.assert_close(report.grad_norm, expected.norm())


def test_full_precision_is_torch_as_it_is() -> None:
    model, optimizer, x = network()
    FullPrecision().backward(model(x).sum())
    assert not apply_step(optimizer, FullPrecision()).skipped
    FullPrecision().load_state_dict({})


def halves() -> tuple[list[nn.Parameter], list[torch.optim.Optimizer]]:
    weights = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))]
    return weights, [torch.optim.SGD([weight], lr=0.5) for weight in weights]


def window(precision, weights, optimizers, worst: tuple[float, ...]) -> list[bool]:
    """One backward pass for all, then each optimizer's step."""
    loss = sum((weight * bad).sum() for weight, bad in zip(weights, worst, strict=True))
    precision.backward(loss)
    return [bool(apply_step(optimizer, precision).skipped) for optimizer in optimizers]


def test_the_scale_of_several_optimizers_adapts_once_a_window() -> None:
    weights, optimizers = halves()
    precision = TorchAmp(CPU, torch.float16, init_scale=64.0, growth_interval=3)
    inf = float("inf")
    scales, skips = [], []
    for worst in [(1, 1), (1, 1), (inf, 1), (inf, inf), (1, 1), (1, 1), (1, 1)]:
        before = [weight.detach().clone() for weight in weights]
        skips.append(window(precision, weights, optimizers, worst))
        for weight, old, bad in zip(weights, before, worst, strict=True):
            expected = old if bad == inf else old - 0.5  # true size, whatever the other's did
            assert torch.equal(weight.detach(), expected)
        scales.append(precision.state_dict()["scaler"]["scale"])
    assert skips == [[False, False]] * 2 + [[True, False], [True, True]] + [[False, False]] * 3
    assert scales == [64.0, 64.0, 32.0, 16.0, 16.0, 16.0, 32.0]


@pytest.mark.parametrize("first", [0, 1])
def test_each_of_several_fused_optimizers_tells_its_own_flag(first: int) -> None:
    weights, _ = halves()
    optimizers = [torch.optim.Adam([weight], lr=0.5, fused=True) for weight in weights]
    precision = TorchAmp(CPU, torch.float16)
    worst = [1.0, 1.0]
    worst[first] = float("nan")
    for _ in range(2):
        loss = sum((weight * bad).sum() for weight, bad in zip(weights, worst, strict=True))
        precision.backward(loss)
        flags = [apply_step(optimizer, precision).skipped for optimizer in optimizers]
        assert all(isinstance(flag, torch.Tensor) for flag in flags)  # nobody had to wait
        assert [bool(flag) for flag in flags] == [index == first for index in range(2)]
    assert torch.equal(weights[first].detach(), torch.ones(3))
    assert not torch.equal(weights[1 - first].detach(), torch.ones(3))


def test_a_fused_step_is_required_to_be_finite_without_waiting() -> None:
    for precision in (FullPrecision(), TorchAmp(CPU), TorchAmp(CPU, torch.float16)):
        weight = nn.Parameter(torch.ones(3))
        optimizer = torch.optim.Adam([weight], lr=0.5, fused=True)
        for bad in (float("nan"), 1.0):
            precision.backward((weight * bad).sum())
            skipped = apply_step(optimizer, precision, require_finite=True).skipped
            assert isinstance(skipped, torch.Tensor)
            assert bool(skipped) == (bad != 1.0)
            assert not {"found_inf", "grad_scale"} & set(vars(optimizer))
        torch.testing.assert_close(weight.detach(), torch.full((3,), 0.5))


def test_a_fused_step_is_left_out_for_what_scaling_has_not_seen() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight], lr=0.5, fused=True)
    precision = TorchAmp(CPU, torch.float16)
    precision.backward(weight.sum())
    assert apply_step(optimizer, precision, grad_scale=float("nan"), require_finite=True).skipped
    assert torch.equal(weight.detach(), torch.ones(3))


def test_an_optimizer_may_step_twice_after_one_loss() -> None:
    (weight, other), (optimizer, _) = halves()
    precision = TorchAmp(CPU, torch.float16, init_scale=8.0, growth_interval=1)
    precision.backward(weight.sum() + other.sum())
    for scale in (16.0, 32.0):
        apply_step(optimizer, precision)
        weight.grad = torch.full((3,), scale)  # scaled by hand
    assert torch.equal(weight.detach(), torch.full((3,), 0.0))


def test_an_optimizer_without_gradients_steps_without_scaling() -> None:
    weights, optimizers = halves()
    precision = TorchAmp(CPU, torch.float16, init_scale=8.0, growth_interval=1)
    for expected in (16.0, 32.0):
        precision.backward(weights[0].sum())
        assert not apply_step(optimizers[1], precision).skipped
        assert not apply_step(optimizers[0], precision).skipped
        assert precision.state_dict()["scaler"]["scale"] == expected
    assert torch.equal(weights[1].detach(), torch.ones(3))


def test_gradients_are_unscaled_after_a_resume_inside_a_window() -> None:
    (weight, _), (optimizer, _) = halves()
    precision = TorchAmp(CPU, torch.float16, init_scale=8.0)
    precision.backward(weight.sum())
    fresh = TorchAmp(CPU, torch.float16)
    fresh.load_state_dict(precision.state_dict())
    apply_step(optimizer, fresh)
    assert torch.equal(weight.detach(), torch.full((3,), 0.5))


@pytest.mark.parametrize("how", ["state", "pickle", "deepcopy"])
def test_a_run_goes_on_bit_for_bit(how: str) -> None:
    model, optimizer, x = network()
    precision = TorchAmp(CPU, torch.float16, init_scale=2.0**24, growth_interval=2)

    def train(kind, steps: int) -> list[torch.Tensor]:
        for _ in range(steps):
            with kind.forward():
                loss = model(x).square().mean()
            kind.backward(loss)
            apply_step(optimizer, kind, max_norm=0.05)
        return [parameter.detach().clone() for parameter in model.parameters()]

    train(precision, 7)  # the scale has fallen and grown, and a step waits for its adaptation
    if how == "state":
        other = TorchAmp(CPU, torch.float16)
        other.load_state_dict(pickle.loads(pickle.dumps(precision.state_dict())))
    else:
        other = (
            copy.deepcopy(precision) if how == "deepcopy" else pickle.loads(pickle.dumps(precision))
        )
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    expected = train(precision, 9)
    model.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    assert all(map(torch.equal, train(other, 9), expected))
    assert other.state_dict() == precision.state_dict()
    assert other.state_dict()["scaler"]["growth_interval"] == 2


def test_a_precision_can_be_sent_with_a_step_under_way() -> None:
    (weight, _), (optimizer, _) = halves()
    precision = TorchAmp(CPU, torch.float16, init_scale=8.0)
    precision.backward(weight.sum())
    precision.unscale(optimizer)
    assert pickle.loads(pickle.dumps(precision)).state_dict() == precision.state_dict()


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: amp(device=CPU, level="O1"), "got level"),
        (lambda: amp(device=CPU, opt_level="O1", dtype="bfloat16"), "dtype of torch.amp and opt_l"),
        (lambda: amp(device=CPU, init_scale=2.0, loss_scale=2.0), "init_scale of torch.amp and lo"),
        (lambda: amp(device=CPU, dtype="int8"), "got 'int8'"),
        (lambda: amp(device=CPU, dtype="float16"), r"use bfloat16.*TorchAmp\(torch.device\('cpu'"),
        (lambda: amp(device=CPU, dtype=torch.float16), "got dtype=float16: use bfloat16"),
        (lambda: amp(device=CPU, opt_level="O2", cast_model_type="float16"), "use bfloat16"),
        (lambda: TorchAmp(CPU, torch.float64), "got dtype=torch.float64"),
        (lambda: amp(device=CPU, init_scale=2.0), "is for float16"),
        (lambda: FullPrecision().load_state_dict({"dtype": "float16"}), "float16"),
        (lambda: TorchAmp(CPU).load_state_dict({}), "computed in float32, this one in bfloat16"),
        (lambda: TorchAmp(CPU).load_state_dict({"dtype": "float16", "scaler": {}}), "in float16"),
    ],
)
def test_what_cannot_be_is_refused(make, rule: str) -> None:
    with pytest.raises(ParallelValueError, match=rule):
        make()


def test_the_default_of_each_device() -> None:
    assert amp(device=CPU).state_dict() == {"dtype": "bfloat16", "scaler": {}}
    assert amp(device=CPU, dtype="bfloat16", cache_enabled=False).dtype is torch.bfloat16


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device that nothing is computed on."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    return torch.device("cuda")


def test_float16_and_loss_scaling_on_cuda(cuda: torch.device) -> None:
    state = amp(device=cuda).state_dict()
    assert (state["dtype"], state["scaler"]["scale"]) == ("float16", 2.0**16)
    options = {"growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 7}
    state = amp(device=cuda, init_scale=4.0, dtype="float16", **options).state_dict()
    assert state["scaler"] == {"scale": 4.0, **options, "_growth_tracker": 0}
    assert amp(device=cuda, dtype=torch.bfloat16).state_dict()["scaler"] == {}


@pytest.mark.parametrize("options", [{}, {"opt_level": "O3"}, {"init_scale": 4.0}])
def test_disabled_is_full_precision(options) -> None:
    assert isinstance(amp(device=CPU, enabled=False, **options), FullPrecision)
    assert not isinstance(amp(device=CPU, enabled=True), FullPrecision)
