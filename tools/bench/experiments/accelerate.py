"""Accelerate's `save_state`."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.job import ByHand, InPlace

accelerate: Any = import_module("accelerate")


class SaveState(InPlace):
    def __init__(self) -> None:
        self.accelerator: Any = accelerate.Accelerator(cpu=True)

    def save(self, path: Path, *_: nn.Module | torch.optim.Optimizer) -> None:
        self.accelerator.save_state(path)

    def load(self, path: Path, *_: nn.Module | torch.optim.Optimizer) -> None:
        self.accelerator.load_state(path)


def save_state(parameters: int) -> ByHand:
    saver = SaveState()
    training = ByHand(saver, parameters)
    training.model, training.optimizer = saver.accelerator.prepare(
        training.model, training.optimizer
    )
    return training
