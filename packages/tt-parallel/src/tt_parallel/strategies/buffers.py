"""Buffers that every process has from rank 0."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["send_buffers"]


def send_buffers(buffers: Iterable[Tensor]) -> None:
    """Give every process the buffers of rank 0, in one message for each type."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for buffer in buffers:
        kinds.setdefault((buffer.dtype, buffer.device), []).append(buffer)
    for alike in kinds.values():
        message = torch.cat([buffer.reshape(-1) for buffer in alike])
        dist.broadcast(message, 0)
        if dist.get_rank() == 0:
            continue  # what is known of rank 0's own buffers stays true
        parts = message.split_with_sizes([buffer.numel() for buffer in alike])
        for buffer, part in zip(alike, parts, strict=True):
            buffer.copy_(part.view(buffer.shape))
