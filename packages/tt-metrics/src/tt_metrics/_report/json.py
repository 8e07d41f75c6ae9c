"""Reports as plain data and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tt_metrics._core.inputs import as_array
from tt_metrics._errors import MetricInputError
from tt_metrics._report.content import ClassRow, ClassTable, Grid, Row, Section

__all__ = ["from_json", "from_plain", "to_json", "to_plain"]

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NUMBERS = {"value", "cells", "low", "high", "precision", "recall", "f1", "support"} | {
    "zero_division"
}


def to_plain(title: str, confidence: float | None, sections: Sequence[Section]) -> dict[str, Any]:
    """Give a report's content as dicts, lists, texts and numbers."""
    return {
        "title": title,
        "confidence": confidence,
        "sections": [
            {
                "name": section.name,
                "numbers": [_plain(vars(row)) for row in section.rows],
                "classes": [
                    {
                        "labels": [_plain(vars(row)) for row in table.classes],
                        "averages": [_plain(vars(row)) for row in table.averages],
                        "zero_division": table.zero_division,
                    }
                    for table in section.tables
                ],
                "grids": [_plain(vars(grid)) for grid in section.grids],
            }
            for section in sections
        ],
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value)  # a NumPy float is one too
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "detach") or isinstance(value, (np.ndarray, np.generic)):
        return _plain(as_array(value).tolist())
    return str(value)


def from_plain(
    plain: Mapping[str, Any],
) -> tuple[str, float | None, list[Section]]:
    """Read what `to_plain` gave: title, confidence, sections."""
    try:
        sections = [
            Section(
                section["name"],
                [Row(**row) for row in section["numbers"]],
                [
                    ClassTable(
                        [ClassRow(**row) for row in table["labels"]],
                        [ClassRow(**row) for row in table["averages"]],
                        table.get("zero_division"),
                    )
                    for table in section["classes"]
                ],
                [Grid(**grid) for grid in section["grids"]],
            )
            for section in plain["sections"]
        ]
        return plain["title"], plain["confidence"], sections
    except (KeyError, TypeError) as error:
        msg = f"A report is made from what another one's to_dict or to_json gave; {error}."
        raise MetricInputError(msg) from error


def to_json(plain: Mapping[str, Any], indent: int | None) -> str:
    """Write plain data as JSON, which has no NaN and no infinity."""
    return json.dumps(_named(plain), allow_nan=False, indent=indent)


def _named(value: Any) -> Any:
    """Put texts for the floats that JSON lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _named(item) for key, item in value.items()}
    return [_named(item) for item in value] if isinstance(value, list) else value


def from_json(text: str) -> Any:
    """Read the JSON of a report; in the place of a number, the texts above are floats again."""

    def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: _number(item) if key in _NUMBERS else item for key, item in pairs}

    try:
        return json.loads(text, object_pairs_hook=read)
    except ValueError as error:
        msg = f"A report's JSON cannot be read: {error}."
        raise MetricInputError(msg) from error


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
