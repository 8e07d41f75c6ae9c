"""JSON lines: one object, or one bare value, per line."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tt_metrics._command.cells import Rows, opened
from tt_metrics._core.inputs import as_array
from tt_metrics._errors import MetricInputError

__all__ = ["read_json_lines"]


class _JsonRows(Rows):
    """Rows whose cells are numbers, texts, or lists of equally many numbers."""

    def values(self, place: int, labels: Collection[str]) -> NDArray[Any]:  # noqa: ARG002  (typed already)
        column = self.column(place)
        kind = _kind(column[0])
        for row, value in enumerate(column):
            came = _kind(value)
            if came not in ("a number", "a text") and not came.startswith("a list"):
                raise self.error(row, f"a value must be a number, a text or numbers; {came} came.")
            if came != kind:
                raise self.error(row, f"values must be alike; {came} came, {kind} before.")
        return as_array(column, str(self.path))


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (bool, int, float)):
        return _kind_of_number(value)
    if isinstance(value, list) and all(map(_is_number, value)):
        return f"a list of {len(value)} numbers"
    return json.dumps(value)[:40]


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) and _kind_of_number(value) == "a number"


def _kind_of_number(value: float) -> str:
    if isinstance(value, int):
        fits = -(2**63) <= value < 2**63
        return "a number" if fits else "a whole number of more than 64 bits"
    return "a number" if math.isfinite(value) else str(value)


def read_json_lines(path: Path, fields: Sequence[str]) -> Rows:
    """Read the fields of each line, all those of the first line where none are given."""
    values, lines = _values(path)
    if not values:
        msg = f"{path} must hold at least one line; it is empty."
        raise MetricInputError(msg)
    if not isinstance(values[0], Mapping):
        return _JsonRows(path, None, [[value] for value in values], lines)
    names = tuple(dict.fromkeys(fields or values[0]))
    rows = _JsonRows(path, names, values, lines)
    for row, value in enumerate(values):
        if not isinstance(value, Mapping) or not value.keys() >= set(names):
            has = list(value) if isinstance(value, Mapping) else json.dumps(value)[:40]
            raise rows.error(row, f"a line must be an object with {list(names)}; it is {has}.")
    return _JsonRows(path, names, [[value[name] for name in names] for value in values], lines)


def _values(path: Path) -> tuple[list[Any], list[int]]:
    values, lines = [], []
    for number, line in enumerate(opened(path), 1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            msg = f"{path}, line {number}: a line must be one JSON value; {error}."
            raise MetricInputError(msg) from error
        lines.append(number)
    return values, lines
