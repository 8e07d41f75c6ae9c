"""``tt-experiment resume`` and ``sync``."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tt_experiment import _json
from tt_experiment._command.chosen import named_runs, one_run
from tt_experiment._command.console import shown, visible
from tt_experiment._command.status import OK, PENDING
from tt_experiment.errors import (
    ExperimentError,
    ExperimentSetupError,
    NoValidCheckpoint,
    StoreError,
)

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments
    from tt_experiment._command.console import Console
    from tt_experiment.runs import RunSummary


class Command(NamedTuple):
    """What started a run."""

    argv: list[str]
    cwd: str


def resume(arguments: Arguments, console: Console) -> int:
    """Run ``resume``."""
    from tt_experiment._lock import RunLock
    from tt_experiment.checkpoints import CheckpointFolder
    from tt_experiment.resume import VARIABLE

    run = one_run(arguments, arguments.name)
    command = _command(run)
    newest = CheckpointFolder(run.path / "checkpoint_model").latest()
    if newest is None:
        msg = f"{run.path} has no checkpoint to go on from: start its program again"
        raise NoValidCheckpoint(msg)
    line = f"{VARIABLE}={shlex.quote(str(run.path))} {shlex.join(command.argv)}"
    console.document(
        {
            "path": str(run.path),
            "step": newest.step,
            "argv": command.argv,
            "cwd": command.cwd,
            "environment": {VARIABLE: str(run.path)},
        }
    )
    (console.result if arguments.print else console.note)(
        visible(f"cd {shlex.quote(command.cwd)} && {line}")
    )
    if arguments.print or console.json:
        return OK
    RunLock(run.path).acquire()
    RunLock(run.path).release()  # nobody else writes to it: the program takes it from here
    return _run(command, {**os.environ, VARIABLE: str(run.path)})


def _command(run: RunSummary) -> Command:
    path = run.path / "environment.json"
    try:
        facts = _json.load_object(path.read_bytes())
        command = Command(list(facts["command"]["argv"]), str(facts["command"]["cwd"]))
        if not command.argv or not all(isinstance(word, str) for word in command.argv):
            msg = "argv is words"
            raise ValueError(msg)
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} must tell the command that started the run. Got {error!r}"
        raise ExperimentSetupError(msg) from error
    _refuse(command, facts.get("variables"))
    return command


def _refuse(command: Command, variables: Any) -> None:
    """Commands that cannot be given again."""
    from tt_experiment._origin.secrets import REDACTED

    line = shlex.join(command.argv)
    if any(REDACTED in word for word in command.argv):
        msg = f"the command had a secret, which was not kept: give it again yourself: {line}"
        raise ExperimentSetupError(msg)
    size = variables.get("WORLD_SIZE", "1") if isinstance(variables, dict) else "1"
    if size != "1":
        msg = f"a launcher started {size} processes: use it again yourself, with TT_RESUME: {line}"
        raise ExperimentSetupError(msg)


def _run(command: Command, environment: dict[str, str]) -> int:
    try:
        if sys.platform != "win32":  # signals and the exit status are then the program's own
            os.chdir(command.cwd)
            sys.stdout.flush()
            os.execvpe(command.argv[0], command.argv, environment)  # noqa: S606 - as it was typed
        return subprocess.call(command.argv, cwd=command.cwd, env=environment)  # noqa: S603 - as above
    except OSError as error:
        msg = f"{shlex.join(command.argv)} in {command.cwd} cannot be started: {error}"
        raise ExperimentSetupError(msg) from error


def sync(arguments: Arguments, console: Console) -> int:
    """Run ``sync``."""
    from tt_experiment.folder import ExperimentFolder
    from tt_experiment.upload import sync as bring_up

    complete: list[Path] = []
    pending: dict[Path, str] = {}
    files = 0
    for run in named_runs(arguments):
        try:
            by_name = bool(arguments.runs) or arguments.store is not None
            if not by_name and ExperimentFolder(run.path).run().get("store") is None:
                continue  # it has none
            report = bring_up(run.path, store=arguments.store, timeout=arguments.timeout)
        except StoreError:  # a wrong URL, which waiting does not mend
            raise
        except ExperimentError as error:
            pending[run.path] = str(error)
            continue
        complete += report.complete
        pending |= report.pending
        files += report.files
    console.document(
        {
            "complete": [str(path) for path in complete],
            "pending": {str(path): why for path, why in pending.items()},
            "files": files,
        }
    )
    for path in complete:
        console.result(f"{shown(path)}: all is in its store")
    for path, why in pending.items():
        console.error(f"{shown(path)}: {why}")
    console.note(f"{files:,} files copied")
    return PENDING if pending else OK
