"""Nested dicts, lists and tuples of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["map_tensors"]


def map_tensors(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    """A nested value with each tensor changed; what is no tensor stays.

    Example:
        >>> import torch
        >>> map_tensors({"x": [torch.ones(2), "name"]}, torch.Tensor.sum)
        {'x': [tensor(2.), 'name']}
    """
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(value, change) for key, value in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(map_tensors(value, change) for value in tree)
    return tree
