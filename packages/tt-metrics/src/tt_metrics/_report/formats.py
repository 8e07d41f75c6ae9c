"""Reports as plain text and as Markdown."""

from __future__ import annotations

import math
import re
import reprlib
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
    several = len({repr(table.zero_division) for table in section.tables}) > 1
    for table in section.tables:
        yield _class_table(table, several)
    for grid in section.grids:
        yield _grid_table(grid)


def signatures(section: Section) -> list[str]:
    """The signatures of a section, each once, without the settings that are None or False.

    Those are most of a signature and mean that nothing was set; rows and JSON have them all.
    """
    parts: list[Row | Grid] = [*section.rows, *section.grids]
    short = (_UNSET.sub("", part.signature) for part in parts if part.signature)
    return list(dict.fromkeys(short))


_UNSET = re.compile(r"\|\w+:(?:None|False)(?=\||$)")


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
    if row.low is None or row.high is None:
        return ""
    form = _form(row.low, row.high)  # one for both ends, so that they can be compared
    return f"[{row.low:{form}}, {row.high:{form}}]"


def _class_table(table: ClassTable, several: bool) -> TextTable:
    rows = [_class_row(row, one_line(str(row.label))) for row in table.classes]
    rows += [_class_row(row, f"{row.label} average") for row in table.averages]
    told = several and table.zero_division is not None
    first = f"class (zero_division={table.zero_division})" if told else "class"
    return TextTable([first, "precision", "recall", "F1", "support"], rows, {0})


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
        return f"{float(value):{_form(float(value))}}"
    if isinstance(value, (list, tuple)) or getattr(value, "shape", None):
        return _shown_array(value)
    return one_line(str(value))


def _form(*numbers: float) -> str:
    """How numbers that stand together are written: as the largest of them needs it."""
    largest = max((abs(number) for number in numbers if math.isfinite(number)), default=0.0)
    return ".4f" if largest == 0 or 1e-3 <= largest < 1e6 else ".3e"


def _shown_array(value: Any) -> str:
    try:
        return f"array of shape {np.shape(value)}"
    except (TypeError, ValueError):  # such as rows of different lengths
        return one_line(reprlib.repr(value))


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
        parts.append("\n".join(f"- {_code(line)}" for line in signatures(section)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _code(text: str) -> str:
    """Text as code, in which nothing is markup; backticks in it need a longer fence around it."""
    text = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def piped(table: TextTable) -> str:
    """A table in Markdown."""
    rule = [":--" if place in table.left else "--:" for place in range(len(table.header))]
    header, *rows = ([escaped(cell) for cell in row] for row in (table.header, *table.rows))
    lines = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
