"""The parameters of an optimizer and their gradients."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

__all__ = ["forget_gradients", "parameters_of"]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """All parameters of an optimizer, group by group."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def forget_gradients(optimizer: Optimizer) -> None:
    """What ``optimizer.zero_grad()`` does, without the 5 microseconds of its profiling."""
    if type(optimizer).zero_grad is not Optimizer.zero_grad or "zero_grad" in vars(optimizer):
        optimizer.zero_grad()  # of the optimizer's own making
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
