"""Warm-up and decay as functions of the number of steps, for `LambdaLRScheduler`.

Each function gives an ``lr_lambda``: the factor of the initial learning rate after so many steps.
It rises over ``num_warmup_steps`` steps and has fallen after ``num_training_steps``. The formulas
are those of ``transformers.optimization``, to the last bit, also in what they do beyond the last
step. What the functions give can be sent to other processes.

Example:
    >>> lr_lambda = linear_with_warmup(num_warmup_steps=2, num_training_steps=6)
    >>> [lr_lambda(step) for step in range(7)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from tt_loop.errors import LoopValueError

__all__ = [
    "check_steps",
    "constant_with_warmup",
    "cosine_with_warmup",
    "hard_restarts_cosine_with_warmup",
    "inverse_sqrt_with_warmup",
    "linear_with_warmup",
    "polynomial_with_warmup",
    "warmup_stable_decay",
]

Curve = Callable[[int], float]
Shape = Literal["linear", "cosine", "1-sqrt"]


def check_steps(num_warmup_steps: int, num_training_steps: int | None = None) -> None:
    """Look whether there are as many steps as the warm-up takes.

    Raises:
        LoopValueError: When there are not, or a number is negative.
    """
    if num_warmup_steps < 0 or (num_training_steps is not None and num_training_steps < 0):
        msg = (
            "Numbers of steps must not be negative, got "
            f"num_warmup_steps={num_warmup_steps} and num_training_steps={num_training_steps}."
        )
        raise LoopValueError(msg)
    if num_training_steps is not None and num_warmup_steps > num_training_steps:
        msg = (
            "The warm-up must end before training does, got "
            f"num_warmup_steps={num_warmup_steps} and num_training_steps={num_training_steps}, "
            "which counts optimizer updates."
        )
        raise LoopValueError(msg)


def constant_with_warmup(num_warmup_steps: int) -> Curve:
    """Warm up, then stay."""
    check_steps(num_warmup_steps)
    return partial(_warmed_up, num_warmup_steps, _one)


def linear_with_warmup(num_warmup_steps: int, num_training_steps: int) -> Curve:
    """Warm up, then fall in a straight line to 0."""
    check_steps(num_warmup_steps, num_training_steps)
    return partial(
        _warmed_up, num_warmup_steps, partial(_linear, num_warmup_steps, num_training_steps)
    )


def cosine_with_warmup(
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr_rate: float = 0.0,
) -> Curve:
    """Warm up, then follow a cosine.

    Args:
        num_warmup_steps: Steps of the warm-up.
        num_training_steps: Steps of warm-up and decay.
        num_cycles: Waves of the cosine; a half is one fall.
        min_lr_rate: The factor at the cosine's bottom.
    """
    check_steps(num_warmup_steps, num_training_steps)
    decay = partial(_cosine, num_warmup_steps, num_training_steps, num_cycles, min_lr_rate)
    return partial(_warmed_up, num_warmup_steps, decay)


def hard_restarts_cosine_with_warmup(
    num_warmup_steps: int, num_training_steps: int, num_cycles: float = 1
) -> Curve:
    """Warm up, then fall ``num_cycles`` times from 1 to 0 along a half cosine."""
    check_steps(num_warmup_steps, num_training_steps)
    decay = partial(_hard_restarts, num_warmup_steps, num_training_steps, num_cycles)
    return partial(_warmed_up, num_warmup_steps, decay)


def polynomial_with_warmup(
    num_warmup_steps: int,
    num_training_steps: int,
    lr_init: float,
    lr_end: float = 1e-7,
    power: float = 1.0,
) -> Curve:
    """Warm up, then fall from ``lr_init`` to ``lr_end`` as a power of the steps that remain.

    Raises:
        LoopValueError: When ``lr_end`` is not the smaller one.
    """
    check_steps(num_warmup_steps, num_training_steps)
    if not lr_init > lr_end:
        msg = f"lr_end must be below the initial learning rate, got {lr_end} and {lr_init}."
        raise LoopValueError(msg)
    decay = partial(_polynomial, num_warmup_steps, num_training_steps, lr_init, lr_end, power)
    return partial(_warmed_up, num_warmup_steps, decay)


def inverse_sqrt_with_warmup(num_warmup_steps: int, timescale: int | None = None) -> Curve:
    """Warm up, then fall as one over the square root of the number of steps.

    Args:
        num_warmup_steps: Steps of the warm-up.
        timescale: After so many steps more the factor is ``1 / sqrt(2)``; by default as many as
            the warm-up has, without one 10000.
    """
    check_steps(num_warmup_steps)
    scale = timescale or num_warmup_steps or 10_000
    return partial(_warmed_up, num_warmup_steps, partial(_inverse_sqrt, num_warmup_steps, scale))


def warmup_stable_decay(
    num_warmup_steps: int,
    num_decay_steps: int,
    num_training_steps: int,
    *,
    warmup_type: Shape = "linear",
    decay_type: Shape = "cosine",
    min_lr_ratio: float = 0.0,
    num_cycles: float = 0.5,
) -> Curve:
    """Warm up, stay, and fall in the last ``num_decay_steps`` steps.

    Args:
        num_warmup_steps: Steps of the warm-up.
        num_decay_steps: Steps of the decay.
        num_training_steps: Steps of all three stages.
        warmup_type: Shape of the warm-up.
        decay_type: Shape of the decay.
        min_lr_ratio: The factor at the beginning and at the end.
        num_cycles: Waves of a cosine decay; a half is one fall.

    Raises:
        LoopValueError: When the stages do not fit, or a shape is unknown.
    """
    check_steps(num_warmup_steps, num_training_steps)
    check_steps(num_decay_steps, num_training_steps - num_warmup_steps)
    for shape in (warmup_type, decay_type):
        if shape not in get_args(Shape):
            msg = f"A shape must be one of {list(get_args(Shape))}, got {shape!r}."
            raise LoopValueError(msg)
    decay = partial(_fallen, decay_type, num_cycles)
    stages = (num_warmup_steps, num_training_steps - num_decay_steps, num_training_steps)
    return partial(_staged, stages, partial(_risen, warmup_type), decay, min_lr_ratio)


def _warmed_up(num_warmup_steps: int, decay: Curve, step: int) -> float:
    return step / max(1, num_warmup_steps) if step < num_warmup_steps else decay(step)


def _one(step: int) -> float:  # noqa: ARG001  # a curve all the same
    return 1.0


def _linear(begin: int, end: int, step: int) -> float:
    return max(0.0, (end - step) / max(1, end - begin))


def _progress(begin: int, end: int, step: int) -> float:
    return (step - begin) / max(1, end - begin)


def _cosine(begin: int, end: int, num_cycles: float, least: float, step: int) -> float:
    progress = _progress(begin, end, step)
    factor = 0.5 * (1.0 + math.cos(math.pi * num_cycles * 2.0 * progress))
    return max(0.0, factor * (1 - least) + least)


def _hard_restarts(begin: int, end: int, num_cycles: float, step: int) -> float:
    progress = _progress(begin, end, step)
    if progress >= 1.0:
        return 0.0
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((num_cycles * progress) % 1.0))))


def _polynomial(
    begin: int, end: int, lr_init: float, lr_end: float, power: float, step: int
) -> float:
    if step > end:
        return lr_end / lr_init
    remaining: float = (1 - _progress(begin, end, step)) ** power
    return ((lr_init - lr_end) * remaining + lr_end) / lr_init


def _inverse_sqrt(begin: int, timescale: int, step: int) -> float:
    return 1.0 / math.sqrt((step + (timescale - begin)) / timescale)


def _staged(
    stages: tuple[int, int, int],
    rise: Callable[[float], float],
    fall: Callable[[float], float],
    least: float,
    step: int,
) -> float:
    warm, stable, end = stages
    if warm <= step < stable:
        return 1.0
    if step >= end:
        return least
    factor = rise(step / max(1, warm)) if step < warm else fall(_progress(stable, end, step))
    return max(0.0, factor * (1.0 - least) + least)


def _risen(shape: Shape, progress: float) -> float:
    if shape == "linear":
        return progress
    if shape == "cosine":
        return 0.5 * (1.0 - math.cos(math.pi * progress))
    return 1.0 - math.sqrt(1.0 - progress)


def _fallen(shape: Shape, num_cycles: float, progress: float) -> float:
    if shape == "linear":
        return 1.0 - progress
    if shape == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * num_cycles * 2.0 * progress))
    return 1.0 - math.sqrt(progress)
