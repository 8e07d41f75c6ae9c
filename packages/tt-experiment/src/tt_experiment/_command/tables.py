"""Tables for terminals: fitted to its width, safe to print, numbers to the right."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tt_experiment._command.console import visible

if TYPE_CHECKING:
    from tt_experiment._command.console import Colour, Console
    from tt_experiment.runs import Scalar

_GAP = "  "
_NARROW = 8  # what a column of text keeps when there is no room
_CUT = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True, slots=True)
class Cell:
    """What one place of a table shows."""

    text: str
    is_number: bool = False
    colour: Colour | None = None


def cell(value: Scalar, colour: Colour | None = None) -> Cell:
    """A value as people read it: numbers in five digits, nothing for a missing one."""
    if value is None:
        return Cell("")
    if isinstance(value, bool):
        return Cell(str(value).lower())
    if isinstance(value, int | float):
        return Cell(number(value), is_number=True)
    return Cell(visible(value), colour=colour)


def cells(values: Sequence[Scalar]) -> list[Cell]:
    """Values of one name: with all their digits where five make different ones look the same."""
    found = [cell(value) for value in values]
    if len({c.text for c in found}) == len(set(map(repr, values))):
        return found
    return [Cell(repr(v), is_number=True) if type(v) is float else cell(v) for v in values]


def number(value: float) -> str:
    """A number in at most five digits; whole ones as they are."""
    return str(value) if isinstance(value, int) else f"{value:.5g}"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def write_table(console: Console, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table; columns that do not fit at all are left out, with a note."""
    heads = [visible(name) for name in head]
    widths = [
        max(_width(name), *(_width(row[i].text) for row in rows), 1) for i, name in enumerate(heads)
    ]
    numeric = [all(row[i].is_number or not row[i].text for row in rows) for i in range(len(heads))]
    widths = _fitted(widths, numeric, console.width)
    top = [Cell(name, is_number) for name, is_number in zip(heads, numeric, strict=True)]
    lines = [console.paint(_line(console, top, widths), "bold")]
    lines += [_line(console, row, widths) for row in rows]
    console.result("\n".join(lines))
    if console.width and (left_out := heads[len(widths) :]):
        console.note(f"no room for {', '.join(left_out)}: --columns chooses, --json has all")


def _fitted(widths: list[int], numeric: Sequence[bool], room: int | None) -> list[int]:
    """Take room from the widest columns of text; then leave out the last columns."""
    if room is None:
        return widths
    widths = list(widths)
    while (excess := _total(widths) - room) > 0:
        wide = [i for i, width in enumerate(widths) if not numeric[i] and width > _NARROW]
        if wide:
            first, *others = sorted((widths[i] for i in wide), reverse=True)
            step = max(1, min(excess, first - (others[0] if others else _NARROW)))
            i = max(wide, key=lambda i: widths[i])
            widths[i] = max(_NARROW, widths[i] - step)
        elif len(widths) > 1:
            widths.pop()
        else:
            return [max(1, room)]
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _line(console: Console, cells: Sequence[Cell], widths: Sequence[int]) -> str:
    parts = [_padded(console, c, width) for c, width in zip(cells, widths, strict=False)]
    return _GAP.join(parts).rstrip()


def _padded(console: Console, cell: Cell, width: int) -> str:
    text = _cut(cell.text, width)
    blank = " " * (width - _width(text))
    painted = console.paint(text, cell.colour)
    return blank + painted if cell.is_number else painted + blank


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += _width(character)
        if used > width - 1:
            break
        kept += character
    return kept + _CUT


def _width(text: str) -> int:
    """Columns that a terminal takes for text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )
