"""Files of JSON lines, one per attempt, as a kill or a power cut leaves them."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

from tt_experiment import _json

__all__ = ["is_record", "number_of", "read_lines", "resumed_from", "segments", "uncollected"]

_BATCH = 1000  # lines that are parsed at once, for speed
_FAR = 1 << 62  # no training comes to such a step, and a 64-bit number holds it


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


def is_record(line: Mapping[str, Any]) -> bool:
    """Whether a line of metrics has values."""
    return _is_step(line.get("step")) and type(line.get("values")) is dict


def resumed_from(line: Mapping[str, Any]) -> tuple[int, int | None] | None:
    """From where a segment goes on, by its first line: a step, and how many records of it count.

    None of them stands for all. A segment that lost the line which says so goes on from the step
    before its first record.
    """
    said, of_it = line.get("resumed_from_step"), line.get("records_of_that_step")
    if _is_step(said):
        return said, of_it if type(of_it) is int else None
    return (line["step"] - 1, None) if is_record(line) else None


def _is_step(value: Any) -> TypeGuard[int]:
    return type(value) is int and -_FAR < value < _FAR


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
