"""The data itself, where a metric was asked to keep it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array, concatenated, selected
from tt_metrics._core.state import entry
from tt_metrics._errors import MetricStateError

__all__ = ["Batch", "Items"]


class Batch:
    """One `update`: targets, predictions, and what came with them.

    Args:
        y_true: Targets.
        y_predicted: Predictions.
        weight: None, or how much each item counts.
        ids: None, or which sample each item is.
    """

    __slots__ = ("ids", "weight", "y_predicted", "y_true")

    def __init__(self, y_true: Any, y_predicted: Any, weight: Any = None, ids: Any = None) -> None:
        self.y_true = y_true
        self.y_predicted = y_predicted
        self.weight = weight
        self.ids = ids

    @property
    def is_empty(self) -> bool:
        """Whether a mask has left nothing of it."""
        return len(self.y_true) == 0

    def where(self, mask: NDArray[np.bool_]) -> Self:
        """The items for which the mask of shape (n,) is true."""
        return type(self)(
            *(
                None if part is None else selected(part, mask, name)
                for part, name in (
                    (self.y_true, "y_true"),
                    (self.y_predicted, "y_predicted"),
                    (self.weight, "weight"),
                    (self.ids, "sample_ids"),
                )
            )
        )


class Items:
    """All batches so far."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._seen: set[Any] = set()

    def check(self, batch: Batch) -> None:
        """Refuse ids of another type, or a batch with ids among those without."""
        if not self._batches:
            return
        kinds = [None if ids is None else ids.dtype.kind == "U" for ids in (self._ids, batch.ids)]
        if kinds[0] != kinds[1]:
            msg = (
                "sample_ids must come with every update or with none, and be whole numbers or "
                "texts throughout."
            )
            raise MetricStateError(msg)

    @property
    def _ids(self) -> NDArray[Any] | None:
        """The ids of one batch: of what type they are."""
        ids: NDArray[Any] | None = self._batches[0].ids
        return ids

    def append(self, batch: Batch) -> None:
        """Take in a copy of a batch."""
        self._batches.append(_copy_of(batch))
        if batch.ids is not None:
            self._seen.update(batch.ids.tolist())

    def extend(self, other: Items) -> None:
        """Take in all batches of another one."""
        for batch in other._batches:
            self.append(batch)

    def whole(self) -> Batch:
        """All items as one batch; those without a weight weigh 1 where others have one."""
        parts = self._batches
        if not parts:
            return Batch([], [])
        return Batch(
            concatenated([part.y_true for part in parts]),
            concatenated([part.y_predicted for part in parts]),
            _joined_weights(parts),
            None if parts[0].ids is None else _joined_ids([part.ids for part in parts]),
        )

    def new(self, ids: Any) -> NDArray[np.bool_]:
        """Which of a batch's samples have not been seen before, in it or in earlier ones."""
        fresh = np.zeros(len(ids), np.bool_)
        fresh[np.unique(ids, return_index=True)[1]] = True
        if self._seen:
            fresh &= [one not in self._seen for one in ids.tolist()]
        return fresh

    def to_list(self) -> list[dict[str, Any]]:
        """The batches as plain dicts; a copy."""
        copies = map(_copy_of, self._batches)
        return [{name: getattr(batch, name) for name in Batch.__slots__} for batch in copies]

    @classmethod
    def from_list(cls, data: Any) -> Self:
        """Read what `to_list` gave."""
        items = cls()
        names = ("y_true", "y_predicted", "weight", "ids")
        items._batches = [Batch(*(entry(part, name) for name in names)) for part in data]
        return items


def _copy_of(batch: Batch) -> Batch:
    parts = (batch.y_true, batch.y_predicted, batch.weight, batch.ids)
    return Batch(*(None if part is None else _copied(part) for part in parts))


def _copied(values: Any) -> Any:
    """A copy off the graph and the device: callers may fill the same buffer again."""
    return list(values) if isinstance(values, (list, tuple)) else np.array(as_array(values))


def _joined_ids(ids: list[NDArray[Any]]) -> NDArray[Any]:
    """All ids as one array; signed and unsigned ones would meet as floats and lose digits."""
    kinds = {part.dtype for part in ids}
    if np.result_type(*kinds).kind == "f":
        return np.concatenate([part.astype(object) for part in ids])
    return np.concatenate(ids)


def _joined_weights(parts: list[Batch]) -> NDArray[np.float64] | None:
    if all(part.weight is None for part in parts):
        return None
    weights = (
        np.ones(len(part.y_true)) if part.weight is None else as_array(part.weight)
        for part in parts
    )
    return np.concatenate([*weights]).astype(np.float64)
