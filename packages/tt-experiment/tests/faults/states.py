"""Small states that can be told apart bit by bit, and what must hold of a folder of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from tt_experiment.checkpoints import CheckpointFolder
from tt_loop.api import CheckpointRef

__all__ = ["as_stored", "names", "same", "tree", "value_of"]


def tree(value: int, size: int = 16) -> dict[str, Any]:
    """A state that is full of a number."""
    drawn = torch.Generator().manual_seed(value)
    weights = torch.randn(size, generator=drawn)
    return {
        "model": {"w": weights, "half": weights.bfloat16(), "steps": torch.tensor(value)},
        "optimizers": [{"state": {0: {"m": weights * 2}}, "betas": (0.9, 0.999)}],
        "rng": drawn.get_state()[:64],
        "history": {"loss": [float(value), math.inf]},
        "value": value,
    }


def same(found: Any, expected: Any) -> bool:
    """Whether two states are the same bits, of the same types."""
    if type(found) is not type(expected):
        return False
    if isinstance(expected, dict):
        alike = list(found) == list(expected)
        return alike and all(same(found[key], value) for key, value in expected.items())
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, torch.Tensor):
        equal = found.dtype == expected.dtype and found.shape == expected.shape
        return equal and bool(torch.equal(found, expected))
    return bool(found == expected)


def value_of(store: CheckpointFolder, ref: CheckpointRef | None, size: int = 16) -> int | None:
    """Which state a checkpoint holds, every bit of it."""
    if ref is None:
        return None
    found = store.load(ref)
    assert same(found, tree(found["value"], size))
    value: int = found["value"]
    return value


def as_stored(path: Path, size: int = 16) -> list[int]:
    """The states under final names, each of which must be whole."""
    store = CheckpointFolder(path)
    refs = [
        CheckpointRef(0, str(path / name), {}) for name in names(path) if name.startswith("step-")
    ]
    values = [value_of(store, ref, size) for ref in refs]
    return sorted(value for value in values if value is not None)


def names(path: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(item.name for item in path.iterdir()) if path.is_dir() else []
