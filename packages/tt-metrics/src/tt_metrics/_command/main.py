"""The command ``tt-metrics``.

    tt-metrics score --task classification --true labels.csv:label --pred predictions.csv

Exit status: 0; 2 for a wrong command line or a file that cannot be scored, with one line that says
why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tt_metrics._command.columns import path_of, read_columns
from tt_metrics._command.options import TEST_RESAMPLES, check_options, parser
from tt_metrics._command.output import FORMATS, Outcome, check_output, write
from tt_metrics._command.score import label_texts, prepared, scored
from tt_metrics._command.tasks import TASKS, Settings
from tt_metrics._core.metric import Metric
from tt_metrics._errors import MetricError
from tt_metrics._report.report import Report
from tt_metrics._uncertainty.compare import Comparison, compare

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, or those of the process; return its exit status."""
    options = parser().parse_args(arguments)
    try:
        check_options(options)
        write(FORMATS[options.format](_outcome(options)), options.output)
    except (MetricError, OSError) as error:
        sys.stderr.write(f"tt-metrics: error: {_one_line(error)}\n")
        return 2
    return 0


def _outcome(options: argparse.Namespace) -> Outcome:
    sources = [options.pred, *([options.compare] if options.compare else [])]
    if options.output is not None:
        check_output(options.output, map(path_of, (options.true, *sources)))
    labels = label_texts(options.labels)
    true, *systems = (
        read_columns(source, header=options.header, id_column=options.id, labels=labels)
        for source in (options.true, *sources)
    )
    data = prepared(options.task, true, systems, labels, options.positive)
    settings = Settings(
        average=options.average, positive_class_thresh=options.threshold, k=options.k
    )
    metrics, notes = scored(TASKS[options.task], data, options.metrics, settings)
    reports = [
        Report(
            *each,
            title=f"{source} against {options.true}",
            confidence=options.confidence,
            n_resamples=options.resamples,
            seed=options.seed,
        )
        for source, each in zip(sources, metrics, strict=True)
    ]
    comparisons, more = _compared(metrics, options) if options.compare else ([], [])
    for note in notes + more:
        sys.stderr.write(f"tt-metrics: {note}\n")
    return Outcome(reports, sources, comparisons)


def _compared(
    systems: Sequence[Sequence[Metric[Any]]], options: argparse.Namespace
) -> tuple[list[Comparison], list[str]]:
    """Compare by each metric; those that nobody named and that cannot be compared give a note."""
    settings = {
        "test": options.test or "auto",
        "n_resamples": options.resamples or TEST_RESAMPLES,
        "seed": options.seed,
        "confidence": options.confidence,
    }
    comparisons, failed = [], []
    for first, second in zip(*systems, strict=True):
        try:
            comparisons.append(compare(first, second, **settings))
        except MetricError as error:
            failed.append((first.metric_name, error))
    if failed and (options.metrics or not comparisons):
        raise failed[0][1]
    return comparisons, [f"did not compare {name}: {error}" for name, error in failed]


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
