"""Names from elsewhere, made fit for a line."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: str, most: int) -> str:
    """A text without line breaks and control characters, of so many characters at most."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= most else f"{line[: most - 3]}..."
