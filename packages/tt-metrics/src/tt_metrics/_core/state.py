"""What a metric remembers of the data: small, and mergeable in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from tt_metrics._errors import MetricStateError

__all__ = ["Draw", "Kinds", "State", "entry"]


class Draw(Protocol):
    """Makes the states of data sets drawn from the same items."""

    def __call__(self, times: NDArray[np.int64], /) -> Iterator[State]:
        """Give one state per row of ``times``, shape (B, m): how often each kind was drawn."""
        ...


@dataclass(frozen=True)
class Kinds:
    """The items by kind: those of one kind are interchangeable to the metric.

    Attributes:
        index: Shape (n,): the kind of each item, in [0, m).
        size: m, the number of kinds.
        draw: Makes the states of resampled data.
    """

    index: NDArray[np.intp]
    size: int
    draw: Draw


class State(ABC):
    """The part of the data that a result depends on.

    The law: merging what `to_dict` gave for A and for B leaves the state of A followed by B.
    A failed `update` changes nothing.
    """

    additive: ClassVar[tuple[str, ...]] = ()
    """Entries of `to_dict`, whole numbers and int64 arrays, that `merge` adds up where all other
    entries are equal; zeros add nothing. Processes then exchange sums instead of everything."""

    @property
    @abstractmethod
    def key(self) -> tuple[Hashable, ...]:
        """Kind and settings. States with equal keys take in the same data in the same way."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many items it has seen."""

    def update(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> None:
        """Take in one batch."""
        self.add(self.measured(y_true, y_predicted, weight))

    @abstractmethod
    def measured(self, y_true: Any, y_predicted: Any, weight: Any, /) -> Any:
        """Give what a batch adds; changes nothing, and raises on what it cannot take.

        Args:
            y_true: Targets, one entry per item.
            y_predicted: Predictions.
            weight: None, or how much each item counts: shape (n,), at least 0.
        """

    @abstractmethod
    def add(self, part: Any, /) -> None:
        """Take in what `measured` or `parsed` gave; cannot fail."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Give the content as a plain dict of arrays and numbers, shared with nothing."""

    @abstractmethod
    def parsed(self, data: Mapping[str, Any], /) -> Any:
        """Give what the `to_dict` of a state with an equal key adds; None if that is nothing.

        Changes nothing, and raises `MetricStateError` on what does not fit.
        """

    def merge(self, data: Mapping[str, Any], /) -> None:
        """Take in the `to_dict` of a state with an equal key."""
        if (part := self.parsed(data)) is not None:
            self.add(part)

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:  # noqa: ARG002  (for subclasses)
        """Sort items into kinds, to draw from them; looks at the settings, not at the content."""
        msg = f"{type(self).__name__} cannot be resampled; give it a method `kinds`."
        raise MetricStateError(msg)

    def own_kinds(self) -> tuple[NDArray[np.int64], Draw] | None:
        """How many items of each kind the state has seen, shape (m,); None if it cannot tell."""
        return None


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
