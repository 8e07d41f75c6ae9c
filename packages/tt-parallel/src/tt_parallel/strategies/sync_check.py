"""Whether the parameters are the same in all processes, bit by bit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tt_parallel.collective import ProcessGroup
from tt_parallel.errors import OutOfSync

__all__ = ["SyncCheck"]

_CHUNK = 2**20  # elements whose bits are summed at once
_MIX = -7046029254386353131  # odd, with bits all over
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int32}


class SyncCheck:
    """Compares a model's parameters between the processes at every so many steps.

    Buffers are left out: the statistics of a batch norm differ where it is not synchronised.

    Args:
        model: The model.
        every: Number of steps from one comparison to the next.
        comm: The processes.
    """

    def __init__(self, model: nn.Module, every: int, comm: ProcessGroup) -> None:
        self.model, self.every, self.comm = model, every, comm
        self.steps = 0

    def stepped(self) -> None:
        """Count a step, and compare if it is time.

        Raises:
            OutOfSync: In every process, when parameters differ.
        """
        self.steps += 1
        if self.steps % self.every == 0:
            self.compare()

    @torch.no_grad()
    def compare(self) -> None:
        """Compare now; every process must call it.

        Raises:
            OutOfSync: In every process, when parameters differ.
        """
        names, parameters = zip(*self.model.named_parameters(), strict=True)
        own = torch.stack(
            [_checksum(parameter).to(parameters[0].device) for parameter in parameters]
        )
        extremes = self.comm.all_reduce(torch.stack([own, ~own]), "max")
        differs = extremes[0] != ~extremes[1]  # ~ reverses the order: the smallest is found by it
        if not differs.any():
            return
        first = int(differs.int().argmax())
        sums = own.new_zeros(self.comm.world_size)
        sums[self.comm.rank] = own[first]
        groups: dict[int, list[int]] = {}
        for rank, value in enumerate(self.comm.all_reduce(sums).tolist()):
            groups.setdefault(value, []).append(rank)
        sides = " | ".join(", ".join(map(str, ranks)) for ranks in groups.values())
        msg = (
            f"The parameters must be the same in all processes, and after step {self.steps} "
            f"{int(differs.sum())} of {len(names)} are not; the first is {names[first]!r}, which "
            f"differs between the processes {sides}. Change parameters only by optimizer steps, or "
            "in all processes alike."
        )
        raise OutOfSync(msg)


def _checksum(parameter: Tensor) -> Tensor:
    """A sum over all bits in which each place counts otherwise; integers simply overflow."""
    flat = parameter.detach().reshape(-1)
    flat = torch.view_as_real(flat).reshape(-1) if flat.is_complex() else flat
    bits = flat.view(_BITS[flat.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    places = torch.arange(1, min(_CHUNK, bits.numel()) + 1, device=bits.device).mul_(_MIX)
    places ^= places >> 31
    places |= 1
    for start in range(0, bits.numel(), _CHUNK):
        chunk = bits[start : start + _CHUNK]
        total = total * _MIX + (chunk.to(torch.int64) * places[: chunk.numel()]).sum()
    return total
