"""Values of a batch: nested tensors, their device, their weight, their content."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tt_loop.data.copying import map_tensors

__all__ = ["batch_weight", "fingerprint", "tensors_in", "to_device"]


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a nested batch to a device; what is there already is not copied."""
    kind = type(batch)
    if kind is list or kind is tuple:
        moved = [
            value if type(value) is Tensor and value.device == device else to_device(value, device)
            for value in batch
        ]
        return moved if kind is list else tuple(moved)
    return map_tensors(
        batch, lambda t: t if t.device == device else t.to(device, non_blocking=True)
    )


def batch_weight(batch: Any) -> int:
    """Number of samples in a batch: the length of its first tensor, else of its first column.

    Columns without tensors are the values of a mapping and the lists in a tuple; a list without
    tensors is one of samples.
    """
    first = _first_tensor(batch)
    if first is not None:
        return first.shape[0] if first.ndim else 1
    columns = list(batch.values()) if isinstance(batch, Mapping) else batch
    is_nested = isinstance(columns, list | tuple) and columns and type(columns[0]) is tuple
    if isinstance(batch, Mapping | tuple) or is_nested:
        sized = [column for column in columns if isinstance(column, list | tuple)]
        if sized:
            return len(sized[0])
    return len(batch) if isinstance(batch, Sized) else 1


def tensors_in(batch: Any) -> Iterator[Tensor]:
    """The tensors of a nested batch."""
    return (leaf for leaf in _leaves(batch) if isinstance(leaf, Tensor))


def fingerprint(batch: Any) -> Hashable:
    """What two batches have in common only if their tensors, arrays, numbers and text are equal.

    A checksum over all bytes takes about a millisecond for each megabyte.
    """
    return tuple(_print_of(leaf) for leaf in _leaves(batch))


def _leaves(batch: Any) -> Iterator[Any]:
    if isinstance(batch, Mapping | list | tuple):
        for item in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _leaves(item)
    else:
        yield batch


def _print_of(leaf: Any) -> Hashable:
    if isinstance(leaf, np.ndarray) and leaf.dtype != object:
        return leaf.shape, str(leaf.dtype), zlib.crc32(leaf.tobytes())
    if isinstance(leaf, Tensor):
        if leaf.layout is not torch.strided:
            return tuple(leaf.shape), str(leaf.dtype)
        plain = leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return tuple(leaf.shape), str(leaf.dtype), zlib.crc32(plain.data)
    if isinstance(leaf, int | float | str | bytes):
        return zlib.crc32(repr(leaf).encode())
    return type(leaf).__qualname__


def _first_tensor(batch: Any) -> Tensor | np.ndarray[Any, Any] | None:
    if isinstance(batch, Tensor | np.ndarray):
        return batch
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif not isinstance(batch, list | tuple):
        return None
    return next((found for item in batch if (found := _first_tensor(item)) is not None), None)
