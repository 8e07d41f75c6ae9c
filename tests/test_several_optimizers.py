"""Several losses with optimizers of their own: two processes end with the weights of one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import MultiLoss, MultiOptimizer, TrainLoop, TTModel
from tt_parallel.api import Spawn

SAMPLES = 26  # global batches of 8 leave 2: the last ones are uneven


class Gan(TTModel):
    """A generator that has to fool a discriminator, which reads what it makes."""

    def __init__(self, *, alternating: bool) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))
        self.discriminator = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.alternating = alternating
        self.calls = 0

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        noise, real = batch_data
        fake = self.generator(noise)
        judged = self.discriminator(fake), self.discriminator(real)
        fooled = bce(judged[0], torch.ones_like(judged[0]))
        caught = bce(judged[0], torch.zeros_like(judged[0]))
        losses = {
            "generator": fooled,
            "critic": caught + bce(judged[1], torch.ones_like(judged[1])),
        }
        self.calls += 1
        if self.alternating:
            losses.pop("critic" if self.calls % 2 else "generator")
        return MultiLoss(losses, {"generator": 0, "critic": 1})

    def get_predictions(self, batch_data: Any, device: torch.device) -> Any:
        return self.generator(batch_data[0]), batch_data[1], {}


class Job:
    """Trains on as many processes as its strategy has."""

    def __init__(self, *, alternating: bool, window: int, every: list[int]) -> None:
        self.alternating, self.window, self.every = alternating, window, every

    def __call__(self, strategy: Any = "single") -> dict[str, Any]:
        torch.manual_seed(3)
        processes = 1 if strategy == "single" else strategy.comm.world_size
        model = Gan(alternating=self.alternating).double()
        data = TensorDataset(torch.randn(SAMPLES, 2).double(), torch.randn(SAMPLES, 3).double())
        optimizers = MultiOptimizer(
            [
                torch.optim.Adam(model.generator.parameters(), lr=0.01),
                torch.optim.SGD(model.discriminator.parameters(), lr=0.1, momentum=0.9),
            ],
            every=self.every,
        )
        loader = DataLoader(data, batch_size=8 // processes, shuffle=True)
        loop = TrainLoop(
            model, loader, None, None, optimizers, None, gpu_mode=strategy, progress=False
        )
        loop.fit(num_epochs=3, grad_accumulation=self.window)
        weights = nn.utils.parameters_to_vector(model.parameters()).detach()
        return {"weights": weights, "history": loop.train_history.state_dict()}


class Partly:
    """Two losses and one optimizer, which does not train the first layer."""

    def __call__(self, strategy: Any = "single") -> dict[str, Any]:
        torch.manual_seed(3)
        model = Two().double()
        processes = 1 if strategy == "single" else strategy.comm.world_size
        data = TensorDataset(torch.randn(SAMPLES, 2).double(), torch.randn(SAMPLES, 1).double())
        loader = DataLoader(data, batch_size=8 // processes)
        optimizer = torch.optim.SGD(model.last.parameters(), lr=0.1)
        loop = TrainLoop(
            model, loader, None, None, optimizer, None, gpu_mode=strategy, progress=False
        )
        loop.fit(num_epochs=2)
        weights = nn.utils.parameters_to_vector(model.parameters()).detach()
        return {"weights": weights, "history": loop.train_history.state_dict()}


class Two(TTModel):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 4), nn.Linear(4, 1)

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        found = self.last(self.first(batch_data[0]))
        return MultiLoss({"error": (found - batch_data[1]).square().mean(), "size": found.mean()})

    def get_predictions(self, batch_data: Any, device: torch.device) -> Any:
        return self.last(self.first(batch_data[0])), batch_data[1], {}


JOBS: list[Callable[..., dict[str, Any]]] = [
    Partly(),
    Job(alternating=False, window=1, every=[1, 1]),
    Job(alternating=False, window=3, every=[1, 2]),
    Job(alternating=True, window=1, every=[1, 1]),
    Job(alternating=True, window=2, every=[1, 1]),
]


def all_jobs(strategy: Any) -> list[dict[str, Any]]:
    return [job(strategy) for job in JOBS]


@pytest.mark.slow
def test_two_processes_equal_one() -> None:
    for job, *found in zip(JOBS, *Spawn(2).run(all_jobs), strict=True):
        alone = job()
        for each in found:
            torch.testing.assert_close(each["weights"], alone["weights"], rtol=0, atol=1e-12)
            assert each["history"].keys() == alone["history"].keys()
            for name, values in alone["history"].items():
                assert each["history"][name] == pytest.approx(values, rel=1e-12), name
