"""The command line: what can be asked for, and what the words mean."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tt_experiment._command import (
    checking,
    cleaning,
    comparing,
    continuing,
    doctoring,
    exchanging,
    listing,
    pinning,
    reporting,
)
from tt_experiment.retention import BestPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tt_experiment._command.console import Console

RUNS = """\
A run is named by its folder, the beginning of its folder's name or id, or project/folder. The root
is the folder of all projects: --root, else $TT_EXPERIMENT_ROOT, else ./experiments, else this one.
"""

STATUS = """\
exit status:
  0    all was done
  1    something failed: stderr says what
  2    a wrong command line, filter or name of a run
  3    something is not in the store yet: tt-experiment sync
  4    something is corrupt or incomplete
  130  stopped by Ctrl-C
"""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Arguments(argparse.Namespace):
    """What was asked for; only what its subcommand takes is there."""

    run: Callable[[Arguments, Console], int]
    root: str | None
    name: str
    runs: list[str]
    all: bool = False
    where: str | None = None
    sort: str | None
    columns: str | None
    limit: int | None
    diff_only: bool
    html: str | None
    metric: str
    mode: Literal["min", "max"] | None
    group_by: str | None
    step: int | None
    reason: str
    keep_last: int | None
    keep_best: list[BestPolicy]
    older_than: timedelta | None
    whole_runs: bool
    yes: bool
    to: str
    target: str
    source: str
    print: bool
    store: str | None
    timeout: float | None
    json: bool
    verbose: bool


def parse(words: Sequence[str] | None) -> Arguments:
    """Read the command line; raises `SystemExit` when it is wrong, or asked for help."""
    words = sys.argv[1:] if words is None else words
    return _parser().parse_args(list(_joined(words)), Arguments())


def _joined(words: Sequence[str]) -> Iterator[str]:
    """``--sort -val_acc`` as ``--sort=-val_acc``, which argparse takes for a value."""
    rest = iter(words)
    for word in rest:
        value = next(rest, None) if word == "--sort" else None
        yield word if value is None else f"{word}={value}"


_RAW: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _parser() -> argparse.ArgumentParser:
    about = "List, compare, check, clean up and exchange the runs that tt-experiment keeps."
    parser = argparse.ArgumentParser("tt-experiment", None, about, RUNS + "\n" + STATUS, **_RAW)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in _COMMANDS:
        add(commands)
    return parser


def _list(commands: _Commands) -> None:
    parser = _add(commands, "list", "list runs, newest first", listing.list_runs)
    _where(parser)
    about = "order by values, - for the largest first: -best.val_acc,lr"
    parser.add_argument("--sort", metavar="NAMES", help=about)
    about = "values to show, like lr,best.val_loss (default: what --sort is by)"
    parser.add_argument("--columns", metavar="NAMES", help=about)
    _limit(parser)


def _show(commands: _Commands) -> None:
    parser = _add(commands, "show", "show what is known of a run", listing.show)
    parser.add_argument("name", metavar="RUN")


def _compare(commands: _Commands) -> None:
    about = "put hyperparameters, metrics and results of runs side by side"
    parser = _add(commands, "compare", about, comparing.compare)
    _runs(parser)
    parser.add_argument("--diff-only", action="store_true", help="only what is not the same in all")
    about = "write a page with curves and tables instead"
    parser.add_argument("--html", metavar="FILE", help=about)


def _leaderboard(commands: _Commands) -> None:
    more = """\
Runs that differ in their seeds only share a place: the mean of their values, with its 95 % interval
by Student's t, and their number. METRIC is a name as in --where: val_acc is the last value,
best.val_acc the best one, package/accuracy a result.
"""
    about = "rank runs by a metric, seeds together"
    parser = _add(commands, "leaderboard", about, comparing.leaderboard, more)
    parser.add_argument("metric", metavar="METRIC")
    about = "what is better (default: as the name tells, else max)"
    parser.add_argument("--mode", choices=["min", "max"], help=about)
    about = "what runs of one place share (default: project, hyperparameters without seeds)"
    parser.add_argument("--group-by", metavar="NAMES", help=about)
    _where(parser)
    _limit(parser)


def _report(commands: _Commands) -> None:
    about = "write results/report.html anew"
    _runs(_add(commands, "report", about, reporting.report))


def _verify(commands: _Commands) -> None:
    more = """\
Reads every file that the manifests of a sealed run, of its checkpoints and of its model list, and
tells which are corrupt, missing, of a newer format, or extra. Nothing is changed.
"""
    _runs(_add(commands, "verify", "prove that runs are what was written", checking.verify, more))


def _gc(commands: _Commands) -> None:
    more = """\
Without --yes, only tells what would go. Always goes what dead processes left half-written. With
--keep-last, --keep-best or --older-than, checkpoints go that no rule keeps; with --whole-runs the
runs that are chosen, if they are older. Never goes: what a process writes to, the only valid
checkpoint, what is pinned, what a store does not have yet, what a run did not write itself.
"""
    parser = _add(commands, "gc", "make room", cleaning.gc, more)
    _runs(parser)
    about = "keep the newest N checkpoints"
    parser.add_argument("--keep-last", metavar="N", type=_count, help=about)
    about = "keep the N best by a metric, as val_loss:min or acc:max:3"
    parser.add_argument(
        "--keep-best",
        metavar="METRIC:MODE[:N]",
        type=_best,
        action="append",
        default=[],
        help=about,
    )
    about = "only what is older, like 30d or 12h"
    parser.add_argument("--older-than", metavar="TIME", type=_time, help=about)
    about = "remove runs instead of checkpoints"
    parser.add_argument("--whole-runs", action="store_true", help=about)
    parser.add_argument("--yes", action="store_true", help="do it")


def _pin(commands: _Commands) -> None:
    more = "Without STEP, only tells what is pinned."
    about = "let nothing delete a checkpoint"
    parser = _add(commands, "pin", about, pinning.pin, more)
    parser.add_argument("name", metavar="RUN")
    parser.add_argument("step", metavar="STEP", nargs="?", type=int)
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for people")


def _unpin(commands: _Commands) -> None:
    parser = _add(commands, "unpin", "leave a checkpoint to the rules again", pinning.unpin)
    parser.add_argument("name", metavar="RUN")
    parser.add_argument("step", metavar="STEP", type=int)


def _export(commands: _Commands) -> None:
    more = """\
--to csv and parquet write two tables into the folder TARGET: runs, and all values of their metrics.
--to tensorboard writes an event file for each run below the folder TARGET. --to mlflow copies runs
to the tracking server TARGET. --to pth writes the newest checkpoint, or that of --step, as the dict
that AIToolbox and torch.load read: TARGET is a file, or a folder for several runs.
"""
    about = "write runs for other tools"
    parser = _add(commands, "export", about, exchanging.export, more)
    _runs(parser)
    parser.add_argument("--to", choices=exchanging.FORMATS, required=True)
    parser.add_argument("--target", metavar="TARGET", required=True, help="where to")
    parser.add_argument("--step", metavar="N", type=int, help="of the checkpoint, for --to pth")


def _import(commands: _Commands) -> None:
    more = """\
SOURCE is the folder of an experiment, of a project, or of all projects of AIToolbox. What could run
code when it is read is left out, and told.
"""
    about = "make runs of what other tools kept"
    parser = _add(commands, "import", about, exchanging.import_runs, more)
    parser.add_argument("tool", choices=["aitoolbox"])
    parser.add_argument("source", metavar="SOURCE")


def _resume(commands: _Commands) -> None:
    more = """\
Starts the program of a run again, as environment.json of the run tells it, where it was started.
Its first fit then goes on from the newest valid checkpoint. The exit status is the program's. Of a
run that is not your own, look at the command first.
"""
    about = "go on with a run"
    parser = _add(commands, "resume", about, continuing.resume, more)
    parser.add_argument("name", metavar="RUN")
    parser.add_argument("--print", action="store_true", help="only print the command")


def _sync(commands: _Commands) -> None:
    about = "bring up what is not in the store yet"
    parser = _add(commands, "sync", about, continuing.sync)
    _runs(parser)
    parser.add_argument("--store", metavar="URL", help="instead of the one that a run names")
    about = "seconds for each run"
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help=about)


def _doctor(commands: _Commands) -> None:
    about = "look at the disk, locks, clock, versions and what is installed"
    _add(commands, "doctor", about, doctoring.doctor)


_COMMANDS = (
    *(_list, _show, _compare, _leaderboard, _report, _verify, _gc, _export, _import, _resume),
    *(_sync, _pin, _unpin, _doctor),
)


def _runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="*")
    parser.add_argument("--all", action="store_true", help="all runs of the root")
    _where(parser)


def _add(
    commands: _Commands,
    name: str,
    about: str,
    run: Callable[[Arguments, Console], int],
    more: str = "",
) -> argparse.ArgumentParser:
    """A subcommand with the options that all have."""
    text = f"{about[0].upper()}{about[1:]}.\n\n{more}"
    parser = commands.add_parser(name, help=about, description=text, epilog=STATUS, **_RAW)
    parser.set_defaults(run=run)
    parser.add_argument("--root", metavar="FOLDER", help="the folder of all projects")
    parser.add_argument("--json", action="store_true", help="the result as one JSON document")
    parser.add_argument("-v", "--verbose", action="store_true", help="more; where errors began")
    return parser


def _where(parser: argparse.ArgumentParser) -> None:
    about = 'only runs that pass: "val_loss<0.3 and lr>=1e-3 and status!=failed"'
    parser.add_argument("--where", metavar="FILTER", help=about)


def _limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", metavar="N", type=_count, help="only the first N")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        msg = f"a number from 1 on: got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _time(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if not match:
        msg = f"a time is a number with s, m, h, d or w, like 30d: got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def _best(text: str) -> BestPolicy:
    match = re.fullmatch(r"(.+?):(min|max)(?::(\d+))?", text)
    if not match or match[3] == "0":
        msg = f"a metric and what is better, like val_loss:min or acc:max:3: got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    mode: Literal["min", "max"] = "min" if match[2] == "min" else "max"
    return BestPolicy(match[1], mode, int(match[3] or 1))


class _Version(argparse.Action):
    """Print the version, which takes a while to find."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"tt-experiment {version('tt-experiment')}\n")
        parser.exit()
