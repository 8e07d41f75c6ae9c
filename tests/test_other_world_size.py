"""Going on inside an epoch on another number of processes: the same global batches, one result."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import Callback, LoopStateError, TrainLoop, Tree, TTModel
from tt_parallel.api import Spawn

SAMPLES, GLOBAL_BATCH = 45, 8  # the last global batch has 5


class Numbered(TTModel):
    """Learns from samples that come with their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        return criterion(self.layers(batch_data[0]), batch_data[1])

    def get_predictions(self, batch_data: Any, device: torch.device) -> Any:
        return self.layers(batch_data[0]), batch_data[1], {}


class Reports(Callback):
    """The state after some batch, and which samples each batch had."""

    def __init__(self, at: int | None) -> None:
        super().__init__("reports")
        self.at = at
        self.state: Tree | None = None
        self.seen: list[list[int]] = []

    def on_batch_end(self) -> None:
        loop = self.train_loop_obj
        self.seen.append(sorted(loop.batch[2].tolist()))
        if loop.total_iteration_idx == self.at:
            self.state = copy.deepcopy(loop.state_dict())
            loop.early_stop = True


def train(
    strategy: Any = "single",
    *,
    batch_size: int = GLOBAL_BATCH,
    at: int | None = None,
    state: Tree | None = None,
    window: int = 1,
) -> dict[str, Any]:
    torch.manual_seed(6)
    model = Numbered().double()
    x = torch.randn(SAMPLES, 4).double()
    data = TensorDataset(x, x.sum(1, keepdim=True), torch.arange(SAMPLES))
    loop = TrainLoop(
        model,
        DataLoader(data, batch_size=batch_size, shuffle=True),
        None,
        None,
        torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        nn.MSELoss(),
        gpu_mode=strategy,
        progress=False,
    )
    if state is not None:
        loop.load_state_dict(copy.deepcopy(state))
    reports = Reports(at)
    loop.fit(num_epochs=2, callbacks=[reports], grad_accumulation=window)
    return {
        "weights": nn.utils.parameters_to_vector(model.parameters()).detach(),
        "history": loop.train_history.state_dict(),
        "state": reports.state,
        "seen": reports.seen,
    }


def cut_and_go_on(strategy: Any, cases: list[Any]) -> list[Any]:
    """States of two processes, and what two processes make of those of one."""
    half = GLOBAL_BATCH // 2
    cut = [train(strategy, batch_size=half, at=at, window=w)["state"] for at, w, _ in cases]
    whole = [train(strategy, batch_size=half, state=state, window=w) for _, w, state in cases]
    return [cut, whole]


CASES = [(2, 1), (8, 1), (5, 1), (3, 3)]  # at batch, window: inside, second epoch, end, window


@pytest.mark.slow
def test_a_run_goes_on_with_more_or_fewer_processes() -> None:
    alone = {window: train(window=window) for _, window in CASES}
    saved = [train(at=at, window=window)["state"] for at, window in CASES]
    cases = [(*case, state) for case, state in zip(CASES, saved, strict=True)]
    (cut, on_two), (_, on_two_too) = Spawn(2).run(partial(cut_and_go_on, cases=cases))
    for (at, window), state, *twos in zip(CASES, cut, on_two, on_two_too, strict=True):
        expected = alone[window]
        # From two to one: the loader keeps its batch size, and the loop the global batch.
        one = train(state=state, batch_size=GLOBAL_BATCH // 2, window=window)
        assert one["seen"] == expected["seen"][at + 1 :]
        assert [sorted(a + b) for a, b in zip(*(two["seen"] for two in twos), strict=True)] == [
            sorted(both) for both in expected["seen"][at + 1 :]
        ]
        for found in (one, *twos):
            torch.testing.assert_close(found["weights"], expected["weights"], rtol=0, atol=1e-12)
            for name, values in expected["history"].items():
                assert found["history"][name] == pytest.approx(values, rel=1e-12), (name, at)


def test_inside_an_epoch_a_new_batch_size_is_refused() -> None:
    state = train(at=2)["state"]
    assert state is not None
    state["shared"] = {"processes": 2, "global_batch": 8}
    with pytest.raises(LoopStateError, match=r"8 samples in 2 processes, this one has 3 in 1"):
        train(state=state, batch_size=3)
