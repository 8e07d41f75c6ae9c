"""How much memory training takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from tt_loop.callbacks.base import Callback

__all__ = ["MemoryMonitor"]

_MIB = 2**20
_STATUS = Path("/proc/self/status")  # of Linux


class MemoryMonitor(Callback):
    """Put the memory that is in use into the history, epoch by epoch, in MiB.

    ==============================  ==========================================================
    ``memory_device_peak``          the epoch's most memory in tensors on the accelerator
    ``memory_device_reserved``      the epoch's most memory that its allocator held
    ``memory_process``              what the process holds at the epoch's end (resident set)
    ``memory_process_peak``         the most it has held since it began
    ==============================  ==========================================================

    A name is left out where the system does not tell. On several processes the largest counts. An
    epoch runs from its beginning to its end, evaluation included. Each epoch begins with
    ``reset_peak_memory_stats``, which a peak that you measure over a longer time must allow for.

    Example:
        >>> from torch import nn
        >>> from tt_loop.api import TrainLoop
        >>> model, batches = nn.Linear(2, 1), [[torch.ones(4, 2), torch.ones(4, 1)]]
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = TrainLoop(model, batches, None, None, optimizer, nn.MSELoss(), progress=False)
        >>> _ = loop.fit(num_epochs=2, callbacks=[MemoryMonitor()])
        >>> names = [name for name in loop.train_history if name.startswith("memory")]
    """

    may_change_weights = False

    def __init__(self) -> None:
        super().__init__("Memory monitor", execution_order=-1)  # before reports read the values

    def on_epoch_begin(self) -> None:
        """Begin a new peak."""
        device = self.train_loop_obj.device
        allocator = _allocator(device)
        if allocator is not None:
            allocator.reset_peak_memory_stats(device)

    def on_epoch_end(self) -> None:
        """Put the epoch's values into the history."""
        loop = self.train_loop_obj
        used = {**_device_memory(loop.device), **_process_memory()}
        strategy, _ = loop.ready()
        if used and strategy.comm.world_size > 1:
            values = torch.tensor(list(used.values()), dtype=torch.float32, device=strategy.device)
            used = dict(zip(used, strategy.comm.all_reduce(values, "max").tolist(), strict=True))
        for name, value in used.items():
            loop.insert_metric_result_into_history(name, value)


def _allocator(device: torch.device) -> Any:
    """The module with the memory statistics of a device, where it has any."""
    module = torch.get_device_module(device)
    return module if hasattr(module, "reset_peak_memory_stats") else None


def _device_memory(device: torch.device) -> dict[str, float]:
    allocator = _allocator(device)
    if allocator is None:
        return {}
    return {
        "memory_device_peak": allocator.max_memory_allocated(device) / _MIB,
        "memory_device_reserved": allocator.max_memory_reserved(device) / _MIB,
    }


def _process_memory() -> dict[str, float]:
    if _STATUS.exists():
        return _linux_memory(_STATUS.read_text())
    try:
        import resource
    except ImportError:  # Windows has no such module
        return {}
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"memory_process_peak": peak / _MIB}


def _linux_memory(status: str) -> dict[str, float]:
    """The lines ``VmRSS: 1234 kB`` (now) and ``VmHWM`` (the most) of a process's status.

    ``ru_maxrss`` would also count what the process that started this one had used.
    """
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    names = {"VmRSS": "memory_process", "VmHWM": "memory_process_peak"}
    return {
        name: int(fields[field].split()[0]) * 1024 / _MIB
        for field, name in names.items()
        if field in fields
    }
