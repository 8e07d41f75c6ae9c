"""``tt-experiment gc``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tt_experiment._command.chosen import named_runs
from tt_experiment._command.console import shown, visible
from tt_experiment._command.status import FAILED, OK
from tt_experiment._command.tables import size
from tt_experiment.errors import ExperimentError, QueryError
from tt_experiment.retention import Retention

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments
    from tt_experiment._command.console import Console
    from tt_experiment._runs.cleanup import Doomed, Rules, Spared
    from tt_experiment.runs import RunSummary


@dataclass
class Outcome:
    """What came of a cleaning."""

    gone: list[Doomed] = field(default_factory=list)
    spared: list[Spared] = field(default_factory=list)
    failed: list[Path] = field(default_factory=list)


def gc(arguments: Arguments, console: Console) -> int:
    """Run ``gc``."""
    from tt_experiment._runs.cleanup import Rules

    rules = Rules(_retention(arguments), arguments.older_than)
    outcome = Outcome()
    for run in named_runs(arguments):
        try:
            _clean(arguments, run, rules, outcome)
        except (ExperimentError, OSError) as error:
            outcome.failed.append(run.path)
            console.error(f"{shown(run.path)}: {error}")
    _tell(console, outcome, dry_run=not arguments.yes)
    return FAILED if outcome.failed else OK


def _retention(arguments: Arguments) -> Retention | None:
    if arguments.whole_runs:
        if arguments.keep_last or arguments.keep_best:
            msg = "--whole-runs removes runs: leave --keep-last and --keep-best out"
            raise QueryError(msg)
        return None
    if arguments.keep_last or arguments.keep_best:
        return Retention(last=arguments.keep_last, best=arguments.keep_best)
    return None if arguments.older_than is None else Retention(last=1)


def _clean(arguments: Arguments, run: RunSummary, rules: Rules, outcome: Outcome) -> None:
    from tt_experiment._runs import cleanup

    with cleanup.alone(run, write=arguments.yes) as reason:
        if reason is not None:
            outcome.spared.append(cleanup.Spared(run.path, reason))
            return
        doomed = cleanup.leftovers(run.path)
        if arguments.whole_runs:
            whole = cleanup.doomed_run(run, rules)
            if isinstance(whole, cleanup.Spared):
                outcome.spared.append(whole)
            elif whole is not None:
                doomed = [whole]
        else:
            checkpoints, spared = cleanup.doomed_checkpoints(run.path, rules)
            doomed += checkpoints
            outcome.spared += spared
        for item in cleanup.remove(run.path, doomed) if arguments.yes else doomed:
            outcome.gone.append(item)


def _tell(console: Console, outcome: Outcome, *, dry_run: bool) -> None:
    total = sum(item.size for item in outcome.gone)
    document: dict[str, Any] = {
        "dry_run": dry_run,
        "removed": [item._asdict() for item in outcome.gone],
        "spared": [item._asdict() for item in outcome.spared],
        "failed": outcome.failed,
        "bytes": total,
    }
    console.document(document)
    would = "would be " if dry_run else ""
    for item in outcome.gone:
        console.result(f"{would}removed: {item.what} {shown(item.path)} ({size(item.size)})")
    for path, reason in outcome.spared:
        console.note(f"kept: {shown(path)}: {visible(reason)}")
    hint = "; nothing is removed without --yes" if dry_run and outcome.gone else ""
    console.note(f"{len(outcome.gone):,} {would}removed, {size(total)}{hint}")
