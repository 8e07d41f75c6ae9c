"""The processes of a run, as a handful of calls on `torch.distributed`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["OneProcess", "ProcessGroup"]

T = TypeVar("T")

_PIECE = 16 * 2**20  # bytes of an object that travel at once

_OPERATIONS = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}


class OneProcess:
    """The collective of a single process."""

    rank = 0
    world_size = 1

    def all_reduce(self, tensor: Tensor, op: Literal["sum", "max", "min"] = "sum", /) -> Tensor:  # noqa: ARG002  # one value is its own sum and maximum
        """Return the tensor."""
        return tensor

    def gather_objects(self, obj: T, /) -> list[T] | None:
        """Return the object as the only one."""
        return [obj]

    def broadcast_object(self, obj: T, /) -> T:
        """Return the object."""
        return obj

    def barrier(self) -> None:
        """Return at once."""


class ProcessGroup:
    """All processes of the initialised default group; fits tt-loop's ``Collective``."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def all_reduce(self, tensor: Tensor, op: Literal["sum", "max", "min"] = "sum", /) -> Tensor:
        """Combine a tensor of the same shape from every process, in place."""
        dist.all_reduce(tensor, _OPERATIONS[op])
        return tensor

    def gather_objects(self, obj: T, /) -> list[T] | None:
        """Bring one object of each process to rank 0, in rank order; ``None`` elsewhere.

        The objects come one after the other, each in pieces of bounded size.
        """
        if self.rank:
            _out(_pickled(obj), partial(dist.send, dst=0))
            return None
        others = [_in(partial(dist.recv, src=rank)) for rank in range(1, self.world_size)]
        return [obj, *others]

    def broadcast_object(self, obj: T, /) -> T:
        """Give every process the object of rank 0, in pieces of bounded size."""
        if self.rank == 0:
            _out(_pickled(obj), partial(dist.broadcast, src=0))
            return obj
        received: T = _in(partial(dist.broadcast, src=0))
        return received

    def barrier(self) -> None:
        """Return when every process has come here."""
        dist.barrier()


class _Compact(pickle.Pickler):
    """Writes of a tensor its own elements only, not all that it is a part of."""

    def reducer_override(self, obj: Any) -> Any:
        is_part = (
            type(obj) is Tensor
            and obj.layout is torch.strided
            and obj.untyped_storage().nbytes() > obj.nbytes
        )
        if not is_part:
            return NotImplemented
        own = obj.detach().clone(memory_format=torch.contiguous_format)
        return own.requires_grad_(obj.requires_grad).__reduce_ex__(pickle.HIGHEST_PROTOCOL)


def _pickled(obj: object) -> Tensor:
    """An object as bytes."""
    buffer = BytesIO()
    _Compact(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(obj)
    return torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)


def _out(data: Tensor, send: Callable[[Tensor], object]) -> None:
    """Send bytes: first how many they are, then piece by piece."""
    device = _device()
    send(torch.tensor([len(data)], device=device))
    for piece in _pieces(data):
        send(piece.to(device))


def _in(receive: Callable[[Tensor], object]) -> Any:
    """Receive what `_out` sends, and make the object."""
    device = _device()
    length = torch.empty(1, dtype=torch.int64, device=device)
    receive(length)
    data = torch.empty(int(length), dtype=torch.uint8)
    for place in _pieces(data):
        piece = place.to(device)
        receive(piece)
        place.copy_(piece)
    return pickle.loads(data.numpy().data)  # noqa: S301  # from a process of the same run


def _pieces(data: Tensor) -> list[Tensor]:
    return [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]


def _device() -> torch.device:
    """Where a tensor must be to travel: objects go by the CPU if the group has a way there."""
    config = str(dist.get_backend_config())
    if "cpu:" in config or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())
