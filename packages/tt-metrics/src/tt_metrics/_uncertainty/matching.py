"""Checking that two metrics have seen the same targets, and bringing their items to one order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array
from tt_metrics._core.items import Batch
from tt_metrics._core.metric import Metric, same_settings
from tt_metrics._errors import MetricInputError, MetricStateError, MetricTypeError, NoDataError
from tt_metrics._uncertainty.paired import Pair

__all__ = ["matched_pair"]


def matched_pair(first: Metric[Any], second: Metric[Any]) -> Pair:
    """Put the items of two metrics side by side; where both have sample ids, by id.

    Raises:
        MetricTypeError: They are no metrics, or of different classes.
        MetricStateError: They have different settings, or have not kept their items.
        NoDataError: One has seen no data.
        MetricInputError: Their targets, weights or ids differ.
    """
    _check_alike(first, second)
    ours, theirs = _items_of(first), _items_of(second)
    if len(ours.y_true) != len(theirs.y_true):
        msg = (
            "Two systems must be compared on the same items; there are "
            f"{len(ours.y_true)} and {len(theirs.y_true)}."
        )
        raise MetricInputError(msg)
    if ours.ids is not None and theirs.ids is not None:
        theirs = _in_order_of(ours.ids, theirs)
    _check_same(ours.y_true, theirs.y_true, "targets")
    if (ours.weight is None) != (theirs.weight is None):
        msg = "Both systems must have the same weights; only one of them has any."
        raise MetricInputError(msg)
    if ours.weight is not None:
        _check_same(ours.weight, theirs.weight, "weights")
    return Pair(first, second, ours, theirs)


def _check_alike(first: Any, second: Any) -> None:
    if not isinstance(first, Metric) or type(first) is not type(second):
        msg = (
            "Two metrics of one class must be given; "
            f"{type(first).__name__} and {type(second).__name__} came."
        )
        raise MetricTypeError(msg)
    settings = first.settings, second.settings
    if not same_settings(*settings):
        msg = f"Both metrics must have the same settings; they are {settings[0]} and {settings[1]}."
        raise MetricStateError(msg)


def _items_of(metric: Metric[Any]) -> Batch:
    if not metric.count:
        msg = "A comparison needs data; none came. Fill both metrics first."
        raise NoDataError(msg)
    items = metric.items
    if items is None:
        msg = (
            "A comparison needs the items of both metrics, and they were not kept. Give all data "
            "to the constructor, or call `keep_items` before the first `update`."
        )
        raise MetricStateError(msg)
    return items


def _in_order_of(ids: NDArray[Any], items: Batch) -> Batch:
    wanted, found = np.argsort(ids), np.argsort(items.ids)
    odd = np.flatnonzero(ids[wanted] != items.ids[found])
    if len(odd):
        ours, theirs = ids[wanted][odd[0]], items.ids[found][odd[0]]
        msg = (
            "Both systems must have seen the same samples; in ascending order, the first ids that "
            f"differ are {ours} and {theirs}."
        )
        raise MetricInputError(msg)
    index = np.empty(len(ids), np.intp)
    index[wanted] = found
    parts = (items.y_true, items.y_predicted, items.weight, items.ids)
    return Batch(*(None if part is None else _picked(part, index) for part in parts))


def _picked(values: Any, index: NDArray[np.intp]) -> Any:
    if isinstance(values, (list, tuple)):
        return [values[place] for place in index.tolist()]
    return as_array(values)[index]


def _check_same(ours: Any, theirs: Any, name: str) -> None:
    where = _first_difference(ours, theirs)
    if where is not None:
        msg = (
            f"Two systems must be compared on the same {name}; they differ first at index "
            f"{where}: {ours[where]} and {theirs[where]}. With sample_ids the order is found."
        )
        raise MetricInputError(msg)


def _first_difference(ours: Any, theirs: Any) -> int | None:
    """Where two sequences of equal length differ first; None if they do not."""
    if not (hasattr(ours, "shape") and hasattr(theirs, "shape")):
        pairs = enumerate(zip(_listed(ours), _listed(theirs), strict=True))
        return next((place for place, (a, b) in pairs if not _same(a, b)), None)
    first, second = as_array(ours), as_array(theirs)
    if first.shape != second.shape:
        return 0
    different = np.flatnonzero((first != second).reshape(len(first), -1).any(axis=1))
    return int(different[0]) if len(different) else None


def _listed(values: Any) -> Any:
    return as_array(values).tolist() if hasattr(values, "shape") else values


def _same(ours: Any, theirs: Any) -> bool:
    try:
        return bool(ours == theirs)
    except (ValueError, RuntimeError):  # arrays, tensors
        return np.array_equal(as_array(ours), as_array(theirs))
