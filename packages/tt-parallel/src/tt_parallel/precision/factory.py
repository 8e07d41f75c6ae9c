"""What ``use_amp`` means."""

from __future__ import annotations

import logging
from typing import Any

import torch

from tt_parallel.errors import ParallelValueError
from tt_parallel.precision.apex import ApexAmp, find_apex
from tt_parallel.precision.full import FullPrecision
from tt_parallel.precision.native import OptLevel
from tt_parallel.precision.opt_levels import APEX_OPTIONS, dtype_named, resolve
from tt_parallel.precision.protocol import Precision
from tt_parallel.precision.torch_amp import TorchAmp

__all__ = ["amp"]

_log = logging.getLogger(__name__)

_TORCH_OPTIONS = (
    "dtype",
    "cache_enabled",
    "init_scale",
    "growth_factor",
    "backoff_factor",
    "growth_interval",
)


def amp(*, device: torch.device, **options: Any) -> Precision:
    """The entry point ``amp``: what ``use_amp=True`` and ``use_amp={...}`` mean.

    Without options, float16 with loss scaling on CUDA, and bfloat16 where there is no hardware for
    float16: on a CPU. Options are those of `torch.amp.autocast` and `torch.amp.GradScaler`, or
    those of ``apex.amp.initialize``, ``opt_level`` above all. Apex itself computes a level on CUDA
    if it is installed and has ``amp``; else PyTorch does, see `OptLevel`.

    Args:
        device: Where the model computes.
        **options: ``dtype`` (also by name), ``cache_enabled``, ``init_scale``, ``growth_factor``,
            ``backoff_factor``, ``growth_interval``; or Apex's. ``enabled=False`` computes in full
            precision.

    Raises:
        ParallelValueError: For an option that nobody has, options of torch.amp and of Apex at
            once, or float16 on a CPU.
    """
    enabled = options.pop("enabled", True)
    of_apex = _are_of_apex(options)
    if not enabled:
        return FullPrecision()
    _check_dtype("cast_model_type" if of_apex else "dtype", options, torch.device(device))
    return _opt_level(device, **options) if of_apex else TorchAmp(device, **options)


def _are_of_apex(options: dict[str, Any]) -> bool:
    """Whether options are Apex's and not torch.amp's."""
    of_apex = [name for name in options if name in APEX_OPTIONS]
    of_torch = [name for name in options if name in _TORCH_OPTIONS]
    unknown = sorted(set(options) - set(APEX_OPTIONS) - set(_TORCH_OPTIONS))
    if unknown:
        msg = (
            f"use_amp knows the options {', '.join(_TORCH_OPTIONS)} of torch.amp, or "
            f"{', '.join(APEX_OPTIONS)} of Apex, and enabled; got {', '.join(unknown)}."
        )
        raise ParallelValueError(msg)
    if of_apex and of_torch:
        msg = (
            f"use_amp takes options of torch.amp or of Apex, got {', '.join(of_torch)} of "
            f"torch.amp and {', '.join(of_apex)} of Apex: leave out one or the other."
        )
        raise ParallelValueError(msg)
    return bool(of_apex)


def _check_dtype(name: str, options: dict[str, Any], device: torch.device) -> None:
    """Resolve a dtype's name, and refuse one that the device has no hardware for."""
    if options.get(name) is None:
        return
    options[name] = dtype_named(name, options[name])
    if options[name] is torch.float16 and device.type == "cpu":
        msg = (
            f"CPUs have no hardware for float16, got {name}=float16: use bfloat16. To try out its "
            "arithmetic, pass use_amp=TorchAmp(torch.device('cpu'), torch.float16)."
        )
        raise ParallelValueError(msg)


def _opt_level(device: torch.device, opt_level: str | None = None, **options: Any) -> Precision:
    """One of Apex's levels, by Apex if it can be."""
    level = "O1" if opt_level is None else opt_level
    properties = resolve(level, options)
    given = {
        name: getattr(properties, name) for name, value in options.items() if value is not None
    }
    found = find_apex()
    if found.amp is not None and torch.device(device).type == "cuda":
        made: Precision = ApexAmp(found.amp, level, **given)
        by = "Apex"
    else:
        made = OptLevel(device, level, **given)
        by = f"its equivalent in PyTorch ({str(made.dtype).removeprefix('torch.')} on {device})"
    if properties.verbosity:
        how_bad = logging.WARNING if found.is_wrong else logging.INFO
        _log.log(how_bad, "opt_level=%s is computed by %s: %s", level, by, found.told)
    return made
