"""Apex's optimisation levels in native PyTorch, against their description computed by hand."""

import copy
import pickle
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch
from torch import nn

from tt_parallel.api import FullPrecision, OptLevel, ParallelValueError, TorchAmp, amp, apply_step

CPU = torch.device("cpu")
HALVES = [torch.bfloat16, torch.float16]
LEVELS = ["O0", "O1", "O2", "O3"]


class Net(nn.Module):
    """A batch norm, a buffer, a weight that two layers share, and notes of what is computed in."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.middle, self.again = nn.Linear(8, 8), nn.Linear(8, 8)
        self.again.weight = self.middle.weight
        self.last = nn.Linear(8, 1)
        self.register_buffer("shift", torch.full((8,), 1 / 3))
        self.seen: dict[str, torch.dtype] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        normal = self.norm(hidden).relu()
        shared = self.again(self.middle(normal))
        self.seen = {
            "input": x.dtype,
            "weight": self.first.weight.dtype,
            "norm weight": self.norm.weight.dtype,
            "buffer": self.shift.dtype,
            "hidden": hidden.dtype,
            "normal": normal.dtype,
        }
        return self.last(shared + self.shift.to(shared.dtype))


def batches(count: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(16, 4), torch.randn(16, 1)) for _ in range(count)]


def sgd(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def train(level, model, optimizer, data, factor: float = 1.0, **apply) -> list[bool]:
    level.prepare(model, [optimizer])
    skipped = []
    for x, y in data:
        with level.forward():
            loss = nn.functional.mse_loss(model(x), y) * factor
        level.backward(loss)
        skipped.append(bool(apply_step(optimizer, level, **apply).skipped))
    return skipped


def assert_equal(model: nn.Module, other: nn.Module) -> None:
    states = model.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert value.dtype == states[1][name].dtype, name
        assert torch.equal(value, states[1][name]), name


# What the levels mean


@pytest.mark.parametrize(
    ("level", "properties"),
    {
        "O0": (torch.float32, False, None, False, 1.0),
        "O1": (None, True, None, None, "dynamic"),
        "O2": (torch.float16, False, True, True, "dynamic"),
        "O3": (torch.float16, False, False, False, 1.0),
    }.items(),
)
def test_the_properties_of_a_level(level: str, properties) -> None:
    have = OptLevel(CPU, level, half=torch.float16).properties
    assert properties == (
        have.cast_model_type,
        have.patch_torch_functions,
        have.keep_batchnorm_fp32,
        have.master_weights,
        have.loss_scale,
    )
    assert (have.min_loss_scale, have.max_loss_scale, have.num_losses) == (None, 2.0**24, 1)


def test_without_a_level_it_is_O1() -> None:  # noqa: N802  # its name
    assert amp(device=CPU, loss_scale=4).properties == OptLevel(CPU, "O1", loss_scale=4).properties


@pytest.mark.parametrize(
    ("level", "option", "value", "expected"),
    [
        ("O2", "keep_batchnorm_fp32", "False", False),
        ("O3", "keep_batchnorm_fp32", "True", True),
        ("O2", "keep_batchnorm_fp32", None, True),
        ("O2", "loss_scale", "128.0", 128.0),
        ("O0", "loss_scale", "dynamic", "dynamic"),
        ("O2", "master_weights", False, False),
        ("O3", "cast_model_type", "bfloat16", torch.bfloat16),
        ("O1", "cast_model_type", torch.float32, torch.float32),
        ("O1", "patch_torch_functions", True, True),
        ("O2", "cast_model_outputs", torch.bfloat16, torch.bfloat16),
        ("O2", "num_losses", 3, 3),
        ("O1", "max_loss_scale", 2.0**10, 2.0**10),
        ("O1", "verbosity", 0, 0),
    ],
)
def test_a_property_can_be_overridden(level: str, option: str, value, expected) -> None:
    assert getattr(OptLevel(CPU, level, **{option: value}).properties, option) == expected


@pytest.mark.parametrize(
    ("level", "options", "rule"),
    [
        ("O4", {}, "one of O0, O1, O2, O3, got 'O4'"),
        ("O1", {"keep_batchnorm_fp32": True}, "O1.*got keep_batchnorm_fp32=True"),
        ("O1", {"master_weights": False}, "O1.*got master_weights=False"),
        ("O1", {"cast_model_type": torch.bfloat16}, "O1.*got cast_model_type=torch.bfloat16"),
        ("O2", {"patch_torch_functions": True}, "what opt_level='O1' means, got it with 'O2'"),
        ("O2", {"keep_batchnorm_fp32": "yes"}, "True or False, got 'yes'"),
        ("O2", {"loss_scale": "static"}, "positive number or 'dynamic', got 'static'"),
        ("O2", {"loss_scale": 0}, "positive number or 'dynamic', got 0"),
        ("O2", {"min_loss_scale": -1}, "min_loss_scale must be a positive number, got -1"),
        ("O2", {"num_losses": 0}, "num_losses must be a whole number, got 0"),
        ("O2", {"cast_model_type": "int8"}, "cast_model_type must be one of float32"),
        ("O2", {"dtype": "float16"}, "got dtype"),
    ],
)
def test_what_contradicts_a_level_is_refused(level: str, options, rule: str) -> None:
    with pytest.raises(ParallelValueError, match=rule):
        OptLevel(CPU, level, **options)


def test_half_is_a_half_precision() -> None:
    assert (OptLevel(CPU).half, OptLevel(CPU, half=torch.float16).half) == tuple(HALVES)
    with pytest.raises(ParallelValueError, match=r"got torch\.float64"):
        OptLevel(CPU, half=torch.float64)


# What is computed in


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("level", "options", "computed", "norm", "weight", "loss"),
    [
        ("O0", {}, "full", "full", "full", "full"),
        ("O1", {}, "half", "full", "full", "half"),
        ("O1", {"cast_model_outputs": "float32"}, "half", "full", "full", "full"),
        ("O2", {}, "half", "full", "full", "full"),
        ("O2", {"keep_batchnorm_fp32": False}, "half", "half", "full", "full"),
        ("O2", {"master_weights": False}, "half", "full", "half", "full"),
        ("O3", {}, "half", "half", "half", "full"),
        ("O3", {"keep_batchnorm_fp32": "True"}, "half", "full", "half", "full"),
        ("O3", {"master_weights": True}, "half", "half", "full", "full"),
    ],
)
def test_types(half, level, options, computed, norm, weight, loss) -> None:
    types = {"half": half, "full": torch.float32}
    precision, model = OptLevel(CPU, level, half=half, **options), Net()
    optimizer = sgd(model.parameters())
    own = [*model.parameters()]
    precision.prepare(model, [optimizer])
    x, y = batches(1)[0]
    with precision.forward():
        output = model(x)
    assert output.dtype is types[loss]
    assert model.seen["hidden"] is types[computed]
    assert model.seen["norm weight"] is types[norm]
    cast = level in ("O2", "O3")
    assert model.seen["input"] is model.seen["buffer"] is types["half" if cast else "full"]
    assert model.seen["weight"] is types["half" if cast else "full"]
    assert precision.swaps_parameters == cast

    precision.backward(nn.functional.mse_loss(output.float(), y))
    in_norm = "full" if weight == "full" else norm
    for name, parameter in model.named_parameters():
        expected = types[in_norm if name.startswith("norm") else weight]
        assert parameter.dtype is parameter.grad.dtype is expected, name
    before = [parameter.detach().clone() for parameter in own]
    precision.unscale(optimizer)
    if not precision.step(optimizer):
        assert not all(map(torch.equal, before, own))
    assert all(a is b for a, b in zip(own, model.parameters(), strict=True))
    momentum = [optimizer.state[parameter]["momentum_buffer"] for parameter in optimizer.state]
    assert {buffer.dtype for buffer in momentum} <= {types[weight], types[in_norm]}


@pytest.mark.parametrize("half", HALVES)
def test_batch_norm_under_O2_is_that_of_float32(half) -> None:  # noqa: N802  # its name
    model, precision = Net(), OptLevel(CPU, "O2", half=half)
    precision.prepare(model, [])
    x = batches(1)[0][0]
    with precision.forward():
        model(x)
    hidden = model.first.to(half)(x.to(half))
    norm = nn.BatchNorm1d(8)
    norm(hidden)
    assert torch.equal(model.norm.running_mean, norm.running_mean)
    assert torch.equal(model.norm.running_var, norm.running_var)


# Against what the levels are said to do


class ByHand:
    """O2 as Apex describes it: a half-precision model, and float32 masters that are trained."""

    def __init__(self, half: torch.dtype) -> None:
        self.model, self.half = Net(), half
        parameters = dict(self.model.named_parameters())
        self.masters = {name: p.detach().clone() for name, p in parameters.items()}
        for module in self.model.modules():
            if not isinstance(module, nn.BatchNorm1d):
                for tensor in (*module._parameters.values(), *module._buffers.values()):
                    if tensor is not None:
                        tensor.data = tensor.data.to(half)
        self.optimizer = sgd(self.masters.values())
        self.scale, self.clean = 2.0**16, 0

    def step(self, micro_batches, max_norm: float) -> bool:
        gradients = {name: torch.zeros_like(master) for name, master in self.masters.items()}
        for x, y in micro_batches:
            self.model.zero_grad()
            loss = nn.functional.mse_loss(self.model(x.to(self.half)).float(), y)
            (loss * self.scale).backward()
            for name, parameter in self.model.named_parameters():
                gradients[name] += parameter.grad.float()
        for name, master in self.masters.items():
            master.grad = gradients[name] / self.scale
        if not all(bool(gradient.isfinite().all()) for gradient in gradients.values()):
            self.scale, self.clean = self.scale / 2, 0
            return True
        self.clean += 1
        nn.utils.clip_grad_norm_(self.masters.values(), max_norm)
        self.optimizer.step()
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.masters[name])
        return False


@pytest.mark.parametrize("micro", [1, 2])
@pytest.mark.parametrize("half", HALVES)
def test_O2_is_master_weights_by_hand(half, micro: int) -> None:  # noqa: N802  # its name
    oracle, data = ByHand(half), [(x, 30 * y) for x, y in batches(12)]
    windows = [data[start : start + micro] for start in range(0, len(data), micro)]
    expected = [oracle.step(window, 0.3) for window in windows]

    precision, model = OptLevel(CPU, "O2", half=half), Net()
    optimizer = sgd(model.parameters())
    precision.prepare(model, [optimizer])
    skipped = []
    for window in windows:
        for x, y in window:
            with precision.forward():
                loss = nn.functional.mse_loss(model(x), y)
            precision.backward(loss)
        skipped.append(bool(apply_step(optimizer, precision, max_norm=0.3).skipped))
    assert skipped == expected
    assert not all(expected)
    assert any(expected) == (half is torch.float16)  # the first scales are too large for it
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.detach(), oracle.masters[name].detach()), name
    assert torch.equal(model.norm.running_var, oracle.model.norm.running_var)
    scaler = precision.state_dict()["scaler"]
    assert (scaler["scale"], scaler["_growth_tracker"]) == (oracle.scale, oracle.clean)


@pytest.mark.parametrize("half", HALVES)
def test_O1_is_autocast_with_loss_scaling(half) -> None:  # noqa: N802  # its name
    models = Net(), Net()
    precision, optimizer = OptLevel(CPU, "O1", half=half), sgd(models[0].parameters())
    skipped = train(precision, models[0], optimizer, batches())
    scaler = torch.amp.GradScaler("cpu")
    optimizer = sgd(models[1].parameters())
    for x, y in batches():
        with torch.autocast("cpu", half):
            loss = nn.functional.mse_loss(models[1](x), y)
        scaler.scale(loss.float()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert not all(skipped)
    assert_equal(*models)
    assert precision.state_dict()["scaler"] == scaler.state_dict()


@pytest.mark.parametrize("half", HALVES)
def test_O3_is_the_model_in_half_precision(half) -> None:  # noqa: N802  # its name
    models = Net(), Net().to(half)
    train(OptLevel(CPU, "O3", half=half), models[0], sgd(models[0].parameters()), batches())
    optimizer = sgd(models[1].parameters())
    for x, y in batches():
        nn.functional.mse_loss(models[1](x.to(half)).float(), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert_equal(*models)


def test_O0_is_the_plain_loop() -> None:  # noqa: N802  # its name
    models = Net(), Net()
    train(OptLevel(CPU, "O0"), models[0], sgd(models[0].parameters()), batches(), max_norm=0.5)
    train(FullPrecision(), models[1], sgd(models[1].parameters()), batches(), max_norm=0.5)
    assert_equal(*models)


@pytest.mark.parametrize(
    ("level", "options", "keeps"),
    [("O2", {}, True), ("O2", {"master_weights": False}, False), ("O3", {}, False)],
)
@pytest.mark.parametrize("half", HALVES)
def test_master_weights_keep_small_updates(half, level: str, options, keeps: bool) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    precision = OptLevel(CPU, level, half=half, loss_scale=8.0, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0**-14)  # half of 1 has no such digits
    precision.prepare(model, [optimizer])
    for _ in range(64):
        with precision.forward():
            loss = model(torch.ones(1, 1)).sum()
        precision.backward(loss)
        apply_step(optimizer, precision)
    assert float(model.weight.detach()) == (1 - 64 * 2.0**-14 if keeps else 1.0)


# Loss scales


INF = float("inf")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("options", "factors", "scales"),
    [
        ({"loss_scale": 64.0}, [1, INF, 1], [64.0] * 3),
        ({"loss_scale": "dynamic"}, [1, INF, 1], [2.0**16, 2.0**15, 2.0**15]),
        ({"loss_scale": "dynamic", "min_loss_scale": 2.0**15}, [INF] * 3, [2.0**15] * 3),
        ({"loss_scale": "dynamic", "max_loss_scale": 512.0}, [1, INF, 1], [512.0, 256.0, 256.0]),
    ],
)
def test_loss_scales(level: str, options, factors, scales) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    precision = OptLevel(CPU, level, **options)
    precision.prepare(nn.Module(), [optimizer])
    seen, value = [], 1.0
    for factor in factors:
        precision.backward((weight * factor).sum())
        assert torch.equal(weight.grad, torch.full((3,), scale_of(precision) * factor))
        assert bool(apply_step(optimizer, precision).skipped) == (factor == INF)
        value -= 0.5 * (factor != INF)
        assert torch.equal(weight.detach(), torch.full((3,), value))
        seen.append(scale_of(precision))
    assert seen == scales


def scale_of(precision: OptLevel) -> float:
    return precision.state_dict()["scaler"]["scale"]


def test_a_dynamic_scale_grows_up_to_its_bound() -> None:
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    precision = OptLevel(CPU, "O2", max_loss_scale=2.0**17)
    precision.load_state_dict(almost_grown(precision, 2.0**16))
    for expected in (2.0**17, 2.0**17):
        precision.backward(weight * 1)
        apply_step(optimizer, precision)
        assert scale_of(precision) == expected
        precision.load_state_dict(almost_grown(precision, expected))


def almost_grown(precision: OptLevel, scale: float) -> dict:
    """A state after 1999 clean steps."""
    state = copy.deepcopy(precision.state_dict())
    assert state["scaler"]["growth_interval"] == 2000
    state["scaler"].update(scale=scale, _growth_tracker=1999)
    return state


@pytest.mark.parametrize("level", ["O0", "O3"])
def test_a_scale_of_one_is_no_scale(level: str) -> None:
    precision = OptLevel(CPU, level)
    assert precision.state_dict()["scaler"] == {}
    assert OptLevel(CPU, "O1", loss_scale=1.0).state_dict()["scaler"] == {}
    assert OptLevel(CPU, "O2", loss_scale=1.0).state_dict()["scaler"]["scale"] == 1.0  # it looks


def test_gradients_in_float16_are_unscaled() -> None:
    model = nn.Linear(2, 1, bias=False)
    precision = OptLevel(CPU, "O3", half=torch.float16, loss_scale=128.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    precision.prepare(model, [optimizer])
    before = model.weight.detach().clone()
    with precision.forward():
        loss = model(torch.ones(1, 2)).sum()
    precision.backward(loss)
    assert not apply_step(optimizer, precision).skipped
    assert torch.equal(model.weight.detach(), before - 1)


# What a model is left with


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_stays_on_the_model(level: str) -> None:
    model, precision = Net(), OptLevel(CPU, level)
    precision.prepare(model, [])
    own = [*model.parameters()]
    for fails in (False, True):
        with suppress(ZeroDivisionError), precision.forward(), precision.forward():
            model(batches(1)[0][0])
            assert 1 / (not fails)
        assert all(a is b for a, b in zip(own, model.parameters(), strict=True))
        assert not model._forward_pre_hooks
        assert not model._forward_hooks
    assert_equal(copy.deepcopy(model), model)
    assert_equal(pickle.loads(pickle.dumps(model)), model)
    assert pickle.loads(pickle.dumps(precision)).state_dict() == precision.state_dict()


@pytest.mark.parametrize("level", ["O2", "O3"])
def test_replicas_in_threads_share_the_context_of_their_model(level: str) -> None:
    model, precision = Net().eval(), OptLevel(CPU, level)
    precision.prepare(model, [])
    x = batches(1)[0][0]

    def replica(_: int) -> torch.dtype:
        with precision.forward():
            assert model(x).dtype is torch.float32
            assert model.first.weight is weight
            return model.first.weight.dtype

    with precision.forward():
        weight = model.first.weight
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(replica, range(40))) == {torch.bfloat16}
        assert model.first.weight.dtype is torch.bfloat16
        assert len(model._forward_hooks) == len(model._forward_pre_hooks) == 1
    assert not model._forward_hooks


def test_names_and_types_of_a_checkpoint_under_O2() -> None:  # noqa: N802  # its name
    model, plain = Net(), Net()
    optimizers = [torch.optim.Adam(each.parameters()) for each in (model, plain)]
    train(OptLevel(CPU, "O2"), model, optimizers[0], batches())
    train(FullPrecision(), plain, optimizers[1], batches())
    kinds = [
        {name: value.dtype for name, value in each.state_dict().items()} for each in (model, plain)
    ]
    assert kinds[0] == kinds[1]
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    assert states[0].keys() == states[1].keys()
    assert all(value["exp_avg"].dtype is torch.float32 for value in states[0].values())


@pytest.mark.parametrize("half", HALVES)
def test_buffers_that_are_cast_keep_what_is_written_into_them(half) -> None:
    model = Net()
    precision = OptLevel(CPU, "O2", half=half, keep_batchnorm_fp32=False)
    precision.prepare(model, [])
    shift, x = model.shift.clone(), batches(1)[0][0]
    by_hand = Net().to(half)
    by_hand(x.to(half))
    with precision.forward():
        model(x)
    assert torch.equal(model.norm.running_mean, by_hand.norm.running_mean.float())
    assert int(model.norm.num_batches_tracked) == 1
    assert torch.equal(model.shift, shift)  # nobody wrote into it: all its digits are there


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total = self.total + x.sum()
        return x


def test_a_buffer_can_be_replaced() -> None:
    model, precision = Counting(), OptLevel(CPU, "O2")
    precision.prepare(model, [])
    for _ in range(2):
        with precision.forward():
            model(torch.ones(4))
    assert torch.equal(model.total, torch.tensor(8.0))


def test_a_recurrent_layer_trains() -> None:
    torch.manual_seed(0)
    model = nn.LSTM(4, 4, batch_first=True)
    precision, optimizer = OptLevel(CPU, "O2"), sgd(model.parameters())
    precision.prepare(model, [optimizer])
    with precision.forward():
        output, (hidden, _) = model(torch.randn(2, 3, 4))
    assert output.dtype is hidden.dtype is torch.float32
    precision.backward(output.square().mean())
    assert all(parameter.grad.dtype is torch.float32 for parameter in model.parameters())
    assert_equal(copy.deepcopy(model), model)
    assert model(torch.randn(2, 3, 4))[0].dtype is torch.float32


@pytest.mark.parametrize("level", ["O0", "O2", "O3"])
def test_a_model_can_be_prepared_again(level: str) -> None:
    models = Net(), Net()
    optimizers = [torch.optim.Adam(each.parameters()) for each in models]
    data = batches()
    train(OptLevel(CPU, level), models[0], optimizers[0], data)
    precision = OptLevel(CPU, level)
    train(precision, models[1], optimizers[1], data[:3])
    again = OptLevel(CPU, level)
    precision.prepare(models[1], optimizers[1:])
    again.load_state_dict(pickle.loads(pickle.dumps(precision.state_dict())))
    train(again, models[1], optimizers[1], data[3:])
    assert_equal(*models)


@pytest.mark.parametrize("level", ["O2", "O3"])
def test_several_models_are_cast(level: str) -> None:
    precision, models = OptLevel(CPU, level), [nn.Linear(2, 2), nn.Linear(2, 2)]
    for model in models:
        precision.prepare(model, [])
    with precision.forward():
        assert [model.weight.dtype for model in models] == [torch.bfloat16] * 2
        assert [model(torch.ones(1, 2)).dtype for model in models] == [torch.float32] * 2


def test_an_optimizers_state_follows_its_parameters() -> None:
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    train(FullPrecision(), model, optimizer, batches(2))
    train(OptLevel(CPU, "O3"), model, optimizer, batches(2))
    moments = [state["exp_avg"].dtype for state in optimizer.state.values()]
    assert set(moments) == {torch.bfloat16}


def test_batch_norms_are_converted_without_loss() -> None:
    model = Net()
    with torch.no_grad():
        model.norm.weight.fill_(1 / 3)
    OptLevel(CPU, "O3", keep_batchnorm_fp32=True).prepare(model, [])
    assert torch.equal(model.norm.weight, torch.full((8,), 1 / 3))
    assert model.first.weight.dtype is torch.bfloat16


def test_masters_must_have_the_digits() -> None:
    with pytest.raises(ParallelValueError, match=r"first\.weight is torch\.bfloat16"):
        OptLevel(CPU, "O2").prepare(Net().bfloat16(), [])


Pair = namedtuple("Pair", "left right")


class Nested(nn.Module):
    def forward(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs
        return args[0]


def test_nested_inputs_and_outputs_are_cast() -> None:
    model, precision = Nested(), OptLevel(CPU, "O3")
    precision.prepare(model, [])
    number, index = torch.ones(2), torch.ones(2, dtype=torch.long)
    given = OrderedDict(a=[number, index], b=(number, "text", None), c=Pair(number, index))
    with precision.forward():
        output = model(given, key={"d": number.double()})
    (inside,) = model.args
    assert inside["a"][0].dtype is inside["b"][0].dtype is inside["c"].left.dtype is torch.bfloat16
    assert model.kwargs["key"]["d"].dtype is torch.bfloat16
    assert inside["a"][1].dtype is inside["c"].right.dtype is torch.long
    assert type(inside) is type(output) is OrderedDict
    assert type(output["c"]) is Pair
    assert output["c"].left.dtype is output["a"][0].dtype is torch.float32
    assert output["b"][1:] == ("text", None)
    assert given["a"][0] is number  # what the caller has stays


# States


@pytest.mark.parametrize(
    ("saved", "other"),
    [
        (OptLevel(CPU, "O2"), OptLevel(CPU, "O1")),
        (OptLevel(CPU, "O2"), OptLevel(CPU, "O2", half=torch.float16)),
        (OptLevel(CPU, "O1", half=torch.float16), TorchAmp(CPU, torch.float16)),
        (TorchAmp(CPU), OptLevel(CPU, "O1")),
        (OptLevel(CPU, "O0"), FullPrecision()),
        (FullPrecision(), OptLevel(CPU, "O0")),
        (OptLevel(CPU, "O1"), OptLevel(CPU, "O1", loss_scale=1.0)),
        (OptLevel(CPU, "O0"), OptLevel(CPU, "O0", loss_scale=8.0)),
    ],
)
def test_a_state_of_another_precision_is_refused(saved, other) -> None:
    saved.load_state_dict(saved.state_dict())
    with pytest.raises(ParallelValueError, match="The saved run"):
        other.load_state_dict(saved.state_dict())
