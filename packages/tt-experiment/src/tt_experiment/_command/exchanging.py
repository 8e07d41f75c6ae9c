"""``tt-experiment export`` and ``import``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tt_experiment._command.chosen import named_runs, root_of
from tt_experiment._command.console import shown, visible
from tt_experiment._command.status import FAILED, OK
from tt_experiment.errors import ExperimentError, QueryError

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments
    from tt_experiment._command.console import Console
    from tt_experiment.runs import RunSummary

Written = list[str]


def export(arguments: Arguments, console: Console) -> int:
    """Run ``export``."""
    runs = named_runs(arguments)
    if arguments.step is not None and arguments.to != "pth":
        msg = "--step chooses the checkpoint of --to pth"
        raise QueryError(msg)
    written = _EXPORTS[arguments.to](runs, arguments)
    console.document({"to": arguments.to, "runs": [str(r.path) for r in runs], "written": written})
    for name in written:
        console.result(visible(name))
    return OK


def _csv(runs: Sequence[RunSummary], arguments: Arguments) -> Written:
    from tt_experiment.exports.csv_files import write_csv

    return [shown(path) for path in write_csv(runs, arguments.target)]


def _parquet(runs: Sequence[RunSummary], arguments: Arguments) -> Written:
    from tt_experiment.exports.parquet import write_parquet

    return [shown(path) for path in write_parquet(runs, arguments.target)]


def _tensorboard(runs: Sequence[RunSummary], arguments: Arguments) -> Written:
    from tt_experiment.exports.tensorboard import export_tensorboard

    return [shown(export_tensorboard(run, arguments.target)) for run in runs]


def _mlflow(runs: Sequence[RunSummary], arguments: Arguments) -> Written:
    from tt_experiment.exports.mlflow import export_mlflow

    return [export_mlflow(run, arguments.target) for run in runs]


def _pth(runs: Sequence[RunSummary], arguments: Arguments) -> Written:
    from tt_experiment.exports.pth import export_pth

    target = Path(arguments.target)
    if len(runs) == 1 and target.suffix:
        return [shown(export_pth(runs[0].path, target, step=arguments.step))]
    return [
        shown(export_pth(run.path, target / f"{run.name}.pth", step=arguments.step)) for run in runs
    ]


_EXPORTS: dict[str, Callable[[Sequence[RunSummary], Arguments], Written]] = {
    "csv": _csv,
    "mlflow": _mlflow,
    "parquet": _parquet,
    "pth": _pth,
    "tensorboard": _tensorboard,
}
FORMATS = tuple(_EXPORTS)


def import_runs(arguments: Arguments, console: Console) -> int:
    """Run ``import``."""
    from tt_experiment.imports.aitoolbox import experiments_in, import_aitoolbox

    root = root_of(arguments)
    documents, failed = [], 0
    for source in experiments_in(Path(arguments.source)):
        try:
            done = import_aitoolbox(source, root)
        except (ExperimentError, OSError) as error:
            failed += 1
            console.error(f"{shown(source)}: {error}")
            continue
        documents.append({"source": str(source), "path": str(done.path), "left_out": done.left_out})
        console.result(shown(done.path))
        for name, reason in done.left_out.items():
            console.error(f"left out: {visible(name)}: {reason}")
    console.document({"imported": documents, "failed": failed})
    return FAILED if failed else OK
