"""What ``use_amp`` means."""

from __future__ import annotations

from typing import Any

import torch

from tt_parallel.errors import ParallelValueError
from tt_parallel.precision.torch_amp import DTYPES, TorchAmp

__all__ = ["amp"]

_SCALER_OPTIONS = ("init_scale", "growth_factor", "backoff_factor", "growth_interval")


def amp(*, device: torch.device, **options: Any) -> TorchAmp:
    """The entry point ``amp``: what ``use_amp=True`` and ``use_amp={...}`` mean.

    Raises:
        ParallelValueError: For an option that torch.amp does not have.
    """
    known = ("dtype", "cache_enabled", *_SCALER_OPTIONS)
    unknown = sorted(set(options) - set(known))
    if unknown:
        msg = f"use_amp knows the options {', '.join(known)}; got {', '.join(unknown)}."
        raise ParallelValueError(msg)
    if isinstance(options.get("dtype"), str):
        options["dtype"] = _dtype(options["dtype"])
    return TorchAmp(device, **options)


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        msg = f"dtype must be one of {', '.join(DTYPES)}, got {name!r}."
        raise ParallelValueError(msg)
    return DTYPES[name]
