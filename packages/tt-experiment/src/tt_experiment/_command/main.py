"""The entry point: reads the command line, runs what it asks for, answers with an exit status."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tt_experiment._command.arguments import Arguments, parse
from tt_experiment._command.console import Console, HungUp
from tt_experiment._command.status import OK, STOPPED, status_of


def main(words: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, or those of the process; return its exit status."""
    try:
        arguments = parse(words)
    except SystemExit as ended:  # it has said why
        return int(ended.code or OK)
    console = Console(arguments)
    try:
        with _logged(console):
            return _run(arguments, console)
    except HungUp:
        return OK


def _run(arguments: Arguments, console: Console) -> int:
    try:
        return arguments.run(arguments, console)
    except HungUp:
        raise
    except (Exception, KeyboardInterrupt) as error:
        status = status_of(error)
        text = "stopped" if status == STOPPED else str(error) or type(error).__name__
        with suppress(OSError):  # the output may be what failed
            console.document({"error": type(error).__name__, "message": text, "status": status})
        if console.verbose:  # where, but not with which values
            console.note("".join(traceback.format_tb(error.__traceback__)).rstrip())
        console.error(text)
        return status


class _Lines(logging.Handler):
    """The package's log among the command's own lines."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.DEBUG if console.verbose else logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.error(record.getMessage())


@contextmanager
def _logged(console: Console) -> Iterator[None]:
    """Show the warnings of this package, with --verbose all it says; of no other."""
    logger = logging.getLogger("tt_experiment")
    handler, level = _Lines(console), logger.level
    logger.addHandler(handler)
    if console.verbose:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
