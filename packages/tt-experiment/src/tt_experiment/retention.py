"""Which checkpoints of a folder are kept.

Order is that of the saves (``serial``), never that of a clock, and a score counts for the
checkpoint that it was saved with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeVar

__all__ = ["BestPolicy", "Kept", "Retention"]


class Kept(Protocol):
    """A checkpoint as the rules see it."""

    @property
    def step(self) -> int:
        """Step that it was saved under."""
        ...

    @property
    def serial(self) -> int:
        """How many saves the folder had seen, this one included."""
        ...

    @property
    def created(self) -> datetime:
        """When it was saved, by the clock of that machine."""
        ...

    @property
    def scores(self) -> Mapping[str, float]:
        """Metric values that were saved with it."""
        ...

    @property
    def finite(self) -> bool:
        """Whether every weight is a number."""
        ...


E = TypeVar("E", bound=Kept)


@dataclass(frozen=True, slots=True)
class BestPolicy:
    """Keep the ``count`` checkpoints with the best value of a metric.

    A checkpoint is judged by the value saved with that very checkpoint; NaN is never best, and of
    equals the older stays best.
    """

    metric: str
    mode: Literal["min", "max"]
    count: int = 1

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            msg = f"mode must be 'min' or 'max'. Got {self.mode!r}"
            raise ValueError(msg)
        _check_count("BestPolicy keeps at least one checkpoint", "count", self.count)

    def rank(self, checkpoints: Sequence[E]) -> list[E]:
        """Those that have the metric, best first."""
        sign = 1.0 if self.mode == "min" else -1.0
        scored = [
            (sign * value, checkpoint.serial, checkpoint)
            for checkpoint in checkpoints
            if not math.isnan(value := checkpoint.scores.get(self.metric, math.nan))
        ]
        return [checkpoint for _, _, checkpoint in sorted(scored, key=lambda item: item[:2])]


@dataclass(frozen=True, slots=True)
class Retention:
    """Which checkpoints stay: what any of the rules keeps. Without rules all do.

    Never deleted are the newest, the newest whose weights are all finite, pinned and damaged ones,
    and those whose upload is pending. While there is none yet that has the metric of some
    ``best``, all stay.

    Args:
        last: So many of the newest.
        best: The best by a metric, or by each of several.
        within: Those that were saved at most so long before the newest.
        every_steps: Those whose step is a multiple.

    Example:
        >>> Retention(last=2, best=BestPolicy("val_loss", "min"), every_steps=10_000).last
        2
    """

    last: int | None = None
    best: BestPolicy | Sequence[BestPolicy] = ()
    within: timedelta | None = None
    every_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("last", "every_steps"):
            value = getattr(self, name)
            if value is not None:
                _check_count(f"Retention's {name} is a number from 1", name, value)
        if self.within is not None and not self.within > timedelta(0):
            msg = f"within must be a timedelta above zero. Got {self.within!r}"
            raise ValueError(msg)
        if not all(isinstance(policy, BestPolicy) for policy in self.policies):
            msg = f"best must be BestPolicy objects. Got {self.best!r}"
            raise ValueError(msg)

    @property
    def policies(self) -> tuple[BestPolicy, ...]:
        """The rules by metric."""
        return (self.best,) if isinstance(self.best, BestPolicy) else tuple(self.best)

    def unknown(self, checkpoints: Sequence[E]) -> list[str]:
        """Metrics to keep the best by that no checkpoint has; while there are some, all stay."""
        return [policy.metric for policy in self.policies if not policy.rank(checkpoints)]

    def keep(self, checkpoints: Sequence[E]) -> list[E]:
        """Those that stay, newest first."""
        ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint.serial, reverse=True)
        rules = (self.last, self.within, self.every_steps, self.policies or None)
        if not ordered or all(rule is None for rule in rules) or self.unknown(ordered):
            return ordered
        kept = [*ordered[: self.last or 1], *[c for c in ordered if c.finite][:1]]
        for policy in self.policies:
            kept += policy.rank(ordered)[: policy.count]
        kept += [c for c in ordered if self._keeps_alone(c, ordered[0])]
        serials = {checkpoint.serial for checkpoint in kept}
        return [checkpoint for checkpoint in ordered if checkpoint.serial in serials]

    def _keeps_alone(self, checkpoint: Kept, newest: Kept) -> bool:
        """Whether a checkpoint stays whatever others there are."""
        if self.within is not None and newest.created - checkpoint.created <= self.within:
            return True
        return self.every_steps is not None and checkpoint.step % self.every_steps == 0


def _check_count(rule: str, name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        msg = f"{rule}. Got {name}={value!r}"
        raise ValueError(msg)
