"""NVIDIA Apex: which one is installed, and a precision over a stand-in with its interface."""

import logging
import pickle
import sys
from contextlib import contextmanager
from pathlib import Path
from types import MethodType, ModuleType

import pytest
import torch
from torch import nn

from tt_parallel.api import ApexAmp, FullPrecision, OptLevel, ParallelValueError, amp, apply_step
from tt_parallel.precision.apex import find_apex

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


# Which apex it is


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs an ``apex`` of some files."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "apex"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)

    def install(**files: str) -> None:
        (tmp_path / "apex").mkdir()
        for name, text in {"__init__": "", **files}.items():
            (tmp_path / "apex" / f"{name}.py").write_text(text)

    yield install
    for name in [name for name in sys.modules if name.partition(".")[0] == "apex"]:
        del sys.modules[name]


WITH_AMP = {"amp": "def initialize(*args, **options): ...", "normalization": ""}


@pytest.mark.parametrize(
    ("files", "told", "is_wrong"),
    [
        (WITH_AMP, "NVIDIA Apex with apex.amp was found", False),
        ({"normalization": ""}, "an NVIDIA Apex without apex.amp was found", False),
        ({"normalization": "", "amp": ""}, "has no initialize", False),
        ({"multi_tensor_apply": ""}, "releases after 25.05", False),
        ({}, "is not NVIDIA's (PyPI's is another project; ModuleNotFoundError", True),
        ({"__init__": "1 / 0"}, "is not NVIDIA's (PyPI's is another project; ZeroDivision", True),
    ],
)
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_which_apex_computes_is_told(
    installed, caplog, device, files, told: str, is_wrong: bool
) -> None:
    installed(**files)
    caplog.set_level(logging.INFO)
    made = amp(device=device, opt_level="O3", loss_scale=1.0)
    assert isinstance(made, ApexAmp if files is WITH_AMP and device is CUDA else OptLevel)
    (record,) = caplog.records
    assert told in record.getMessage()
    assert ("its equivalent in PyTorch" in record.getMessage()) == isinstance(made, OptLevel)
    assert record.levelno == (logging.WARNING if is_wrong else logging.INFO)


def test_without_apex(monkeypatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "apex", None)
    caplog.set_level(logging.INFO)
    amp(device=CPU, opt_level="O2")
    (message,) = caplog.messages
    assert message.startswith("opt_level=O2 is computed by its equivalent in PyTorch (bfloat16 on")
    assert message.endswith("NVIDIA Apex was not found")
    amp(device=CPU, opt_level="O2", verbosity=0)
    assert len(caplog.records) == 1


# A stand-in for apex.amp, as far as a precision meets it


class StandIn(ModuleType):
    """Interface and order of effects of ``apex.amp``, on the CPU; notes what is called."""

    def __init__(self) -> None:
        super().__init__("apex.amp")
        self.calls: list[str] = []
        self.taken: list[torch.optim.Optimizer] = []
        self.masters = False

    def initialize(self, models, optimizers=None, *, opt_level="O1", loss_scale=None, **_):
        assert isinstance(models, list)
        self.calls.append(f"initialize {len(models)} {len(optimizers or [])}")
        self.masters = opt_level == "O2"
        static = {"O0": 1.0, "O3": 1.0}.get(opt_level) if loss_scale is None else loss_scale
        self.dynamic = static in (None, "dynamic")
        self.scale, self.unskipped = (2.0**16 if self.dynamic else float(static)), 0
        for model in models:
            assert not any(p.dtype is torch.float16 for p in model.parameters())
            if self.masters:
                model.half()
        for optimizer in optimizers or []:
            if optimizer in self.taken:
                msg = "A given optimizer should only be passed through amp.initialize once."
                raise RuntimeError(msg)
            self.taken.append(optimizer)
            self._process(optimizer)
        return models, optimizers

    def _process(self, optimizer) -> None:
        optimizer.pairs, optimizer.is_scaled = None, False
        if not self.masters:
            return
        step, stand_in = optimizer.step, self

        def new_step(self):
            step()
            for half, master in self.pairs:
                half.data.copy_(master.data)
                master.grad = None

        def new_zero_grad(self):
            stand_in._make_masters(self)
            for half, master in self.pairs:
                half.grad = None if half.grad is None else torch.zeros_like(half)
                master.grad = None

        optimizer.step = MethodType(new_step, optimizer)
        optimizer.zero_grad = MethodType(new_zero_grad, optimizer)

    def _make_masters(self, optimizer) -> None:
        if self.masters and optimizer.pairs is None:
            optimizer.pairs = []
            for group in optimizer.param_groups:
                for number, half in enumerate(group["params"]):
                    master = half.detach().clone().float().requires_grad_()
                    group["params"][number] = master
                    optimizer.pairs.append((half, master))

    @contextmanager
    def scale_loss(self, loss, optimizers, *, delay_unscale=False):
        self.calls.append("scale" if delay_unscale else "unscale")
        if not self.masters and not self.dynamic and self.scale == 1.0:
            yield loss.float()
            return
        if not delay_unscale:
            for optimizer in optimizers:
                assert optimizer.is_scaled, "it would put the gradients aside"
        yield loss.float() * self.scale
        if delay_unscale:
            for optimizer in optimizers:
                optimizer.is_scaled = True
            return
        gradients = []
        for optimizer in optimizers:
            self._make_masters(optimizer)
            optimizer.is_scaled = False
            for half, master in optimizer.pairs or []:
                if half.grad is not None:
                    assert master.grad is None
                    master.grad = half.grad.float()
            for group in optimizer.param_groups:
                gradients += [p.grad for p in group["params"] if p.grad is not None]
        for gradient in gradients:
            gradient /= self.scale
        self.unskipped += 1
        if self.dynamic and not all(bool(gradient.isfinite().all()) for gradient in gradients):
            self.scale, self.unskipped = self.scale / 2, 0
            for optimizer in optimizers:
                self._skip_once(optimizer)

    def _skip_once(self, optimizer) -> None:
        step = optimizer.step

        def skip_step():
            self.calls.append("skip")
            optimizer.step = step

        optimizer.step = skip_step

    def state_dict(self):
        return {"loss_scaler0": {"loss_scale": self.scale, "unskipped": self.unskipped}}

    def load_state_dict(self, state):
        self.scale = state["loss_scaler0"]["loss_scale"]
        self.unskipped = state["loss_scaler0"]["unskipped"]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    package = ModuleType("apex")
    package.amp = module
    monkeypatch.setitem(sys.modules, "apex", package)
    monkeypatch.setitem(sys.modules, "apex.amp", module)
    return module


def linear(inputs: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(inputs, 1, bias=False)
    return model, torch.optim.SGD(model.parameters(), lr=0.25, momentum=0.5)


SMALL = 2.0**-8  # its gradients times the first scale are finite in float16


def loss_of(model: nn.Module, factor: float = SMALL) -> torch.Tensor:
    weight = model.weight
    x = torch.arange(1, weight.shape[1] + 1, dtype=weight.dtype)
    return (model(x).float() * factor).sum()


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_a_step_unscales_once_before_it_is_clipped(stand_in, level: str) -> None:
    model, optimizer = linear()
    before = model.weight.detach().clone()
    precision = amp(device=CUDA, opt_level=level, loss_scale="128")
    precision.prepare(model, [optimizer])
    seen: list[torch.Tensor] = []

    def look() -> None:
        seen.extend(p.grad.clone() for group in optimizer.param_groups for p in group["params"])

    for _ in range(2):  # one window of two batches
        with precision.forward():
            loss = loss_of(model, 1.0)
        precision.backward(loss)
    report = apply_step(optimizer, precision, grad_scale=0.5, max_norm=1.0, on_gradients=look)
    assert stand_in.calls == ["initialize 1 1", "scale", "scale", "unscale"]
    gradient = torch.tensor([[1.0, 2.0, 3.0]])
    torch.testing.assert_close(seen, [gradient])
    torch.testing.assert_close(report.grad_norm, gradient.norm())
    assert not report.skipped
    moved = before.to(model.weight.dtype).float() - 0.25 * gradient / gradient.norm()
    (weight,) = [p for group in optimizer.param_groups for p in group["params"]]
    torch.testing.assert_close(weight.detach(), moved)
    assert torch.equal(model.weight.detach(), weight.detach().to(model.weight.dtype))
    assert (weight is model.weight) == (level == "O1")


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("require_finite", [False, True])
def test_an_overflow_leaves_a_step_out(stand_in, level: str, require_finite: bool) -> None:
    model, optimizer = linear()
    precision = ApexAmp(stand_in, level, loss_scale="dynamic")
    precision.prepare(model, [optimizer])
    skipped, weights = [], []
    for factor in (SMALL, float("inf"), SMALL, SMALL):
        precision.backward(loss_of(model, factor))
        report = apply_step(optimizer, precision, require_finite=require_finite)
        skipped.append(report.skipped)
        weights.append(model.weight.detach().clone())
    assert skipped == [False, True, False, False]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert stand_in.state_dict() == {"loss_scaler0": {"loss_scale": 2.0**15, "unskipped": 2}}
    assert bool(model.weight.isfinite().all())


def test_several_optimizers_are_unscaled_together(stand_in) -> None:
    pairs = [linear(), linear()]
    model = nn.ModuleList(each for each, _ in pairs)
    optimizers = [optimizer for _, optimizer in pairs]
    precision = ApexAmp(stand_in, "O2")
    precision.prepare(model, optimizers)
    given = [[p for group in each.param_groups for p in group["params"]] for each in optimizers]
    for factor in (SMALL, float("inf"), SMALL):
        before = model[1].weight.detach().clone()
        for part, masters in zip(model, given, strict=True):
            precision.backward(loss_of(part, factor), inputs=masters, retain_graph=False)
        skipped = [bool(apply_step(each, precision).skipped) for each in optimizers]
        assert skipped == [factor != SMALL] * 2
        assert torch.equal(before, model[1].weight.detach()) == (factor != SMALL)
    assert stand_in.calls[1:4] == ["scale", "scale", "unscale"]
    assert torch.equal(model[0].weight, model[1].weight)


def test_without_scaling_nothing_is_unscaled(stand_in) -> None:
    model, optimizer = linear()
    before = model.weight.detach().clone()
    precision = ApexAmp(stand_in, "O0")
    precision.prepare(model, [optimizer])
    precision.backward(loss_of(model, 1.0))
    assert not apply_step(optimizer, precision).skipped
    torch.testing.assert_close(model.weight.detach(), before - 0.25 * torch.tensor([1.0, 2, 3]))


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_apex_takes_a_model_once(stand_in, level: str) -> None:
    model, optimizer = linear()
    for _ in range(2):
        precision = ApexAmp(stand_in, level)  # a loop of a callback has its own
        precision.prepare(model, [])  # to evaluate
        precision.prepare(model, [optimizer])
        precision.prepare(model, [optimizer])
        precision.backward(loss_of(model))
        assert not apply_step(optimizer, precision).skipped
    starts = [call for call in stand_in.calls if call.startswith("initialize")]
    assert starts == ["initialize 1 0", "initialize 0 1"]
    with pytest.raises(ParallelValueError, match="it has this one with"):
        ApexAmp(stand_in, level, loss_scale=2.0).prepare(model, [optimizer])


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_a_run_goes_on_bit_for_bit(stand_in, level: str) -> None:
    def train(precision, model, optimizer, factors) -> None:
        precision.prepare(model, [optimizer])
        for factor in factors:
            precision.backward(loss_of(model, factor) * model.weight.float().sum() / 4)
            apply_step(optimizer, precision, max_norm=0.01)

    model, optimizer = linear()
    precision = ApexAmp(stand_in, level)
    train(precision, model, optimizer, (SMALL, float("inf"), SMALL))
    saved = pickle.loads(
        pickle.dumps((model.state_dict(), optimizer.state_dict(), precision.state_dict()))
    )
    train(precision, model, optimizer, (SMALL, SMALL))
    expected = precision.state_dict()["amp"]

    other, again = linear()
    fresh = ApexAmp(stand_in, level)
    fresh.prepare(other, [again])
    other.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    fresh.prepare(other, [again])
    fresh.load_state_dict(saved[2])
    train(fresh, other, again, (SMALL, SMALL))
    assert torch.equal(model.weight, other.weight)
    for a, b in zip(optimizer.param_groups, again.param_groups, strict=True):
        assert all(map(torch.equal, a["params"], b["params"]))
    assert fresh.state_dict()["amp"] == expected


def test_weights_that_are_loaded_reach_the_masters(stand_in) -> None:
    model, optimizer = linear()
    precision = ApexAmp(stand_in, "O2")
    precision.prepare(model, [optimizer])
    (master,) = optimizer.param_groups[0]["params"]
    precision.backward(loss_of(model))
    apply_step(optimizer, precision, max_norm=1e-3)
    digits = master.detach().clone()
    assert not torch.equal(digits, model.weight.detach().float())
    precision.prepare(model, [optimizer])
    assert torch.equal(master, digits)
    model.weight.data[0, 0] = 2.0
    precision.prepare(model, [optimizer])
    assert torch.equal(master.detach(), torch.cat([torch.tensor([[2.0]]), digits[:, 1:]], 1))


def test_what_cannot_be_is_refused(stand_in, monkeypatch) -> None:
    precision = ApexAmp(stand_in, "O1")
    precision.prepare(*linear()[:1], [])
    for other in (OptLevel(CPU, "O1"), FullPrecision(), ApexAmp(stand_in, "O2")):
        with pytest.raises(ParallelValueError, match="The saved run computed in"):
            precision.load_state_dict(other.state_dict())
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    model, optimizer = linear()
    with pytest.raises(ParallelValueError, match="in 4 processes each of the 2"):
        precision.prepare(model, [optimizer, linear()[1]])


def test_it_can_be_sent_to_a_process(stand_in) -> None:
    precision = ApexAmp(stand_in, "O1")
    model, optimizer = linear()
    precision.prepare(model, [optimizer])
    sent = pickle.loads(pickle.dumps(precision))
    assert sent.state_dict() == precision.state_dict()


def test_apex_itself() -> None:
    found = find_apex()
    if found.amp is None or not torch.cuda.is_available():
        pytest.skip(f"needs apex.amp and a CUDA device: {found.told}")
    model, optimizer = linear(64)
    model.to(CUDA)
    precision = ApexAmp(found.amp, "O2", verbosity=0)
    precision.prepare(model, [optimizer])
    x, losses = torch.ones(8, 64, device=CUDA), []
    for _ in range(40):
        with precision.forward():
            loss = (model(x) - 1).square().mean()
        precision.backward(loss)
        apply_step(optimizer, precision, max_norm=1.0)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert model.weight.dtype is torch.float16
    assert optimizer.param_groups[0]["params"][0].dtype is torch.float32
