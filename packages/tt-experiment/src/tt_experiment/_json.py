"""JSON that other languages read: no bare NaN, numbers exact, values of any library made plain."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["dumps", "finite", "line", "load_object", "plain", "restore"]


_PRETTY = json.JSONEncoder(indent=2, allow_nan=False)
_LINE = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def dumps(value: Any) -> bytes:
    """JSON text of plain values for people; a NaN in it is a bug of the caller and refused."""
    return _PRETTY.encode(value).encode() + b"\n"


def line(value: Any) -> str:
    """The same on one line, without its end."""
    return _LINE.encode(value)


def load_object(data: bytes | str) -> dict[str, Any]:
    """Parse JSON that must be one object.

    Raises:
        ValueError: When it is not; also when it is nested so deeply that it cannot be meant well.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        msg = "JSON must not be nested thousands of levels deep"
        raise ValueError(msg) from None
    if not isinstance(value, dict):
        msg = f"a JSON object was expected. Got {type(value).__name__}"
        raise ValueError(msg)
    return value


def plain(value: Any) -> Any:
    """Tensors, arrays, NumPy scalars and tuples as lists and numbers; the rest as it is."""
    import numpy as np  # here: most of this module is for readers, who start faster without
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().cpu().tolist()
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def finite(value: Any, path: str = "") -> tuple[Any, dict[str, str]]:
    """Replace NaN and infinities by null, and tell where they were.

    Returns:
        The value, and ``{"val/loss": "nan"}``: paths of keys and indices, joined by slashes.
    """
    flags: dict[str, str] = {}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, float) and not math.isfinite(node):
            flags[path] = str(float(node))
            return None
        if isinstance(node, dict):
            return {key: walk(item, f"{path}/{key}" if path else key) for key, item in node.items()}
        if isinstance(node, list):
            return [walk(item, f"{path}/{i}" if path else str(i)) for i, item in enumerate(node)]
        return node

    return walk(value, path), flags


def restore(values: Mapping[str, Any], flags: Mapping[str, str]) -> dict[str, float]:
    """Undo `finite` for a flat mapping of numbers."""
    return {
        k: float(flags[k]) if k in flags else v
        for k, v in values.items()
        if k in flags or v is not None
    }
