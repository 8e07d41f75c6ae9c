"""What processes that share a loader tell each other about it."""

from __future__ import annotations

from typing import TypeVar

import torch

from tt_loop.errors import LoopValueError
from tt_loop.protocols import Collective

__all__ = ["Agreement"]

T = TypeVar("T")


class Agreement:
    """What all processes say; every process must ask the same in the same order.

    Args:
        comm: The processes.
        device: Where a message is sent from.
        global_batch: Samples of all processes in a training batch, where they keep that of a run
            with another number of processes.
    """

    def __init__(
        self, comm: Collective, device: torch.device, global_batch: int | None = None
    ) -> None:
        self._comm, self._device, self.global_batch = comm, device, global_batch

    def of_all(self, value: T) -> list[T]:
        """The values of all processes in rank order, in each of them."""
        return self._comm.broadcast_object(self._comm.gather_objects(value) or [])

    def anybody(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        wanted = torch.tensor(float(flag), device=self._device)
        return bool(self._comm.all_reduce(wanted, "max"))

    def check_same(self, value: object, message: str) -> None:
        """Look whether a value is the same in all processes.

        Raises:
            LoopValueError: In every process, when it is not.
        """
        first, *others = self.of_all(value)
        if any(other != first for other in others):
            raise LoopValueError(message)
