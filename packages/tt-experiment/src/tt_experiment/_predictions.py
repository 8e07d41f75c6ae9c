"""Targets and predictions as arrays that need no pickle, and back.

What makes one array is one array, ``<package>/y_true``. Anything else (lists of texts, of dicts, of
sequences that differ in length) is a state tree: ``<package>/y_true.json`` is its structure, bytes
of UTF-8, and ``<package>/y_true.json/<name>`` are the arrays in it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tt_experiment import _json
from tt_experiment._tree import decode, encode
from tt_experiment.errors import CorruptCheckpoint, ResultsError, StateTreeError

__all__ = ["arrays_of", "predictions_in"]

Array = np.ndarray[Any, Any]
_SIDES = ("y_true", "y_predicted")


def arrays_of(predictions: Mapping[str, tuple[Any, Any]]) -> dict[str, Array]:
    """The arrays by their names in the file.

    Raises:
        ResultsError: A value can only be kept by pickle.
    """
    arrays: dict[str, Array] = {}
    for package, pair in predictions.items():
        for side, values in zip(_SIDES, pair, strict=True):
            array = _whole(values)
            name = f"{package}/{side}"
            arrays |= {name: array} if array is not None else _structured(name, values)
    return arrays


def predictions_in(path: Path) -> dict[str, tuple[Any, Any]]:
    """Targets and predictions by package.

    Raises:
        ResultsError: The file is not what `arrays_of` makes.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = list(dict.fromkeys(_packages(arrays.files)))
            return {
                name: (_read(arrays, f"{name}/y_true"), _read(arrays, f"{name}/y_predicted"))
                for name in names
            }
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, CorruptCheckpoint) as error:
        msg = f"{path} must be predictions as they were written: {error}"
        raise ResultsError(msg) from error


def _packages(names: list[str]) -> Iterator[str]:
    for name in names:
        for ending in ("/y_true", "/y_true.json"):
            if name.endswith(ending):
                yield name.removesuffix(ending)


def _read(arrays: Any, name: str) -> Any:
    if name in arrays.files:
        return arrays[name]
    inner = f"{name}.json/"
    tensors = {
        key.removeprefix(inner): torch.from_numpy(arrays[key])
        for key in arrays.files
        if key.startswith(inner)
    }
    return decode(tensors, _json.load_object(arrays[f"{name}.json"].tobytes())["tree"])


def _whole(values: Any) -> Array | None:
    """The values as one array, if they come back from it as they were."""
    try:
        array = np.asarray(_host(values))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None  # of different lengths, or on different devices
    is_text = array.dtype.kind in "US" and not isinstance(values, np.ndarray)
    return None if array.dtype.hasobject or is_text else array  # text is padded, and cut at NUL


def _structured(name: str, values: Any) -> dict[str, Array]:
    try:
        tensors, structure = encode(_own(values))
    except StateTreeError as error:
        msg = f"{name} cannot be kept, because objects would need pickle: {error}"
        raise ResultsError(msg) from error
    text = json.dumps({"tree": structure}, allow_nan=False, separators=(",", ":"))
    arrays = {f"{name}.json": np.frombuffer(text.encode(), np.uint8)}
    return arrays | {f"{name}.json/{key}": _host(t).numpy() for key, t in tensors.items()}


def _own(value: Any) -> Any:
    """NumPy's texts, and its arrays of texts or objects, as Python's."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "USO":
        return _own(value.tolist())
    if isinstance(value, np.str_ | np.bytes_):
        return value.item()
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_own(item) for item in value)
    return value


def _host(values: Any) -> Any:
    """On the CPU, in a type that NumPy has."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        narrow = values.is_floating_point() and values.dtype.itemsize <= 2
        return values.float() if narrow and values.dtype is not torch.float16 else values
    return values
