"""A run in Weights & Biases."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tt_experiment import _json
from tt_experiment._durable import make_directories, replace_file
from tt_experiment._origin.facts import command
from tt_experiment._origin.secrets import REDACTED
from tt_experiment._origin.source import source_zip
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.loggers._common import imported, safe_name
from tt_experiment.ports import RunFacts

__all__ = ["WandbLogger"]

_EXIT_CODES = {"completed": 0, "failed": 1, "interrupted": 255}
_REFUSED = re.compile(r"[/\\#?%:\x00-\x1f]")
_RESERVED = re.compile(r"^_")  # W&B's own: _step, _runtime, _timestamp


class WandbLogger:
    """Logs into W&B, online or offline. Needs ``tt-experiment[wandb]``.

    The W&B run has the id of the run, so an attempt that goes on goes on in the same one. What the
    server has of steps that are trained again stays: an exact resume gives the same numbers. W&B's
    own files lie under ``.wandb`` in the run's folder; they are not sealed and not copied to a
    store. Without a connection use ``mode="offline"``, and ``wandb sync`` later.

    Args:
        project: Name of the W&B project; by default the run's.
        mode: ``'online'``, ``'offline'`` or ``'disabled'``; ``None`` takes what ``WANDB_MODE`` or
            W&B's settings say, else online.
        source_dirs: Folders of source code to log. Files that hold secrets are left out.
        current_run: Log into the run that ``wandb.init`` has begun, and leave it open.
        **init_options: Further arguments of ``wandb.init``: entity, name, tags, group, ...

    Example:
        >>> from tt_experiment.experiment import Experiment
        >>> logger = WandbLogger("digits", mode="offline", tags=["linear"])
        >>> experiment = Experiment("digits", "linear", "runs", loggers=[logger])
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        mode: Literal["online", "offline", "disabled"] | None = None,
        source_dirs: Sequence[Path | str] = (),
        current_run: bool = False,
        **init_options: Any,
    ) -> None:
        self.project = project
        self.mode = mode
        self.source_dirs = source_dirs
        self.current_run = current_run
        self.init_options = init_options
        self._run: Any = None
        self._first_step = 0

    def check(self) -> None:
        """Find out now whether it can work.

        Raises:
            MissingDependency: W&B is not installed.
            ExperimentSetupError: It is to be online and nobody has logged in.
        """
        wandb = imported("wandb", "wandb", "WandbLogger")
        mode = self.mode or os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        if self.current_run:
            self._current(wandb)
        elif mode == "online" and not _is_logged_in(wandb):
            msg = (
                "W&B is to be used online, and there is no API key: run 'wandb login', set "
                "WANDB_API_KEY, or keep the run here with mode='offline' (WANDB_MODE=offline)."
            )
            raise ExperimentSetupError(msg)

    def start(self, run: RunFacts, /) -> None:
        """Begin the W&B run, or go on with it."""
        wandb = imported("wandb", "wandb", "WandbLogger")
        if self.current_run:
            self._run = self._current(wandb)
            self._run.config.update(dict(run.hyperparams), allow_val_change=True)
        else:
            self._run = wandb.init(**self._options(wandb, run))
            _note(self._run, run.folder)
        self._first_step = self._run.starting_step
        for directory in self.source_dirs:
            self._log_code(Path(directory))

    @staticmethod
    def _current(wandb: Any) -> Any:
        if wandb.run is None:
            msg = "The current W&B run is to be used, and there is none: call wandb.init before."
            raise ExperimentSetupError(msg)
        return wandb.run

    def _options(self, wandb: Any, run: RunFacts) -> dict[str, Any]:
        make_directories(run.folder / ".wandb")  # W&B takes it instead of wandb/, if it is there
        options = {
            "project": safe_name(self.project or run.project, _REFUSED, 128),
            "name": run.experiment[:128],
            "id": run.id,
            "resume": "allow" if run.attempt > 1 else None,
            "dir": str(run.folder),
            "config": dict(run.hyperparams),
            "mode": self.mode,
        }
        if any(REDACTED in word for word in command()["argv"]):  # W&B notes the words as they are
            options["settings"] = {"x_disable_meta": True}
        if wandb.run is not None:  # of somebody else: it is not to be taken for ours
            options["reinit"] = "create_new"
        return {**options, **self.init_options}

    def _log_code(self, directory: Path) -> None:
        with zipfile.ZipFile(io.BytesIO(source_zip([directory]))) as archive:
            kept = {name.partition("/")[2] for name in archive.namelist()}
        self._run.log_code(
            root=str(directory),
            include_fn=lambda path, root: Path(path).relative_to(root).as_posix() in kept,
        )

    def scalars(self, step: int, values: Mapping[str, float], /, *, epoch: int) -> None:
        """Log values, with the epoch, unless W&B has that step from an earlier attempt."""
        if step >= self._first_step:
            named = {safe_name(name, _RESERVED, 512): value for name, value in values.items()}
            self._run.log({**named, "epoch": epoch}, step=step)

    def event(self, kind: str, data: Mapping[str, Any], /) -> None:
        """Note the best checkpoint in the summary; tell W&B of a preemption."""
        if kind == "best":
            self._run.summary.update({f"best/{key}": value for key, value in data.items()})
        elif kind == "preempt":
            self._run.mark_preempting()

    def alert(self, title: str, text: str, level: Any = None) -> None:
        """Have W&B send a message; ``level`` is one of ``wandb.AlertLevel``."""
        self._run.alert(title=title, text=text, level=level)

    def finish(self, status: Literal["completed", "failed", "interrupted"], /) -> None:
        """End the W&B run, if it is ours. Offline, W&B's own process may write a moment longer."""
        run, self._run = self._run, None
        if run is not None and not self.current_run:
            run.finish(exit_code=_EXIT_CODES[status])


def _is_logged_in(wandb: Any) -> bool:
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.Error as error:
        msg = f"W&B refuses the API key that is configured: {error}"
        raise ExperimentSetupError(msg) from error


def _note(run: Any, folder: Path) -> None:
    """Keep where the run is found, for people."""
    make_directories(folder / "logs")
    facts = {"id": run.id, "entity": run.entity, "project": run.project, "url": run.url}
    replace_file(folder / "logs" / "wandb.json", _json.dumps(facts))
