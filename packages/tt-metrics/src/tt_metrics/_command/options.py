"""The command line: what can be said, and what means nothing for a task."""

from __future__ import annotations

import argparse
from typing import Any

from tt_metrics._command.output import FORMATS
from tt_metrics._command.tasks import TASKS
from tt_metrics._core.metric import version
from tt_metrics._errors import MetricInputError

__all__ = ["TEST_RESAMPLES", "check_options", "parser"]

TEST_RESAMPLES = 10_000  # that of `compare`
FOR_TASKS = {  # the others have no use for it
    "average": ("classification", "binary", "multilabel"),
    "labels": ("classification", "binary", "multilabel"),
    "positive": ("binary",),
    "threshold": ("binary", "multilabel"),
    "k": ("classification", "retrieval"),
}
FILES = """\
Files: .csv, .tsv, .txt (one label per line), .jsonl, .npy and .npz. FILE:COLUMN chooses a column by
its name (in a file without names by its number from 1), FILE:COLUMN,COLUMN several. Several columns
of predictions are scores, one per class; if they are called as the classes are, their order does
not matter, and if they are called otherwise they must be chosen. Cells are numbers or labels; an
empty cell, or a text among numbers, is an error.

  tt-metrics score --task classification --true test.csv:label --pred test.csv:predicted
  tt-metrics score --task binary --true y.npy --pred scores.npz:model --metrics roc_auc
  tt-metrics score --task regression --true y.csv --pred ours.csv --compare theirs.csv
"""


def parser() -> argparse.ArgumentParser:
    """What reads the command line."""
    command = argparse.ArgumentParser(prog="tt-metrics", description="Metrics of predictions.")
    command.add_argument("--version", action="version", version=f"tt-metrics {version()}")
    commands = command.add_subparsers(dest="command", required=True, metavar="command")
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
    return command


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
        "--threshold",
        type=float,
        metavar="P",
        help="binary, multilabel: probability that makes a label (default 0.5)",
    )
    group.add_argument("--k", type=int, help="top_k_accuracy, ndcg, mrr, map: how many count")


def _add_statistics(group: Any) -> None:
    group.add_argument("--confidence", type=float, default=0.95, help="of intervals (%(default)s)")
    group.add_argument(
        "--resamples",
        type=_count,
        default=1000,
        metavar="N",
        help="data sets drawn for an interval, and for a test (%(default)s); 0: no drawn intervals "
        f"of metrics, and {TEST_RESAMPLES} for a test",
    )
    group.add_argument("--seed", type=_count, default=0, help="what draws start from (%(default)s)")
    group.add_argument(
        "--test",
        choices=["auto", "randomization", "bootstrap", "mcnemar", "delong"],
        help="with --compare (default: auto, which is delong for areas under ROC curves of two "
        "classes, else randomization)",
    )


def _add_output(group: Any) -> None:
    group.add_argument("--format", choices=FORMATS, default="text", help="(%(default)s)")
    group.add_argument("--output", metavar="FILE", help="write to this file, none of those above")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        msg = f"must be a whole number from 0 up; {text!r} came"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that would be ignored.

    Raises:
        MetricInputError: An option that is not for the task, or a test of one system.
    """
    for name, tasks in FOR_TASKS.items():
        if getattr(options, name) is not None and options.task not in tasks:
            msg = f"--{name} is for {', '.join(tasks)}; the task is {options.task}. Leave it out."
            raise MetricInputError(msg)
    if options.test is not None and options.compare is None:
        msg = f"--test is for two systems; {options.test} came without --compare. Name another."
        raise MetricInputError(msg)
