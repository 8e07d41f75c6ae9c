"""Runs as JSON documents, whose keys do not change."""

from __future__ import annotations

from typing import Any

from tt_experiment.runs import RunSummary


def run_as_json(run: RunSummary) -> dict[str, Any]:
    """What a summary knows."""
    return {
        "path": str(run.path),
        "id": run.id,
        "project": run.project,
        "experiment": run.experiment,
        "name": run.name,
        "status": run.status,
        "created": run.created,
        "ended": run.ended,
        "attempts": run.attempts,
        "parent": run.parent,
        "hyperparams": dict(run.hyperparams),
        "metrics": {name: metric._asdict() for name, metric in run.metrics.items()},
        "results": dict(run.results),
        "problems": list(run.problems),
    }
