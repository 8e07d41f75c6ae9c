"""Hyperparameters as values that JSON has, without the secrets among them.

Example:
    >>> redact({"lr": 1e-3, "num_tokens": 512, "api_key": "sk-123", "tags": ("a", "b")})
    {'lr': 0.001, 'num_tokens': 512, 'api_key': '<redacted>', 'tags': ['a', 'b']}
"""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from collections.abc import Mapping, Sequence, Set
from itertools import islice
from pathlib import PurePath
from typing import Any

from tt_experiment._origin.secrets import REDACTED, has_secret, is_secret_key, redact_text

__all__ = ["REDACTED", "has_secret", "is_secret_key", "redact", "redact_text"]

_MAX_DEPTH = 8
_MAX_ITEMS = 1000
_MAX_TEXT = 10_000
_MAX_REPR = 200
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def redact(value: Any) -> Any:
    """Make any value one that JSON has, bounded in size and without secrets.

    Strings, numbers, booleans, None, lists and dicts stay what they are; tuples and sets become
    lists; paths, types, devices and enums text; NumPy scalars numbers. NaN and infinities become
    the text ``"nan"``, ``"inf"``. Of anything else a description is kept. Never raises.
    """
    return _convert(value, 0)


def _convert(value: Any, depth: int) -> Any:
    try:
        return _convert_known(value, depth)
    except Exception:  # whatever a stranger's object does must not end a training
        return f"<{type(value).__qualname__}>"


def _convert_known(value: Any, depth: int) -> Any:
    import numpy as np  # here, as in `_describe`: readers of runs start faster without
    import torch

    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | int | float | enum.Enum):
        return _scalar(value)
    if isinstance(value, PurePath | torch.dtype | torch.device):
        return _text(str(value))
    if depth >= _MAX_DEPTH:
        return _describe(type(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {item.name: getattr(value, item.name, None) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, Set):
        return sorted(_sequence(list(value), depth), key=str)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return _sequence(value, depth)
    return _describe(value)


def _scalar(value: str | int | float | enum.Enum) -> Any:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, str):
        return _text(str(value))
    if isinstance(value, int):
        return int(value) if value.bit_length() <= 1024 else f"<int of {value.bit_length()} bits>"
    return float(value) if math.isfinite(value) else str(float(value))


def _text(text: str) -> str:
    shown = redact_text(text[: 2 * _MAX_TEXT])  # before cutting: half a secret has no form
    return shown if len(text) <= _MAX_TEXT else f"{shown[:_MAX_TEXT]}... ({len(text)} characters)"


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for count, (key, item) in enumerate(value.items()):
        if count == _MAX_ITEMS:
            result["..."] = f"{len(value) - _MAX_ITEMS} more"
            break
        name = _key(key)
        result[name] = REDACTED if _is_secret(name, item) else _convert(item, depth + 1)
    return result


def _key(key: Any) -> str:
    text = str(key) if isinstance(key, str | int | float | bool | None) else _describe(key)
    return _short(text)


def _is_secret(key: str, value: Any) -> bool:
    return is_secret_key(key) and value is not None and not isinstance(value, bool) and value != ""


def _sequence(value: Sequence[Any], depth: int) -> list[Any]:
    items = [_convert(item, depth + 1) for item in islice(value, _MAX_ITEMS)]
    more = len(value) - len(items)
    return [*items, f"... {more} more"] if more else items


def _describe(value: Any) -> str:
    import numpy as np
    import torch

    if isinstance(value, np.ndarray | torch.Tensor):
        return f"<{type(value).__name__} of shape {tuple(value.shape)}, {value.dtype}>"
    if hasattr(value, "__qualname__") and hasattr(value, "__module__"):
        return f"{value.__module__}.{value.__qualname__}"
    return _short(_ADDRESS.sub("", repr(value)))


def _short(text: str) -> str:
    text = redact_text(text)
    return text if len(text) <= _MAX_REPR else f"{text[:_MAX_REPR]}..."
