"""Which precision a saved state belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tt_parallel.errors import ParallelValueError

__all__ = ["check_same_precision"]


def check_same_precision(own: Mapping[str, str], saved: Mapping[str, Any]) -> None:
    """Look whether a saved state is of the precision that goes on from it.

    Args:
        own: What tells this precision from others: ``dtype``, ``opt_level``.
        saved: The saved state, which begins with the same.

    Raises:
        ParallelValueError: When it is not.
    """
    names = ("dtype", "opt_level", "by")
    theirs = {name: saved[name] for name in names if name in saved}
    if theirs != dict(own):
        msg = (
            f"The saved run computed in {_told(theirs)}, this one in {_told(own)}: make both with "
            "the same use_amp."
        )
        raise ParallelValueError(msg)


def _told(identity: Mapping[str, str]) -> str:
    return " ".join(identity.values()) or "float32"
