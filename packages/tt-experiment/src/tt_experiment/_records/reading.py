"""Reading what a run has recorded; what a kill or a power cut has torn is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tt_experiment import _json
from tt_experiment._records.segments import (
    is_record,
    number_of,
    read_lines,
    resumed_from,
    segments,
    uncollected,
)

__all__ = ["LineProblem", "failure", "history", "metrics_problems", "read_events", "read_metrics"]


class LineProblem(NamedTuple):
    """A line that a reader leaves out."""

    path: Path
    line: int
    """Number of the line, from 1."""
    text: str
    """What is wrong with it."""


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Read the metrics of a run as one history.

    Args:
        path: The ``metrics`` folder of a run, or the run's own folder.

    Returns:
        Records with ``step``, ``epoch``, ``time``, ``attempt`` and ``values`` in order. What an
        attempt recorded after the state from which a later one goes on is left out, and so is a
        line that a kill has torn; `metrics_problems` tells which.
    """
    records: list[dict[str, Any]] = []
    with uncollected():
        for segment in segments(_metrics_folder(path)):
            found, resumed = _read_segment(segment)
            if resumed is not None:
                records = _before(records, *resumed)
            records += found
    return records


def _metrics_folder(path: Path | str) -> Path:
    folder = Path(path)
    return folder / "metrics" if (folder / "metrics").is_dir() else folder


def _before(records: list[dict[str, Any]], step: int, of_it: int | None) -> list[dict[str, Any]]:
    """Records up to a step, and of that very step only so many; None: all."""
    before = [record for record in records if record["step"] < step]
    return before + [record for record in records if record["step"] == step][:of_it]


def _read_segment(path: Path) -> tuple[list[dict[str, Any]], tuple[int, int | None] | None]:
    """The records of an attempt and from where it went on; None if there is nothing."""
    attempt, resumed, records = number_of(path), None, []
    for _, line in read_lines(path):
        if line is None:
            continue
        if resumed is None:
            resumed = resumed_from(line)
        if is_record(line):
            records.append(_record(line, attempt))
    return records, resumed


def _record(line: dict[str, Any], attempt: int) -> dict[str, Any]:
    values = line["values"]
    if "nonfinite" in line or None in values.values():
        values = _json.restore(values, line.get("nonfinite", {}))
    return {
        "step": line["step"],
        "epoch": line.get("epoch"),
        "time": line.get("time"),
        "attempt": attempt,
        "values": values,
    }


def history(records: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Curves of the metrics in records: by name, pairs of step and value."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, value in record["values"].items():
            curves.setdefault(name, []).append((record["step"], value))
    return curves


def read_events(path: Path | str) -> list[dict[str, Any]]:
    """Read ``events.jsonl``, without a line that a kill has torn; empty if there is no file."""
    return [line for _, line in read_lines(Path(path)) if line is not None and "kind" in line]


def failure(status: str, events: list[dict[str, Any]]) -> str | None:
    """What ended a run that failed, if its events tell."""
    facts = next((e.get("data") for e in reversed(events) if e["kind"] == "exception"), None)
    if status != "failed" or not isinstance(facts, dict):
        return None
    return f"{facts.get('type', 'failed')}: {facts.get('text', '')}"


def metrics_problems(path: Path | str) -> list[LineProblem]:
    """Lines that reading a run leaves out: of its metrics, its events and its system metrics.

    A kill leaves at most one in each file, its last; more are damage.

    Args:
        path: The run's own folder.
    """
    run = Path(path)
    files = dict.fromkeys(segments(run / "metrics"), _is_metrics_line)
    files |= dict.fromkeys(segments(run / "system"), _is_system_line)
    files[run / "events.jsonl"] = _is_event
    return [
        LineProblem(file, number, "no JSON object" if line is None else "not a known record")
        for file, is_known in files.items()
        for number, line in read_lines(file)
        if line is None or not is_known(line)
    ]


def _is_metrics_line(line: dict[str, Any]) -> bool:
    return "resumed_from_step" in line or is_record(line)


def _is_system_line(line: dict[str, Any]) -> bool:
    return "format" in line or type(line.get("values")) is dict


def _is_event(line: dict[str, Any]) -> bool:
    return isinstance(line.get("kind"), str) and isinstance(line.get("data"), dict)
