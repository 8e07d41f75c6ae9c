"""Optimizer states by parameter name, so that they fit an optimizer in another order or place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tt_parallel.errors import ParallelValueError

__all__ = ["named_state", "numbered_state"]


def _names(model: nn.Module, optimizer: Optimizer) -> list[str]:
    """Names of the optimizer's parameters in its order; what is not the model's gets a number."""
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return [known.get(id(p), f"outside_the_model.{n}") for n, p in enumerate(parameters)]


def named_state(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer's state with names of parameters in place of numbers."""
    names, state = _names(model, optimizer), optimizer.state_dict()
    return {
        "state": {names[number]: value for number, value in state["state"].items()},
        "param_groups": [
            {**group, "params": [names[number] for number in group["params"]]}
            for group in state["param_groups"]
        ],
    }


def numbered_state(
    model: nn.Module, optimizer: Optimizer, saved: Mapping[str, Any]
) -> dict[str, Any]:
    """The reverse of `named_state`, for `Optimizer.load_state_dict`.

    Raises:
        ParallelValueError: When a group has other parameters than the saved one.
    """
    names = _names(model, optimizer)
    own_groups = optimizer.state_dict()["param_groups"]
    groups = []
    for own, group in zip(own_groups, saved["param_groups"], strict=True):
        if {names[number] for number in own["params"]} != set(group["params"]):
            msg = f"The saved optimizer has the parameters {group['params']}; this has others."
            raise ParallelValueError(msg)
        groups.append({**group, "params": own["params"]})
    numbers = {name: number for number, name in enumerate(names)}
    return {
        "state": {numbers[name]: value for name, value in saved["state"].items()},
        "param_groups": groups,
    }
