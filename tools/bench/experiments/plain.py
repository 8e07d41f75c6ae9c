"""`torch.save` and safetensors, as a program calls them."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from experiments.job import ByHand, InPlace


class TorchSave(InPlace):
    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)

    def load(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])


class TorchSaveFlushed(TorchSave):
    """Flushed to the disk before it gets its name."""

    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)


class Safetensors(InPlace):
    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        state = optimizer.state_dict()
        for number, entry in state["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in entry.items()}
        save_file(tensors, path, {"groups": json.dumps(state["param_groups"])})

    def load(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        weights: dict[str, Tensor] = {}
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in load_file(path).items():
            kind, _, rest = name.partition(".")
            if kind == "model":
                weights[rest] = tensor
            else:
                number, _, moment = rest.partition(".")
                moments.setdefault(int(number), {})[moment] = tensor
        model.load_state_dict(weights)
        groups: Any = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})


def torch_save(parameters: int) -> ByHand:
    return ByHand(TorchSave(), parameters)


def torch_save_flushed(parameters: int) -> ByHand:
    return ByHand(TorchSaveFlushed(), parameters)


def safetensors(parameters: int) -> ByHand:
    return ByHand(Safetensors(), parameters)
