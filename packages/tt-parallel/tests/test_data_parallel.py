"""DataParallel: on the CPU it is the model itself; on several GPUs each computes its part.

Several GPUs are also played on the CPU: `Played` has PyTorch's own steps, with devices left out.
"""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from tt_parallel.api import (
    DataParallelStrategy,
    OneProcess,
    ParallelValueError,
    TTDataParallel,
    dp,
)
from tt_parallel.strategies.single import SingleStrategy


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.name = "mine"

    def forward(self, x):
        return self.layer(x)

    def get_loss(self, batch, criterion, device):
        x, y = batch
        return criterion(self(x.to(device)), y.to(device))

    get_loss_eval = get_loss

    def get_predictions(self, batch, device):
        return self(batch[0].to(device)), batch[1], {}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.linspace(-1, 1, 20).reshape(5, 4), torch.tensor([0, 1, 2, 1, 0])


def test_without_gpus_the_model_computes_as_ever() -> None:
    torch.manual_seed(0)
    model, cpu = Classifier(), torch.device("cpu")
    (result,) = dp(device=cpu).run(lambda strategy: strategy)
    assert isinstance(result, DataParallelStrategy)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped = result.prepare(model, [optimizer])
    assert isinstance(wrapped, TTDataParallel)
    assert pickle.loads(pickle.dumps(wrapped)).name == "mine"
    criterion = nn.CrossEntropyLoss()
    if torch.cuda.device_count() < 2:
        assert torch.equal(
            wrapped.get_loss(batch(), criterion, cpu), model.get_loss(batch(), criterion, cpu)
        )
    assert torch.equal(
        wrapped.get_loss_eval(batch(), criterion, cpu), model.get_loss(batch(), criterion, cpu)
    )
    assert torch.equal(wrapped(batch()[0]), model(batch()[0]))
    assert torch.equal(wrapped.get_predictions(batch(), cpu)[0], model(batch()[0]))
    assert wrapped.name == "mine"
    model.name = "changed"
    assert wrapped.name == "changed"  # not a copy
    assert result.evaluable(wrapped) is model
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = wrapped.nothing_of_the_kind


def test_state_goes_to_another_optimizer_by_name() -> None:
    strategy = DataParallelStrategy(torch.device("cpu"))
    model = Classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    prepared = strategy.prepare(model, [optimizer])
    for _ in range(2):
        with strategy.micro(prepared, sync=True), strategy.forward():
            loss = prepared.get_loss(batch(), nn.CrossEntropyLoss(), strategy.device)
        strategy.backward(loss)
        strategy.apply(optimizer)
    strategy.prepare(model, [optimizer])  # a second fit moves the optimizer's state too
    state = pickle.loads(pickle.dumps(strategy.state_dict(model, [optimizer])))

    other = Classifier()
    reversed_order = torch.optim.Adam(reversed(list(other.parameters())), lr=0.5)
    strategy.load_state_dict(other, [reversed_order], state)
    assert torch.equal(other.layer.weight, model.layer.weight)
    moments = reversed_order.state[other.layer.weight]
    assert torch.equal(moments["exp_avg"], optimizer.state[model.layer.weight]["exp_avg"])
    assert reversed_order.param_groups[0]["lr"] == 0.1


def test_saving_before_the_first_step_changes_nothing() -> None:
    strategy, model = DataParallelStrategy(torch.device("cpu")), Classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    before = model.layer.weight.clone()
    state = strategy.state_dict(model, [optimizer])
    assert torch.equal(before, model.layer.weight)
    assert not optimizer.state
    strategy.load_state_dict(model, [optimizer], state)


def test_a_state_of_other_parameters_is_refused() -> None:
    strategy, model = DataParallelStrategy(torch.device("cpu")), Classifier()
    state = strategy.state_dict(model, [torch.optim.SGD(model.parameters(), lr=0.1)])
    only_bias = torch.optim.SGD([model.layer.bias], lr=0.1)
    with pytest.raises(ParallelValueError, match="has others"):
        strategy.load_state_dict(model, [only_bias], state)


def test_one_process_talks_to_itself() -> None:
    comm, tensor = OneProcess(), torch.ones(1)
    assert comm.all_reduce(tensor) is tensor
    assert comm.gather_objects(1) == [1]
    assert comm.broadcast_object(2) == 2
    assert comm.barrier() is None


@pytest.mark.gpu
def test_parts_of_several_gpus_make_the_loss_of_the_whole_batch() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    device = torch.device("cuda", 0)
    model = Classifier().to(device)
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 1.0], device=device))
    loss = TTDataParallel(model).get_loss(batch(), criterion, device)
    torch.testing.assert_close(loss, model.get_loss(batch(), criterion, device))


class Played(TTDataParallel):
    """Three parts of a batch, each computed by a replica in a thread of its own."""

    def __init__(self, module: nn.Module, *args, **options) -> None:
        super().__init__(module, *args, **options)
        self.device_ids, self.output_device = [0, 1, 2], 0
        self.src_device_obj = torch.device("cpu")

    def scatter(self, inputs, kwargs, device_ids):
        def parts(value):
            if isinstance(value, torch.Tensor):
                return value.chunk(len(device_ids))
            if isinstance(value, tuple | list) and value:
                return [type(value)(part) for part in zip(*map(parts, value), strict=False)]
            if isinstance(value, dict):
                split = zip(*map(parts, value.values()), strict=True)
                return [dict(zip(value, part, strict=True)) for part in split]
            return [value] * len(device_ids)

        scattered = parts(inputs)
        return scattered, [kwargs] * len(scattered)

    def replicate(self, module, device_ids):
        return [self._replica(module) for _ in device_ids]

    def _replica(self, module):
        replica = module._replicate_for_data_parallel()
        for name, parameter in module._parameters.items():
            setattr(replica, name, None if parameter is None else parameter.view_as(parameter))
        for name, child in module._modules.items():
            if child is None:
                replica._modules[name] = None
            else:
                setattr(replica, name, self._replica(child))
        return replica

    def parallel_apply(self, replicas, inputs, kwargs):
        with ThreadPoolExecutor(len(inputs)) as pool:  # PyTorch's own asks for devices
            calls = [
                pool.submit(replica, *args, **named)
                for replica, args, named in zip(replicas, inputs, kwargs, strict=True)
            ]
        return [call.result() for call in calls]

    def gather(self, outputs, output_device):
        first = outputs[0]
        if isinstance(first, torch.Tensor):
            return torch.cat(outputs)
        if isinstance(first, dict):
            return {name: self.gather([o[name] for o in outputs], None) for name in first}
        return type(first)(self.gather(list(parts), None) for parts in zip(*outputs, strict=True))


class Tokens(nn.Module):
    """The mean loss over the tokens that count, and how many these are."""

    def __init__(self, form: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.form, self.criterion = nn.Linear(4, 1).double(), form, "the model's"

    def forward(self, x):
        return self.layer(x)

    def get_loss(self, batch, criterion, device):
        x, counts = batch["x"], batch["counts"]
        losses = criterion(self(x).squeeze(-1), x.sum(-1))
        mask = torch.arange(x.shape[1]) < counts[:, None]
        loss, tokens = (losses * mask).sum() / counts.sum(), counts.sum()
        if self.form == "pair":
            return loss, tokens
        if self.form == "several":
            return {"one": loss, "two": 2 * loss}, tokens
        return losses.mean()

    def scored(self, x):
        return self(x) * 2


class Learned(nn.Module):
    """A criterion with a parameter and a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.register_buffer("shift", torch.tensor(1.0, dtype=torch.float64))

    def forward(self, predicted, target):
        return self.scale * (predicted - target - self.shift).square()


def tokens() -> dict:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, 4, generator=generator, dtype=torch.float64)
    return {"x": x, "counts": torch.tensor([1, 3, 2, 3, 3, 1, 2])}


@pytest.mark.parametrize("form", ["plain", "pair", "several"])
def test_parts_make_the_loss_and_the_gradients_of_the_whole_batch(form: str) -> None:
    cpu, both = torch.device("cpu"), []
    for wrap in (lambda model: model, Played):
        model, criterion = Tokens(form), Learned()
        returned = wrap(model).get_loss(tokens(), criterion, cpu)
        loss = returned[0] if isinstance(returned, tuple) else returned
        total = sum(loss.values()) if isinstance(loss, dict) else loss
        total.backward()
        weight = int(returned[1]) if isinstance(returned, tuple) else None
        gradients = [parameter.grad for parameter in (*model.parameters(), criterion.scale)]
        both.append((type(returned), weight, loss, gradients))
    assert both[0][:2] == both[1][:2]  # in the form in which the model returns it
    torch.testing.assert_close(both[0][2], both[1][2], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(both[0][3], both[1][3], rtol=1e-12, atol=1e-14)


def test_many_tokens_do_not_overflow_half_a_float() -> None:
    model = Tokens("plain")
    model.get_loss = lambda batch, criterion, device: (  # type: ignore[method-assign]  # a stand-in
        torch.tensor(5.0, dtype=torch.float16),
        60_001 * len(batch),
    )
    loss, weight = Played(model).get_loss(torch.ones(3, 1), None, torch.device("cpu"))
    assert loss.item() == 5.0
    assert weight.item() == 180_003


def test_replicas_compute_in_the_context_and_leave_nothing_behind() -> None:
    entered = []

    class Context:
        def __enter__(self):
            entered.append(1)

        def __exit__(self, *_):
            return None

    model = Tokens("plain")
    before = list(model.state_dict())
    wrapped = Played(model, ["get_loss", "scored"], context=Context)
    wrapped.get_loss(tokens(), Learned(), torch.device("cpu"))
    assert entered == [1, 1, 1]
    assert wrapped.criterion == "the model's"
    assert [name for name, _ in wrapped.named_parameters()] == [
        f"module.model.{name}" for name in before
    ]
    assert list(wrapped.state_dict()) == [f"module.{name}" for name in before]
    assert torch.equal(wrapped.scored(tokens()["x"]), model.scored(tokens()["x"]))
    assert len(entered) == 6  # on all devices, for it was named
    copy.deepcopy(wrapped).load_state_dict(wrapped.state_dict())


@pytest.mark.parametrize(
    ("batch_data", "returned", "rule"),
    [("text", 0, "the batch has none"), (torch.ones(3), torch.ones(2), "must return a scalar")],
)
def test_what_cannot_be_shared_out_is_refused(batch_data, returned, rule: str) -> None:
    model = Tokens("plain")
    model.get_loss = lambda *_: returned  # type: ignore[method-assign]  # a stand-in
    with pytest.raises(ParallelValueError, match=rule):
        Played(model).get_loss(batch_data, None, torch.device("cpu"))


def test_attributes_are_set_where_they_are_read() -> None:
    model = Classifier()
    wrapped = TTDataParallel(model, add_model_attributes=["name", "layer"])
    assert wrapped.layer is model.layer
    wrapped.name, wrapped.of_the_wrapper = "changed", 1
    assert model.name == "changed"
    assert not hasattr(model, "of_the_wrapper")
    with pytest.raises(ParallelValueError, match="no 'absent'"):
        TTDataParallel(model, add_model_attributes=["absent"])


class Holder(nn.Module):
    """A model that calls a part of itself as the wrappers call theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(4, 3)


def test_a_part_that_is_called_model_is_the_models() -> None:
    held = Holder()
    wrapped = TTDataParallel(held, add_model_attributes=["model"])
    assert wrapped.model is held.model
    wrapped.model = nn.Linear(4, 2)
    assert wrapped.module.model is held
    assert held.model.out_features == 2
    assert [*wrapped.state_dict()] == ["module.model.weight", "module.model.bias"]


@pytest.mark.parametrize("make", [SingleStrategy, DataParallelStrategy])
def test_a_hand_written_loop_runs_under_any_strategy(make) -> None:
    def train(step) -> dict:
        torch.manual_seed(0)
        model, criterion = Classifier(), nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        step(model, criterion, optimizer)
        return model.state_dict()

    def by_hand(model, criterion, optimizer):
        for _ in range(3):
            model.get_loss(batch(), criterion, torch.device("cpu")).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()

    def by_strategy(model, criterion, optimizer):
        strategy = make(torch.device("cpu"))
        prepared = strategy.prepare(model, [optimizer])
        for _ in range(3):
            with strategy.micro(prepared, sync=True):
                with strategy.forward():
                    loss = prepared.get_loss(batch(), criterion, strategy.device)
                strategy.backward(loss)
            strategy.reduce_gradients(optimizer)
            strategy.apply(optimizer, max_norm=0.1)
        assert strategy.evaluable(prepared) is model
        assert strategy.comm.world_size == 1
        assert isinstance(strategy.micro(prepared, sync=False), nullcontext)

    expected, found = train(by_hand), train(by_strategy)
    for name, value in expected.items():
        assert torch.equal(found[name], value)
