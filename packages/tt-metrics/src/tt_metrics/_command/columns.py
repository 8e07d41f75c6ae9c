"""Columns of numbers or labels from a file: CSV, JSON lines, text, or NumPy's formats."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tt_metrics._command.cells import Rows, read_delimited
from tt_metrics._command.json_lines import read_json_lines
from tt_metrics._errors import MetricInputError

__all__ = ["Columns", "aligned", "listed", "path_of", "read_columns"]


@dataclass(frozen=True)
class Columns:
    """What was read.

    Attributes:
        source: The file and, where some were chosen, its columns.
        values: Numbers or texts: shape (n,), or (n, K) for several columns.
        names: What the K columns are called; None where the file does not say.
        ids: Which sample each row is, shape (n,); None where no column of ids was asked for.
        unchosen: What the columns of a table are called or numbered, where there are several and
            nobody chose them: one may be an index.
    """

    source: str
    values: NDArray[Any]
    names: tuple[str, ...] | None = None
    ids: NDArray[np.str_] | None = None
    unchosen: tuple[str, ...] = ()


def path_of(source: str) -> Path:
    """The file of ``file:column``."""
    return _split(source)[0]


def read_columns(
    source: str,
    *,
    header: bool | None = None,
    id_column: str | None = None,
    labels: Collection[str] = (),
) -> Columns:
    """Read ``file`` or ``file:column,column``.

    Columns go by the names in the first line, in a file without names by their number from 1. Left
    out, all are read.

    Args:
        source: A ``.csv``, ``.tsv``, ``.txt`` (one label per line), ``.jsonl`` (``file:field``),
            ``.npy`` or ``.npz`` (``file:array``).
        header: Whether the first line of a CSV file names the columns; None to find out, or to
            raise where that cannot be told.
        id_column: Which column says what sample a row is.
        labels: Cells of text files that are all among these are texts, whatever they look like.

    Raises:
        MetricInputError: A cell that is empty, or a text among numbers, a row that is too short,
            a column that is not there.
        OSError: A file that cannot be read.
    """
    path, chosen = _split(source)
    if path.suffix in (".npy", ".npz"):
        return _from_numpy(source, path, chosen, id_column)
    rows = _rows(path, chosen, header, [] if id_column is None else [id_column])
    return _from_rows(source, rows, chosen, id_column, labels)


def aligned(true: Columns, other: Columns) -> NDArray[Any]:
    """The other's values, in the order of the first's ids where there are ids.

    Raises:
        MetricInputError: Files of different lengths, an id that is in one of them only, or twice.
    """
    if len(true.values) != len(other.values):
        msg = (
            f"Files must have equally many rows; {true.source} has {len(true.values)}, "
            f"{other.source} has {len(other.values)}."
        )
        raise MetricInputError(msg)
    if true.ids is None or other.ids is None:
        return other.values
    places = _places(other, other.ids)
    if missing := _places(true, true.ids).keys() - places.keys():
        msg = (
            f"Files must have the same ids; {len(missing)} of {true.source} are not in "
            f"{other.source}, such as {min(missing)!r}."
        )
        raise MetricInputError(msg)
    values: NDArray[Any] = other.values[[places[name] for name in true.ids.tolist()]]
    return values


def _places(columns: Columns, ids: NDArray[np.str_]) -> dict[str, int]:
    """Where each id stands."""
    places: dict[str, int] = {}
    for place, name in enumerate(ids.tolist()):
        if name in places:
            rows = f"rows {places[name] + 1} and {place + 1}"
            msg = f"An id must come once; {name!r} comes in {rows} of {columns.source}."
            raise MetricInputError(msg)
        places[name] = place
    return places


def _split(source: str) -> tuple[Path, list[str]]:
    """The file and the chosen columns; a colon may also be part of a path."""
    name, colon, columns = source.rpartition(":")
    if not colon or "/" in columns or "\\" in columns or Path(source).is_file():
        return Path(source), []
    return Path(name), [column.strip() for column in columns.split(",")]


def _rows(path: Path, chosen: list[str], header: bool | None, ids: list[str]) -> Rows:
    if path.suffix == ".jsonl":
        return read_json_lines(path, [*chosen, *ids] if chosen else [])
    if path.suffix in (".csv", ".tsv"):
        return read_delimited(path, header=header, wanted=[*chosen, *ids])
    if path.suffix == ".txt":
        return read_delimited(path, header=bool(header), wanted=())
    msg = (
        "A file must be a .csv, .tsv, .txt, .jsonl, .npy or .npz, with :COLUMN behind it to choose "
        f"a column; {str(path)!r} came."
    )
    raise MetricInputError(msg)


def _from_rows(
    source: str, rows: Rows, chosen: list[str], id_column: str | None, labels: Collection[str]
) -> Columns:
    names = rows.names or tuple(str(place + 1) for place in range(len(rows.cells[0])))
    columns = chosen or [name for name in names if name != id_column]
    if not chosen and "" in columns and len(columns) > 1:
        msg = (
            f"{source}: column {names.index('') + 1} has no name, as an index that pandas wrote; "
            f"choose columns with :COLUMN, of {listed(columns)}."
        )
        raise MetricInputError(msg)
    parts = [rows.values(_place(source, names, name), labels) for name in columns]
    ids = None
    if id_column is not None:
        ids = np.array([str(name) for name in rows.column(_place(source, names, id_column))])
    several = tuple(columns) if len(columns) > 1 else ()
    named = several if rows.names and several else None
    unchosen = () if chosen else several
    return Columns(source, _stacked(source, columns, parts), named, ids, unchosen)


def _place(source: str, names: Sequence[str], name: str) -> int:
    if names.count(name) != 1:
        came = f"{name!r} came" if name not in names else f"{name!r} is {names.count(name)} of them"
        msg = f"{source}: a column must be one of {listed(names)}; {came}."
        raise MetricInputError(msg)
    return names.index(name)


def listed(names: Sequence[Any]) -> str:
    """The first names, for messages."""
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")


def _stacked(source: str, names: list[str], parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One column as it is, several as numbers of shape (n, K)."""
    if len(parts) == 1:
        return parts[0]
    if not parts or any(part.dtype.kind == "U" or part.ndim > 1 for part in parts):
        msg = (
            f"{source}: several columns together must be numbers, one per class; choose with "
            f":COLUMN, of {listed(names)}."
        )
        raise MetricInputError(msg)
    return np.column_stack(parts)


def _from_numpy(source: str, path: Path, chosen: list[str], id_column: str | None) -> Columns:
    arrays = _arrays(path)
    names = chosen or [name for name in arrays if name != id_column]
    if len(names) != 1:
        msg = f"{source}: choose one array with :ARRAY, of {listed(names)}."
        raise MetricInputError(msg)
    everything = tuple(arrays)
    values = arrays[everything[_place(source, everything, names[0])]]
    ids = None
    if id_column is not None:
        ids = arrays[everything[_place(source, everything, id_column)]].astype(str)
    if values.ndim not in (1, 2) or values.dtype.kind not in "biufU" or not values.size:
        msg = (
            f"{source} must be numbers or texts of shape (n,) or (n, K), not empty; its shape is "
            f"{values.shape}, its dtype {values.dtype}."
        )
        raise MetricInputError(msg)
    return Columns(source, values, None, ids)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name; that of a ``.npy`` has the name of a first column."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file)
            return dict(loaded) if path.suffix == ".npz" else {"1": np.asarray(loaded)}
    except (ValueError, EOFError, BadZipFile) as error:
        msg = f"{path} must be what numpy.save or numpy.savez writes, without objects: {error}"
        raise MetricInputError(msg) from error
