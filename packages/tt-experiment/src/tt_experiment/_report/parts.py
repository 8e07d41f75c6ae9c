"""Parts of a report page: cards, tables, and values as people read them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.svg import number

__all__ = [
    "DASH",
    "Cell",
    "Column",
    "badge",
    "card",
    "date",
    "duration",
    "exact",
    "flat",
    "moment",
    "pairs",
    "search",
    "shorten",
    "size",
    "table",
    "value",
]

DASH = "\N{EN DASH}"
_MAX_TEXT = 400
_MAX_ROWS = 300


class Column(NamedTuple):
    """Head of a column: its name, its style (``n`` is for numbers), and how it sorts first."""

    name: object
    style: str | None = None
    sort: str | None = None
    """``up``, ``down``, or not at all."""


class Cell(NamedTuple):
    """A cell that is not plain text."""

    content: object
    style: str | None = None
    key: object = None
    """What it is sorted by."""


def card(*content: object, title: str | None = None, wide: bool = False) -> Markup | None:
    """A box around what there is; None if there is nothing."""
    shown = join(part for part in content if part)
    if not shown:
        return None
    head = tag("h3", title) if title else ""
    return tag("div", head, shown, class_="card wide" if wide else "card")


def badge(word: str, style: str | None = None) -> Markup:
    """A word in a coloured pill."""
    return tag("span", word, class_=f"badge {style or word}")


def table(
    head: Sequence[Column],
    rows: Sequence[Sequence[Cell | str]],
    *,
    caption: str | None = None,
    keys: Sequence[str] = (),
    **attributes: object,
) -> Markup:
    """A table; a first column without a style heads its rows. Scripts find rows by their keys."""
    sorts = any(column.sort for column in head)
    top = [tag("th", c.name, class_=c.style, scope="col", data_sort=c.sort) for c in head]
    body = [
        tag("tr", *_cells(head, row), data_key=keys[i] if keys else None)
        for i, row in enumerate(rows)
    ]
    return tag(
        "table",
        tag("caption", caption) if caption else "",
        tag("thead", tag("tr", *top)),
        tag("tbody", *body),
        class_="sortable" if sorts else None,
        **attributes,
    )


def _cells(head: Sequence[Column], row: Sequence[Cell | str]) -> list[Markup]:
    cells = []
    for i, (column, given) in enumerate(zip(head, row, strict=True)):
        cell = given if isinstance(given, Cell) else Cell(given)
        style = " ".join(filter(None, [column.style, cell.style])) or None
        name, scope = ("th", "row") if i == 0 and column.style is None else ("td", None)
        cells.append(tag(name, cell.content, class_=style, scope=scope, data_value=cell.key))
    return cells


def pairs(values: Mapping[str, object]) -> Markup | None:
    """A table of names and values; None if there are none."""
    shown = list(values.items())[:_MAX_ROWS]
    rows = [tag("tr", tag("th", key, scope="row"), tag("td", value(v))) for key, v in shown]
    more = len(values) - len(rows)
    note = tag("p", f"and {more} more", class_="note") if more else ""
    return join([tag("table", tag("tbody", *rows), class_="pairs"), note]) if rows else None


def search(table_id: str, what: str) -> Markup:
    """A field that filters the rows of a table."""
    field = tag("input", type="search", placeholder=f"Search {what}", data_table=table_id)
    label = tag("label", tag("span", f"Search {what}", class_="sr-only"), field)
    return tag("div", label, class_="tools")


def value(content: Any) -> Markup | str:
    """Any value of JSON."""
    if isinstance(content, bool) or content is None:
        return tag("span", {None: "none", True: "true", False: "false"}[content], class_="mono")
    if isinstance(content, int | float):
        return number(content)
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return shorten(content)
    return tag("code", shorten(json.dumps(content, ensure_ascii=False)))


def exact(content: Any) -> Markup | str:
    """A value that was set, with all its digits: two that differ never look the same."""
    return repr(content) if isinstance(content, float) else value(content)


def shorten(text: str, limit: int = _MAX_TEXT) -> str:
    """A text that may be cut, and then says so."""
    return (
        text
        if len(text) <= limit
        else f"{text[:limit]} \N{HORIZONTAL ELLIPSIS} ({len(text)} characters)"
    )


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys joined by dots."""
    if not isinstance(values, dict):
        return {prefix or "value": values}
    rows: dict[str, Any] = {}
    for key, item in values.items():
        name = f"{prefix}.{key}" if prefix else key
        rows |= flat(item, name) if isinstance(item, dict) and item else {name: item}
    return rows


def size(size: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def moment(stamp: Any) -> datetime | None:
    """A time stamp, if it is one."""
    try:
        found = datetime.fromisoformat(stamp)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def date(stamp: Any) -> str:
    """A time stamp as people read it; a dash if there is none."""
    found = moment(stamp)
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if found else DASH


def duration(seconds: float | None) -> str:
    """A time span as people read it; a dash if there is none."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
