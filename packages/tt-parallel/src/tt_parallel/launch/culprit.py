"""The path of attributes to the part of an object that cannot be pickled."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from types import FunctionType
from typing import Any

import torch

__all__ = ["culprit"]

_OF_MODULES = {"_modules", "_parameters", "_buffers"}  # where torch keeps what users see as members


def culprit(value: object, *, typed: bool = False) -> str | None:
    """Name the part, or ``None`` if there is none: one pass, without a look into tensors.

    Args:
        value: What could not be pickled.
        typed: Classes and functions are no obstacle.
    """
    tracer = _Tracer(typed=typed)
    with suppress(Exception):  # the trail to it is the answer
        tracer.dump(value)
        return None
    names = [name for name in tracer.names() if name not in _OF_MODULES]
    return ".".join(names) or "a part of it"


class _Tracer(pickle._Pickler):  # the pickler in Python: its steps can be followed
    """Pickles into nowhere and remembers the way to where it is."""

    def __init__(self, *, typed: bool) -> None:
        super().__init__(io.BytesIO(), protocol=2)
        self._typed = typed
        self._trail: list[Any] = []
        self._reduced: list[Any] = []  # made by pickle on the way: no part that has a name

    def persistent_id(self, obj: Any) -> str | None:
        """Leave out what travels by itself."""
        alone = isinstance(obj, torch.Tensor) or torch.is_storage(obj)
        return "left out" if alone or (self._typed and _is_code(obj)) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """Pickle one object; an error leaves the way to it behind."""
        self._trail.append(obj)
        super().save(obj, save_persistent_id)  # type: ignore[misc]  # typeshed leaves it out
        self._trail.pop()

    def save_reduce(
        self, func: Any, args: Any, state: Any = None, *rest: Any, **named: Any
    ) -> None:
        """Pickle an object by its parts."""
        self._reduced += (args, state)
        super().save_reduce(func, args, state, *rest, **named)  # type: ignore[misc]  # as above

    def names(self) -> Iterator[str]:
        """The names on the way, from an object's type to the part."""
        begun = False
        for holder, part in pairwise(self._trail):
            if any(part is made for made in self._reduced):
                continue
            if not begun:
                begun = not isinstance(part, dict | list | tuple) and not _is_method(part)
                if begun:
                    yield getattr(part, "__qualname__", type(part).__name__)
            elif isinstance(holder, dict):
                yield from (str(name) for name, held in holder.items() if held is part)
            elif isinstance(holder, list | tuple) and not any(holder is m for m in self._reduced):
                yield from (str(number) for number, held in enumerate(holder) if held is part)


def _is_method(part: Any) -> bool:
    return getattr(part, "__self__", None) is not None


def _is_code(part: Any) -> bool:
    return isinstance(part, type | FunctionType)
