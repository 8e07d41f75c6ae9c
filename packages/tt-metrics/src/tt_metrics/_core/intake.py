"""How data comes into metrics and result packages: all of a batch, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array
from tt_metrics._core.items import Batch, Items
from tt_metrics._core.state import State, entry
from tt_metrics._errors import MetricInputError, MetricStateError

__all__ = ["STATE_FORMAT", "Intake", "check_format"]

STATE_FORMAT = 1
"""Which form of state dict this version writes; it reads this one and all before."""


class Intake:
    """States that see the same data, and the data itself if it is to be kept."""

    _states: Sequence[State]
    _items: Items | None = None  # kept because somebody asked for it
    _given: Batch | None = None  # what the constructor was given, while that is all there is

    def keep_items(self) -> Self:
        """Keep all targets and predictions too; call it before the first `update`.

        Paired comparisons need them, and so do intervals of metrics whose state is too small to
        draw from. They become part of `state`.
        """
        self._items = self._kept_items()
        return self

    @property
    def items(self) -> Batch | None:
        """All items, if they were kept or are those that the constructor was given."""
        return self._given if self._items is None else self._items.whole()

    def update(
        self,
        y_true: Any,
        y_predicted: Any,
        /,
        *,
        weight: Any = None,
        valid: Any = None,
        sample_ids: Any = None,
    ) -> None:
        """Take in one batch; one that raises leaves everything as it was.

        Args:
            y_true: Targets, one entry per item.
            y_predicted: Predictions.
            weight: How much each item counts, shape (n,), at least 0; left out, 1.
            valid: Shape (n,), bool: items that are false are left out, such as the padding of a
                distributed sampler.
            sample_ids: Shape (n,), whole numbers or texts: which sample each item is. A sample
                counts once, as it came first, also when states are merged. Ids keep the items, in
                memory and in `state`; `valid` costs nothing.

        Raises:
            MetricInputError: Data that the metric cannot take.
        """
        if valid is None and sample_ids is None and self._items is None:
            self._take(y_true, y_predicted, weight)
        else:
            ids = None if sample_ids is None else _as_ids(sample_ids, y_true)
            batch = Batch(y_true, y_predicted, weight, ids)
            self._take_batch(batch if valid is None else batch.where(_as_mask(valid)))
        self._given = None

    def _take(self, y_true: Any, y_predicted: Any, weight: Any) -> None:
        if len(self._states) == 1:
            self._states[0].update(y_true, y_predicted, weight)
            return
        parts = [state.measured(y_true, y_predicted, weight) for state in self._states]
        for state, part in zip(self._states, parts, strict=True):
            state.add(part)

    def _take_batch(self, batch: Batch) -> None:
        items = self._items
        if batch.ids is not None:
            items = self._kept_items()
            items.check(batch)
            batch = batch.where(items.new(batch.ids))
        if batch.is_empty:
            return
        if items is not None:
            items.check(batch)
        self._take(batch.y_true, batch.y_predicted, batch.weight)
        if items is not None:
            items.append(batch)
        self._items = items

    def _kept_items(self) -> Items:
        """The kept items, or none yet."""
        if self._items is None and any(state.count for state in self._states):
            msg = (
                "Items, which sample_ids need too, must be kept from the first update on; some "
                "data has come already. Call `keep_items` at the beginning."
            )
            raise MetricStateError(msg)
        return self._items or Items()

    def _contents(self) -> dict[str, Any]:
        """The part of the state dict that metrics and packages share."""
        return {
            "format": STATE_FORMAT,
            "count": max(state.count for state in self._states),
            "data": [state.to_dict() for state in self._states],
            "items": None if self._items is None else self._items.to_list(),
        }

    def _merge_contents(self, state: Mapping[str, Any]) -> None:
        """Take in the contents of another one: all of it, or nothing."""
        if not entry(state, "count"):
            return
        listed, parts = entry(state, "items"), entry(state, "data")
        if len(parts) != len(self._states):
            msg = f"A state must have {len(self._states)} parts; {len(parts)} came."
            raise MetricStateError(msg)
        if listed is None:
            self._merge_parts(parts)
            return
        theirs, items = Items.from_list(listed), self._kept_items()
        whole = theirs.whole()
        items.check(whole)
        if whole.ids is None:
            self._merge_parts(parts, keeping=True)
            items.extend(theirs)
            self._items = items
        else:
            self._take_batch(whole)
            self._given = None

    def _merge_parts(self, parts: Sequence[Mapping[str, Any]], *, keeping: bool = False) -> None:
        if self._items is not None and not keeping:
            msg = "A metric that keeps its items can only take in one that does; call keep_items."
            raise MetricStateError(msg)
        read = [state.parsed(part) for state, part in zip(self._states, parts, strict=True)]
        for state, part in zip(self._states, read, strict=True):
            if part is not None:
                state.add(part)
        self._given = None


def check_format(state: Mapping[str, Any]) -> None:
    """Refuse the state of a newer version."""
    if (came := entry(state, "format")) > STATE_FORMAT:
        msg = (
            f"A state must be of format {STATE_FORMAT} or before; {came} came. It was written by a "
            "newer tt-metrics: upgrade this one."
        )
        raise MetricStateError(msg)


def _as_mask(valid: Any) -> NDArray[np.bool_]:
    mask = as_array(valid, "valid")
    if mask.ndim != 1 or mask.dtype.kind != "b":
        msg = (
            "valid must be true or false for each item, shape (n,); its shape is "
            f"{mask.shape}, its dtype {mask.dtype}."
        )
        raise MetricInputError(msg)
    return mask


def _as_ids(sample_ids: Any, y_true: Any) -> NDArray[Any]:
    """Sample ids as whole numbers or texts of shape (n,)."""
    ids = as_array(sample_ids, "sample_ids")
    if ids.ndim != 1 or ids.dtype.kind not in "iuU":
        msg = (
            "sample_ids must be whole numbers or texts of shape (n,); their shape is "
            f"{ids.shape}, their dtype {ids.dtype}."
        )
        raise MetricInputError(msg)
    if not hasattr(y_true, "__len__") or len(ids) != len(y_true):
        shape = as_array(y_true, "y_true").shape
        msg = f"sample_ids must have one entry per item; there are {len(ids)} for y_true {shape}."
        raise MetricInputError(msg)
    return ids
