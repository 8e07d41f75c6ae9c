"""Runs as Parquet, for DuckDB, pandas and Spark. Needs ``tt-experiment[parquet]``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tt_experiment._durable import adopt_file, make_directories, scratch_path
from tt_experiment.exports._columns import Value, run_columns, values_of
from tt_experiment.loggers._common import imported
from tt_experiment.runs import RunSummary, Scalar

__all__ = ["write_parquet"]

_ROWS = 100_000  # in a row group
_INT64 = 1 << 63


def write_parquet(runs: Sequence[RunSummary], folder: Path | str) -> list[Path]:
    """Write ``runs.parquet``, a row for each run, and ``metrics.parquet``, a row for each value.

    A column that has values of several kinds is text.

    Args:
        runs: The runs, as `summarise` gives them.
        folder: It is made if it is missing; files of these names are replaced.

    Returns:
        The files.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    arrow = imported("pyarrow", "parquet", "write_parquet")
    folder = Path(folder).expanduser().absolute()
    make_directories(folder)
    columns = {_text(name): _column(arrow, v) for name, v in run_columns(runs).items()}
    table = arrow.table(columns)
    _write(folder / "runs.parquet", table.schema, iter([table]))
    values = chain.from_iterable(values_of(run) for run in runs)
    schema = _schema(arrow)
    _write(folder / "metrics.parquet", schema, _groups(arrow, schema, values))
    return [folder / "runs.parquet", folder / "metrics.parquet"]


def _schema(arrow: Any) -> Any:
    text, number = arrow.string(), arrow.float64()
    types = (text, text, arrow.int64(), arrow.int64(), number, arrow.int64(), text, number)
    return arrow.schema(list(zip(Value._fields, types, strict=True)))


def _groups(arrow: Any, schema: Any, values: Iterator[Value]) -> Iterator[Any]:
    while rows := list(islice(values, _ROWS)):
        columns = [
            arrow.array([_text(v) if isinstance(v, str) else v for v in column], field.type)
            for column, field in zip(zip(*rows, strict=True), schema, strict=True)
        ]
        yield arrow.table(columns, schema=schema)


def _column(arrow: Any, values: Sequence[Scalar]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return arrow.array(values, arrow.bool_() if kinds else arrow.string())
    if kinds == {int} and all(-_INT64 <= v < _INT64 for v in values if isinstance(v, int)):
        return arrow.array(values, arrow.int64())
    if kinds <= {int, float}:
        return arrow.array([None if v is None else float(v) for v in values], arrow.float64())
    return arrow.array([None if v is None else _text(v) for v in values], arrow.string())


def _text(value: Scalar) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _write(path: Path, schema: Any, tables: Iterator[Any]) -> None:
    parquet = imported("pyarrow.parquet", "parquet", "write_parquet")
    scratch = scratch_path(path.parent, path.name)
    try:
        with parquet.ParquetWriter(scratch, schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
        adopt_file(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
