"""What the command prints: reports and comparisons as text, Markdown, HTML, JSON or CSV."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tt_metrics._errors import MetricInputError
from tt_metrics._report import formats, html
from tt_metrics._report.json import to_json
from tt_metrics._report.report import Report
from tt_metrics._uncertainty.compare import Comparison

__all__ = ["FORMATS", "Outcome", "check_output", "write"]


@dataclass(frozen=True)
class Outcome:
    """All that there is to print.

    Attributes:
        reports: One per system.
        sources: The file of each.
        comparisons: One per metric, if there are two systems.
    """

    reports: Sequence[Report]
    sources: Sequence[str]
    comparisons: Sequence[Comparison]


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {
            "name": each.metric_name,
            "first": each.first,
            "second": each.second,
            "difference": each.difference,
            "low": each.interval.low,
            "high": each.interval.high,
            "p_value": each.p_value,
            "test": each.test,
            "n": each.n,
            "signature": each.signature,
        }
        for each in outcome.comparisons
    ]


def _table(outcome: Outcome) -> formats.TextTable:
    """The two systems side by side, a row per metric."""
    confidence = outcome.comparisons[0].interval.confidence
    interval = f"{100 * confidence:g} % interval"
    header = ["name", "first", "second", "difference", interval, "p", "test"]
    shown = formats.shown
    rows = [
        [
            formats.one_line(row["name"]),
            *(shown(row[name]) for name in ("first", "second", "difference")),
            f"[{shown(row['low'])}, {shown(row['high'])}]",
            shown(row["p_value"]),
            row["test"],
        ]
        for row in _rows(outcome)
    ]
    return formats.TextTable(header, rows, {0, 6})


def _heading(outcome: Outcome) -> str:
    first, second = map(formats.one_line, outcome.sources)
    return f"First: {first}, second: {second}"


def _text(outcome: Outcome) -> str:
    parts = [str(report) for report in outcome.reports]
    if outcome.comparisons:
        parts += [f"{_heading(outcome)}\n\n{formats.aligned(_table(outcome))}"]
    return "\n\n\n".join(parts) + "\n"


def _markdown(outcome: Outcome) -> str:
    parts = [report.to_markdown() for report in outcome.reports]
    if outcome.comparisons:
        title = formats.escaped(_heading(outcome))
        parts += [f"# {title}\n\n{formats.piped(_table(outcome))}\n"]
    return "\n".join(parts)


def _html(outcome: Outcome) -> str:
    page = outcome.reports[0].to_html()
    more = [report._repr_html_() for report in outcome.reports[1:]]
    if outcome.comparisons:
        heading = f"<h2>{escape(_heading(outcome))}</h2>"
        more += [
            f'<div class="tt-report">\n{heading}\n{html.table_element(_table(outcome))}\n</div>'
        ]
    return page.replace("</body>", "".join(f"{part}\n" for part in more) + "</body>")


def _json(outcome: Outcome) -> str:
    first = outcome.reports[0].to_dict()
    if len(outcome.reports) == 1:
        return to_json(first, 2) + "\n"
    systems = [report.to_dict() for report in outcome.reports]
    return to_json({"systems": systems, "comparisons": _rows(outcome)}, 2) + "\n"


def _csv(outcome: Outcome) -> str:
    """A row per number; with two systems a row per metric."""
    rows: list[Mapping[str, Any]] = [vars(row) for row in outcome.reports[0].rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, list((_rows(outcome) or rows)[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(outcome) or rows)
    return file.getvalue()


FORMATS: dict[str, Callable[[Outcome], str]] = {
    "text": _text,
    "markdown": _markdown,
    "html": _html,
    "json": _json,
    "csv": _csv,
}


def check_output(output: str, inputs: Iterable[Path]) -> None:
    """Refuse to write over a file that is read, by whatever name."""
    for path in inputs:
        with suppress(FileNotFoundError):
            if Path(output).samefile(path):
                msg = f"--output must not be a file that is read; it is {path}. Name another."
                raise MetricInputError(msg)


def write(text: str, output: str | None) -> None:
    """Write to a file, whole or not at all, or to the terminal."""
    if output is None:
        sys.stdout.write(text)
        return
    path = Path(output)
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")  # /dev/stdout or a pipe cannot be replaced
        return
    try:
        _replace(path.resolve(), text)  # behind a link: the link stays
    except OSError as error:  # name the file that was asked for, not the one beside it
        raise OSError(error.errno, error.strerror, output) from error


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
