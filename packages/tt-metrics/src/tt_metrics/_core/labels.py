"""From labels, probabilities and scores to class numbers 0 ... K - 1."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array, as_numbers, as_whole, is_number, matched, require
from tt_metrics._errors import MetricInputError

__all__ = ["LabelReader", "Labelled", "at_least", "checked_labels"]

Array = NDArray[Any]

EXACT = 1 << 53  # beyond, not every whole number is a float


class Labelled(NamedTuple):
    """Items as pairs of class numbers, both of shape (n,).

    `names` are the labels in the order of their numbers where the data itself says which labels
    there are, as texts do; otherwise None. `size` is a number of classes that holds all of them.
    """

    true: Array
    predicted: Array
    size: int
    names: tuple[str, ...] | None


class LabelReader:
    """The one place where it is decided which label an item has.

    Labels are 0, 1, 2, ... or texts, or those of ``labels``. Scores of shape (n, K) mean their
    largest column (the first of equals); one float per item in [0, 1] is a probability: the second
    label where it is **at least** the threshold. With more than two `labels`, or with such as 1 and
    2, where 1.0 could be either, floats are labels.

    Args:
        threshold: In (0, 1].
        num_classes: K, if it is known.
        labels: All labels, in the order of rows and columns; a label that is not there is an error.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        if not is_number(threshold) or not 0 < threshold <= 1:
            msg = f"A threshold must be above 0 and at most 1; it is {threshold!r}."
            raise MetricInputError(msg)
        if num_classes is not None:
            num_classes = as_whole(num_classes, "num_classes", 1)
        self.threshold = float(threshold)
        self.labels = None if labels is None else checked_labels(labels)
        if self.labels is not None and num_classes not in (None, len(self.labels)):
            msg = f"num_classes is {num_classes}, but there are {len(self.labels)} labels."
            raise MetricInputError(msg)
        self.num_classes = num_classes if self.labels is None else len(self.labels)
        self._sorted = None if self.labels is None else _sorted_labels(self.labels)
        self._probabilities = self.labels is None or _leave_room(self.labels)

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What makes two readers read alike."""
        return self.threshold, self.num_classes, self.labels

    def read(self, y_true: Any, y_predicted: Any) -> Labelled:
        """Give the class numbers of targets (n,) and of labels, probabilities or scores."""
        raw, predictions = as_array(y_true, "y_true"), as_array(y_predicted, "y_predicted")
        texts = raw.dtype.kind == "U", predictions.dtype.kind == "U"
        if self._sorted is None and all(texts):
            return _named(*matched(_nonempty(raw, "y_true"), predictions))
        if self._sorted is None and any(texts):
            msg = (
                "y_true and y_predicted must both be numbers or both be texts; they are "
                f"{raw.dtype} and {predictions.dtype}. With scores for text labels, give `labels`."
            )
            raise MetricInputError(msg)
        truth = _nonempty(raw, "y_true") if texts[0] else as_numbers(raw, "y_true")
        if not texts[1]:
            predictions = as_numbers(predictions, "y_predicted")
        truth, predictions = matched(truth, predictions)
        true = self._coded(truth, "y_true")
        predicted = self._decided(predictions)
        size = self._size(true, predicted, predictions)
        return Labelled(true, predicted, size, None)

    def codes(self, y_true: Any) -> Array:
        """Give the class numbers of targets alone, shape (n,); texts need `labels`."""
        raw = as_array(y_true, "y_true")
        texts = raw.dtype.kind == "U" and self.labels is not None
        return self._coded(
            _nonempty(raw, "y_true") if texts else as_numbers(raw, "y_true"), "y_true"
        )

    def _coded(self, array: Array, name: str) -> Array:
        if array.ndim != 1:
            msg = (
                f"{name} must be class labels of shape (n,); its shape is {array.shape}. "
                "For one-hot targets pass their argmax(axis=1); for several labels per item "
                "say multilabel=True."
            )
            raise MetricInputError(msg)
        return _whole(array, name) if self._sorted is None else self._looked_up(array, name)

    def _looked_up(self, array: Array, name: str) -> Array:
        ordered, numbers = self._sorted  # type: ignore[misc]  # only called where there are labels
        if (array.dtype.kind == "U") != (ordered.dtype.kind == "U"):
            msg = f"{name} must be of the type of the labels {self.labels}; it is {array.dtype}."
            raise MetricInputError(msg)
        where = np.minimum(np.searchsorted(ordered, array), len(ordered) - 1)
        require(ordered[where] == array, array, name, f"must be one of the labels {self.labels}")
        found: Array = numbers[where]
        return found

    def _decided(self, predictions: Array) -> Array:
        if predictions.ndim == 2:
            return _best(predictions)
        if predictions.ndim == 1 and predictions.dtype.kind == "f" and self._probabilities:
            inside = (predictions >= 0) & (predictions <= 1)
            if inside.all():
                return at_least(predictions, self.threshold).view(np.uint8)
            if self._sorted is None:
                rule = "must be probabilities in [0, 1] or labels"
                whole = predictions == np.floor(predictions)
                require(inside | whole, predictions, "y_predicted", rule)
                require(inside if not whole.all() else whole, predictions, "y_predicted", rule)
        return self._coded(predictions, "y_predicted")

    def _size(self, true: Array, predicted: Array, predictions: Array) -> int:
        largest = int(true.max())
        if predictions.ndim == 2:
            columns = predictions.shape[1]
            if largest >= columns or columns != (self.num_classes or columns):
                msg = (
                    "Scores need one column per class; their shape is "
                    f"{predictions.shape}, the largest label is {largest}, num_classes is "
                    f"{self.num_classes}."
                )
                raise MetricInputError(msg)
            return self.num_classes or 1 + max(largest, int(predicted.max()))
        size = 1 + max(largest, int(predicted.max()))
        if size > (self.num_classes or size):
            msg = f"Labels must be below num_classes, {self.num_classes}; {size - 1} came."
            raise MetricInputError(msg)
        return self.num_classes or size


def at_least(probabilities: Array, threshold: float) -> NDArray[np.bool_]:
    """Compare in the precision of the probabilities, in which no threshold is 0."""
    kind = probabilities.dtype.type
    limit = max(kind(threshold), np.finfo(kind).smallest_subnormal)
    return np.asarray(probabilities >= limit)


def _leave_room(labels: tuple[Any, ...]) -> bool:
    """Whether a float can be told to be a probability, whatever else is in its batch.

    It can be for two texts, and for two whole numbers unless 1 is the first or 0 the second: 1.0
    would be one label as a probability and the other as a label.
    """
    if len(labels) != 2 or any(isinstance(label, float) for label in labels):
        return False
    return bool(labels[0] != 1 and labels[1] != 0)


def _best(scores: Array) -> Array:
    if scores.dtype.kind == "U":
        msg = f"Texts must be labels of shape (n,); those of y_predicted have {scores.shape}."
        raise MetricInputError(msg)
    best: Array = scores.argmax(axis=1)
    return best


def _nonempty(array: Array, name: str) -> Array:
    if array.size == 0:
        msg = f"{name} must hold at least one item; its shape is {array.shape}."
        raise MetricInputError(msg)
    return array


def _whole(array: Array, name: str) -> Array:
    """Labels from 0 up, as integers."""
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind != "u" and array.min() < 0:
        require(array >= 0, array, name, "must be labels from 0 up (or give `labels`)")
    if array.dtype.kind == "f":
        require(array == np.floor(array), array, name, "must be whole labels")
        require(array < np.float64(EXACT), array, name, "must be labels below 2**53")
        return array.astype(np.int64)
    return array


def _named(truth: Array, predictions: Array) -> Labelled:
    """Texts: the labels are those that occur, sorted."""
    if truth.ndim != 1 or predictions.ndim != 1:
        msg = (
            "Text labels must have shape (n,); the shapes of y_true and y_predicted are "
            f"{truth.shape} and {predictions.shape}."
        )
        raise MetricInputError(msg)
    names, codes = np.unique(np.concatenate([truth, predictions]), return_inverse=True)
    true, predicted = codes[: len(truth)], codes[len(truth) :]
    return Labelled(true, predicted, len(names), tuple(names.tolist()))


def checked_labels(labels: Sequence[Any]) -> tuple[Any, ...]:
    """Give the labels as plain numbers or texts, all different."""
    if isinstance(labels, (str, bytes, set, frozenset)) or not hasattr(labels, "__iter__"):
        msg = f"labels must be a list of all labels in their order; {labels!r} came."
        raise MetricInputError(msg)
    array = as_array(list(labels), "labels")
    if array.ndim != 1 or not array.size or (array.dtype.kind == "f" and np.isnan(array).any()):
        msg = f"labels must be at least one label, each a number or a text; {labels!r} came."
        raise MetricInputError(msg)
    plain = tuple(array.tolist())
    if len(set(plain)) < len(plain):
        msg = f"labels must all be different; {labels!r} came."
        raise MetricInputError(msg)
    return plain


def _sorted_labels(labels: tuple[Any, ...]) -> tuple[Array, NDArray[np.intp]]:
    """The labels in ascending order, and the class number of each."""
    array = np.array(labels)
    order = np.argsort(array)
    return array[order], order
