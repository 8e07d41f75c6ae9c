"""What an instance can be asked."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol, TypeAlias, runtime_checkable

__all__ = ["Action", "Instance"]

Action: TypeAlias = Literal["stop", "terminate"]
"""``"stop"`` keeps the disks, and what they cost; ``"terminate"`` deletes the instance."""


@runtime_checkable
class Instance(Protocol):
    """A machine that can be ended."""

    def __str__(self) -> str:
        """What to call it in messages."""
        ...

    def stop(self) -> None:
        """Turn it off; it can be started again.

        Raises:
            InstanceError: When the service refused.
            AccessDenied: When the credentials are missing or do not allow it.
            Unavailable: When the service cannot be reached.
        """
        ...

    def terminate(self) -> None:
        """Delete it; what is only on its own disks is lost. Raises what `stop` does."""
        ...

    def interruption(self) -> datetime | None:
        """When the service is going to take the instance back, if it said so."""
        ...
