"""The command ``tt-metrics``.

    tt-metrics score --task classification --true labels.csv:label --pred predictions.csv

Exit status: 0; 2 for a wrong command line or a file that cannot be scored, with one line that says
why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tt_metrics._command.columns import read_columns
from tt_metrics._command.output import FORMATS, Outcome
from tt_metrics._command.score import label_texts, prepared, scored
from tt_metrics._command.tasks import TASKS, Settings
from tt_metrics._core.metric import Metric, version
from tt_metrics._errors import MetricError
from tt_metrics._report.report import Report
from tt_metrics._uncertainty.compare import Comparison, compare

__all__ = ["main"]

FILES = """\
Files: .csv, .tsv, .txt (one label per line), .jsonl, .npy and .npz. FILE:COLUMN chooses a column by
its name (in a file without names by its number from 1), FILE:COLUMN,COLUMN several. Several columns
of predictions are scores, one per class; if they are called as the classes are, their order does
not matter. Cells are numbers or labels; an empty cell, or a text among numbers, is an error.

  tt-metrics score --task classification --true test.csv:label --pred test.csv:predicted
  tt-metrics score --task binary --true y.npy --pred scores.npz:model --metrics roc_auc
  tt-metrics score --task regression --true y.csv --pred ours.csv --compare theirs.csv
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, or those of the process; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        _write(FORMATS[options.format](_outcome(options)), options.output)
    except (MetricError, OSError) as error:
        sys.stderr.write(f"tt-metrics: error: {_one_line(error)}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tt-metrics", description="Metrics of predictions.")
    parser.add_argument("--version", action="version", version=f"tt-metrics {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    about = "compute metrics of predictions in a file, with confidence intervals"
    score = commands.add_parser(
        "score",
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=FILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_data(score.add_argument_group("data"))
    _add_metrics(score.add_argument_group("metrics"))
    _add_statistics(score.add_argument_group("intervals and tests"))
    _add_output(score.add_argument_group("output"))
    return parser


def _add_data(group: Any) -> None:
    group.add_argument("--task", required=True, choices=TASKS, help="what the predictions are")
    group.add_argument("--true", required=True, metavar="FILE", help="targets")
    group.add_argument("--pred", required=True, metavar="FILE", help="labels, scores or numbers")
    group.add_argument("--compare", metavar="FILE", help="another system's, to compare with")
    group.add_argument("--id", metavar="COLUMN", help="match rows by this column of each file")
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line of a CSV file names the columns (default: as it looks)",
    )


def _add_metrics(group: Any) -> None:
    group.add_argument("--metrics", metavar="A,B", help="their names (default: those that fit)")
    group.add_argument(
        "--average",
        choices=["macro", "micro", "weighted", "samples", "none"],
        help="of a metric over classes; none: each class (default: macro; binary: positive label)",
    )
    group.add_argument("--labels", metavar="A,B", help="all labels, in the order of the columns")
    group.add_argument("--positive", metavar="LABEL", help="binary: which label counts (default 1)")
    group.add_argument(
        "--threshold", type=float, metavar="P", help="probability that makes a label (default 0.5)"
    )
    group.add_argument("--k", type=int, help="top_k_accuracy, ndcg, mrr, map: how many count")


def _add_statistics(group: Any) -> None:
    group.add_argument("--confidence", type=float, default=0.95, help="of intervals (%(default)s)")
    group.add_argument(
        "--resamples",
        type=int,
        default=1000,
        metavar="N",
        help="data sets drawn for an interval or a test (%(default)s); 0: no drawn intervals",
    )
    group.add_argument("--seed", type=int, default=0, help="what draws start from (%(default)s)")
    group.add_argument(
        "--test",
        choices=["randomization", "bootstrap", "mcnemar", "delong"],
        default="randomization",
        help="with --compare (%(default)s)",
    )


def _add_output(group: Any) -> None:
    group.add_argument("--format", choices=FORMATS, default="text", help="(%(default)s)")
    group.add_argument("--output", metavar="FILE", help="write to this file")


def _outcome(options: argparse.Namespace) -> Outcome:
    sources = [options.pred, *([options.compare] if options.compare else [])]
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
        "test": options.test,
        "n_resamples": options.resamples,
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


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        Path(output).write_text(text, encoding="utf-8")


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
