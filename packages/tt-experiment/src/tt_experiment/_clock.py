"""Moments as the files of a run have them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

__all__ = ["now"]


def now(timespec: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """This moment in UTC, as ISO 8601 has it."""
    return datetime.now(UTC).isoformat(timespec=timespec)
