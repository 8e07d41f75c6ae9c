"""Weights, inputs and outputs of a model in another precision, for the time of a context."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

__all__ = ["Outermost", "called", "cast", "cast_ends", "cast_weights", "convert"]

Table = dict[str, Any]  # a module's parameters or buffers by name


def cast(value: Any, dtype: torch.dtype) -> Any:
    """A nested value with its floating-point tensors in another type."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, MutableMapping):
        copied: Any = copy.copy(value)
        for name, item in value.items():
            copied[name] = cast(item, dtype)
        return copied
    if isinstance(value, list | tuple):
        parts = [cast(item, dtype) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def called(model: nn.Module) -> nn.Module:
    """The module whose forward pass computes: inside one that has none and only holds another."""
    held = [*model.children()]
    while type(model).forward is nn.Module.forward and len(held) == 1:
        model = held[0]
        held = [*model.children()]
    return model


@contextmanager
def cast_ends(
    model: nn.Module, inputs: torch.dtype | None, outputs: torch.dtype | None
) -> Iterator[None]:
    """Cast the floating-point inputs of the model's forward passes, and their outputs.

    Nothing stays on the model: it is copied and sent to processes as it was.
    """
    handles = []
    if inputs is not None:
        handles.append(
            model.register_forward_pre_hook(
                lambda _, args, kwargs: (cast(args, inputs), cast(kwargs, inputs)),
                with_kwargs=True,
            )
        )
    if outputs is not None:
        handles.append(model.register_forward_hook(lambda *call: cast(call[-1], outputs)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def convert(
    model: nn.Module,
    dtype: torch.dtype,
    optimizers: Sequence[Optimizer],
    *,
    keep_batchnorm: bool,
) -> None:
    """Cast a model in place, and what its optimizers know about its parameters."""
    castable = set(_castable(model, keep_batchnorm=keep_batchnorm))
    if any(tensor.dtype is not dtype for module in castable for tensor in _floating(module)):
        others = [module for module in model.modules() if module not in castable]
        kept = [[tensor.detach().clone() for tensor in _floating(module)] for module in others]
        model.to(dtype)
        for module, values in zip(others, kept, strict=True):
            for tensor, value in zip(_floating(module), values, strict=True):
                tensor.data = value
    for optimizer in optimizers:
        values_of = ((p, value) for p, state in optimizer.state.items() for value in state.values())
        if any(_is_cast(value, p.dtype) for p, value in values_of):
            optimizer.load_state_dict(optimizer.state_dict())  # casts as it loads


def _castable(model: nn.Module, *, keep_batchnorm: bool) -> list[nn.Module]:
    """The modules whose own parameters and buffers are cast: all but affine batch norms."""
    return [
        module
        for module in model.modules()
        if not (keep_batchnorm and isinstance(module, _BatchNorm) and module.affine)
    ]


def _floating(module: nn.Module) -> list[Tensor]:
    """A module's own floating-point parameters and buffers."""
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return [tensor for tensor in own if tensor.is_floating_point()]


def _is_cast(value: object, dtype: torch.dtype) -> bool:
    """Whether an optimizer casts a part of its state to its parameter's type when it loads it."""
    return (
        isinstance(value, Tensor)
        and value.ndim > 0
        and value.is_floating_point()
        and value.dtype is not dtype
    )


@contextmanager
def cast_weights(model: nn.Module, dtype: torch.dtype, *, keep_batchnorm: bool) -> Iterator[None]:
    """Put lower-precision copies in place of a model's floating-point weights.

    The copies are cast through autograd, so that gradients arrive at the model's own parameters, in
    their precision. Names, optimizers and checkpoints know the parameters only. A parameter that
    modules share is cast once.
    """
    parameters: list[_Replaced] = []
    buffers: list[_Replaced] = []
    casts: dict[int, Tensor] = {}
    try:
        for module in _castable(model, keep_batchnorm=keep_batchnorm):
            parameters.extend(_replaced(module._parameters, dtype, casts))
            buffers.extend(_replaced(module._buffers, dtype, casts))
        yield
    finally:
        for table, name, own, _ in parameters:
            table[name] = own
        with torch.no_grad():
            for each in buffers:
                each.write_back()


def _replaced(table: Table, dtype: torch.dtype, casts: dict[int, Tensor]) -> Iterator[_Replaced]:
    """Replace the tensors of a table by casts, and tell each before it is replaced."""
    for name, own in table.items():
        if own is not None and own.is_floating_point():
            if id(own) not in casts:
                casts[id(own)] = own.to(dtype)
            yield _Replaced(table, name, own, casts[id(own)])
            table[name] = casts[id(own)]


class _Replaced(NamedTuple):
    """A tensor of a module and what stands in its place."""

    table: Table
    name: str
    own: Tensor
    cast: Tensor

    def write_back(self) -> None:
        """Put a buffer back with what the forward pass wrote into it.

        What it left alone keeps all its digits.
        """
        table, name, own, cast = self
        if table[name] is not cast:  # the module has put another in its place
            own = table[name] if table[name] is None else table[name].to(own.dtype)
        elif cast is not own:
            own.copy_(torch.where(cast == own.to(cast.dtype), own, cast.to(own.dtype)))
        table[name] = own


class Outermost:
    """A context that only the first of several, inside one another or in threads, enters.

    The last that is left leaves it. `torch.nn.DataParallel` computes a model's replicas in threads,
    and they share the model's hooks.

    Args:
        make: Makes the context.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make
        self._lock, self._depth = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._context = self._make()
                self._context.__enter__()
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._context.__exit__(None, None, None)
