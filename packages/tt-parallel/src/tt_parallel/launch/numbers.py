"""Numbers that users give, checked."""

from __future__ import annotations

import math
from numbers import Integral, Real

from tt_parallel.errors import ParallelValueError

__all__ = ["checked_seconds", "checked_whole"]


def checked_whole(name: str, meaning: str, value: object, *, at_least: int = 1) -> None:
    """Refuse what is no whole number of that size."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or int(value) < at_least:  # type: ignore[call-overload]  # it is an Integral
        msg = f"{name} is {meaning}, a whole number of at least {at_least}; got {value!r}."
        raise ParallelValueError(msg)


def checked_seconds(name: str, value: object, *, positive: bool = True) -> None:
    """Refuse what is no finite number of seconds."""
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or float(value) < 0 or (positive and not value):  # type: ignore[arg-type]  # it is a Real
        least = "more than" if positive else "at least"
        msg = f"{name} is a number of seconds, {least} 0; got {value!r}."
        raise ParallelValueError(msg)
