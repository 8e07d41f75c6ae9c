"""Parts of a report page: sections, cards and tables of values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tt_experiment._html import Markup, join, tag
from tt_experiment._svg import number

__all__ = ["card", "date", "flat", "pairs", "section", "size", "table"]

_MAX_MATRIX = 25
_NONE = "\N{EN DASH}"


def section(title: str, content: Markup | None) -> Markup | None:
    """A part of the page with its heading; None if it has no content."""
    return tag("section", tag("h2", title), content) if content else None


def card(*content: object) -> Markup | None:
    """A box around what there is; None if there is nothing."""
    shown = join(part for part in content if part)
    return tag("div", shown, class_="card") if shown else None


def table(
    head: Sequence[tuple[str, str | None]], rows: Sequence[Sequence[tuple[object, str | None]]]
) -> Markup:
    """A table of cells, each with its style; ``n`` is for numbers."""
    top = tag("tr", *(tag("th", name, class_=style) for name, style in head))
    body = [tag("tr", *(tag("td", cell, class_=style) for cell, style in row)) for row in rows]
    return tag("table", tag("thead", top), tag("tbody", *body))


def pairs(values: Mapping[str, Any], *, numeric: bool = False) -> Markup | None:
    """A table of names and values; None if there are none."""
    rows = [
        tag(
            "tr",
            tag("th", key, scope="row"),
            tag("td", _value(value), class_="n" if numeric else None),
        )
        for key, value in values.items()
    ]
    return tag("table", tag("tbody", *rows)) if rows else None


def _value(value: Any) -> Markup | str:
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, str):
        return value
    if value is None:
        return tag("span", "none", class_="note")
    if _is_matrix(value):
        rows = [tag("tr", *(tag("td", number(cell)) for cell in row)) for row in value]
        return tag("table", tag("tbody", *rows), class_="matrix")
    return tag("code", json.dumps(value, ensure_ascii=False))


def _is_matrix(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= _MAX_MATRIX
        and all(isinstance(row, list) and 0 < len(row) <= _MAX_MATRIX for row in value)
        and all(isinstance(cell, int | float) for row in value for cell in row)
    )


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys joined by dots."""
    if not isinstance(values, dict):
        return {prefix or "value": values}
    rows: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else key
        rows |= flat(value, name) if isinstance(value, dict) and value else {name: value}
    return rows


def size(size: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def date(value: Any) -> str:
    """A time stamp as people read it; a dash if there is none."""
    try:
        return datetime.fromisoformat(value).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (TypeError, ValueError):
        return _NONE
