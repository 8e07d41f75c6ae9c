"""Tensors to safetensors bytes without a second copy in memory, and back.

The format is an 8-byte little-endian header length, a JSON header, and the data without gaps, the
widest types first so that each tensor is aligned. Doing it here, buffer by buffer, is what lets
`_durable.write_file` hash and flush the very bytes, and a file be read and verified in one go.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from tt_experiment import _json
from tt_experiment._durable import Digest
from tt_experiment.errors import CorruptCheckpoint

__all__ = ["DTYPES", "read_tensors", "tensor_chunks"]

DTYPES: dict[torch.dtype, str] = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.complex64: "C64",
}
"""The types that a file can hold, as safetensors calls them."""

_TYPES = {name: dtype for dtype, name in DTYPES.items()}
_PIECE = 1 << 20


def tensor_chunks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """The file as buffers, the header first. Tensors are on the CPU and contiguous."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    offset = 0
    for name, tensor in ordered:
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        if tensor.numel():  # a buffer without bytes cannot be cast to bytes
            yield tensor.reshape(-1).view(torch.uint8).numpy().data


def read_tensors(path: Path, expected: Digest | None = None) -> dict[str, Tensor]:
    """Read a file into tensors of their own: what becomes of the file later is nothing to them.

    Args:
        path: The file.
        expected: What was written; what is read is compared with it on the way.

    Raises:
        CorruptCheckpoint: It is no such file, or is not what was written.
    """
    try:
        with path.open("rb") as file:
            reader = _Reader(file, path.stat().st_size)
            tensors = reader.tensors()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        msg = f"{path} must be a safetensors file: {error!r}"
        raise CorruptCheckpoint(msg) from error
    if expected is not None and reader.digest != expected:
        msg = f"{path} is not what was written: its size or sha256 is not the manifest's"
        raise CorruptCheckpoint(msg)
    return tensors


class _Reader:
    """Reads a file from its beginning to its end, and hashes it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left, self._size = file, size, size
        self._sha256 = hashlib.sha256()

    @property
    def digest(self) -> Digest:
        return Digest(self._size - self._left, self._sha256.hexdigest())

    def tensors(self) -> dict[str, Tensor]:
        length = int.from_bytes(self._bytes(8), "little")
        header = _json.load_object(self._bytes(length))
        return {
            name: self._tensor(dtype, shape) for name, dtype, shape in _plan(header, self._left)
        }

    def _tensor(self, dtype: torch.dtype, shape: list[int]) -> Tensor:
        tensor = torch.empty(shape, dtype=dtype)
        if tensor.numel():
            self._fill(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return tensor

    def _bytes(self, count: int) -> bytes:
        if count > self._left:
            msg = f"{count} bytes must follow. Got {self._left}"
            raise ValueError(msg)
        data = bytearray(count)
        self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, view: memoryview) -> None:
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            if self._file.readinto(piece) != len(piece):  # type: ignore[attr-defined]  # typeshed
                msg = "it ends too early"
                raise ValueError(msg)
            self._sha256.update(piece)
        self._left -= len(view)


def _plan(header: dict[str, Any], size: int) -> Iterator[tuple[str, torch.dtype, list[int]]]:
    """What follows one another in the data of a file; all of it, without gaps."""
    header.pop("__metadata__", None)
    at = 0
    for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        start, end = entry["data_offsets"]
        dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
        is_shape = all(type(length) is int and length >= 0 for length in shape)
        if not is_shape or start != at or end - start != math.prod(shape) * dtype.itemsize:
            msg = f"the data of {name!r} must follow what is before it, and fit its shape {shape}"
            raise ValueError(msg)
        at = end
        yield name, dtype, shape
    if at != size:
        msg = f"{at} bytes of data must follow the header. Got {size}"
        raise ValueError(msg)
