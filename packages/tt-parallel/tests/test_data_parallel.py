"""DataParallel: on the CPU it is the model itself; on several GPUs each computes its part."""

import pickle

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
    loss, weight = TTDataParallel(model).get_loss(batch(), nn.CrossEntropyLoss(), device)
    assert int(weight) == 5
    torch.testing.assert_close(loss, model.get_loss(batch(), nn.CrossEntropyLoss(), device))
