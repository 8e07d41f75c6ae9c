"""Runs as CSV, for spreadsheets and everything else."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from tt_experiment._durable import make_directories, replace_chunks
from tt_experiment.exports._columns import Value, run_columns, values_of
from tt_experiment.runs import RunSummary

__all__ = ["write_csv"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_ROWS = 1000  # that are written at once


def write_csv(runs: Sequence[RunSummary], folder: Path | str) -> list[Path]:
    """Write ``runs.csv``, a row for each run, and ``metrics.csv``, a row for each value.

    Missing values are empty, numbers that are not finite ``nan``, ``inf`` and ``-inf``. Text that a
    spreadsheet would take for a formula gets an apostrophe before it.

    Args:
        runs: The runs, as `summarise` gives them.
        folder: It is made if it is missing; files of these names are replaced.

    Returns:
        The files.
    """
    folder = Path(folder).expanduser().absolute()
    make_directories(folder)
    columns = run_columns(runs)
    values = chain.from_iterable(values_of(run) for run in runs)
    tables: dict[str, Iterable[Sequence[object]]] = {
        "runs.csv": chain([list(columns)], zip(*columns.values(), strict=True)),
        "metrics.csv": chain([Value._fields], values),
    }
    for name, rows in tables.items():
        replace_chunks(folder / name, _lines(rows))
    return [folder / name for name in tables]


def _lines(rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text)
    for number, row in enumerate(rows):
        writer.writerow([_cell(value) for value in row])
        if number % _ROWS == 0:
            yield text.getvalue().encode("utf-8", "replace")
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
