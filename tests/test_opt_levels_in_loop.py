"""Apex's optimisation levels through a `TrainLoop`: resumed, and in two processes."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import TrainLoop, TTBasicModel
from tt_parallel.api import OptLevel

CPU = torch.device("cpu")


class Net(TTBasicModel):
    """Two halves; only the second normalises, by layer: so it is alike in several processes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 16), nn.LayerNorm(16), nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(self.norm(self.first(x).tanh()))


def job(level: Any, processes: int = 1, **options: Any) -> TrainLoop:
    torch.manual_seed(3)
    model = Net()
    x = torch.randn(64, 4)
    data = TensorDataset(x, x.sum(1, keepdim=True))
    loader = DataLoader(data, batch_size=16 // processes, shuffle=True)
    validation = DataLoader(data, batch_size=32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return TrainLoop(
        model,
        loader,
        validation,
        None,
        optimizer,
        nn.MSELoss(),
        progress=False,
        use_amp=level,
        **options,
    )


def weights(loop: TrainLoop) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in loop.model.parameters()]


@pytest.mark.parametrize("level", ["O0", "O1", "O2", "O3"])
def test_a_level_trains_and_goes_on_bit_for_bit(level: str) -> None:
    use_amp = {"opt_level": level, "verbosity": 0}
    whole, loop, again = job(use_amp), job(use_amp), job(use_amp)
    whole.fit(num_epochs=5)
    loop.fit(num_epochs=3)
    again.load_state_dict(copy.deepcopy(loop.state_dict()))
    again.fit(num_epochs=2)
    assert all(map(torch.equal, weights(whole), weights(again)))
    assert again.state_dict()["precision"] == whole.state_dict()["precision"]
    losses = whole.train_history["val_loss"]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_master_weights_in_two_processes_are_those_of_one() -> None:
    options: dict[str, Any] = {
        "half": torch.float16,
        "max_loss_scale": 1024.0,
    }  # no step is left out
    one = job(OptLevel(CPU, "O2", **options))
    one.fit(num_epochs=2)
    two = job(OptLevel(CPU, "O2", **options), 2, gpu_mode="ddp")
    two.fit(num_epochs=2, num_gpus=2)
    for a, b in zip(weights(one), weights(two), strict=True):
        assert a.dtype is b.dtype is torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)  # each share is rounded
    assert two.train_history["val_loss"] == pytest.approx(one.train_history["val_loss"], rel=0.02)
    assert two.state_dict()["precision"] == one.state_dict()["precision"]
