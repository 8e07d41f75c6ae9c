"""A run in TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tt_experiment.loggers._common import flattened, imported
from tt_experiment.names import folder_name
from tt_experiment.ports import RunFacts

__all__ = ["TensorBoardLogger"]

_TOLD = ("best", "preempt", "exception", "note")


class TensorBoardLogger:
    """Writes TensorBoard's event files. Needs ``tt-experiment[tensorboard]``.

    Steps are batches, for all curves. What an attempt wrote after the step from which the next one
    goes on is hidden by TensorBoard, so that no step shows twice.

    Args:
        log_dir: Folder of the event files; by default in the run's folder, under
            ``tensorboard/<project>_<experiment>``.
        flush_secs: Seconds after which what is waiting is written: a kill loses that much.
        **writer_options: Further arguments of ``torch.utils.tensorboard.SummaryWriter``.

    Example:
        >>> from tt_experiment.experiment import Experiment
        >>> experiment = Experiment("digits", "linear", "runs", loggers=[TensorBoardLogger()])
    """

    def __init__(
        self, log_dir: Path | str | None = None, *, flush_secs: int = 10, **writer_options: Any
    ) -> None:
        self.log_dir = log_dir
        self.flush_secs = flush_secs
        self.writer_options = writer_options
        self._writer: Any = None
        self._step = 0

    def check(self) -> None:
        """Find out now whether it can work.

        Raises:
            MissingDependency: TensorBoard is not installed.
        """
        imported("torch.utils.tensorboard", "tensorboard", "TensorBoardLogger")

    def start(self, run: RunFacts, /) -> None:
        """Open an event file, and write the hyperparameters when the run begins."""
        tensorboard = imported("torch.utils.tensorboard", "tensorboard", "TensorBoardLogger")
        self._step = run.step
        options = {"flush_secs": self.flush_secs, **self.writer_options}
        if run.attempt > 1:
            options.setdefault("purge_step", run.step + 1)
        self._writer = tensorboard.SummaryWriter(str(self._folder(run)), **options)
        if run.attempt == 1 and run.hyperparams:
            self._write_hyperparams(run.hyperparams)

    def _folder(self, run: RunFacts) -> Path:
        if self.log_dir is not None:
            return Path(self.log_dir)
        return run.folder / "tensorboard" / folder_name(f"{run.project}_{run.experiment}")

    def _write_hyperparams(self, hyperparams: Mapping[str, Any]) -> None:
        """As a table, and for TensorBoard's page of hyperparameters."""
        summary = imported("torch.utils.tensorboard.summary", "tensorboard", "TensorBoardLogger")
        values = dict(flattened(hyperparams))
        rows = "".join(f"|{_cell(name)}|{_cell(value)}|\n" for name, value in values.items())
        self._writer.add_text("hyperparameters", f"|name|value|\n|---|---|\n{rows}", self._step)
        plain = {name: value if _is_plain(value) else str(value) for name, value in values.items()}
        for part in summary.hparams(plain, {})[:2]:  # the experiment and the session's start
            self._writer.file_writer.add_summary(part)

    def scalars(self, step: int, values: Mapping[str, float], /, *, epoch: int) -> None:  # noqa: ARG002 - its curves have one axis
        """Add a point to the curve of each name."""
        self._step = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def event(self, kind: str, data: Mapping[str, Any], /) -> None:
        """Show what is worth reading as text."""
        if kind in _TOLD:
            text = json.dumps(data, indent=2)
            self._writer.add_text(f"events/{kind}", _indented(text), self._step)

    def finish(self, status: Literal["completed", "failed", "interrupted"], /) -> None:  # noqa: ARG002 - TensorBoard has no status
        """Write what is waiting and close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def _cell(value: Any) -> str:
    """Text of a cell of a Markdown table."""
    text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    return " ".join(text.split())


def _indented(text: str) -> str:
    """Markdown that shows text as it is."""
    return "".join(f"    {line}\n" for line in text.splitlines())
