"""What a report says of how a run went: its attempts and its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tt_experiment._report.columns import Attempt, Columns
from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.parts import (
    DASH,
    Cell,
    Column,
    badge,
    card,
    date,
    duration,
    flat,
    moment,
    shorten,
    table,
)
from tt_experiment._report.svg import number

__all__ = ["attempts", "events", "listed", "seconds", "span"]

_MAX_EVENTS = 250
_EVENT_STYLES = {
    "start": "running",
    "resume": "running",
    "checkpoint": "plain",
    "best": "completed",
    "preempt": "interrupted",
    "exception": "failed",
    "end": "plain",
}
_EVENTS = [
    Column("time", "", "up"),
    Column("after", "n"),
    Column("what", "", "up"),
    Column("details", ""),
]
_ATTEMPTS = [
    Column("attempt", "n"),
    Column("from step", "n"),
    Column("to step", "n"),
    Column("started", ""),
    Column("ended", ""),
    Column("took", "n"),
    Column("host", ""),
    Column("how it ended", ""),
    Column("done again", "n"),
]


def attempts(run: Mapping[str, Any], columns: Columns) -> Markup | None:
    """How each attempt began and ended, and what had to be done again."""
    found = listed(run)
    recorded = {attempt.number: attempt for attempt in columns.attempts}
    rows: list[list[Cell | str]] = []
    for i, attempt in enumerate(found):
        mine = recorded.get(attempt.get("number", -1))
        ending = _ending(attempt, run, i == len(found) - 1)
        rows.append([*_course(attempt, i + 1, mine), ending, _lost(attempt, mine, found[i + 1 :])])
    return card(table(_ATTEMPTS, rows)) if rows else None


def _course(attempt: Mapping[str, Any], number: int, mine: Attempt | None) -> list[Cell | str]:
    """From where to where an attempt went, and when."""
    return [
        str(attempt.get("number", number)),
        str(attempt.get("from_step", DASH)),
        str(mine.last_step) if mine and mine.last_step is not None else DASH,
        Cell(date(attempt.get("started")), "t"),
        Cell(date(attempt.get("ended")), "t"),
        duration(span(attempt, mine)),
        shorten(str(attempt.get("host", "")), 40),
    ]


def listed(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The attempts that ``run.json`` tells of."""
    found = run.get("attempts")
    return [a for a in found if isinstance(a, dict)] if isinstance(found, list) else []


def seconds(run: Mapping[str, Any], columns: Columns) -> float | None:
    """How long all attempts ran together."""
    recorded = {attempt.number: attempt for attempt in columns.attempts}
    spans = [span(a, recorded.get(a.get("number", -1))) for a in listed(run)]
    known = [found for found in spans if found is not None]
    return sum(known) if known else None


def span(attempt: Mapping[str, Any], mine: Attempt | None) -> float | None:
    """How long an attempt ran; one that was killed, up to its last record."""
    begin, end = moment(attempt.get("started")), moment(attempt.get("ended"))
    if end is None and mine is not None and mine.last_time is not None:
        end = datetime.fromtimestamp(mine.last_time, tz=UTC)
    return max((end - begin).total_seconds(), 0.0) if begin and end else None


def _ending(attempt: Mapping[str, Any], run: Mapping[str, Any], last: bool) -> Cell:
    status = attempt.get("status")
    if status:
        return Cell(badge(str(status)))
    if last and run.get("status") == "running":
        return Cell(join([badge("running"), tag("span", " or killed", class_="dim")]))
    return Cell(join([badge("died"), tag("span", " no farewell", class_="dim")]))


def _lost(
    attempt: Mapping[str, Any], mine: Attempt | None, later: Sequence[Mapping[str, Any]]
) -> str:
    begins = [a["from_step"] for a in later if isinstance(a.get("from_step"), int)]
    if mine is None or mine.last_step is None or not begins:
        return ""
    lost = mine.last_step - min(begins)
    if lost > 0:
        return f"{lost:,} steps"
    return (
        "nothing" if attempt.get("ended") else "nothing recorded"
    )  # what it did since, none knows


def events(found: Sequence[Mapping[str, Any]]) -> Markup | None:
    """What happened, in order."""
    if not found:
        return None
    begin = moment(found[0].get("time"))
    shown = found if len(found) <= _MAX_EVENTS else [*found[:20], *found[20 - _MAX_EVENTS :]]
    rows = [_event(event, begin) for event in shown]
    box = tag(
        "div", table(_EVENTS, rows), class_="scroll", tabindex=0, role="region", aria_label="Events"
    )
    more = len(found) - len(shown)
    text = f"{more} events in the middle are left out; events.jsonl has them."
    return card(box, tag("p", text, class_="note") if more else "")


def _event(event: Mapping[str, Any], begin: datetime | None) -> list[Cell | str]:
    now = moment(event.get("time"))
    after = duration((now - begin).total_seconds()) if now and begin else DASH
    kind = str(event.get("kind"))
    facts = event.get("data")
    data = flat(facts) if isinstance(facts, dict) and facts else {}
    said = ", ".join(f"{key} {_short(item)}" for key, item in data.items())
    return [
        Cell(date(event.get("time")), "t"),
        after,
        Cell(badge(shorten(kind, 60), _EVENT_STYLES.get(kind, "plain"))),
        shorten(said, 200),
    ]


def _short(item: Any) -> str:
    is_number = isinstance(item, int | float) and not isinstance(item, bool)
    return number(item) if is_number else str(item)
