"""Where the command speaks: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

if TYPE_CHECKING:
    from tt_cloud._command.arguments import Arguments


class HungUp(Exception):  # noqa: N818 - nothing went wrong
    """Nobody reads the output any more."""


class Console:
    """Standard output and error, as the arguments want them."""

    def __init__(self, arguments: Arguments) -> None:
        self.json = arguments.json
        self.quiet = arguments.quiet
        self.verbose = arguments.verbose

    def result(self, text: str) -> None:
        """A line of what was asked for, for people."""
        if not self.json:
            _write(sys.stdout, text)

    def document(self, value: Any) -> None:
        """What was asked for, for programs."""
        if self.json:
            _write(sys.stdout, json.dumps(value, default=_plain))

    def note(self, text: str) -> None:
        """What is good to know."""
        if not self.quiet:
            _write(sys.stderr, text)

    def detail(self, text: str) -> None:
        """What is good to know now and then."""
        if self.verbose:
            self.note(text)

    def warning(self, text: str) -> None:
        """What may go wrong."""
        if not self.quiet:
            self.error(text)

    def error(self, text: str) -> None:
        """What went wrong, on one line."""
        _write(sys.stderr, f"tt-cloud: {scrubbed(' '.join(text.split()))}")


class Output:
    """Standard output for bytes."""

    def __init__(self) -> None:
        self._stream: BinaryIO = sys.stdout.buffer

    def write(self, data: bytes) -> int:
        try:
            return self._stream.write(data)
        except BrokenPipeError as error:
            raise HungUp from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError as error:
            raise HungUp from error


def scrubbed(text: str) -> str:
    """Without the queries of addresses: they may be signed."""
    return re.sub(r"(\w+://[^\s?'\"]+)\?[^\s'\"]+", r"\1?...", text)


def size(count: float) -> str:
    """Bytes for people."""
    if count < 1024:
        return f"{count:.0f} B"
    units = iter(("KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    count /= 1024
    while count >= 1024:
        count /= 1024
        unit = next(units)
    return f"{count:.1f} {unit}"


def counted(count: int, what: str) -> str:
    """``1 object``, ``2 objects``."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def _write(stream: TextIO | None, text: str) -> None:
    """One line, in whatever encoding there is; flushed, or Python complains at its end."""
    if stream is None:  # it was closed when the process began
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except BrokenPipeError as error:
        raise HungUp from error


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
