"""Host memory for tensors that are copied behind the training, and the copying itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["HostBuffer", "StreamCopies", "copy_on_cpu"]

_ALIGNMENT = 64
_SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class HostBuffer:
    """One piece of host memory that save after save is copied into."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)
        self._pinned = False

    def like(self, tensors: Sequence[Tensor], *, pinned: bool = False) -> list[Tensor]:
        """Room for each tensor; what was handed out before is taken back."""
        ends = [0]
        for tensor in tensors:
            ends.append(ends[-1] + -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT)
        if self._memory.numel() < ends[-1] or (pinned and not self._pinned):
            self.free()  # before there is a new one: at the peak, one copy of the state
            self._memory = torch.empty(ends[-1], dtype=torch.uint8, pin_memory=pinned)
            self._pinned = pinned
        return [
            self._memory[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            for start, tensor in zip(ends, tensors, strict=False)
        ]

    def free(self) -> None:
        """Give the memory back."""
        self._memory = torch.empty(0, dtype=torch.uint8)


def copy_on_cpu(source: Tensor, target: Tensor) -> None:
    """Copy in this thread alone, and without the interpreter's lock.

    torch would start its pool of threads for each thread that copies; NumPy does not.
    """
    if source.is_conj() or source.is_neg():
        target.copy_(source)
        return
    kind = _SAME_SIZE[source.element_size()]  # NumPy does not know all types, but all sizes
    np.copyto(target.view(kind).numpy(), source.view(kind).numpy())


class StreamCopies:
    """Copies from GPUs to pinned memory, each behind what its device has been asked to do.

    Args:
        pairs: Sources and targets. They are kept until the copies have arrived.
    """

    def __init__(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        groups: dict[torch.device, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for source, target in pairs:
            groups[source.device].append((source, target))
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._done = {device: self._copy(device, group) for device, group in groups.items()}

    def _copy(
        self, device: torch.device, pairs: Sequence[tuple[Tensor, Tensor]]
    ) -> torch.cuda.Event:
        with torch.cuda.device(device):
            plain = [(s.resolve_conj().resolve_neg().contiguous(), t) for s, t in pairs]
            self._kept += plain
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's own
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for source, target in plain:
                    target.copy_(source, non_blocking=True)
            # who waits for the event leaves the CPU alone meanwhile
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch's own
            done.record(stream)
        return done

    def hold_back(self) -> None:
        """What the caller's streams are asked to do from now on waits for the copies."""
        for device, done in self._done.items():
            torch.cuda.current_stream(device).wait_event(done)

    def wait(self) -> None:
        """Return when they have arrived."""
        for done in self._done.values():
            done.synchronize()
        self._kept.clear()
