"""State dicts as bytes, without pickle: what is in a file, and what travels between processes.

A zip archive, its parts not compressed: ``state.json`` holds nesting, numbers and texts, ``0.npy``,
``1.npy``, ... the arrays. Equal states give equal bytes. In the JSON a list stands for itself; what
JSON lacks is an object with one entry, whose key says what it is::

    {"array": 0}  {"tuple": [...]}  {"dict": [[key, value], ...]}  {"float": "nan"}
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array
from tt_metrics._errors import MetricInputError, MetricStateError

__all__ = ["pack", "unpack"]

MARK = "tt-metrics state"
FORMAT = 1  # of the bytes; the state inside has a format of its own
TREE = "state.json"

DAMAGES = (
    zipfile.BadZipFile,  # also a wrong checksum
    NotImplementedError,  # a zip archive with what Python cannot read
    EOFError,
    RecursionError,
    ValueError,  # wrong JSON, a wrong header of an array
    LookupError,
    TypeError,
)


def pack(value: Any, stream: IO[bytes]) -> None:
    """Write dicts, lists, tuples, arrays, numbers and texts; tensors become arrays.

    Raises:
        MetricStateError: There is something else in it.
    """
    arrays: list[NDArray[Any]] = []
    content = {MARK: FORMAT, "content": _encoded(value, arrays)}
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo(TREE), json.dumps(content, allow_nan=False))
        for index, array in enumerate(arrays):
            # ZipInfo without a date, so that equal states give equal bytes.
            with archive.open(zipfile.ZipInfo(f"{index}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def unpack(stream: IO[bytes], name: str) -> Any:
    """Read what `pack` wrote.

    Args:
        stream: Where it stands.
        name: What it is called in errors.

    Raises:
        MetricStateError: It is something else, damaged, or of a newer version.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            content = json.loads(archive.read(TREE))
            format_ = int(content[MARK])
            if format_ <= FORMAT:
                return _decoded(content["content"], archive)
    except DAMAGES as error:
        msg = (
            f"{name} must be what save_state wrote, and whole; it cannot be read "
            f"({type(error).__name__}: {error})."
        )
        raise MetricStateError(msg) from error
    msg = (
        f"{name} must be of file format {FORMAT} or before; it is of {format_}. "
        "It was written by a newer tt-metrics: upgrade this one."
    )
    raise MetricStateError(msg)


def _encoded(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """Give what JSON can hold, and append the arrays."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, Mapping):
        pairs = [[_encoded(key, arrays), _encoded(one, arrays)] for key, one in value.items()]
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        listed = [_encoded(one, arrays) for one in value]
        return listed if isinstance(value, list) else {"tuple": listed}
    arrays.append(_plain(value))
    return {"array": len(arrays) - 1}


def _plain(value: Any) -> NDArray[Any]:
    """An array that needs no pickle."""
    if hasattr(value, "__array__") or hasattr(value, "detach"):
        try:
            array = as_array(value)
        except MetricInputError:
            array = np.empty(0, object)
        if not array.dtype.hasobject:
            return array
    msg = (
        "A state must hold arrays of numbers or texts, numbers, texts, None, and lists and dicts "
        f"of these; {_described(value)} came."
    )
    raise MetricStateError(msg)


def _described(value: Any) -> str:
    dtype = getattr(value, "dtype", None)
    return type(value).__name__ + ("" if dtype is None else f" of dtype {dtype}")


def _decoded(value: Any, archive: zipfile.ZipFile) -> Any:
    if isinstance(value, list):
        return [_decoded(one, archive) for one in value]
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    if kind == "array":
        with archive.open(f"{int(content)}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    if kind == "float":
        return math.nan if content == "nan" else float(content)
    if kind == "tuple":
        return tuple(_decoded(content, archive))
    return {_decoded(key, archive): _decoded(one, archive) for key, one in value["dict"]}
