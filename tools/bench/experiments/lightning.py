"""Lightning's checkpoint plugins, which its Trainer hands such a state to."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.job import ByHand

plugins: Any = import_module("lightning.pytorch.plugins.io")


class Plugin:
    def __init__(self, plugin: Any) -> None:
        self.plugin = plugin

    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        self.plugin.save_checkpoint(state, path)

    def before_update(self) -> None:
        pass

    def finish(self) -> None:
        self.plugin.teardown()

    def load(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = self.plugin.load_checkpoint(path, weights_only=True)
        model.load_state_dict(state["state_dict"])
        optimizer.load_state_dict(state["optimizer_states"][0])


def in_place(parameters: int) -> ByHand:
    return ByHand(Plugin(plugins.TorchCheckpointIO()), parameters)


def behind(parameters: int) -> ByHand:
    return ByHand(Plugin(plugins.AsyncCheckpointIO(plugins.TorchCheckpointIO())), parameters)
