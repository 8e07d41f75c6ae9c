"""One optimizer step from accumulated gradients, in one place and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_parallel.precision.full import FullPrecision
from tt_parallel.precision.protocol import Precision

__all__ = ["Step", "apply_step"]


class Step(NamedTuple):
    """What a step did."""

    skipped: Tensor | bool
    grad_norm: Tensor | None


def apply_step(
    optimizer: Optimizer,
    precision: Precision,
    *,
    grad_scale: Tensor | float | None = None,
    on_gradients: Callable[[], None] | None = None,
    max_norm: float | None = None,
    before_step: Callable[[], None] | None = None,
    require_finite: bool = False,
) -> Step:
    """Unscale, normalise, show, clip, show, step or skip, and zero: in this order.

    Args:
        optimizer: Its parameters hold the gradients of the whole window.
        precision: Scales losses and decides whether the step can be made.
        grad_scale: Factor for the gradients.
        on_gradients: Called with true-size gradients, before they are clipped.
        max_norm: Largest total 2-norm of the gradients.
        before_step: Called with the gradients that the step will use.
        require_finite: Leave the step out when the gradients' total norm is not finite; the
            gradients are the same in all processes, and so is the decision.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    precision.unscale(optimizer)
    if grad_scale is not None and gradients:
        torch._foreach_mul_(gradients, grad_scale)
    if on_gradients is not None:
        on_gradients()
    norm = None
    if max_norm:
        norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    elif require_finite:
        norm = nn.utils.get_total_norm(gradients)
    if before_step is not None:
        before_step()
    if norm is not None and require_finite:
        skipped = _step_if(norm.isfinite(), optimizer, precision)
    else:
        skipped = precision.step(optimizer)
    optimizer.zero_grad()
    return Step(skipped, norm)


def _step_if(finite: Tensor, optimizer: Optimizer, precision: Precision) -> Tensor | bool:
    """Step if the gradients are finite; tells whether the step was left out.

    A fused optimizer leaves its step out on the device, as it does for a ``GradScaler``. For any
    other the flag is read, for which an accelerator makes the program wait.
    """
    if type(precision) is FullPrecision and _leaves_steps_out(optimizer):
        fused: Any = optimizer
        fused.grad_scale, fused.found_inf = None, (~finite).to(torch.float32)
        try:
            optimizer.step()
        finally:
            del fused.grad_scale, fused.found_inf
        return ~finite
    is_finite = bool(finite)
    if not is_finite:
        if type(precision) is FullPrecision:
            return True
        optimizer.zero_grad()  # without gradients a step does nothing, and loss scaling adapts
    skipped = precision.step(optimizer)
    return skipped if is_finite else True


def _leaves_steps_out(optimizer: Optimizer) -> bool:
    """Whether an optimizer can leave a step out on the device."""
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        return False
    # torch's fused SGD keeps, of a first step that is left out, momentum that it has not computed.
    return bool(optimizer.state) or not any(g.get("momentum") for g in optimizer.param_groups)
