"""The structure of predictions: which columns they are made of, and how these are nested.

Predictions may be nested: a tuple of two tensors, a dict of lists. `describe` looks at a first
batch and tells its structure, `columns_of` finds the columns of further batches, and `build` puts
whole columns together again.

A tuple or a mapping holds several values, and a list holds samples. What a loader's collating makes
is understood all the same: a list of values that are each as long as the batch, a tuple of strings.
A list with a mapping for each sample, as detection models give, makes a column of each key.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tt_loop.errors import LoopTypeError, LoopValueError

__all__ = ["Structure", "build", "columns_of", "describe", "told"]

Structure = Any
"""JSON: ``None``, or a dict whose first key is ``column``, ``dict``, ``rows``, ``tuple`` or
``list``; that of a named tuple has ``fields`` too."""

_IDS = "ids"  # the name of what is no column


def describe(outputs: Mapping[str, Any], samples: int) -> Structure:
    """The structure of a batch of so many samples; every column has a name that a file can have.

    Raises:
        LoopTypeError: For a value that is neither samples nor several values.
        LoopValueError: When there are not as many entries as samples, or nobody could tell whether
            a list holds samples or values.

    Example:
        >>> describe({"y_pred": (np.zeros(3), ["a", "b", "c"])}, 3)
        {'dict': [['y_pred', {'tuple': [{'column': 'y_pred.0'}, {'column': 'y_pred.1'}]}]]}
    """
    return _Description(samples).of("", outputs)


class _Description:
    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.taken = {_IDS}

    def of(self, path: str, value: Any) -> Structure:
        value = _listed(value)
        if value is None:
            return None
        if isinstance(value, Tensor | np.ndarray):
            return self.column(path)
        if isinstance(value, Mapping):
            return {"dict": self.parts(path, value.items())}
        if not isinstance(value, list | tuple):
            msg = (
                "Predictions must be tensors, arrays, lists with a sample in each place, or tuples "
                f"and mappings of these, but {path} is a {told(value)}."
            )
            raise LoopTypeError(msg)
        if _holds_samples(path, value, self.samples):
            return self.rows(path, value)
        fields = getattr(value, "_fields", None)
        items = zip(range(len(value)) if fields is None else fields, value, strict=True)
        parts = [below for _, below in self.parts(path, items)]
        named = {} if fields is None else {"fields": list(fields)}
        return {"tuple" if isinstance(value, tuple) else "list": parts, **named}

    def rows(self, path: str, rows: Sequence[Any]) -> Structure:
        """A list of samples: a column, or one for each key where the samples are mappings."""
        if not isinstance(rows[0], Mapping) or not _has_arrays(rows[0]):
            return self.column(path)
        found = []
        for key in map(_checked_key, rows[0]):
            below = _joined(path, key)
            found.append([key, self.rows(below, _picked(path, rows, list(rows[0]), key))])
        return {"rows": found}

    def parts(self, path: str, items: Iterable[tuple[Any, Any]]) -> list[Any]:
        return [[_checked_key(key), self.of(_joined(path, key), value)] for key, value in items]

    def column(self, path: str) -> Structure:
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", path)[:100]
        while self.taken & (names := _file_names(name)):
            name += "_"
        self.taken |= names
        return {"column": name}


def _file_names(column: str) -> set[str]:
    """What a column's files may be called, on a disk that knows no upper case."""
    return {f"{column}{part}".casefold() for part in ("", ".offsets", ".shapes")}


def _joined(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _checked_key(key: Any) -> Any:
    if not isinstance(key, str | int | float):
        msg = f"The keys of predictions must be strings or numbers, got {key!r}."
        raise LoopTypeError(msg)
    return key


def _has_arrays(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_arrays, value.values()))
    return isinstance(value, Tensor | np.ndarray)


def _listed(value: Any) -> Any:
    """An array of objects is a list of samples that cannot be taken for anything else."""
    is_objects = isinstance(value, np.ndarray) and value.dtype.hasobject and value.ndim == 1
    return _Samples(value) if is_objects else value


class _Samples(list[Any]):
    """A list that certainly holds samples."""


def _holds_samples(path: str, value: Sequence[Any], samples: int) -> bool:
    """Whether a list or tuple holds samples, and not values of the whole batch."""
    as_samples = len(value) == samples
    as_values = type(value) is not _Samples and _are_values(value, samples)
    if as_samples and as_values and isinstance(value, list) and samples > 1:
        msg = (
            f"A list must hold either samples or values of the whole batch, but {path} is a list "
            f"of {samples} for {samples} samples, and each entry is that long too. Return a tuple "
            "for values of the batch, or a NumPy array of dtype object for samples."
        )
        raise LoopValueError(msg)
    if not (as_samples or as_values):
        msg = f"There must be an entry for each of {samples} samples; {path} is a {told(value)}."
        raise LoopValueError(msg)
    return as_samples and (isinstance(value, list) or not as_values)


def _are_values(parts: Sequence[Any], samples: int) -> bool:
    """Whether the entries of a list or tuple are each a value of the whole batch."""
    in_tuple = isinstance(parts, tuple)
    some = in_tuple or any(part is not None for part in parts)
    return some and all(part is None or _is_value(part, samples, in_tuple) for part in parts)


def _is_value(part: Any, samples: int, in_tuple: bool) -> bool:
    if isinstance(part, Tensor | np.ndarray):
        return part.ndim > 0 and len(part) == samples
    if isinstance(part, Mapping):
        some = in_tuple or _has_arrays(part)
        parts = part.values()
        return some and all(each is None or _is_value(each, samples, in_tuple) for each in parts)
    if isinstance(part, list | tuple):
        texts = isinstance(part, tuple) and all(isinstance(text, str) for text in part)
        return _are_values(part, samples) or (len(part) == samples and (in_tuple or texts))
    return False


def columns_of(structure: Structure, value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The columns' names and values in a batch of a known structure.

    Raises:
        LoopValueError: When the batch has another structure.
    """
    value = _listed(value)
    if structure is None:
        _expect(value is None, path, "None", value)
        return
    kind, below = next(iter(structure.items()))
    if kind == "column":
        yield below, value
    elif kind == "rows":
        _expect(isinstance(value, list | tuple), path, "a list of mappings", value)
        keys = [key for key, _ in below]
        for key, part in below:
            yield from columns_of(part, _picked(path, value, keys, key), _joined(path, key))
    elif kind == "dict":
        keys = [key for key, _ in below]
        fits = isinstance(value, Mapping) and set(value) == set(keys)
        _expect(fits, path, f"a mapping with the keys {keys}", value)
        for key, part in below:
            yield from columns_of(part, value[key], _joined(path, key))
    else:
        fits = isinstance(value, list | tuple) and len(value) == len(below)
        _expect(fits, path, f"a {kind} of {len(below)}", value)
        for number, part in enumerate(below):
            yield from columns_of(part, value[number], _joined(path, number))


def _picked(path: str, rows: Iterable[Any], keys: Sequence[Any], key: Any) -> list[Any]:
    """One key's entry of each sample."""
    found = []
    for row in rows:
        fits = isinstance(row, Mapping) and set(row) == set(keys)
        _expect(fits, f"each sample of {path}", f"a mapping with the keys {list(keys)}", row)
        found.append(row[key])
    return found


def _expect(fits: bool, path: str, expected: str, value: Any) -> None:
    if not fits:
        msg = (
            f"All batches must have the structure of the first, where {path or 'the whole'} was "
            f"{expected}; here it is a {told(value)}."
        )
        raise LoopValueError(msg)


def build(
    structure: Structure,
    column: Callable[[str], Any],
    rows: Callable[[dict[Any, Any]], Sequence[Any]],
) -> Any:
    """Nest columns as the values of a batch were nested.

    Args:
        structure: What `describe` told.
        column: Gives the column of a name.
        rows: Makes one mapping for each sample of a dict of columns.
    """
    if structure is None:
        return None
    kind, below = next(iter(structure.items()))
    if kind == "column":
        return column(below)
    if kind in {"dict", "rows"}:
        found = {key: build(part, column, rows) for key, part in below}
        return found if kind == "dict" else rows(found)
    parts = [build(part, column, rows) for part in below]
    if "fields" in structure:
        make: Any = namedtuple("Outputs", structure["fields"])  # type: ignore[misc]  # they are data
        return make(*parts)
    return parts if kind == "list" else tuple(parts)


def told(value: Any) -> str:
    """A value in the few words that an error needs.

    Example:
        >>> told(np.zeros((2, 3)))
        'ndarray of shape (2, 3)'
    """
    kind = type(value).__name__.strip("_")
    if isinstance(value, Tensor | np.ndarray):
        return f"{kind} of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"{kind} with the keys {list(value)}"
    return f"{kind} of {len(value)}" if isinstance(value, list | tuple) else kind
