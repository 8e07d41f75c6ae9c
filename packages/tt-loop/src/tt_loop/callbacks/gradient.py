"""Bound gradients before the optimizer's step."""

from __future__ import annotations

from torch import nn

from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopValueError
from tt_loop.training.gradients import parameters_of

__all__ = ["GradNormClip", "GradValueClip"]


class GradNormClip(Callback):
    """Scale the optimizer's gradients down to a total 2-norm of at most ``max_grad_norm``."""

    def __init__(self, max_grad_norm: float) -> None:
        super().__init__("Gradient norm clipping")
        self.max_grad_norm = _positive("max_grad_norm", max_grad_norm)

    def on_train_loop_registration(self) -> None:
        """Have the strategy clip: after unscaling and normalising, in its one place."""
        self.train_loop_obj.max_grad_norm = self.max_grad_norm


class GradValueClip(Callback):
    """Bound each element of the optimizer's gradients to ``[-max_grad_value, max_grad_value]``."""

    def __init__(self, max_grad_value: float) -> None:
        super().__init__("Gradient value clipping")
        self.max_grad_value = _positive("max_grad_value", max_grad_value)

    def on_before_optimizer_step(self, optimizer_idx: int) -> None:
        """Clip, after the total norm has been looked at."""
        optimizer = self.train_loop_obj.optimizers[optimizer_idx]
        nn.utils.clip_grad_value_(parameters_of(optimizer), self.max_grad_value)


def _positive(name: str, value: float) -> float:
    if not value > 0:
        msg = f"{name} must be positive, got {value}."
        raise LoopValueError(msg)
    return value
