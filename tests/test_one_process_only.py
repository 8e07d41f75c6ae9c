"""A callback of one process must not begin what needs all of them: it gets an error, no hang."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import Callback, LoopStateError, TrainLoop
from tt_parallel.api import Spawn

ACTIONS: dict[str, Callable[[TrainLoop], object]] = {
    "loss": lambda loop: loop.evaluate_loss_on_validation_set(),
    "predictions": lambda loop: loop.predict_on_validation_set(),
    "state": lambda loop: loop.state_dict(),
}


class Reads(Callback):
    """Reads what is known without asking anybody, then tries what is not."""

    def __init__(self, rank: int | None) -> None:
        super().__init__("reads", device_idx_execution=rank)
        self.errors: dict[str, str] = {}
        self.read = 0

    def on_batch_end(self) -> None:
        loop = self.train_loop_obj
        self.read += bool(torch.is_tensor(loop.last_loss) and loop.train_history is not None)

    def on_epoch_end(self) -> None:
        for name, action in ACTIONS.items():
            try:
                action(self.train_loop_obj)
            except LoopStateError as error:
                self.errors[name] = str(error)


def train(strategy: Any) -> tuple[dict[str, str], int, dict[str, str]]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    loader = DataLoader(TensorDataset(torch.randn(12, 3), torch.randn(12, 1)), batch_size=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = TrainLoop(
        model,
        loader,
        loader,
        None,
        optimizer,
        nn.MSELoss(),
        gpu_mode=strategy,
        progress=False,
        end_auto_eval=False,
    )
    alone, both = Reads(rank=0), Reads(rank=None)
    loop.fit(num_epochs=1, callbacks=[alone, both])
    return alone.errors, alone.read, both.errors


@pytest.mark.slow
def test_one_process_alone_gets_an_error() -> None:
    first, second = Spawn(2).run(train)
    assert set(first[0]) == set(ACTIONS)
    assert all("Reads runs in one process of 2" in text for text in first[0].values())
    assert first[1] == 3
    assert second[:2] == ({}, 0)
    assert first[2] == second[2] == {}
