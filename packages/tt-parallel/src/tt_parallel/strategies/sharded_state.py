"""Whole states of sharded models and optimizers, and the way back into the shards.

A state is gathered tensor by tensor and kept on the CPU of those processes that hand it on; it is
loaded from rank 0 tensor by tensor. So no device holds more than one whole tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from tt_parallel.collective import ProcessGroup
from tt_parallel.errors import ParallelValueError
from tt_parallel.strategies.optimizer_state import named_state, numbered_state
from tt_parallel.strategies.trees import map_tensors

__all__ = ["load_model", "load_optimizer", "move_optimizer", "whole_model", "whole_optimizer"]


class _Kind(NamedTuple):
    """Stands for a tensor of rank 0 that is still to come."""

    shape: torch.Size
    dtype: torch.dtype


def whole_model(model: nn.Module, *, keep: bool) -> dict[str, Any]:
    """A model's state; empty in a process that does not keep it, but all must call it."""
    state = {name: _whole(value, keep) for name, value in model.state_dict().items()}
    return state if keep else {}


def whole_optimizer(model: nn.Module, optimizer: Optimizer, *, keep: bool) -> dict[str, Any]:
    """As `whole_model`, an optimizer's state by parameter name; its groups are always there."""
    named = named_state(model, optimizer)
    state = {name: _whole(values, keep) for name, values in named["state"].items()}
    return {"state": state if keep else {}, "param_groups": named["param_groups"]}


def _whole(value: Any, keep: bool) -> Any:
    def gathered(tensor: Tensor) -> Tensor | None:
        if isinstance(tensor, DTensor):
            there: Any = tensor.to(tensor.device_mesh.device_type)  # perhaps not, if offloaded
            tensor = there.full_tensor()
        return tensor.detach().to("cpu", copy=True) if keep else None

    return map_tensors(value, gathered)


def load_model(model: nn.Module, state: Mapping[str, Any], comm: ProcessGroup) -> None:
    """Load rank 0's state of the whole model.

    Raises:
        ParallelValueError: In every process, when it is not the state of such a model.
    """
    own = model.state_dict()
    kinds: Any = comm.broadcast_object(_kinds(state) if comm.rank == 0 else None)
    _check(own, kinds)
    received = {name: _received(kinds[name], state.get(name), like) for name, like in own.items()}
    model.load_state_dict(received)


def load_optimizer(
    model: nn.Module, optimizer: Optimizer, state: Mapping[str, Any], comm: ProcessGroup
) -> None:
    """Load rank 0's state of an optimizer, by parameter name.

    Raises:
        ParallelValueError: When a group has other parameters than the saved one.
    """
    kinds: Any = comm.broadcast_object(_kinds(state) if comm.rank == 0 else None)
    numbered_state(model, optimizer, {**kinds, "state": {}})  # said before anything is sent
    own = dict(model.named_parameters())
    named = {
        name: _received(kind, state["state"].get(name), own[name])
        for name, kind in kinds["state"].items()
    }
    optimizer.load_state_dict(numbered_state(model, optimizer, {**kinds, "state": named}))


def move_optimizer(
    optimizer: Optimizer, new: Mapping[nn.Parameter, nn.Parameter], comm: ProcessGroup
) -> None:
    """Have an optimizer train other parameters, in place, with rank 0's state of the old ones."""
    state = dict(optimizer.state)
    optimizer.state.clear()
    for group in optimizer.param_groups:
        for old in group["params"]:
            kinds: Any = comm.broadcast_object(_kinds(state.get(old)) if comm.rank == 0 else None)
            if kinds is not None:
                optimizer.state[new[old]] = _received(kinds, state.get(old), new[old])
        group["params"][:] = [new[old] for old in group["params"]]


def _kinds(state: Any) -> Any:
    """A state with kinds in place of tensors, but for single numbers, which tell themselves."""

    def kind(tensor: Tensor) -> Any:
        return _Kind(tensor.shape, tensor.dtype) if tensor.ndim else tensor.cpu()

    return map_tensors(state, kind)


def _received(kind: Any, value: Any, like: Any) -> Any:
    """What rank 0 has in a place, shared out as the tensor that it belongs to."""
    if isinstance(kind, Mapping):
        return {name: _received(each, (value or {}).get(name), like) for name, each in kind.items()}
    if not isinstance(kind, _Kind):
        return kind
    mesh = like.device_mesh if isinstance(like, DTensor) else None
    device = torch.device(mesh.device_type) if mesh is not None else like.device
    tensor = torch.empty(kind.shape, dtype=kind.dtype, device=device)
    if dist.get_rank() == 0:
        tensor.copy_(value)
    if mesh is not None and kind.shape == like.shape:
        return distribute_tensor(tensor, mesh, like.placements)
    dist.broadcast(tensor, 0)
    return tensor


def _check(own: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Look whether a saved model has the same names and shapes."""
    wrong = sorted(set(own) ^ set(kinds))
    wrong += [
        name
        for name, kind in kinds.items()
        if isinstance(kind, _Kind) and name in own and own[name].shape != kind.shape
    ]
    if wrong:
        msg = (
            "A model's state must have its names and shapes; the saved one is another's in "
            f"{', '.join(wrong[:5])}{' ...' if len(wrong) > 5 else ''}."
        )
        raise ParallelValueError(msg)
