"""Tensors of which each process holds a part, as a strategy may make a model's parameters."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["own_part", "shared_as", "whole"]


def own_part(tensor: Any) -> Tensor:
    """This process's part of a shared tensor; any other tensor as it is."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def whole(tensor: Any) -> Tensor:
    """The whole of a shared tensor, for which every process must ask; any other as it is."""
    gathered: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered


def shared_as(live: Any, tensor: Tensor) -> Tensor:
    """Share a tensor that every process has whole as another one is shared; nothing is sent."""
    if not hasattr(live, "to_local") or hasattr(tensor, "to_local"):
        return tensor
    from torch.distributed.tensor import distribute_tensor  # loaded already, and slow to load

    return distribute_tensor(tensor, live.device_mesh, live.placements, src_data_rank=None)
