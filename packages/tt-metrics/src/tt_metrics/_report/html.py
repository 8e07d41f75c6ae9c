"""Reports as HTML that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tt_metrics._report.content import Section
from tt_metrics._report.formats import TextTable, blocks, one_line, signatures

__all__ = ["document", "fragment", "table_element"]

_STYLE = """
.tt-report { font-family: system-ui, sans-serif; line-height: 1.4; }
.tt-report table { border-collapse: collapse; margin: 0 0 1em; font-variant-numeric: tabular-nums; }
.tt-report th, .tt-report td { padding: 0.2em 0.8em; text-align: right; border: 0; }
.tt-report thead th { border-bottom: 1px solid currentColor; }
.tt-report .left { text-align: left; }
.tt-report tbody th { font-weight: normal; }
.tt-report code { display: block; white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def document(title: str, confidence: float | None, sections: Sequence[Section]) -> str:
    """A whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(title)}</title>\n</head>\n<body>\n"
        f"{fragment(title, confidence, sections)}\n</body>\n</html>\n"
    )


def fragment(title: str, confidence: float | None, sections: Sequence[Section]) -> str:
    """The report's part of a page, with its style."""
    parts = [f"<style>{_STYLE}</style>", f"<h2>{_text(title)}</h2>"]
    for section in sections:
        if section.name:
            parts.append(f"<h3>{_text(section.name)}</h3>")
        parts += [table_element(table) for table in blocks(confidence, section)]
        if lines := signatures(section):
            shown = "".join(f"<code>{_text(line)}</code>" for line in lines)
            parts.append(f"<details><summary>Signatures</summary>{shown}</details>")
    return '<div class="tt-report">\n' + "\n".join(parts) + "\n</div>"


def table_element(table: TextTable) -> str:
    """One table."""
    head = "".join(
        _cell("th", "col", name, place in table.left) for place, name in enumerate(table.header)
    )
    rows = "\n".join(
        "<tr>"
        + _cell("th", "row", row[0], True)
        + "".join(
            _cell("td", "", cell, place in table.left) for place, cell in enumerate(row[1:], 1)
        )
        + "</tr>"
        for row in table.rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _cell(tag: str, scope: str, text: str, left: bool) -> str:
    scoped = f' scope="{scope}"' if scope else ""
    aligned = ' class="left"' if left else ""
    return f"<{tag}{scoped}{aligned}>{_text(text)}</{tag}>"


def _text(text: str) -> str:
    return escape(one_line(text))
