"""Names that users write as strings, resolved by entry points: ``gpu_mode`` and ``use_amp``.

A package registers a factory under a name in its metadata; nothing has to be imported for it:

* group ``tt_loop.strategies``: ``factory(*, device, precision, **launch_options) -> Launcher``
* group ``tt_loop.precisions``: ``factory(*, device, **options) -> Precision``
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch

from tt_loop.device import InProcess
from tt_loop.errors import LoopTypeError, LoopValueError, MissingPackageError
from tt_loop.protocols import Launcher, Precision, Strategy

__all__ = ["find_precision", "find_strategy", "make_launcher", "make_precision"]

_PROVIDERS = dict.fromkeys(("dp", "ddp", "fsdp", "amp"), "tt-parallel")

Factory = Callable[..., Any]


@cache
def _registered(group: str) -> dict[str, EntryPoint]:
    """What the installed packages provide; looking reads the metadata of all of them."""
    return {entry.name: entry for entry in entry_points(group=group)}


def _find(group: str, option: str, name: str) -> EntryPoint:
    found = _registered(group)
    if name in found:
        return found[name]
    installed = ", ".join(repr(known) for known in sorted(found)) or "nothing"
    msg = f"{option}={name!r} is not provided by any installed package (installed: {installed})."
    if name in _PROVIDERS:
        msg += f" It comes with: pip install {_PROVIDERS[name]}"
        raise MissingPackageError(msg)
    raise LoopValueError(msg)


def find_strategy(gpu_mode: object) -> Factory:
    """The factory of launchers that a ``gpu_mode`` means.

    Raises:
        LoopValueError: For a name that nobody provides.
        MissingPackageError: For a name whose package is not installed; it tells which.
        LoopTypeError: For an object that is no name, no `Strategy` and no `Launcher`.
    """
    if isinstance(gpu_mode, str):
        factory: Factory = _find("tt_loop.strategies", "gpu_mode", gpu_mode).load()
        return factory
    if isinstance(gpu_mode, Launcher):
        return lambda *, device, precision: gpu_mode  # noqa: ARG005  # the object has its own
    if isinstance(gpu_mode, Strategy):
        return lambda *, device, precision: InProcess(gpu_mode)  # noqa: ARG005  # the object has its own
    msg = f"gpu_mode must be a name, a Strategy or a Launcher, got {type(gpu_mode).__name__}."
    raise LoopTypeError(msg)


def make_launcher(
    factory: Factory,
    gpu_mode: object,
    *,
    device: torch.device,
    precision: Precision | None,
    options: Mapping[str, Any],
) -> Launcher:
    """Call a strategy's factory with the launch options given to ``fit``.

    Raises:
        LoopTypeError: For an option that the strategy does not know.
    """
    known = set(inspect.signature(factory).parameters) - {"device", "precision"}
    unknown = sorted(set(options) - known)
    if unknown:
        msg = (
            f"fit got unknown options {unknown}; gpu_mode={gpu_mode!r} knows "
            f"{sorted(known) or 'none'}."
        )
        raise LoopTypeError(msg)
    launcher: Launcher = factory(device=device, precision=precision, **options)
    return launcher


def find_precision(use_amp: object) -> Factory | None:
    """The factory of precisions that ``use_amp`` means; ``None`` for full precision.

    Raises:
        LoopTypeError: For anything but a bool, a dict of options or a `Precision`.
        MissingPackageError: When no installed package provides mixed precision.
    """
    if use_amp is None or use_amp is False:
        return None
    if use_amp is True or isinstance(use_amp, Mapping):
        factory: Factory = _find("tt_loop.precisions", "use_amp", "amp").load()
        return factory
    if isinstance(use_amp, Precision):
        return lambda *, device: use_amp  # noqa: ARG005  # the object has its own
    msg = f"use_amp must be a bool, a dict of options or a Precision, got {type(use_amp).__name__}."
    raise LoopTypeError(msg)


def make_precision(
    factory: Factory | None, use_amp: object, device: torch.device
) -> Precision | None:
    """Call a precision's factory with the options in ``use_amp``."""
    if factory is None:
        return None
    options = use_amp if isinstance(use_amp, Mapping) else {}
    precision: Precision = factory(device=device, **options)
    return precision
