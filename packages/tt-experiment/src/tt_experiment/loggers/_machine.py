"""What can be known of the machine and of this process on it."""

from __future__ import annotations

import importlib
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["Machine"]

_MIB = 2**20
_STAT, _MEMORY, _OWN = Path("/proc/stat"), Path("/proc/meminfo"), Path("/proc/self/statm")


class Machine:
    """Samples the machine; the use of processors is that since the last sample.

    Args:
        folder: Somewhere on the disk whose free room counts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gpus = _Gpus()
        psutil = _optional("psutil")
        self._cpu: Callable[[], Mapping[str, float]] = _Psutil(psutil) if psutil else _Proc()
        self._last = (time.monotonic(), time.process_time())
        self._cpu()

    def facts(self) -> dict[str, Any]:
        """What does not change: processors, and accelerators by name."""
        return {"cpus": os.cpu_count(), "gpus": self._gpus.names()}

    def sample(self) -> dict[str, float]:
        """Finite numbers by name; what cannot be known is left out."""
        values = dict(self._cpu())
        values["process_cpu_percent"] = self._own_use()
        values["disk_free_mib"] = shutil.disk_usage(self._folder).free / _MIB
        values |= self._gpus.sample()
        return {name: float(value) for name, value in values.items() if math.isfinite(value)}

    def _own_use(self) -> float:
        (then, used_then), now, used = self._last, time.monotonic(), time.process_time()
        self._last = (now, used)
        return 100 * (used - used_then) / (now - then) if now > then else math.nan

    def close(self) -> None:
        """Let go of the accelerators' driver."""
        self._gpus.close()


class _Psutil:
    """Processors and memory by psutil."""

    def __init__(self, psutil: Any) -> None:
        self._psutil, self._process = psutil, psutil.Process()

    def __call__(self) -> Mapping[str, float]:
        return {
            "cpu_percent": self._psutil.cpu_percent(None),
            "memory_percent": self._psutil.virtual_memory().percent,
            "process_rss_mib": self._process.memory_info().rss / _MIB,
        }


class _Proc:
    """The same by the files in which Linux tells it; nothing elsewhere."""

    def __init__(self) -> None:
        self._last = (0, 0)

    def __call__(self) -> Mapping[str, float]:
        try:
            return {**self._processors(), **_memory()}
        except (OSError, ValueError, KeyError, IndexError):
            return {}

    def _processors(self) -> dict[str, float]:
        ticks = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
        total, idle = sum(ticks), ticks[3] + ticks[4]
        passed, idled = total - self._last[0], idle - self._last[1]
        self._last = (total, idle)
        return {"cpu_percent": 100 * (passed - idled) / passed} if passed else {}


def _memory() -> dict[str, float]:
    lines = (line.split(":", 1) for line in _MEMORY.read_text().splitlines())
    fields = {name: int(value.split()[0]) for name, value in lines}
    used = 1 - fields["MemAvailable"] / fields["MemTotal"]
    pages = int(_OWN.read_text().split()[1])
    rss = pages * os.sysconf("SC_PAGE_SIZE") / _MIB
    return {"memory_percent": 100 * used, "process_rss_mib": rss}


class _Gpus:
    """The NVIDIA accelerators that this process may use: by their driver, and by torch."""

    def __init__(self) -> None:
        self._nvml = _optional("pynvml")
        self._handles: dict[int, Any] = {}
        if self._nvml is not None:
            try:
                self._nvml.nvmlInit()
                self._handles = self._visible()
            except self._nvml.NVMLError:  # no driver
                self._nvml = None

    def _visible(self) -> dict[int, Any]:
        nvml, chosen = self._nvml, os.environ.get("CUDA_VISIBLE_DEVICES")
        found = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        if chosen is None:
            return dict(enumerate(found))
        ids = [(str(i), _text(nvml.nvmlDeviceGetUUID(handle))) for i, handle in enumerate(found)]
        visible = [
            next(
                (h for h, (n, uuid) in zip(found, ids, strict=True) if _means(want, n, uuid)), None
            )
            for want in (part.strip() for part in chosen.split(","))
        ]
        return {i: handle for i, handle in enumerate(visible) if handle is not None}

    def names(self) -> list[str]:
        return [_text(self._nvml.nvmlDeviceGetName(each)) for each in self._handles.values()]

    def sample(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for number, handle in self._handles.items():
            for name, read in self._readings(handle).items():
                try:
                    values[f"gpu{number}_{name}"] = read()
                except self._nvml.NVMLError:  # this one does not tell
                    continue
        if _uses_cuda():  # asking must not be what initialises it
            for number in range(torch.cuda.device_count()):
                values[f"gpu{number}_allocated_mib"] = torch.cuda.memory_allocated(number) / _MIB
        return values

    def _readings(self, handle: Any) -> dict[str, Callable[[], float]]:
        nvml = self._nvml
        return {
            "percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "memory_mib": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / _MIB,
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "celsius": lambda: nvml.nvmlDeviceGetTemperature(handle, 0),
        }

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.nvmlShutdown()


def _uses_cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch says so in words only


def _means(want: str, number: str, uuid: str) -> bool:
    """Whether an entry of CUDA_VISIBLE_DEVICES is this device: its number, or how its id begins."""
    return want == number or (want.startswith("GPU-") and uuid.startswith(want))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _optional(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
