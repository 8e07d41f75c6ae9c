"""States in files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tt_metrics._core.intake import check_format
from tt_metrics._core.packing import pack, unpack
from tt_metrics._errors import MetricStateError

__all__ = ["load_state", "save_state"]


def save_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write the `state` of a metric or a result package to a file.

    The file appears whole or not at all: it is written beside its place, flushed to the disk and
    renamed, so a process that is killed leaves an older file of that name as it was. It holds no
    pickle, and reading it runs no code.

        >>> metric = AccuracyMetric([0, 1, 1, 0], [0, 1, 0, 0])
        >>> save_state("accuracy.state", metric.state)
        >>> AccuracyMetric.from_state(load_state("accuracy.state")).compute()
        {'Accuracy': 0.75}

    Args:
        path: Where; the folder must exist. A file that is there is replaced.
        state: What `state` gave. Tensors in it are written as arrays.

    Raises:
        MetricStateError: It is no state, or holds what is neither array, number nor text.
    """
    check_format(state)
    target = Path(path)
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with scratch.open("xb") as file:
            pack(state, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    _flush_folder(target.parent)


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the state that `save_state` wrote: for `merge`, `from_state` and `merge_all`.

    Raises:
        MetricStateError: The file holds no state, is damaged, or was written by a newer version.
    """
    with Path(path).open("rb") as file:
        state = unpack(file, str(path))
    if not isinstance(state, dict):
        msg = f"{path} must hold the state of a metric; it holds a {type(state).__name__}."
        raise MetricStateError(msg)
    check_format(state)
    return state


def _flush_folder(folder: Path) -> None:
    """Make the new name survive a power cut."""
    if os.name == "nt":
        return  # Windows cannot open a folder; its file systems journal names themselves
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
