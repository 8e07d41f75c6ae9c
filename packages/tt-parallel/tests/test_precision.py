"""Mixed precision against torch.amp used by hand."""

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
    assert fresh.scaler.get_scale() == 128.0


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("precision", ["full", "bfloat16", "float16"])
@pytest.mark.parametrize("worst", [1.0, float("inf"), float("nan")])
def test_a_step_is_left_out_when_finite_gradients_are_required(
    fused: bool, name: str, precision: str, worst: float
) -> None:
    model, _, _ = network()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1, fused=fused)
    kind = FullPrecision() if precision == "full" else amp(device=CPU, dtype=precision)
    before = [p.clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, worst)
    kind.backward(torch.zeros((), requires_grad=True))  # loss scaling begins with a loss
    report = apply_step(optimizer, kind, require_finite=True)
    same = all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert (bool(report.skipped), same) == ((False, False) if worst == 1.0 else (True, True))
    assert all(p.grad is None for p in model.parameters())


def test_a_first_step_with_momentum_is_left_out_whole() -> None:
    model, _, _ = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    for worst in (float("nan"), 1.0):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, worst)
        apply_step(optimizer, FullPrecision(), require_finite=True)
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


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: amp(device=CPU, opt_level="O1"), "got opt_level"),
        (lambda: amp(device=CPU, dtype="int8"), "got 'int8'"),
        (lambda: TorchAmp(CPU, torch.float64), "got dtype=torch.float64"),
        (lambda: amp(device=CPU, init_scale=2.0), "is for float16"),
        (lambda: FullPrecision().load_state_dict({"dtype": "float16"}), "float16"),
        (lambda: TorchAmp(CPU).load_state_dict({}), "computed in float32"),
    ],
)
def test_what_cannot_be_is_refused(make, rule: str) -> None:
    with pytest.raises(ParallelValueError, match=rule):
        make()


def test_the_default_of_each_device() -> None:
    assert amp(device=CPU).dtype is torch.bfloat16
    assert amp(device=CPU, dtype="float16", cache_enabled=False).dtype is torch.float16
