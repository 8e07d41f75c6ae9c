"""A loop on GPUs: the modes agree, and nothing of a step is waited for."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import Callback, TrainLoop
from tt_parallel.api import DistributedStrategy, OptLevel, Spawn

pytestmark = pytest.mark.gpu

SAMPLES, STEPS = 128, 16


def job(batch_size: int = 8, **options: Any) -> TrainLoop:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 3))
    x = torch.randn(SAMPLES, 6)
    data = TensorDataset(x, (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 0.5).long())
    loader = DataLoader(data, batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    criterion = nn.CrossEntropyLoss()
    return TrainLoop(model, loader, loader, None, optimizer, criterion, progress=False, **options)


def weights(loop: TrainLoop) -> torch.Tensor:
    return nn.utils.parameters_to_vector(loop.model.parameters()).detach().cpu()


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_one_process_of_many_is_the_single_device(mode: str) -> None:
    alone, loop = job(), job(gpu_mode=mode)
    alone.fit(num_epochs=2)
    loop.fit(num_epochs=2, num_gpus=1)
    torch.testing.assert_close(weights(loop), weights(alone), rtol=1e-5, atol=1e-6)
    assert loop.train_history["val_loss"] == pytest.approx(
        alone.train_history["val_loss"], rel=1e-5
    )


@pytest.mark.parametrize("use_amp", [True, {"dtype": "bfloat16"}, {"opt_level": "O1"}, "O2"])
def test_mixed_precision_comes_close_to_full(use_amp: Any) -> None:
    use_amp = OptLevel("cuda", "O2") if use_amp == "O2" else use_amp
    full, mixed = job(), job(use_amp=use_amp)
    for loop in (full, mixed):
        loop.fit(num_epochs=4)
    assert mixed.train_history["val_loss"][-1] == pytest.approx(
        full.train_history["val_loss"][-1], abs=0.05
    )


class Strict(Callback):
    """Has CUDA raise where the program would wait for it, once the first steps are made."""

    def __init__(self) -> None:
        super().__init__("strict", execution_order=100)

    def on_batch_begin(self) -> None:
        if self.train_loop_obj.iteration == 4:
            torch.cuda.set_sync_debug_mode("error")

    def on_batch_end(self) -> None:
        if self.train_loop_obj.iteration + 1 == STEPS:
            torch.cuda.set_sync_debug_mode("default")


class StopAt(Callback):
    """One process wants to stop."""

    def __init__(self) -> None:
        super().__init__("stop at", device_idx_execution=1)

    def on_batch_end(self) -> None:
        if self.train_loop_obj.total_iteration_idx == 20:
            self.train_loop_obj.early_stop = True


def on_one_gpu(_: Any, *, use_amp: bool) -> dict[str, Any]:
    """Two processes that share a GPU; their tensors travel by Gloo."""
    cuda = torch.device("cuda", 0)
    precision = OptLevel(cuda, "O1") if use_amp else None
    loop = job(4, gpu_mode=DistributedStrategy(cuda, precision))
    loop.fit(num_epochs=3, callbacks=[StopAt()])
    return {"weights": weights(loop), "step": loop.total_iteration_idx}


@pytest.mark.parametrize("use_amp", [False, True])
def test_processes_on_a_gpu_agree_and_stop_together(use_amp: bool) -> None:
    first, second = Spawn(2).run(partial(on_one_gpu, use_amp=use_amp))
    assert torch.equal(first["weights"], second["weights"])
    assert first["step"] == second["step"] == 23  # one step for the message, two until it is read
    if not use_amp:
        alone = job()
        alone.fit(num_iterations=24)
        torch.testing.assert_close(first["weights"], weights(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("use_amp", [False, True, {"dtype": "bfloat16"}])
def test_a_step_in_mixed_precision_is_not_waited_for(use_amp: Any) -> None:
    loop = job(use_amp=use_amp)
    loop.max_grad_norm = 1.0
    try:
        loop.fit(num_epochs=1, callbacks=[Strict()])
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("mode", ["ddp", "fsdp", "dp"])
def test_two_gpus_equal_one(mode: str) -> None:
    alone = job()
    loop = job(8 if mode == "dp" else 4, gpu_mode=mode)
    alone.fit(num_epochs=2)
    options: dict[str, Any] = {} if mode == "dp" else {"num_gpus": 2}
    loop.fit(num_epochs=2, **options)
    torch.testing.assert_close(weights(loop), weights(alone), rtol=1e-4, atol=1e-5)
