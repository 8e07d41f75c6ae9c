"""Data sets of what is in memory already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from torch.utils.data import Dataset

from tt_loop.errors import LoopTypeError, LoopValueError

__all__ = ["BasicDataset", "ListDataset"]

T = TypeVar("T")


class BasicDataset(Dataset[T]):
    """The items of a list, an array or another sequence as samples.

    Raises:
        LoopTypeError: For data without a length or without items.

    Example:
        >>> BasicDataset(["a", "b"])[1]
        'b'
    """

    def __init__(self, data: Sequence[T]) -> None:
        self.data: Sequence[T] = _sequence(data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, idx: int) -> T:
        return self.data[idx]


class ListDataset(Dataset[tuple[Any, ...]]):
    """Several sequences side by side: a sample is the tuple of their items at one index.

    Raises:
        LoopTypeError: For data without a length or without items.
        LoopValueError: For no sequence at all, or for sequences of unequal lengths.

    Example:
        >>> ListDataset([0.5, 0.7], ["no", "yes"])[1]
        (0.7, 'yes')
    """

    def __init__(self, *data_lists: Sequence[Any]) -> None:
        self.data_lists = [_sequence(data) for data in data_lists]
        lengths = [len(data) for data in data_lists]
        if len(set(lengths)) != 1:
            msg = (
                "ListDataset needs at least one list, and all of the same length, got "
                f"{len(lengths)} of the lengths {lengths}."
            )
            raise LoopValueError(msg)

    def __len__(self) -> int:
        return len(self.data_lists[0])

    def __getitem__(self, idx: int) -> tuple[Any, ...]:
        return tuple(data[idx] for data in self.data_lists)


def _sequence(data: Any) -> Any:
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        msg = (
            "The data must have a length and items by index, as a list or an array has, got "
            f"{type(data).__name__}."
        )
        raise LoopTypeError(msg)
    return data
