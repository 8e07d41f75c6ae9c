"""Ranges of an object: those that are there, and those that are being fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(slots=True)
class Stretch:
    """Bytes of an object that are being fetched, and how far that is."""

    start: int
    end: int
    position: int


class Piece(NamedTuple):
    """Bytes of an object that are there."""

    start: int
    end: int
    crc: int


def split(start: int, end: int, part_size: int, origin: int = 0) -> Iterator[Stretch]:
    """Stretches of up to a size; each but the first begins at a multiple of it from the origin."""
    while start < end:
        stop = min(end, start + part_size - (start - origin) % part_size)
        yield Stretch(start, stop, start)
        start = stop


def noted_pieces(entries: list[dict[str, Any]], size: int) -> list[Piece]:
    """What was noted; nothing from the first entry on that makes no sense."""
    found: list[Piece] = []
    end = 0
    with suppress(LookupError, TypeError, ValueError):
        for entry in entries:
            piece = Piece(*(int(str(entry[name])) for name in Piece._fields))
            if not 0 <= piece.start < piece.end <= size:
                break
            found.append(piece)
    disjoint = []
    for piece in sorted(found):
        if piece.start >= end:
            disjoint.append(piece)
            end = piece.end
    return disjoint
