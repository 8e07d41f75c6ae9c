"""Steps that an optimizer leaves out on its device, so that the program need not wait for a flag.

A fused optimizer reads the attributes ``found_inf`` and ``grad_scale``, which a `GradScaler` sets
for the time of a step, and leaves its weights alone where the first is not zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["can_leave_steps_out", "left_out_if"]


def can_leave_steps_out(optimizer: Optimizer) -> bool:
    """Whether an optimizer can leave a step out on its device."""
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        return False
    # torch's fused SGD keeps, of a first step that is left out, momentum that it has not computed.
    return bool(optimizer.state) or not any(g.get("momentum") for g in optimizer.param_groups)


@contextmanager
def left_out_if(bad: Tensor, optimizer: Optimizer) -> Iterator[None]:
    """Steps inside leave the weights alone where ``bad`` is true, or where they would anyway."""
    fused: Any = optimizer

    def also(*_: object) -> None:
        flag, own = bad.to(torch.float32), getattr(fused, "found_inf", None)
        fused.found_inf = flag if own is None else torch.maximum(flag.to(own.device), own)
        fused.grad_scale = getattr(fused, "grad_scale", None)

    handle = optimizer.register_step_pre_hook(also)
    try:
        yield
    finally:
        handle.remove()
        for name in ("found_inf", "grad_scale"):
            vars(optimizer).pop(name, None)  # a GradScaler has removed its own
