"""Further learning rates with a warm-up, which ``transformers`` has besides AIToolbox's."""

from __future__ import annotations

from typing import Any

from tt_loop.schedulers.basic import LambdaLRScheduler
from tt_loop.schedulers.curves import (
    Curve,
    Shape,
    inverse_sqrt_with_warmup,
    polynomial_with_warmup,
    warmup_stable_decay,
)
from tt_loop.schedulers.warmup import WarmupScheduler

__all__ = [
    "InverseSqrtWithWarmupScheduler",
    "PolynomialWithWarmupScheduler",
    "WarmupStableDecayScheduler",
]


class InverseSqrtWithWarmupScheduler(LambdaLRScheduler):
    """Warm up, then fall as one over the square root of the number of updates.

    Args:
        num_warmup_steps: Updates of the warm-up.
        timescale: As `inverse_sqrt_with_warmup`.
        last_epoch: As in `torch.optim.lr_scheduler.LambdaLR`.
        **kwargs: ``optimizer_idx``; ``step_on="epoch"`` counts epochs instead of updates.
    """

    def __init__(
        self,
        num_warmup_steps: int,
        timescale: int | None = None,
        last_epoch: int = -1,
        **kwargs: Any,
    ) -> None:
        curve = inverse_sqrt_with_warmup(num_warmup_steps, timescale)
        super().__init__(curve, last_epoch=last_epoch, **{"step_on": "update", **kwargs})


class PolynomialWithWarmupScheduler(WarmupScheduler):
    """Warm up, then fall to ``lr_end`` as a power of the updates that remain.

    Args:
        num_warmup_steps: As `WarmupScheduler`.
        num_training_steps: As `WarmupScheduler`.
        lr_end: The last learning rate, of an optimizer's default learning rate.
        power: 1 is a straight line.
        last_epoch: As `WarmupScheduler`.
        **kwargs: As `WarmupScheduler`.
    """

    def __init__(
        self,
        num_warmup_steps: int,
        num_training_steps: int | None = None,
        lr_end: float = 1e-7,
        power: float = 1.0,
        last_epoch: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_warmup_steps, num_training_steps, last_epoch, **kwargs)
        self.lr_end = lr_end
        self.power = power

    def curve(self, num_training_steps: int, initial_lr: float) -> Curve:
        """As `polynomial_with_warmup`."""
        return polynomial_with_warmup(
            self.num_warmup_steps, num_training_steps, initial_lr, self.lr_end, self.power
        )


class WarmupStableDecayScheduler(WarmupScheduler):
    """Warm up, stay, and fall in the last ``num_decay_steps`` updates.

    Args:
        num_warmup_steps: As `WarmupScheduler`.
        num_decay_steps: Updates of the decay.
        num_training_steps: As `WarmupScheduler`.
        last_epoch: As `WarmupScheduler`.
        warmup_type: Shape of the warm-up.
        decay_type: Shape of the decay.
        min_lr_ratio: The factor of the initial learning rate at the beginning and at the end.
        **kwargs: As `WarmupScheduler`.
    """

    def __init__(
        self,
        num_warmup_steps: int,
        num_decay_steps: int,
        num_training_steps: int | None = None,
        last_epoch: int = -1,
        *,
        warmup_type: Shape = "linear",
        decay_type: Shape = "cosine",
        min_lr_ratio: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_warmup_steps, num_training_steps, last_epoch, **kwargs)
        self.num_decay_steps = num_decay_steps
        self.shapes = (warmup_type, decay_type)
        self.min_lr_ratio = min_lr_ratio

    @property
    def shortest(self) -> int:
        """Warm-up and decay."""
        return self.num_warmup_steps + self.num_decay_steps

    def curve(self, num_training_steps: int, initial_lr: float) -> Curve:  # noqa: ARG002  # the interface has it
        """As `warmup_stable_decay`."""
        warmup_type, decay_type = self.shapes
        return warmup_stable_decay(
            self.num_warmup_steps,
            self.num_decay_steps,
            num_training_steps,
            warmup_type=warmup_type,
            decay_type=decay_type,
            min_lr_ratio=self.min_lr_ratio,
        )
