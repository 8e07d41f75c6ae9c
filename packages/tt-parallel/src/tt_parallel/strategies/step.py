"""One optimizer step from accumulated gradients, in one place and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_parallel.precision.full import FullPrecision
from tt_parallel.precision.protocol import Precision
from tt_parallel.precision.skipping import can_leave_steps_out, left_out_if

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
    precision.unscale(optimizer)  # Apex gives its master weights their gradients here
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
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

    A fused optimizer leaves its step out on the device, whatever the precision. For any other the
    flag is read, for which an accelerator makes the program wait.
    """
    if can_leave_steps_out(optimizer):
        with left_out_if(~finite, optimizer):
            return ~finite | precision.step(optimizer)
    if finite:
        return precision.step(optimizer)
    if type(precision) is not FullPrecision:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None  # so that the step does nothing, and loss scaling adapts
        precision.step(optimizer)
    return True
