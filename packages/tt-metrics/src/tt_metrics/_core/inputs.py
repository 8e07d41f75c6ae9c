"""From what users have (lists, NumPy, torch, pandas, polars) to checked NumPy arrays.

torch is never imported: a tensor is known by its methods.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import chain, compress
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tt_metrics._errors import MetricInputError

__all__ = [
    "as_array",
    "as_matching",
    "as_numbers",
    "as_pair",
    "as_weights",
    "as_whole",
    "concatenated",
    "is_number",
    "matched",
    "require",
    "selected",
]


def as_array(values: Any, name: str = "values") -> NDArray[Any]:
    """Give anything array-like as a NumPy array, without a copy where there can be none.

    A torch tensor is taken off its graph and its device; bfloat16, which NumPy lacks, becomes
    float32, which holds every bfloat16 exactly.
    """
    if hasattr(values, "detach"):
        return _from_tensor(values, name)
    if np.ma.is_masked(values):
        masked = int(np.ma.getmaskarray(values).sum())
        msg = (
            f"{name} must have no masked items; {masked} are. Pass its `.data`, and which items "
            "count as `valid`."
        )
        raise MetricInputError(msg)
    if isinstance(values, (list, tuple)) and any(hasattr(value, "detach") for value in values[:1]):
        values = [_from_tensor(value, name) for value in values]
    try:
        array = np.asarray(values)
    except ValueError as error:
        msg = f"{name} must be rectangular; the rows have different lengths. Pad or flatten them."
        raise MetricInputError(msg) from error
    if array.dtype.kind in "OUS":
        return _one_type(array, values, name)
    return array


def _from_tensor(tensor: Any, name: str) -> NDArray[Any]:
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    tensor = tensor.detach().cpu()
    if getattr(tensor, "is_sparse", False):
        msg = f"{name} must be a dense tensor; a sparse one came. Call its `to_dense`."
        raise MetricInputError(msg)
    try:
        return np.asarray(tensor.numpy())
    except TypeError:
        return np.asarray(tensor.float().numpy())


def _one_type(array: NDArray[Any], values: Any, name: str) -> NDArray[Any]:
    """Give an array of texts or of numbers as one, and refuse a mix.

    NumPy would turn the mixed list ``["a", 1]`` into two texts without a word.
    """
    if isinstance(values, np.ndarray) and array.dtype.kind != "O":
        return array
    items = array.ravel().tolist() if array.dtype.kind == "O" else _leaves(values)
    kinds = {_kind(item) for item in items}
    if len(kinds) > 1 or not kinds <= {"text", "number"}:
        odd = [item for item in items if _kind(item) == "other"]
        came = f"it mixes {' and '.join(sorted(kinds))}"
        if odd:
            came = f"it holds {odd[0]!r} at index {items.index(odd[0])}"
        msg = (
            f"{name} must hold only numbers or only texts; {came}. Leave missing items out with "
            "`valid`."
        )
        raise MetricInputError(msg)
    return np.array(items, str if kinds == {"text"} else None).reshape(array.shape)


def _leaves(values: Any) -> list[Any]:
    """The items of nested sequences."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        return np.asarray(values).ravel().tolist() if hasattr(values, "__array__") else [values]
    return list(chain.from_iterable(_leaves(value) for value in values))


def _kind(item: object) -> str:
    if isinstance(item, str):
        return "text"
    return "number" if isinstance(item, (bool, int, float, np.number, np.bool_)) else "other"


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
        require(np.isfinite(array), array, name, "must be finite")
    return array


def require(good: NDArray[np.bool_], array: NDArray[Any], name: str, rule: str) -> None:
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
    return matched(as_numbers(y_true, "y_true"), as_numbers(y_predicted, "y_predicted"))


def as_matching(y_true: Any, y_predicted: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give targets and predictions as `as_pair` does, of the same shape."""
    true, predicted = as_pair(y_true, y_predicted)
    if true.shape != predicted.shape:
        msg = (
            "y_true and y_predicted must have the same shape; their shapes are "
            f"{true.shape} and {predicted.shape}."
        )
        raise MetricInputError(msg)
    return true, predicted


def matched(true: NDArray[Any], predicted: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Drop a last axis of length 1 from both, and check that there are as many items in each."""
    first, second = (a[..., 0] if a.ndim > 1 and a.shape[-1] == 1 else a for a in (true, predicted))
    if first.shape[:1] != second.shape[:1] or first.ndim == 0:
        msg = (
            "y_true and y_predicted need one entry per item along the first axis; their shapes are "
            f"{first.shape} and {second.shape}."
        )
        raise MetricInputError(msg)
    return first, second


def as_weights(weight: Any, count: int) -> NDArray[np.float64]:
    """Give sample weights: shape (count,), finite, none below 0."""
    array = as_numbers(weight, "weight")
    if array.shape != (count,):
        msg = f"weight needs one number per item, shape ({count},); its shape is {array.shape}."
        raise MetricInputError(msg)
    require(array >= 0, array, "weight", "must be at least 0")
    weights = array.astype(np.float64)
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    if not math.isfinite(total):
        msg = "The sum of weight must stay below 1.8e308 (float64); scale the weights down."
        raise MetricInputError(msg)
    return weights


def selected(values: Any, mask: NDArray[np.bool_], name: str) -> Any:
    """The items of any sequence or array for which the mask of shape (n,) is true."""
    if isinstance(values, (list, tuple)):
        count = len(values)
        chosen: Any = list(compress(values, mask))
    else:
        array = as_array(values, name)
        count = len(array) if array.ndim else 0
        chosen = array[mask] if count == len(mask) else []
    if count != len(mask):
        msg = f"valid must have one entry per item of {name}; it has {len(mask)} for {count}."
        raise MetricInputError(msg)
    return chosen


def concatenated(chunks: Sequence[Any]) -> Any:
    """Join batches: arrays along their first axis, anything else as one list."""
    if len(chunks) == 1:
        return chunks[0]
    if all(hasattr(chunk, "shape") for chunk in chunks):
        return np.concatenate([as_array(chunk) for chunk in chunks])
    return list(chain.from_iterable(chunks))


def is_number(value: object) -> TypeGuard[float]:
    """Whether a setting is a number, so that it may be compared with its bounds."""
    return isinstance(value, (int, float, np.number))


def as_whole(number: Any, name: str, least: int) -> int:
    """Give a setting that counts something as an int; a bool is none, though Python takes it."""
    try:
        whole = least - 1 if isinstance(number, bool) else operator.index(number)
    except TypeError:
        whole = least - 1
    if whole < least:
        msg = f"{name} must be a whole number of at least {least}; it is {number!r}."
        raise MetricInputError(msg)
    return whole
