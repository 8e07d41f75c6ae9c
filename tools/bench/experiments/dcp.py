"""`torch.distributed.checkpoint`, saving in a thread of its own."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from experiments.job import ByHand


class AsyncSave:
    def __init__(self) -> None:
        self.future: Future[Any] | None = None

    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        future: Any = async_save(_state(model, optimizer), checkpoint_id=path, no_dist=True)
        self.future = future

    def before_update(self) -> None:
        pass

    def finish(self) -> None:
        if self.future is not None:
            self.future.result()

    def load(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = _state(model, optimizer)
        load(state, checkpoint_id=path, no_dist=True)
        set_state_dict(
            model,
            optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    of_model, of_optimizer = get_state_dict(model, optimizer)
    return {"model": of_model, "optimizer": of_optimizer}


def in_thread(parameters: int) -> ByHand:
    return ByHand(AsyncSave(), parameters)
