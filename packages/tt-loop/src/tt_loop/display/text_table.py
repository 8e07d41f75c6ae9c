"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["aligned", "readable_size"]


def aligned(rows: Sequence[Sequence[str]], *, right: int) -> list[str]:
    """Lines of aligned columns: the last ``right`` ones, numbers, to the right.

    Example:
        >>> aligned([["a", "10"], ["total", "7"]], right=1)
        ['a      10', 'total   7']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = len(widths) - right
    return [
        "  ".join(
            cell.ljust(width) if number < texts else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def readable_size(size: float) -> str:
    """A number of bytes in a unit that keeps it below 1000.

    Example:
        >>> readable_size(999), readable_size(2_500_000)
        ('999 B', '2.5 MB')
    """
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
