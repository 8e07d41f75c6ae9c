"""Cells of CSV and text files as numbers or texts; what is doubtful is an error, not a guess."""

from __future__ import annotations

import csv
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._errors import MetricInputError

__all__ = ["Rows", "TextRows", "opened", "read_delimited"]

NUMBER = re.compile(
    r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
HEADINGS = {  # names that nobody gives to a class
    "category",
    "class",
    "label",
    "labels",
    "output",
    "pred",
    "predicted",
    "prediction",
    "predictions",
    "target",
    "truth",
    "y_pred",
    "y_predicted",
    "y_true",
}
NAMES_OF_BOTH = {"gold", "true", "y"}  # of columns, and of classes beside those below
OTHER_CLASSES = {"bronze", "f", "false", "n", "no", "silver"}


@dataclass(frozen=True)
class Rows(ABC):
    """The rows of a file, all of one length.

    Attributes:
        path: The file, for messages.
        names: What the columns are called; None where the file does not say.
        cells: The cells of each row.
        lines: In which line of the file each row ends.
    """

    path: Path
    names: tuple[str, ...] | None
    cells: Sequence[Sequence[Any]]
    lines: Sequence[int]

    def column(self, place: int) -> list[Any]:
        """The cells of one column."""
        return [row[place] for row in self.cells]

    @abstractmethod
    def values(self, place: int, labels: Collection[str]) -> NDArray[Any]:
        """One column as numbers or as texts; cells that are all among the labels are texts."""

    def error(self, row: int, what: str) -> MetricInputError:
        """An error about a row, with its line."""
        return MetricInputError(f"{self.path}, line {self.lines[row]}: {what}")


class TextRows(Rows):
    """Rows whose cells are texts: a column is numbers if all its cells are, texts if none is."""

    def values(self, place: int, labels: Collection[str]) -> NDArray[Any]:
        column = self.column(place)
        if "" in column:
            raise self.error(column.index(""), "a cell must not be empty.")
        if labels and set(column) <= set(labels):
            return np.array(column)
        numbers = self._numbers(column)
        if numbers is None and any(map(_is_number, column)):
            raise self._mixed(column)
        return np.array(column) if numbers is None else numbers

    def _numbers(self, column: list[str]) -> NDArray[Any] | None:
        """The column as whole numbers or as floats; None where a cell is no number."""
        if any("_" in cell for cell in column):
            return None  # Python reads 1_0 as ten, which no file means
        array = np.array(column)
        try:
            return array.astype(np.int64)
        except (ValueError, OverflowError):
            pass
        try:
            numbers = array.astype(np.float64)
        except ValueError:
            return None
        for row in np.flatnonzero(~np.isfinite(numbers))[:1].tolist():
            raise self.error(row, f"a number must be finite; {column[row]!r} came.")
        for row in np.flatnonzero(abs(numbers) >= 2**63).tolist():
            if column[row].lstrip("+-").isdigit():
                what = f"a whole number must fit into 64 bits; {column[row]} came."
                raise self.error(row, what)
        return numbers

    def _mixed(self, column: list[str]) -> MetricInputError:
        """The error for numbers and texts in one column; it names the first of the fewer ones."""
        numeric = [_is_number(cell) for cell in column]
        odd = 2 * sum(numeric) < len(numeric)
        row = numeric.index(odd)
        what = "a number among texts" if odd else "no number as others are"
        rule = "a column must hold only numbers or only texts"
        return self.error(row, f"{rule}; {column[row]!r} is {what}. Labels go into --labels.")


def read_delimited(path: Path, *, header: bool | None, wanted: Collection[str]) -> TextRows:
    """Read a CSV file, a ``.tsv``, or a ``.txt`` with one label per line.

    Args:
        path: The file.
        header: Whether the first line names the columns; None to find out, or to raise where that
            cannot be told.
        wanted: Columns that were asked for: a first line that has them all is a header.
    """
    rows, lines = _rows(path)
    if not rows:
        msg = f"{path} must hold at least one row; it is empty."
        raise MetricInputError(msg)
    everything = TextRows(path, None, rows, lines)
    _check_shape(everything)
    if not (_has_header(path, rows, wanted) if header is None else header):
        return everything
    if len(rows) == 1:
        msg = f"{path} must hold data below its header; it has one line."
        raise MetricInputError(msg)
    return TextRows(path, tuple(rows[0]), rows[1:], lines[1:])


def opened(path: Path, newline: str | None = None) -> io.StringIO:
    """The text of a file; it is read at once, so that the line of a wrong byte is known."""
    content = path.read_bytes()
    try:
        return io.StringIO(content.decode("utf-8-sig"), newline)
    except UnicodeDecodeError as error:
        # The error holds what it read: the content without a byte order mark.
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        msg = f"{path}, line {line}: a file must be UTF-8; the byte 0x{byte:02x} came. Convert it."
        raise MetricInputError(msg) from error


def _rows(path: Path) -> tuple[list[list[str]], list[int]]:
    """The rows with cells, and the line that each ends in; empty lines at the end are dropped."""
    rows: list[list[str]] = []
    lines: list[int] = []
    file = opened(path, newline=None if path.suffix == ".txt" else "")
    try:
        for line, row in _numbered(path, file):
            rows.append([cell.strip() for cell in row] or [""])
            lines.append(line)
    except csv.Error as error:
        msg = f"{path} must be CSV; below line {lines[-1] if lines else 0}: {error}."
        raise MetricInputError(msg) from error
    while rows and rows[-1] == [""]:
        rows.pop()
    return rows, lines[: len(rows)]


def _numbered(path: Path, file: Iterable[str]) -> Iterable[tuple[int, list[str]]]:
    if path.suffix == ".txt":
        return ((number, [line]) for number, line in enumerate(file, 1))
    reader = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
    return ((reader.line_num, row) for row in reader)


def _check_shape(rows: TextRows) -> None:
    width = len(rows.cells[0])
    for number, row in enumerate(rows.cells):
        if len(row) != width:
            what = f"a row must have {width} cells as the first; {len(row)} came."
            raise rows.error(number, what)
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if rows.path.suffix != ".txt" and all(mark in row[0] for row in rows.cells):
            msg = f"{rows.path} must have commas (a .tsv: tabs) between cells; it has {name}."
            raise MetricInputError(msg)


def _has_header(path: Path, rows: list[list[str]], wanted: Collection[str]) -> bool:
    """Whether the first row is no data; an error where it may be either."""
    first, body = rows[0], rows[1:]
    if wanted and set(wanted) <= set(first):
        return True
    numbers = [place for place, cell in enumerate(first) if _is_number(cell)]
    if numbers and not _may_be_names(first, body, numbers):
        return False
    if not numbers:
        if any(map(_mostly_numbers, zip(*body[:1000], strict=True))):
            return True
        recurs = any(cell == row[place] for row in body for place, cell in enumerate(first))
        if _are_headings(first, body, recurs=recurs):
            return True
        if recurs:
            return False
    msg = (
        f"{path}, line 1: {','.join(first)!r} may be a header or data. Say --header or --no-header."
    )
    raise MetricInputError(msg)


def _are_headings(first: list[str], body: list[list[str]], *, recurs: bool) -> bool:
    """Whether the first row is usual names of columns, and not the class ``true`` or ``gold``."""
    names = {cell.lower() for cell in first}
    if not names <= HEADINGS | NAMES_OF_BOTH:
        return False
    among_classes = recurs or any(cell.lower() in OTHER_CLASSES for row in body for cell in row)
    return bool(names & HEADINGS) or not among_classes


def _may_be_names(first: list[str], body: list[list[str]], numbers: list[int]) -> bool:
    """Whether the first row's numbers may be names: different whole ones, above fractions.

    So are the columns of a table of scores where classes are numbers. A column alone without a name
    is called 0 by pandas.
    """
    cells = [first[place] for place in numbers]
    if len(set(cells)) < len(cells) or (len(cells) == 1 and cells != ["0"]):
        return False
    return all(first[place].isdigit() and _has_fractions(body, place) for place in numbers)


def _has_fractions(body: list[list[str]], place: int) -> bool:
    return any(_is_number(row[place]) and not row[place].lstrip("+-").isdigit() for row in body)


def _mostly_numbers(column: Sequence[str]) -> bool:
    return 2 * sum(map(_is_number, column)) > len(column)


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None
