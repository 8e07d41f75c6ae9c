"""A state tree as named tensors and JSON, and back: exact, without pickle.

What JSON has (None, booleans, strings, integers, finite floats, lists, dicts with string keys)
stays JSON. The rest is an object with one ``$`` key::

    {"$tensor": name}    {"$array": name}    {"$scalar": name}      in the tensor file
    {"$float": "nan"}    {"$tuple": [...]}   {"$dict": [[key, value], ...]}
    {"$complex": {...}}                      128-bit complex, kept as pairs of floats

Every other type is refused with its place in the tree. Subclasses are refused too, because they
would come back as something else; only an `OrderedDict` becomes a dict and a `Parameter` a tensor.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from tt_experiment._tensors import DTYPES
from tt_experiment.errors import CorruptCheckpoint, StateTreeError

__all__ = ["Split", "decode", "encode", "host_copy", "split"]

_MAX_DEPTH = 100  # deeper trees are cycles
_MAX_BITS = 8192  # longer integers cannot be read back as JSON


@dataclass(frozen=True)
class Split:
    """A tree taken apart; its tensors are those of the tree, save for copies of its arrays."""

    tensors: dict[str, Tensor]
    arrays: dict[str, Tensor]
    structure: Any


def split(tree: Any) -> Split:
    """Split a tree into tensors and its structure as JSON, without copying a tensor.

    Tensors are named by their path: the tensors of a ``state_dict()`` keep their names.

    Raises:
        StateTreeError: Some leaf cannot be written exactly; the message tells where and what it is.
    """
    encoder = _Encoder()
    structure = encoder.node(tree, ())
    return Split(encoder.tensors, encoder.arrays, structure)


def encode(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """Split a tree into copies of its tensors, on the CPU, and its structure as JSON.

    Raises:
        StateTreeError: As `split`.
    """
    parts = split(tree)
    copies = {name: host_copy(tensor) for name, tensor in parts.tensors.items()}
    return {**copies, **parts.arrays}, parts.structure


def host_copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU, contiguous."""
    return tensor.to("cpu", copy=True).resolve_conj().resolve_neg().contiguous()


def decode(tensors: Mapping[str, Tensor], structure: Any) -> Any:
    """Put a tree together again.

    Raises:
        CorruptCheckpoint: The structure is not one that `encode` makes, or a tensor is missing.
    """
    try:
        return _decode(tensors, structure)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        msg = f"a state tree must be as it was written. Got {type(error).__name__}: {error}"
        raise CorruptCheckpoint(msg) from error


class _Encoder:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.arrays: dict[str, Tensor] = {}

    def node(self, value: Any, path: tuple[str, ...]) -> Any:
        kind = type(value)
        if len(path) > _MAX_DEPTH:
            _refuse(path[:3], f"a tree nested more than {_MAX_DEPTH} levels deep")
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            return value if value.bit_length() <= _MAX_BITS else _refuse(path, "a huge int")
        if kind is float:
            return value if math.isfinite(value) else {"$float": str(value)}
        if kind in (dict, OrderedDict):
            return self._dict(value, path)
        if kind in (list, tuple):
            items = [self.node(item, (*path, str(i))) for i, item in enumerate(value)]
            return items if kind is list else {"$tuple": items}
        if kind in (Tensor, nn.Parameter):
            return self._tensor("$tensor", value.detach(), path, self.tensors)
        if kind is np.ndarray or isinstance(value, np.generic):
            return self._array(value, path)
        return _refuse(path, f"{kind.__module__}.{kind.__qualname__}")

    def _dict(self, value: Mapping[Any, Any], path: tuple[str, ...]) -> Any:
        for key in value:
            if type(key) not in (str, int):
                _refuse((*path, repr(key)[:50]), f"a dict key of type {type(key).__qualname__}")
        items = [(key, self.node(item, (*path, str(key)))) for key, item in value.items()]
        if all(type(key) is str and not key.startswith("$") for key, _ in items):
            return dict(items)
        return {"$dict": [list(item) for item in items]}

    def _array(self, value: Any, path: tuple[str, ...]) -> Any:
        array = np.asarray(value)
        if not array.dtype.isnative:
            _refuse(path, f"a numpy array of foreign byte order, {array.dtype}")
        try:
            tensor = torch.from_numpy(np.array(array, order="C"))
        except TypeError:
            _refuse(path, f"a numpy value of type {array.dtype}")
        tag = "$array" if type(value) is np.ndarray else "$scalar"
        return self._tensor(tag, tensor, path, self.arrays)

    def _tensor(
        self, tag: str, tensor: Tensor, path: tuple[str, ...], found: dict[str, Tensor]
    ) -> Any:
        if tensor.dtype is torch.complex128:
            pairs = torch.view_as_real(tensor.resolve_conj())
            return {"$complex": self._tensor(tag, pairs, path, found)}
        if tensor.is_meta or tensor.layout is not torch.strided or tensor.dtype not in DTYPES:
            what = f"a tensor of layout {tensor.layout} and type {tensor.dtype} on {tensor.device}"
            _refuse(path, what)
        name = self._free_name(path)
        found[name] = tensor
        return {tag: name}

    def _free_name(self, path: tuple[str, ...]) -> str:
        name = ".".join(path).encode("utf-8", "replace").decode() or "tensor"
        while (
            name in self.tensors or name in self.arrays or name == "__metadata__"
        ):  # the format's own
            name += "~"
        return name


def _refuse(path: tuple[str, ...], what: str) -> NoReturn:
    place = "".join(f"[{key!r}]" for key in path)
    msg = (
        "a state tree holds tensors, arrays, numbers, strings, booleans, None, and dicts, lists "
        f"and tuples of them. Got {what} at tree{place}: keep its state_dict() or plain values"
    )
    raise StateTreeError(msg)


def _decode(tensors: Mapping[str, Tensor], node: Any) -> Any:
    if isinstance(node, list):
        return [_decode(tensors, item) for item in node]
    if not isinstance(node, dict):
        return node
    tag = next(iter(node), "")
    if not tag.startswith("$"):
        return {key: _decode(tensors, item) for key, item in node.items()}
    return _decode_tagged(tensors, tag, node[tag])


def _decode_tagged(tensors: Mapping[str, Tensor], tag: str, value: Any) -> Any:
    match tag:
        case "$tensor":
            return tensors[value]
        case "$array":
            return tensors[value].numpy()
        case "$scalar":
            return tensors[value].numpy()[()]
        case "$complex":
            return _decode_complex(tensors, *value.items())
        case "$float":
            return float(value)
        case "$tuple":
            return tuple(_decode(tensors, item) for item in value)
        case "$dict":
            return {key: _decode(tensors, item) for key, item in value}
    msg = f"unknown kind {tag!r}"
    raise ValueError(msg)


def _decode_complex(tensors: Mapping[str, Tensor], entry: tuple[str, str]) -> Any:
    tag, name = entry
    whole = torch.view_as_complex(tensors[name])
    return _decode_tagged({name: whole}, tag, name)
