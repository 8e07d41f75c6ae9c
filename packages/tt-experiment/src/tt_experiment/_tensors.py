"""Tensors to safetensors bytes without a second copy in memory, and back.

The format is an 8-byte little-endian header length, a JSON header, and the data without gaps, the
widest types first so that each tensor is aligned. Writing it here, buffer by buffer, is what lets
`_durable.write_file` hash and flush the very bytes; reading is left to the safetensors library,
which checks headers from strangers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

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


def tensor_chunks(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The file as buffers. Tensors are on the CPU and contiguous."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file into tensors of their own: what becomes of the file later is nothing to them."""
    try:
        loaded: dict[str, Tensor] = load_file(path, backend="pread")
    except (OSError, SafetensorError) as error:
        msg = f"{path} must be a safetensors file: {error}"
        raise CorruptCheckpoint(msg) from error
    return loaded
