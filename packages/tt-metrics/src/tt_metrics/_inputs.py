"""From what users have (lists, NumPy, torch) to checked NumPy arrays, without importing torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._errors import MetricInputError

__all__ = ["as_array", "as_labels", "as_numbers", "as_pair", "decide"]


def as_array(values: Any, name: str = "values") -> NDArray[Any]:
    """Give anything array-like as a NumPy array, without a copy where there can be none.

    A torch tensor is taken off its graph and its device; bfloat16, which NumPy lacks, becomes
    float32, which holds every bfloat16 exactly.
    """
    if hasattr(values, "detach"):
        return _from_tensor(values)
    if isinstance(values, (list, tuple)) and values and hasattr(values[0], "detach"):
        values = [_from_tensor(value) for value in values]
    try:
        return np.asarray(values)
    except ValueError as error:
        msg = f"{name} must be rectangular; the rows have different lengths. Pad or flatten them."
        raise MetricInputError(msg) from error


def _from_tensor(tensor: Any) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    try:
        return np.asarray(tensor.numpy())
    except TypeError:
        return np.asarray(tensor.float().numpy())


def as_numbers(values: Any, name: str = "values") -> NDArray[Any]:
    """Give array-like values as a non-empty array of finite real numbers (bool counts as one)."""
    array = as_array(values, name)
    if array.size == 0:
        msg = f"{name} must hold at least one item; its shape is {array.shape}."
        raise MetricInputError(msg)
    if array.dtype.kind not in "biuf":
        msg = f"{name} must be real numbers; its dtype is {array.dtype}."
        raise MetricInputError(msg)
    if array.dtype.kind == "f":
        _require(np.isfinite(array), array, name, "must be finite")
    return array


def _require(good: NDArray[np.bool_], array: NDArray[Any], name: str, rule: str) -> None:
    """Raise if not all is good, with the first value that is not and where it stands."""
    if good.all():
        return
    where = tuple(int(axis) for axis in np.argwhere(~good)[0])
    index = where[0] if len(where) == 1 else where
    msg = f"{name} {rule}; it holds {array[where]!s} at index {index}."
    raise MetricInputError(msg)


def as_pair(y_true: Any, y_predicted: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give targets and predictions as numbers; a last axis of length 1 is dropped from both.

    ``(n, 1)`` is what a model with one output gives and ``(n,)`` what a dataset gives: broadcast
    against each other they would make ``(n, n)``, so they are brought to one shape first.
    """
    pair = as_numbers(y_true, "y_true"), as_numbers(y_predicted, "y_predicted")
    first, second = (a[..., 0] if a.ndim > 1 and a.shape[-1] == 1 else a for a in pair)
    if first.shape[:1] != second.shape[:1] or first.ndim == 0:
        msg = (
            "y_true and y_predicted need one entry per item along the first axis; their shapes are "
            f"{first.shape} and {second.shape}."
        )
        raise MetricInputError(msg)
    return first, second


def as_labels(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Check that an array of shape (n,) holds class labels 0, 1, 2, ...; as integers."""
    if array.ndim != 1:
        msg = (
            f"{name} must be class labels of shape (n,); its shape is {array.shape}. "
            "For one-hot targets pass their argmax(axis=1)."
        )
        raise MetricInputError(msg)
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    _require(array >= 0, array, name, "must be labels from 0 up")
    if array.dtype.kind == "f":
        _require(array == np.floor(array), array, name, "must be whole labels")
        return array.astype(np.int64)
    return array


def decide(y_predicted: NDArray[Any], threshold: float) -> NDArray[Any]:
    """Turn predictions into labels.

    Scores of shape (n, K) become the index of the largest (the first of equals). One float per item
    is a probability if all lie in [0, 1]: label 1 where it is **at least** the threshold.
    Anything else must be labels already. As the threshold is above 0 and at most 1, the labels 0.0
    and 1.0 mean the same either way.
    """
    if y_predicted.ndim == 2:
        labels: NDArray[Any] = y_predicted.argmax(axis=1)
        return labels
    if y_predicted.ndim == 1 and y_predicted.dtype.kind == "f":
        inside = (y_predicted >= 0) & (y_predicted <= 1)
        if inside.all():
            return y_predicted >= threshold
        whole = y_predicted == np.floor(y_predicted)
        _require(whole, y_predicted, "y_predicted", "must be probabilities in [0, 1] or labels")
    return as_labels(y_predicted, "y_predicted")
