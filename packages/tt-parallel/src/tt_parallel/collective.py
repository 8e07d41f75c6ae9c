"""The processes of a run, as a handful of calls on `torch.distributed`."""

from __future__ import annotations

from typing import Literal, TypeVar

import torch.distributed as dist
from torch import Tensor

__all__ = ["OneProcess", "ProcessGroup"]

T = TypeVar("T")

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
        """Bring one object of each process to rank 0, in rank order; ``None`` elsewhere."""
        gathered: list[T | None] | None = [None] * self.world_size if self.rank == 0 else None
        dist.gather_object(obj, gathered)
        return gathered  # type: ignore[return-value]  # every place has been filled

    def broadcast_object(self, obj: T, /) -> T:
        """Give every process the object of rank 0."""
        box = [obj]
        dist.broadcast_object_list(box)
        return box[0]

    def barrier(self) -> None:
        """Return when every process has come here."""
        dist.barrier()
