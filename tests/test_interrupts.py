"""A signal to one process: all stop at the same step, nothing is lost, and the fit can go on."""

import os
import signal
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import Callback, TrainLoop

SAMPLES = 43


def job(processes: int) -> TrainLoop:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    data = TensorDataset(torch.randn(SAMPLES, 5), torch.randn(SAMPLES, 1))
    loader = DataLoader(data, batch_size=8 // processes, shuffle=True)
    validation = DataLoader(data, batch_size=8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return TrainLoop(
        model, loader, validation, None, optimizer, nn.MSELoss(), gpu_mode="ddp", progress=False
    )


class Signal(Callback):
    """One process gets a signal in the middle of a step."""

    def __init__(self, number: int, rank: int, *, late: bool = False) -> None:
        super().__init__("signal", device_idx_execution=rank)
        self.number, self.sent, self.late = number, late, late

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        if self.train_loop_obj.total_iteration_idx == 8 and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)

    def on_evaluate_begin(self, dataset_info: Any) -> None:
        if self.late and dataset_info["type"] == "test":
            os.kill(os.getpid(), self.number)

    def state_dict(self) -> dict[str, Any]:
        return {"sent": self.train_loop_obj.total_iteration_idx >= 8}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sent = state["sent"]


class Told(Callback):
    """Every process hears of it, at the same step, and may talk to the others."""

    def __init__(self) -> None:
        super().__init__("told")
        self.steps: list[Any] = []

    def on_exception(self, exception: BaseException) -> None:
        comm = self.train_loop_obj.ready()[0].comm
        here = (type(exception).__name__, self.train_loop_obj.total_iteration_idx)
        self.steps = comm.gather_objects(here) or []

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


@pytest.fixture(scope="module")
def undisturbed() -> TrainLoop:
    loop = job(2)
    loop.fit(num_epochs=3, num_gpus=2)
    return loop


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "rank", "raised"),
    [(signal.SIGTERM, 1, SystemExit), (signal.SIGINT, 0, KeyboardInterrupt)],
)
def test_all_processes_stop_at_one_step_and_the_fit_can_go_on(
    undisturbed: TrainLoop, number: int, rank: int, raised: type[BaseException]
) -> None:
    loop, told = job(2), Told()
    with pytest.raises(raised) as caught:
        loop.fit(num_epochs=3, num_gpus=2, callbacks=[Signal(number, rank), told])
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 128 + signal.SIGTERM
    assert {tuple(step) for step in told.steps} == {(raised.__name__, 9)}
    assert loop.epochs_done == 1
    assert loop.total_iteration_idx == 9  # the note travels with the next step's message
    loop.fit(num_epochs=3, num_gpus=2)
    assert loop.epochs_done == 3
    for one, other in zip(loop.model.parameters(), undisturbed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert loop.train_history.state_dict() == undisturbed.train_history.state_dict()


@pytest.mark.slow
def test_a_signal_during_the_last_evaluation_is_not_lost() -> None:
    loop, told = job(2), Told()
    loop.test_loader = loop.validation_loader
    callbacks = [Signal(signal.SIGTERM, 1, late=True), told]
    with pytest.raises(SystemExit):
        loop.fit(num_epochs=1, num_gpus=2, callbacks=callbacks)
    assert len(told.steps) == 2
    assert loop.epochs_done == 1
