"""Write the history out while it grows: as text here, as plots by whoever has the same method."""

from __future__ import annotations

import csv
import io
import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from tt_loop.callbacks.base import Callback
from tt_loop.display.text_table import aligned
from tt_loop.errors import LoopValueError

__all__ = ["HistoryOutput", "HistoryTextFile", "ModelTrainHistoryOutput"]

_log = logging.getLogger(__name__)

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": None}


@runtime_checkable
class HistoryOutput(Protocol):
    """Writes a training history somewhere."""

    def write(
        self, history: Mapping[str, Sequence[Any]], prefix: str, epoch: int, /
    ) -> Sequence[str]:
        """Write all values by metric name and tell the paths of the files.

        The prefix is to begin the names of files: empty after an epoch, ``train_end_`` after
        training. ``epoch`` is the number of the last epoch, from 0.
        """
        ...


class ModelTrainHistoryOutput(Callback):
    """Have the history written, in the first process, after epochs or at the end.

    What the output raises is logged and does not end training. The paths that it tells are left
    with `TrainLoop.message_service` until the end of the epoch, as one message.

    Args:
        output: Writes it.
        epoch_end: Write after every epoch.
        train_end: Write after training.
        message_key: Key of the message; by default the class's name followed by
            ``_results_file_local_paths``.

    Raises:
        LoopValueError: When neither moment is chosen.
    """

    def __init__(
        self,
        output: HistoryOutput,
        epoch_end: bool = True,
        train_end: bool = False,
        message_key: str | None = None,
    ) -> None:
        super().__init__("Train history output", execution_order=97, device_idx_execution=0)
        if not (epoch_end or train_end):
            msg = f"{type(self).__name__} needs epoch_end or train_end, got neither."
            raise LoopValueError(msg)
        self.output = output
        self.epoch_end = epoch_end
        self.train_end = train_end
        self.message_key = message_key or f"{type(self).__name__}_results_file_local_paths"

    def on_epoch_end(self) -> None:
        """Write, if asked for."""
        if self.epoch_end:
            self._write("")

    def on_train_end(self) -> None:
        """Write, if asked for."""
        if self.train_end:
            self._write("train_end_")

    def _write(self, prefix: str) -> None:
        loop = self.train_loop_obj
        try:
            paths = list(self.output.write(loop.train_history.state_dict(), prefix, loop.epoch))
        except Exception:  # what was measured is still in the history: the next write has it
            _log.exception("the history was not written after epoch %d", loop.epoch)
            return
        loop.message_service.write_message(self.message_key, paths)


class HistoryTextFile:
    r"""Writes a history as a table into one text file, anew each time.

    A column is a metric; the n-th row has the n-th value of each. Of a metric that is evaluated
    every few epochs, that is not the value of the n-th epoch. The old file is there until the new
    one is complete.

    Args:
        path: The file: ``.csv`` and ``.tsv`` are for programs, ``.txt`` has aligned columns.
            Missing directories are made.

    Raises:
        LoopValueError: For another ending.

    Example:
        >>> HistoryTextFile("results.csv").text({"loss": [0.5, 0.25], "val_loss": [0.75]})
        'measurement,loss,val_loss\n1,0.5,0.75\n2,0.25,\n'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix not in _DELIMITERS:
            msg = f"The file must end in one of {', '.join(_DELIMITERS)}, got {str(path)!r}."
            raise LoopValueError(msg)

    def write(
        self,
        history: Mapping[str, Sequence[Any]],
        prefix: str,
        epoch: int,  # noqa: ARG002  # the table has all epochs
    ) -> Sequence[str]:
        """Write the table; the prefix goes before the file's name."""
        path = self.path.with_name(prefix + self.path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, self.text(history))
        return [str(path)]

    def text(self, history: Mapping[str, Sequence[Any]]) -> str:
        """The table."""
        rows = itertools.zip_longest(*history.values(), fillvalue="")
        table = [["measurement", *history]]
        table += [[str(n), *map(_cell, row)] for n, row in enumerate(rows, start=1)]
        delimiter = _DELIMITERS[self.path.suffix]
        if delimiter is None:
            return "".join(f"{line}\n" for line in aligned(table, right=len(table[0])))
        return _delimited(table, delimiter)


def _cell(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.tolist()
    return str(value)


def _delimited(table: Sequence[Sequence[str]], delimiter: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n").writerows(table)
    return buffer.getvalue()


def _replace(path: Path, text: str) -> None:
    """Put a file in the place of another when it is complete and on disk."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with staged.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
