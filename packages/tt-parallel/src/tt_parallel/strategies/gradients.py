"""Averages over the processes of gradients that were kept in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from tt_parallel.collective import ProcessGroup
from tt_parallel.errors import ParallelValueError

__all__ = ["average_gradients"]

_PIECE = 25 * 2**20  # bytes in one message, as in DistributedDataParallel


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor], comm: ProcessGroup) -> None:
    """Replace each gradient by its mean over the processes, a missing one counting as zeros.

    A gradient that no process has stays missing, so that its parameter takes no part in the step,
    as on one process. Every process must call it with the same parameters.

    Raises:
        ParallelValueError: For a sparse gradient.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trained:
        if parameter.grad is not None and parameter.grad.layout is not torch.strided:
            msg = (
                "Gradients that several processes average must be dense, and a parameter of shape "
                f"{tuple(parameter.shape)} has one of layout {parameter.grad.layout}: make its "
                "embedding with sparse=False."
            )
            raise ParallelValueError(msg)
    for piece in _pieces(trained):
        _average(piece, comm)


def _pieces(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters of one type and device, as many as fit a message."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter in parameters:
        kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for alike in kinds.values():
        starts, size = [0], 0
        for number, parameter in enumerate(alike):
            if size and size + parameter.nbytes > _PIECE:
                starts.append(number)
                size = 0
            size += parameter.nbytes
        for start, stop in pairwise([*starts, len(alike)]):
            yield alike[start:stop]


def _average(parameters: list[Tensor], comm: ProcessGroup) -> None:
    """One message: all gradients, and behind them a flag for each that is there."""
    first = parameters[0]
    missing = [parameter.grad is None for parameter in parameters]
    there = torch.tensor([not gone for gone in missing], dtype=first.dtype, device=first.device)
    message = torch.cat([*map(_flat_gradient, parameters), there]).div_(comm.world_size)
    sizes = [*(parameter.numel() for parameter in parameters), len(there)]
    *means, flags = comm.all_reduce(message).split_with_sizes(sizes)
    somewhere = flags.abs().tolist() if any(missing) else []  # only then the host has to wait
    for number, (parameter, mean) in enumerate(zip(parameters, means, strict=True)):
        if parameter.grad is not None:
            parameter.grad.copy_(mean.view(parameter.shape))
        elif somewhere[number]:
            parameter.grad = torch.empty_like(parameter).copy_(mean.view(parameter.shape))


def _flat_gradient(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    return parameter.new_zeros(parameter.numel()) if gradient is None else gradient.reshape(-1)
