"""Where the command speaks: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from tt_experiment import _json

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments

Colour = Literal["bold", "green", "red", "yellow", "cyan"]
_CODES: dict[Colour, int] = {"bold": 1, "red": 31, "green": 32, "yellow": 33, "cyan": 36}


class HungUp(Exception):  # noqa: N818 - nothing went wrong
    """Nobody reads the output any more."""


class Console:
    """Standard output and error, as the arguments want them."""

    def __init__(self, arguments: Arguments) -> None:
        self.json = arguments.json
        self.verbose = arguments.verbose
        self._is_terminal = sys.stdout is not None and sys.stdout.isatty()

    @property
    def width(self) -> int | None:
        """Columns of the terminal; ``None`` where lines may have any length."""
        return shutil.get_terminal_size().columns if self._is_terminal else None

    def result(self, text: str) -> None:
        """Lines of what was asked for, for people."""
        if not self.json:
            _write(sys.stdout, text)

    def document(self, value: Any) -> None:
        """What was asked for, for programs; NaN and infinities become null."""
        if self.json:
            _write(sys.stdout, _as_json(value))

    def note(self, text: str) -> None:
        """What is good to know."""
        _write(sys.stderr, visible(text, lines=True))

    def detail(self, text: str) -> None:
        """What is good to know now and then."""
        if self.verbose:
            self.note(text)

    def error(self, text: str) -> None:
        """What went wrong; more than one line only where the error has them."""
        _write(sys.stderr, f"tt-experiment: {visible(text, lines=True)}")

    def paint(self, text: str, colour: Colour | None) -> str:
        """Text in a colour, on a terminal where NO_COLOR is not set."""
        if colour is None or not self._is_terminal or os.environ.get("NO_COLOR"):
            return text
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def visible(text: str, *, lines: bool = False) -> str:
    """Text without what a terminal would obey: control characters become ``?``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c == "\n") else "?" for c in text)


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_json.finite(value)[0], default=str, allow_nan=False)


def _write(stream: TextIO | None, text: str) -> None:
    """Lines, in whatever encoding there is; flushed, or Python complains at its end."""
    if stream is None:  # it was closed when the process began
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except BrokenPipeError as error:
        _silence(stream)
        raise HungUp from error


def _silence(stream: TextIO) -> None:
    """Let what is still in the buffer go nowhere, instead of failing at the process's end."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, no path
        os.dup2(nowhere.fileno(), stream.fileno())


def shown(path: Path) -> str:
    """A path as it can be printed, relative to where the user is when it is below."""
    try:
        return visible(str(path.relative_to(Path.cwd()))) or "."
    except ValueError:
        return visible(str(path))
