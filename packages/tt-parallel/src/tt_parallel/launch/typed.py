"""Programs that are in no file: a notebook, a prompt, ``python -c``.

Their classes and functions go along by value, for which cloudpickle is needed.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

from tt_parallel.errors import NotTransferable

__all__ = ["is_typed", "pickler_for_typed", "without_file"]


def is_typed() -> bool:
    """Whether the program was typed: no other process can import it."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:
        return False
    file = getattr(main, "__file__", None)
    return file is None or not Path(file).exists()


@contextmanager
def without_file() -> Iterator[None]:
    """Processes that are started within do not look for the file of the program (``<stdin>``)."""
    names = vars(sys.modules["__main__"])
    file = names.pop("__file__", None)
    try:
        yield
    finally:
        if file is not None:
            names["__file__"] = file


def pickler_for_typed() -> Any:
    """A module that pickles what can be read elsewhere, or refuses."""
    try:
        import cloudpickle  # type: ignore[import-untyped]  # it has no types
    except ImportError:
        return SimpleNamespace(__name__="pickle", Pickler=_OnlyImportable)
    return cloudpickle


class _OnlyImportable(pickle.Pickler):
    """Refuses classes and functions of a ``__main__`` that was typed."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__":
            msg = (
                f"{obj.__qualname__} was typed into this program (a notebook, a prompt, python -c),"
                " and other processes cannot import it from there. Put it into a module, or "
                "install what sends it along: pip install 'tt-parallel[notebook]'"
            )
            raise NotTransferable(msg)
        return NotImplemented
