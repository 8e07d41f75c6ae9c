"""What a metric remembers of the data: small, and mergeable in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

from tt_metrics._errors import MetricStateError

__all__ = ["State", "entry"]


class State(ABC):
    """The part of the data that a result depends on.

    The law: merging what `to_dict` gave for A and for B leaves the state of A followed by B.
    A failed `update` changes nothing.
    """

    @property
    @abstractmethod
    def key(self) -> tuple[Hashable, ...]:
        """Kind and settings. States with equal keys take in the same data in the same way."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many items it has seen."""

    @abstractmethod
    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        """Take in one batch."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Give the content as a plain dict of arrays and numbers, shared with nothing."""

    @abstractmethod
    def merge(self, data: Mapping[str, Any], /) -> None:
        """Take in the `to_dict` of a state with an equal key."""


def entry(state: Mapping[str, Any], name: str) -> Any:
    """Read one entry of a state dict that came from elsewhere."""
    if isinstance(state, Mapping) and name in state:
        return state[name]
    came = f"the keys {list(state)}" if isinstance(state, Mapping) else type(state).__name__
    msg = (
        f"A state must be a dict with the entry {name!r}; {came} came. "
        "Pass the `state` of a metric of the same kind."
    )
    raise MetricStateError(msg)
