"""Files of JSON lines, one per attempt, as a kill or a power cut leaves them."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tt_experiment import _json

__all__ = ["number_of", "read_lines", "segments", "uncollected"]

_BATCH = 1000  # lines that are parsed at once, for speed


def segments(folder: Path) -> list[Path]:
    """The segments in a folder, in order of their numbers."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.glob("*.jsonl") if p.stem.isdigit()), key=number_of)


def number_of(segment: Path) -> int:
    """The attempt that wrote a segment."""
    return int(segment.stem)


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Numbers of a file's lines and their objects; None for a line that is no JSON object.

    A file that is not there has none, and the empty rest after the last newline is no line.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        number = 1
        while lines := list(islice(file, _BATCH)):
            for value in _parse(lines):
                yield number, value
                number += 1


def _parse(lines: list[bytes]) -> list[dict[str, Any] | None]:
    try:
        values = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        return [_object(line) for line in lines]
    if len(values) == len(lines) and all(type(value) is dict for value in values):
        return values  # type: ignore[no-any-return]  # mypy does not follow `all`
    return [_object(line) for line in lines]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        return _json.load_object(line)
    except ValueError:
        return None


@contextmanager
def uncollected() -> Iterator[None]:
    """While millions of small objects are made that all stay, looking for garbage only costs."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
