"""``tt-experiment report``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tt_experiment._command.chosen import named_runs
from tt_experiment._command.console import shown
from tt_experiment._command.status import FAILED, OK
from tt_experiment.errors import ExperimentError

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments
    from tt_experiment._command.console import Console


def report(arguments: Arguments, console: Console) -> int:
    """Run ``report``: write the pages anew, and seal again what was sealed."""
    from tt_experiment._runs.reseal import changing
    from tt_experiment.folder import ExperimentFolder
    from tt_experiment.report import write_report

    written, failed = [], []
    for run in named_runs(arguments):
        try:
            folder = ExperimentFolder(run.path)
            with changing(run.path, [folder.report_file.relative_to(run.path).as_posix()]):
                written.append(write_report(folder))
        except (ExperimentError, OSError) as error:
            failed.append(run.path)
            console.error(f"{shown(run.path)}: {error}")
    console.document({"written": list(map(str, written)), "failed": list(map(str, failed))})
    for page in written:
        console.result(shown(page))
    return FAILED if failed else OK
