"""Objects on their way from one process to another, as files that each reader reads for itself.

No two processes share the memory of a parameter, and what is large is not held twice in memory by
a pipe.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from tt_parallel.errors import NotTransferable
from tt_parallel.launch.culprit import culprit
from tt_parallel.launch.typed import pickler_for_typed

__all__ = ["read", "write"]


def write(value: object, path: Path, what: str, *, typed: bool = False) -> None:
    """Write an object.

    Args:
        value: The object.
        path: The new file.
        what: What the object is, to begin an error message with.
        typed: The program was typed: classes and functions of ``__main__`` go along by value.

    Raises:
        NotTransferable: When the object cannot be pickled; it names the part.
    """
    try:
        torch.save(value, path, pickle_module=pickler_for_typed() if typed else pickle)
    except NotTransferable:
        raise
    except Exception as error:
        part = culprit(value, typed=typed)
        if part is None:
            msg = (
                f"{what} travels as a file in {path.parent}, which could not be written ({error}): "
                "make room there, or set TMPDIR to a folder on another disk."
            )
            raise NotTransferable(msg) from error
        msg = (
            f"{what} must be picklable, but {part} is not ({error}). Define "
            "classes and functions at the top level of a module, and open files and connections "
            "in on_multiprocess_start."
        )
        raise NotTransferable(msg) from error


def read(path: Path) -> Any:
    """Read what `write` wrote.

    Raises:
        NotTransferable: When a class or function is not found in this process.
    """
    try:
        # Written by this run itself; on the CPU, for not all processes may load onto one GPU.
        return torch.load(path, map_location="cpu", weights_only=False)
    except (AttributeError, ImportError) as error:
        if isinstance(error, AttributeError) and not str(error).startswith("Can't get attribute"):
            raise  # not pickle's own
        msg = (
            f"An object could be sent to another process but not be read there: {error}. A process "
            "imports what it needs anew: define classes and functions at the top level of a "
            'module, not below `if __name__ == "__main__":` nor at a prompt.'
        )
        raise NotTransferable(msg) from error
