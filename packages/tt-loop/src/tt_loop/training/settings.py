"""How long a fit is, and what of the data it sees."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tt_loop.errors import LoopTypeError, LoopValueError

__all__ = ["ENDLESS", "FitSettings", "seconds_of"]

ENDLESS = 2**62
"""Number of epochs of a fit that the clock ends."""

_UNITS = (1, 60, 3600, 86400)  # of the parts of "days:hours:minutes:seconds", from the right


@dataclass(slots=True)
class FitSettings:
    """Options of one fit that are not its length.

    Attributes:
        max_time: Seconds after which the fit ends; ``None`` for no limit.
        eval_every: Validate after every so many batches; 0 leaves it to the epochs' ends.
        dry_run: Read so many batches of everything; 0 reads all.
        overfit: Train on the first so many batches, the same in each epoch; 0 trains on all.
        elapsed: Seconds that the fit had taken when its state was saved.
    """

    max_time: float | None = None
    eval_every: int = 0
    dry_run: int = 0
    overfit: int = 0
    elapsed: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        for name in ("eval_every", "dry_run", "overfit"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                msg = f"{name} must be a number of batches, or 0 for none, got {value!r}."
                raise LoopValueError(msg)
        if self.dry_run and self.overfit:
            msg = f"Ask for dry_run or for overfit, got {self.dry_run} and {self.overfit}."
            raise LoopValueError(msg)

    def total_elapsed(self) -> float:
        """Seconds since the fit began, those before its state was saved included."""
        return self.elapsed + time.monotonic() - self.began

    def is_over(self) -> bool:
        """The time is up."""
        return self.max_time is not None and self.total_elapsed() >= self.max_time


def seconds_of(duration: Any) -> float | None:
    """Seconds of a duration: a number, a ``timedelta`` or ``'[[days:]hours:]minutes:seconds'``.

    Raises:
        LoopTypeError: For anything else.
        LoopValueError: For a text of another form, or a duration that is not positive.

    Example:
        >>> seconds_of("1:30:00")
        5400.0
    """
    if duration is None:
        return None
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, str):
        seconds = _parsed(duration)
    elif isinstance(duration, int | float) and not isinstance(duration, bool):
        seconds = float(duration)
    else:
        msg = f"max_time must be seconds, a timedelta or a text, got {type(duration).__name__}."
        raise LoopTypeError(msg)
    if not seconds > 0:
        msg = f"max_time must be positive, got {duration!r}."
        raise LoopValueError(msg)
    return seconds


def _parsed(text: str) -> float:
    parts = text.split(":")
    try:
        numbers = [float(part) for part in reversed(parts)]
        units = _UNITS[: len(numbers)]
        return sum(number * unit for number, unit in zip(numbers, units, strict=True))
    except ValueError as error:
        msg = f"max_time as a text must be like '1:30:00' (hours, minutes, seconds), got {text!r}."
        raise LoopValueError(msg) from error
