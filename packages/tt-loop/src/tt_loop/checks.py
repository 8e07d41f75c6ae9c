"""What a loop is given, looked at before anything starts."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tt_loop.data.batches import empty_message, length_of
from tt_loop.errors import EmptyLoaderError, LoopTypeError, LoopValueError
from tt_loop.training.gradients import parameters_of
from tt_loop.training.multi_loss_optim import MultiOptimizer

__all__ = [
    "check_lengths",
    "check_optimizers",
    "check_options",
    "checked_loader",
    "checked_optimizer",
    "required",
]


def checked_loader(loader: Any, name: str) -> Any:
    """A loader or ``None``.

    Raises:
        LoopTypeError: For anything that cannot be iterated.
        EmptyLoaderError: For a loader of length 0.
    """
    readable = loader is None or hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")
    if not readable:
        msg = (
            f"The {name} loader must be a torch.utils.data.DataLoader or another iterable of "
            f"batches, got {type(loader).__name__}."
        )
        raise LoopTypeError(msg)
    if loader is not None and length_of(loader) == 0:
        raise EmptyLoaderError(empty_message(name))
    return loader


def checked_optimizer(optimizer: Any) -> Any:
    """An optimizer or ``None``.

    Raises:
        LoopTypeError: For anything else.
    """
    if optimizer is not None and not isinstance(optimizer, Optimizer | MultiOptimizer):
        msg = (
            "The optimizer must be a torch.optim.Optimizer or a MultiOptimizer, got "
            f"{type(optimizer).__name__}."
        )
        raise LoopTypeError(msg)
    return optimizer


def check_optimizers(optimizers: Sequence[Optimizer], model: nn.Module, criterion: Any) -> None:
    """Look whether each optimizer trains something of the model or the criterion.

    Raises:
        LoopValueError: When one has none of their parameters.
    """
    modules = [part for part in (model, criterion) if isinstance(part, nn.Module)]
    known = {id(parameter) for module in modules for parameter in module.parameters()}
    for number, optimizer in enumerate(optimizers):
        if not any(id(parameter) in known for parameter in parameters_of(optimizer)):
            msg = (
                f"An optimizer must have parameters of the model; optimizer {number} "
                f"({type(optimizer).__name__}) has none of them. Make it from model.parameters() "
                "of the very model that is trained."
            )
            raise LoopValueError(msg)


def check_lengths(num_epochs: int, num_iterations: int, grad_accumulation: int) -> None:
    """Look whether a fit has exactly one length.

    Raises:
        LoopTypeError: For a number that is not whole.
        LoopValueError: When it has none, two, or a negative one.
    """
    lengths = {"num_epochs": num_epochs, "num_iterations": num_iterations}
    for name, value in {**lengths, "grad_accumulation": grad_accumulation}.items():
        if not isinstance(value, numbers.Integral):
            msg = f"{name} must be a whole number, got {value!r}."
            raise LoopTypeError(msg)
    if (num_epochs > 0) == (num_iterations > 0) or min(num_epochs, num_iterations) < 0:
        msg = (
            "fit needs exactly one positive length, got "
            f"num_epochs={num_epochs} and num_iterations={num_iterations}."
        )
        raise LoopValueError(msg)
    if grad_accumulation < 1:
        msg = f"grad_accumulation must be at least 1, got {grad_accumulation}."
        raise LoopValueError(msg)


def check_options(gpu_mode: object, use_amp: object, cuda_device_idx: int | None) -> None:
    """Look whether options go with the mode.

    Raises:
        LoopValueError: When the mode would not heed one of them.
    """
    if use_amp and not isinstance(gpu_mode, str):
        msg = f"use_amp goes with a gpu_mode by name; give {type(gpu_mode).__name__} its precision."
        raise LoopValueError(msg)
    if cuda_device_idx is not None and gpu_mode != "single":
        msg = f"cuda_device_idx goes with gpu_mode='single', got gpu_mode={gpu_mode!r}."
        raise LoopValueError(msg)


def required(value: Any, what: str, purpose: str) -> Any:
    """A value that must be there.

    Raises:
        LoopValueError: When it is ``None``.
    """
    if value is None:
        msg = f"{purpose} needs {what}, got None: pass one to the TrainLoop."
        raise LoopValueError(msg)
    return value
