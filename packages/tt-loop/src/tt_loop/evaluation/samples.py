"""The samples of a batch as plain numbers: laid end to end, with the shape of each.

Arrays and tensors give their values, texts their UTF-8 bytes, and whatever else Python has in lists
its JSON. A type of torch's that NumPy does not have, such as bfloat16, gives its bits and its name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tt_loop.errors import LoopTypeError, LoopValueError
from tt_loop.evaluation.structure import told

__all__ = ["Samples", "from_bytes", "from_torch_bits", "samples_of"]

Array = np.ndarray[Any, Any]

_BITS = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}
_INT64 = range(-(2**63), 2**63)
_UTF8 = ("utf-8", "surrogatepass")  # Python's strings may hold what is no text


class Samples(NamedTuple):
    """A batch's samples in one column.

    Attributes:
        values: All their values end to end, 1-dimensional.
        shapes: The shape of each, an array (samples, dimensions).
        kind: What a sample is: ``'array'``, ``'text'`` or ``'json'``.
        dtype: The name of the values' type, torch's where NumPy has none.
    """

    values: Array
    shapes: Array
    kind: str
    dtype: str


def samples_of(name: str, value: Any, count: int) -> Samples:
    """The samples of a batch, of which there must be so many.

    Raises:
        LoopTypeError: For values that only pickle could keep as they are.
        LoopValueError: When there are not as many entries as samples, or they do not go together.

    Example:
        >>> samples_of("names", ["a", "bc"], 2).values.tobytes()
        b'abc'
    """
    if isinstance(value, Tensor) and value.is_nested:
        value = list(value.unbind())
    if isinstance(value, np.ndarray) and (value.dtype.hasobject or value.dtype.kind in "UT"):
        value = value.tolist()
    is_array = isinstance(value, Tensor | np.ndarray)
    entries = (value.shape or (-1,))[0] if is_array else _length(value)
    if entries != count:
        msg = f"There must be an entry for each of {count} samples, but {name} is a {told(value)}."
        raise LoopValueError(msg)
    if not is_array:
        return _of_list(name, value)
    array, dtype = _array(name, value)
    shape = np.array(array.shape[1:], np.int64)
    return Samples(array.reshape(-1), np.broadcast_to(shape, (count, len(shape))), "array", dtype)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple) else -1


def _of_list(name: str, value: Sequence[Any]) -> Samples:
    if all(isinstance(sample, str) for sample in value):
        return _of_bytes([sample.encode(*_UTF8) for sample in value], "text")
    if all(isinstance(sample, Tensor | np.ndarray | np.generic) for sample in value):
        return _of_arrays(name, value)
    dtype = _number_type(value)
    if dtype is not None:
        return samples_of(name, np.array(value, dtype), len(value))
    for sample in value:
        _check_json(name, sample)
    return _of_bytes([json.dumps(sample).encode() for sample in value], "json")


def _of_arrays(name: str, value: Sequence[Any]) -> Samples:
    arrays, dtypes = zip(*(_array(name, sample) for sample in value), strict=True)
    kinds = {(dtype, array.ndim) for array, dtype in zip(arrays, dtypes, strict=True)}
    if len(kinds) > 1:
        found = ", ".join(f"{dtype} of {ndim} dimensions" for dtype, ndim in sorted(kinds))
        msg = f"The samples of {name} must have one type and number of dimensions, got {found}."
        raise LoopValueError(msg)
    shapes = np.array([array.shape for array in arrays], np.int64).reshape(len(arrays), -1)
    return Samples(np.concatenate([a.reshape(-1) for a in arrays]), shapes, "array", dtypes[0])


def _of_bytes(texts: Sequence[bytes], kind: str) -> Samples:
    lengths = np.array([len(text) for text in texts], np.int64)[:, None]
    return Samples(np.frombuffer(b"".join(texts), np.uint8), lengths, kind, "uint8")


def _array(name: str, value: Any) -> tuple[Array, str]:
    """Values that NumPy can write, and the name of their type."""
    if not isinstance(value, Tensor):
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        foreign = array.dtype.kind == "V" and array.dtype.names is None  # no type of NumPy's own
        if foreign or array.dtype.hasobject or isinstance(value, np.ma.MaskedArray):
            raise LoopTypeError(_cannot_keep(name, f"an array of {value.dtype}"))
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        return array, str(array.dtype)
    if value.layout is not torch.strided or value.is_quantized:
        raise LoopTypeError(_cannot_keep(name, f"a tensor of {value.dtype} and {value.layout}"))
    tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    try:
        array = tensor.numpy()
    except TypeError:  # it has no such type
        return tensor.view(_BITS[tensor.itemsize]).numpy(), str(tensor.dtype)
    return array, str(array.dtype)


def _number_type(value: Sequence[Any]) -> type | None:
    """The type of an array that holds Python's numbers exactly."""
    kinds = set(map(type, value))
    if kinds == {bool}:
        return np.bool_
    if kinds == {int} and all(number in _INT64 for number in value):
        return np.int64
    if float in kinds and kinds <= {int, float} and all(_is_exact(number) for number in value):
        return np.float64
    return None


def _is_exact(number: float) -> bool:
    return type(number) is float or abs(number) <= 2**53


def _check_json(name: str, value: Any) -> None:
    """Look whether JSON gives a value back as it is."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            _check_json(name, part)
    elif type(value) not in {str, int, float, bool, type(None)}:
        raise LoopTypeError(_cannot_keep(name, f"a {told(value)}"))


def _cannot_keep(name: str, got: str) -> str:
    return (
        "Samples must be dense arrays of numbers, strings, or lists and dicts (keys: strings) of "
        f"plain Python values, but {name} holds {got}: convert it in get_predictions."
    )


def from_torch_bits(bits: Array, dtype: str) -> Tensor:
    """A tensor of a type that NumPy does not have."""
    return torch.from_numpy(bits).view(getattr(torch, dtype.removeprefix("torch.")))


def from_bytes(sample: Array, kind: str) -> Any:
    """A text, or a value from its JSON."""
    text = sample.tobytes().decode(*_UTF8)
    return text if kind == "text" else json.loads(text)
