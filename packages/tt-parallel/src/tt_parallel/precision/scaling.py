"""Loss scaling: gradients too small for float16 are kept from vanishing by a larger loss.

The scale is one for all optimizers. Each of them steps or not as its own gradients say; then the
scale is adapted once, before the next scaled loss: one overflow among several optimizers must not
count as several, and what the second is unscaled by must be what its loss was scaled by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from tt_parallel.errors import ParallelValueError
from tt_parallel.precision.skipping import can_leave_steps_out

__all__ = ["LossScaling"]


class LossScaling:
    """The scale of the losses and its adaptation.

    Args:
        device_type: Where the loss is computed.
        enabled: Without it losses stay as they are and every step is made.
        min_scale: The scale becomes no smaller.
        max_scale: The scale becomes no larger.
        **options: Options of `torch.amp.GradScaler`, such as ``init_scale``.

    Example:
        >>> import torch
        >>> scaling = LossScaling("cpu", init_scale=4.0)
        >>> weight = torch.ones(2, requires_grad=True)
        >>> scaling.backward(weight.sum())
        >>> weight.grad
        tensor([4., 4.])
    """

    def __init__(
        self,
        device_type: str,
        *,
        enabled: bool = True,
        min_scale: float | None = None,
        max_scale: float | None = None,
        **options: Any,
    ) -> None:
        self.enabled = enabled
        self._bounds = {"min": min_scale, "max": max_scale}
        self._options = {"device": device_type, "enabled": enabled, **options}
        self._start(self._fresh().state_dict())

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the gradients of the loss times the present scale."""
        self._adapt()
        self._has_scaled = self.enabled
        self._scaler.scale(loss).backward(**options)  # type: ignore[no-untyped-call]  # torch's own

    def unscale(self, optimizer: Optimizer, /) -> None:
        """Divide an optimizer's gradients by the scale and look whether they are finite."""
        if not self.enabled:
            return
        gradients = (p.grad for group in optimizer.param_groups for p in group["params"])
        first = next((gradient for gradient in gradients if gradient is not None), None)
        if first is None:
            return
        if any(optimizer is each for each in self._stepped):
            self._adapt()
        if not self._has_scaled:  # the losses were scaled before a resume, or in other processes
            self._scaler.scale(torch.zeros((), device=first.device))
            self._has_scaled = True
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer, /) -> Tensor | bool:
        """Step unless a gradient is not finite; tells whether the step was left out.

        A fused optimizer leaves the step out on its device, and the answer is a tensor there. For
        any other the flag is read, for which an accelerator makes the program wait.
        """
        if not (self.enabled and (self._looked_at(optimizer) or self._can_look_at(optimizer))):
            optimizer.step()
            return False
        first, *others = self._looked_at(optimizer)
        skipped = sum((flag.to(first.device) for flag in others), first) > 0
        self._stepped.append(optimizer)
        if can_leave_steps_out(optimizer):
            self._scaler.step(optimizer)
            return skipped
        left_out = bool(skipped)
        if not left_out:
            optimizer.step()
        return left_out

    def state_dict(self) -> dict[str, Any]:
        """The state of a `torch.amp.GradScaler`; empty without scaling."""
        self._adapt()
        return self._scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on with a saved scale, from the beginning of a step.

        Raises:
            ParallelValueError: When only one of the two runs scales its losses.
        """
        if bool(state) != self.enabled:
            msg = (
                f"The saved run {'scaled' if state else 'did not scale'} its losses, this one "
                f"{'does' if self.enabled else 'does not'}: give both the same options."
            )
            raise ParallelValueError(msg)
        self._start(state)

    def _fresh(self) -> GradScaler:
        return _BoundedScaler(self._bounds, **self._options)

    def _start(self, state: Mapping[str, Any]) -> None:
        """Begin a step with a state."""
        self._scaler = self._fresh()
        self._stepped: list[Optimizer] = []  # since the scale was adapted
        self._has_scaled = False
        if state:
            low, high = self._bounds["min"], self._bounds["max"]
            scale = state["scale"] if low is None else max(low, state["scale"])
            scale = scale if high is None else min(high, scale)
            self._scaler.load_state_dict({**state, "scale": scale})

    def _adapt(self) -> None:
        """Adapt the scale to the steps since the last time, if there were any."""
        if self._stepped:
            self._scaler.update()
            self._stepped = []

    def _looked_at(self, optimizer: Optimizer) -> list[Tensor]:
        """A flag for each device that the optimizer's gradients are on; none before `unscale`."""
        return list(self._scaler._found_inf_per_device(optimizer).values())

    def _can_look_at(self, optimizer: Optimizer) -> bool:
        self.unscale(optimizer)
        return bool(self._looked_at(optimizer))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scaler": None, "_stepped": [], "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved = state.pop("state")
        self.__dict__.update(state)
        self._start(saved)


class _BoundedScaler(GradScaler):
    """A `GradScaler` with bounds, and for parameters in half precision too."""

    def __init__(self, bounds: Mapping[str, float | None], **options: Any) -> None:
        super().__init__(**options)
        self._bounds = bounds if any(bound is not None for bound in bounds.values()) else None

    def update(self, new_scale: float | Tensor | None = None) -> None:
        super().update(new_scale)
        if self._bounds is not None and self._scale is not None:
            self._scale.clamp_(**self._bounds)

    def _unscale_grads_(
        self, optimizer: Optimizer, inv_scale: Tensor, found_inf: Tensor, allow_fp16: bool
    ) -> dict[torch.device, Tensor]:
        del allow_fp16  # torch refuses parameters in float16; the opt_level O3 has them
        return super()._unscale_grads_(optimizer, inv_scale, found_inf, True)
