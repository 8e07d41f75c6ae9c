"""What ``tt-experiment show`` tells of a run's checkpoints, and of why it failed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tt_experiment._checkpoint.entries import Entry, scan
from tt_experiment._checkpoint.pins import read_pins
from tt_experiment._command.tables import Cell, cell, size, write_table
from tt_experiment._records.reading import failure, read_events
from tt_experiment.errors import CheckpointError, ExperimentError

if TYPE_CHECKING:
    from tt_experiment._command.console import Console
    from tt_experiment.runs import RunSummary

__all__ = ["Kept", "as_json", "read_kept", "write_kept"]


class Kept(NamedTuple):
    """What a run has kept, as far as its manifests and events tell."""

    entries: Sequence[Entry]
    """Newest first."""
    pinned: Mapping[str, str]
    best: Mapping[str, tuple[int, float]]
    """Step and value of the best by metric, where the run kept the best."""
    failure: str | None
    """What ended a run that failed."""
    problems: Sequence[str]


def read_kept(run: RunSummary) -> Kept:
    """Read it; what is damaged is told."""
    folder, problems = run.path / "checkpoint_model", []
    pinned: Mapping[str, str] = {}
    entries: Sequence[Entry] = ()
    try:
        pinned = read_pins(folder)
    except CheckpointError as error:
        problems.append(str(error))
    try:
        entries, damaged = scan(folder)
        problems += map(str, damaged)
    except (ExperimentError, OSError) as error:
        problems.append(str(error))
    events = _events(run)
    return Kept(entries, pinned, _best(events), failure(run.status, events), problems)


def _events(run: RunSummary) -> list[dict[str, Any]]:
    try:
        return read_events(run.path / "events.jsonl")
    except OSError:
        return []


def _best(events: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, float]]:
    found = [event.get("data") for event in events if event["kind"] == "best"]
    return {
        str(facts.get("metric")): (facts.get("step", -1), facts.get("value", math.nan))
        for facts in found
        if isinstance(facts, dict)
    }


def as_json(kept: Kept) -> dict[str, Any]:
    """For programs."""
    return {
        "failure": kept.failure,
        "checkpoints": [
            {
                "name": entry.path.name,
                "step": entry.step,
                "created": entry.created.isoformat(),
                "bytes": entry.bytes,
                "scores": dict(entry.scores),
                "pinned": kept.pinned.get(entry.path.name),
            }
            for entry in kept.entries
        ],
    }


def write_kept(console: Console, kept: Kept) -> None:
    """The checkpoints as a table."""
    if not kept.entries:
        return
    console.result("")
    names = list(dict.fromkeys(name for entry in kept.entries for name in entry.scores))
    rows = [
        [
            cell(entry.step),
            *(cell(entry.scores.get(name)) for name in names),
            Cell(size(entry.bytes), is_number=True),
            cell(entry.created.strftime("%Y-%m-%d %H:%M:%S")),
            cell(", ".join(_notes(entry, kept))),
        ]
        for entry in kept.entries
    ]
    write_table(console, ["checkpoint", *names, "size", "saved", ""], rows)


def _notes(entry: Entry, kept: Kept) -> Iterator[str]:
    if entry is kept.entries[0]:
        yield "latest"
    for name, (step, value) in kept.best.items():
        if step == entry.step and value == entry.scores.get(name):
            yield f"best {name}"
    if (reason := kept.pinned.get(entry.path.name)) is not None:
        yield f"pinned: {reason}" if reason else "pinned"
