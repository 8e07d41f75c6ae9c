"""``tt-experiment verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tt_experiment._command.chosen import named_runs
from tt_experiment._command.console import Colour, shown, visible
from tt_experiment._command.status import CORRUPT, OK

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments
    from tt_experiment._command.console import Console

_COLOURS: dict[str, Colour] = {"corrupt": "red", "missing": "red", "newer": "yellow"}


def verify(arguments: Arguments, console: Console) -> int:
    """Run ``verify``."""
    from tt_experiment._runs.verify import verify_run

    documents, damaged = [], 0
    runs = named_runs(arguments)
    for run in runs:
        findings = verify_run(run.path)
        is_damaged = any(finding.is_damage for finding in findings)
        damaged += is_damaged
        is_sealed = (run.path / "MANIFEST.json").is_file()
        state = "damaged" if is_damaged else "whole" if is_sealed else "whole so far, not sealed"
        console.result(
            f"{shown(run.path)}: {console.paint(state, 'red' if is_damaged else 'green')}"
        )
        for kind, file, message in findings:
            console.result(
                f"  {console.paint(kind, _COLOURS.get(kind))} {visible(file)}: {visible(message)}"
            )
        documents.append(
            {
                "path": str(run.path),
                "sealed": is_sealed,
                "whole": not is_damaged,
                "findings": [finding._asdict() for finding in findings],
            }
        )
    console.document({"runs": documents})
    console.note(f"{len(runs):,} run{'s' * (len(runs) != 1)} read through, {damaged:,} damaged")
    return CORRUPT if damaged else OK
