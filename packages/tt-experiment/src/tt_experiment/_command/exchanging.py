"""``tt-experiment export`` and ``import``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tt_experiment._command.chosen import named_runs, root_of
from tt_experiment._command.console import shown, visible
from tt_experiment._command.status import FAILED, OK
from tt_experiment.errors import ExperimentError, MissingDependency, QueryError

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments
    from tt_experiment._command.console import Console
    from tt_experiment.runs import RunSummary


def export(arguments: Arguments, console: Console) -> int:
    """Run ``export``."""
    runs = named_runs(arguments)
    if arguments.step is not None and arguments.to != "pth":
        msg = "--step chooses the checkpoint of --to pth"
        raise QueryError(msg)
    failed: list[str] = []
    if arguments.to in _TABLES:
        written = [shown(path) for path in _TABLES[arguments.to](runs, arguments)]
    else:
        written, failed = _each(runs, arguments, console)
    console.document(
        {
            "to": arguments.to,
            "runs": [str(run.path) for run in runs],
            "written": written,
            "failed": failed,
        }
    )
    for name in written:
        console.result(visible(name))
    return FAILED if failed else OK


def _each(
    runs: Sequence[RunSummary], arguments: Arguments, console: Console
) -> tuple[list[str], list[str]]:
    """Write each run; one that cannot be written does not keep others from it."""
    written, failed = [], []
    for run in runs:
        try:
            written.append(_RUNS[arguments.to](run, arguments, len(runs) > 1))
        except (ExperimentError, OSError) as error:
            if len(runs) == 1 or isinstance(error, MissingDependency):
                raise
            failed.append(str(run.path))
            console.error(f"{shown(run.path)}: {error}")
    return written, failed


def _csv(runs: Sequence[RunSummary], arguments: Arguments) -> Sequence[Path]:
    from tt_experiment.exports.csv_files import write_csv

    return write_csv(runs, arguments.target)


def _parquet(runs: Sequence[RunSummary], arguments: Arguments) -> Sequence[Path]:
    from tt_experiment.exports.parquet import write_parquet

    return write_parquet(runs, arguments.target)


def _tensorboard(run: RunSummary, arguments: Arguments, several: bool) -> str:  # noqa: ARG001 - as all
    from tt_experiment.exports.tensorboard import export_tensorboard

    return shown(export_tensorboard(run, arguments.target))


def _mlflow(run: RunSummary, arguments: Arguments, several: bool) -> str:  # noqa: ARG001 - as all
    from tt_experiment.exports.mlflow import export_mlflow

    return export_mlflow(run, arguments.target)


def _pth(run: RunSummary, arguments: Arguments, several: bool) -> str:
    from tt_experiment.exports.pth import export_pth

    target = Path(arguments.target)
    file = target if target.suffix and not several else target / f"{run.name}.pth"
    return shown(export_pth(run.path, file, step=arguments.step))


_TABLES: dict[str, Callable[[Sequence[RunSummary], Arguments], Sequence[Path]]] = {
    "csv": _csv,
    "parquet": _parquet,
}
_RUNS: dict[str, Callable[[RunSummary, Arguments, bool], str]] = {
    "mlflow": _mlflow,
    "pth": _pth,
    "tensorboard": _tensorboard,
}
FORMATS = tuple(sorted({*_TABLES, *_RUNS}))


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
