"""Results of a report: numbers with their intervals, tables, and confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.parts import Cell, Column, card, flat, table, value
from tt_experiment._report.svg import number

__all__ = ["Interval", "found_results", "intervals_in", "result_cards"]

_MAX_CELLS = 40
_SHADES = 6


class Interval(NamedTuple):
    """What is said of how sure a number is."""

    low: float
    high: float
    text: str
    """How it was computed, and of how many items."""


def found_results(document: Mapping[str, Any]) -> dict[str, Any]:
    """The results by package in ``results.json``, with NaN and infinities put back."""
    packages, flags = document.get("results"), document.get("nonfinite")
    if not isinstance(packages, dict):
        return {}
    marks = flags if isinstance(flags, dict) else {}
    return {name: _restored(values, name, marks) for name, values in packages.items()}


def _restored(node: Any, path: str, flags: Mapping[str, Any]) -> Any:
    if node is None and flags.get(path) in ("nan", "inf", "-inf"):
        return float(flags[path])
    if isinstance(node, dict):
        return {key: _restored(item, f"{path}/{key}", flags) for key, item in node.items()}
    if isinstance(node, list):
        return [_restored(item, f"{path}/{i}", flags) for i, item in enumerate(node)]
    return node


def intervals_in(document: Mapping[str, Any]) -> dict[str, dict[str, Interval]]:
    """Intervals by package and number: ``{"low": 0.9, "high": 0.95, "method": "wilson"}``."""
    packages = document.get("intervals")
    found: dict[str, dict[str, Interval]] = {}
    for package, entries in (packages if isinstance(packages, dict) else {}).items():
        if isinstance(entries, dict):
            pairs = ((name, _interval(entry)) for name, entry in entries.items())
            found[package] = {name: interval for name, interval in pairs if interval}
    return found


def _interval(entry: Any) -> Interval | None:
    if not isinstance(entry, dict) or not all(_is_number(entry.get(e)) for e in ("low", "high")):
        return None
    confidence, count = entry.get("confidence"), entry.get("count")
    said = [
        str(entry["method"]) if entry.get("method") else "",
        f"{confidence:.0%}" if _is_number(confidence) else "",
        f"n = {count}" if _is_number(count) else "",
    ]
    return Interval(float(entry["low"]), float(entry["high"]), ", ".join(filter(None, said)))


def result_cards(
    packages: Mapping[str, Any], intervals: Mapping[str, Mapping[str, Interval]]
) -> Markup | None:
    """A card for each package, and one for each table in it; None if there are no results."""
    cards: list[Markup | None] = []
    for name, values in packages.items():
        numbers, tables = _sorted_out(values)
        cards.append(card(_numbers(numbers, intervals.get(name, {})), title=name))
        cards += [_grid_card(f"{name}: {title}", grid) for title, grid in tables.items()]
    shown = [part for part in cards if part]
    return tag("div", *shown, class_="columns") if shown else None


class _Grid(NamedTuple):
    """A result that is a table."""

    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Any]]

    @property
    def is_confusion(self) -> bool:
        """Whether rows and columns are the same classes and cells are counts or shares."""
        return list(self.rows) == list(self.columns) and all(
            _is_number(cell) and cell >= 0 and math.isfinite(cell)
            for row in self.cells
            for cell in row
        )


def _sorted_out(values: Any) -> tuple[dict[str, Any], dict[str, _Grid]]:
    """Numbers and other single values, and what is a table."""
    numbers: dict[str, Any] = {}
    tables: dict[str, _Grid] = {}
    for name, content in (values if isinstance(values, dict) else {"value": values}).items():
        grid = _grid(content)
        if grid:
            tables[name] = grid
        elif isinstance(content, dict) and _interval(content) and "value" in content:
            numbers[name] = content
        else:
            numbers |= flat(content, name)
    return numbers, tables


def _grid(content: Any) -> _Grid | None:
    """A result as a table, if it is one of single values and not too large."""
    if isinstance(content, dict) and content:
        rows = list(content.values())
        if not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
            return None
        grid = _Grid(list(content), list(rows[0]), [list(row.values()) for row in rows])
    elif isinstance(content, list) and content and all(isinstance(row, list) for row in content):
        grid = _Grid(_count(len(content)), _count(len(content[0])), content)
    else:
        return None
    cells = [cell for row in grid.cells for cell in row]
    plain = all(cell is None or isinstance(cell, int | float | str) for cell in cells)
    whole = len(cells) == len(grid.rows) * len(grid.columns) > 1
    fits = max(len(grid.rows), len(grid.columns)) <= _MAX_CELLS
    return grid if plain and whole and fits else None


def _count(size: int) -> list[str]:
    return [str(i) for i in range(size)]


def _numbers(numbers: Mapping[str, Any], intervals: Mapping[str, Interval]) -> Markup | None:
    if not numbers:
        return None
    found = {name: intervals.get(name) or _interval(content) for name, content in numbers.items()}
    plain = {
        n: c["value"] if isinstance(c, dict) and "value" in c else c for n, c in numbers.items()
    }
    known = [interval for interval in found.values() if interval]
    if not known:
        rows: list[list[Cell | str]] = [[name, _cell(content)] for name, content in plain.items()]
        return table([Column("result"), Column("value", "n")], rows)
    scale = _scale(known, plain.values())
    rows = [[name, _cell(plain[name]), *_range(found[name], plain[name], scale)] for name in plain]
    return table(
        [Column("result"), Column("value", "n"), Column("interval", "n"), Column("")], rows
    )


def _cell(content: Any) -> Cell:
    return Cell(value(content), key=content if _is_number(content) else None)


def _scale(known: Sequence[Interval], values: Any) -> tuple[float, float]:
    """As far as numbers and intervals reach."""
    reach = [n for i in known for n in i[:2]] + [
        v for v in values if _is_number(v) and math.isfinite(v)
    ]
    low, high = min(reach), max(reach)
    return (low, high) if high > low else (low - 1, low + 1)


def _range(interval: Interval | None, content: Any, scale: tuple[float, float]) -> list[Cell | str]:
    if interval is None or not all(map(math.isfinite, interval[:2])):
        return ["", ""]
    low, high = number(interval.low), number(interval.high)
    text = f"{low} to {high}"
    how = tag("div", interval.text, class_="how") if interval.text else ""

    def place(at: float) -> float:
        return round(5 + 140 * (at - scale[0]) / (scale[1] - scale[0]), 1)

    parts = [
        tag("title", f"{text} {interval.text}".strip()),
        tag("line", class_="whole", x1=5, x2=145, y1=7, y2=7),
        tag("line", class_="span", x1=place(interval.low), x2=place(interval.high), y1=7, y2=7),
    ]
    if _is_number(content) and math.isfinite(content):
        parts.append(tag("circle", class_="point", cx=place(content), cy=7, r=4))
    bar = tag("svg", *parts, viewBox="0 0 150 14", class_="range", role="img")
    return [Cell(join([text, how])), Cell(bar)]


def _grid_card(title: str, grid: _Grid) -> Markup | None:
    if grid.is_confusion:
        return tag("div", tag("h3", title), _confusion(grid), class_="card confusion")
    head = [Column(""), *(Column(name, "n") for name in grid.columns)]
    rows: list[list[Cell | str]] = [
        [name, *(_cell(cell) for cell in cells)]
        for name, cells in zip(grid.rows, grid.cells, strict=True)
    ]
    return card(table(head, rows), title=title)


def _confusion(grid: _Grid) -> Markup:
    """Rows are true classes, columns are predicted ones; shades are shares of the row."""
    sums = [sum(row) for row in grid.cells]
    columns = [sum(column) for column in zip(*grid.cells, strict=True)]
    over = tag(
        "th", "predicted", class_="axis-name", colspan=len(grid.columns) + 1, scope="colgroup"
    )
    names = [tag("th", name, scope="col") for name in grid.columns]
    head = join(
        [
            tag("tr", tag("td"), over),
            tag("tr", tag("th", "true", scope="col"), *names, tag("th", "sum", scope="col")),
        ]
    )
    body = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(_shaded(cell, total, i == j) for j, cell in enumerate(cells)),
            tag("td", number(total), class_="sum"),
        )
        for i, (name, cells, total) in enumerate(zip(grid.rows, grid.cells, sums, strict=True))
    ]
    last = [tag("td", number(total), class_="sum") for total in [*columns, sum(sums)]]
    foot = tag("tr", tag("th", "sum", scope="row", class_="sum"), *last)
    matrix = tag("table", tag("thead", head), tag("tbody", *body, foot), class_="matrix")
    return join([tag("div", class_="tools matrix-tools"), matrix])


def _shaded(count: float, total: float, right: bool) -> Markup:
    share = count / total if total else 0.0
    shade = math.ceil(share * _SHADES) if share > 0.004 else 0
    style = f"h{min(shade, _SHADES)}" + (" right-cell" if right else "")
    percent = f"{share:.1%}"
    hint = f"{number(count)}, {percent} of its row"
    return tag(
        "td", number(count), class_=style, title=hint, data_count=number(count), data_share=percent
    )


def _is_number(content: Any) -> bool:
    return isinstance(content, int | float) and not isinstance(content, bool)
