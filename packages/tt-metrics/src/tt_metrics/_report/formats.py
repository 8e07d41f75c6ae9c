"""Reports as plain text and as Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tt_metrics._report.content import ClassRow, ClassTable, Grid, Row, Section

__all__ = [
    "TextTable",
    "aligned",
    "blocks",
    "escaped",
    "markdown",
    "one_line",
    "piped",
    "plain_text",
    "shown",
    "signatures",
]


class TextTable(NamedTuple):
    """A table whose cells are texts; the columns in `left` are aligned to the left."""

    header: list[str]
    rows: list[list[str]]
    left: set[int]


def blocks(confidence: float | None, section: Section) -> Iterator[TextTable]:
    """The tables of a section: its numbers, then its classes."""
    if section.rows:
        yield _number_table(confidence, section.rows)
    for table in section.tables:
        yield _class_table(table)
    for grid in section.grids:
        yield _grid_table(grid)


def signatures(section: Section) -> list[str]:
    """The signatures of a section, each once."""
    parts: list[Row | Grid] = [*section.rows, *section.grids]
    return list(dict.fromkeys(part.signature for part in parts if part.signature))


def _number_table(confidence: float | None, rows: Sequence[Row]) -> TextTable:
    columns = {
        "name": [one_line(row.name) for row in rows],
        "value": [shown(row.value) for row in rows],
        f"{100 * (confidence or 0):g} % interval": [_interval(row) for row in rows],
        "n": [shown(row.count) for row in rows],
        "method": [one_line(row.method or "") for row in rows],
    }
    kept = {name: cells for name, cells in columns.items() if any(cells) or name == "name"}
    left = {place for place, name in enumerate(kept) if name in ("name", "method")}
    return TextTable(list(kept), [list(row) for row in zip(*kept.values(), strict=True)], left)


def _interval(row: Row) -> str:
    return "" if row.low is None else f"[{shown(row.low)}, {shown(row.high)}]"


def _class_table(table: ClassTable) -> TextTable:
    rows = [_class_row(row, one_line(str(row.label))) for row in table.classes]
    rows += [_class_row(row, f"{row.label} average") for row in table.averages]
    return TextTable(["class", "precision", "recall", "F1", "support"], rows, {0})


def _grid_table(grid: Grid) -> TextTable:
    rows = [
        [one_line(label), *map(shown, cells)]
        for label, cells in zip(grid.labels, grid.cells, strict=True)
    ]
    return TextTable([one_line(grid.name), *map(one_line, grid.columns)], rows, {0})


def _class_row(row: ClassRow, label: str) -> list[str]:
    return [label, *map(shown, (row.precision, row.recall, row.f1, row.support))]


def shown(value: Any) -> str:
    """A value in a cell: four decimals where they say something."""
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        number = float(value)
        plain = number == 0 or 1e-3 <= abs(number) < 1e6 or not math.isfinite(number)
        return f"{number:.4f}" if plain else f"{number:.3e}"
    if isinstance(value, (list, tuple)) or getattr(value, "shape", None):
        return f"array of shape {np.shape(value)}"
    return one_line(str(value))


def one_line(text: str) -> str:
    """A text without line breaks and control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def plain_text(title: str, confidence: float | None, sections: Sequence[Section]) -> str:
    """The report in aligned columns."""
    parts = [_underlined(one_line(title), "=")]
    for section in sections:
        if section.name:
            parts.append(_underlined(one_line(section.name), "-"))
        parts += [aligned(table) for table in blocks(confidence, section)]
        parts += ["\n".join(map(one_line, signatures(section)))]
    return "\n\n".join(part for part in parts if part)


def _underlined(text: str, mark: str) -> str:
    return f"{text}\n{mark * len(text)}"


def aligned(table: TextTable) -> str:
    """A table in plain text."""
    lines = [table.header, *table.rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in table.left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


_MARKUP = re.compile(r"[\\`*\[\]<>|~#&!$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def escaped(text: str) -> str:
    """Text that Markdown shows as it is; an underscore inside a word is no markup."""
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
    return _MARKUP.sub(lambda mark: entities.get(mark[0], f"\\{mark[0]}"), one_line(text))


def markdown(title: str, confidence: float | None, sections: Sequence[Section]) -> str:
    """The report as GitHub's Markdown."""
    parts = [f"# {escaped(title)}"]
    for section in sections:
        if section.name:
            parts.append(f"## {escaped(section.name)}")
        parts += [piped(table) for table in blocks(confidence, section)]
        parts.append("\n".join(f"- {escaped(line)}" for line in signatures(section)))
    return "\n\n".join(part for part in parts if part) + "\n"


def piped(table: TextTable) -> str:
    """A table in Markdown."""
    rule = [":--" if place in table.left else "--:" for place in range(len(table.header))]
    header, *rows = ([escaped(cell) for cell in row] for row in (table.header, *table.rows))
    lines = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
