"""What loggers of several tools need."""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from tt_experiment.errors import MissingDependency

__all__ = ["flattened", "imported", "safe_name"]


def imported(module: str, extra: str, why: str) -> Any:
    """Import a module that an extra of this package brings.

    Raises:
        MissingDependency: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"{why} needs {module.partition('.')[0]}: pip install 'tt-experiment[{extra}]'"
        raise MissingDependency(msg) from error


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by dotted names; a list is one leaf, and so is what is empty."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{name}.")
        else:
            yield name, value


def safe_name(name: str, refused: re.Pattern[str], most: int) -> str:
    """A name without what a tool refuses, and at most so long; different ones stay different."""
    clean = refused.sub("_", name)
    if clean == name and 0 < len(name) <= most:
        return name
    mark = f"_{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"
    return f"{clean[: most - len(mark)]}{mark}"
