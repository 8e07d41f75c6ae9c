"""What a fit measures, into the run's files and to its loggers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from tt_experiment import _json
from tt_experiment._records.best import BestSoFar
from tt_experiment._records.logger_thread import LoggerThread
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.loggers.system import SystemMetrics
from tt_experiment.ports import Logger, RunFacts
from tt_experiment.recorder import JsonLinesRecorder, read_events
from tt_experiment.redact import redact
from tt_loop.api import CheckpointRef, RunInfo

if TYPE_CHECKING:
    from tt_experiment.experiment import Experiment

__all__ = ["ExperimentRecorder", "check_loggers", "run_facts"]

_log = logging.getLogger(__name__)


class ExperimentRecorder:
    """Records into the run's folder, then hands on to its loggers; finishes the run at the end.

    Nothing of it raises. The run's own files come first and are written at once; each logger is
    called in a thread of its own, and one that fails is told of once and in the end left out. A
    loop of one's own need not open it: the first `scalars` of a run that has begun does.

    Args:
        experiment: The run.

    Attributes:
        system: Samples the machine meanwhile; ``None`` does not.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.system: SystemMetrics | None = SystemMetrics()
        self._lines: JsonLinesRecorder | None = None
        self._best: BestSoFar | None = None
        self._loggers: list[LoggerThread] = []
        self._ended = False

    @property
    def is_open(self) -> bool:
        """Whether an attempt is under way."""
        return self._lines is not None

    def open(self, run: RunInfo, /) -> None:
        """Begin an attempt."""
        self._finish_loggers("interrupted")  # of a fit whose end nobody told
        self._ended = False
        self._lines = JsonLinesRecorder(self.experiment.folder)
        self._lines.open(run)
        self._best = BestSoFar(self.experiment.retention)
        try:
            self._best.recall(read_events(self.experiment.folder.events_file), run.step)
            self._start_loggers(run_facts(self.experiment, run.step, self._lines.attempt))
        except Exception as error:  # the interface says so: a recorder must not raise
            _log.warning("not all loggers could start, training goes on: %s", error)

    def _start_loggers(self, facts: RunFacts) -> None:
        if self.system is not None:
            self.system.start(facts)
        for logger in self.experiment.loggers:
            thread = LoggerThread(logger)
            failure = thread.start(facts)
            if failure is None:
                self._loggers.append(thread)
            else:
                thread.finish("failed")
                _log.warning("%s could not start, training goes on: %s", thread.name, failure)

    def scalars(self, step: int, values: Mapping[str, float], /, *, epoch: int) -> None:
        """Append metric values."""
        if self._lines is None:
            self._open_by_itself(step, epoch)
        if self._lines is None:
            return
        if self._loggers:
            values = self._numbers(values)
        self._lines.scalars(step, values, epoch=epoch)
        for each in self._loggers:
            each.call(partial(each.logger.scalars, step, values, epoch=epoch))

    def _open_by_itself(self, step: int, epoch: int) -> None:
        """Begin the attempt of a loop that knows nothing of attempts."""
        if self._ended or not self.experiment.is_started():
            name, state = self.experiment.experiment_name, "ended" if self._ended else "not begun"
            _log.warning("the run %r has %s: step %d is not recorded", name, state, step)
            return
        try:
            earlier = bool(self.experiment.folder.run()["attempts"])
            begin = step - 1 if earlier else 0
            self.open(RunInfo(step=begin, epoch=epoch, world_size=1, strategy="own loop"))
        except Exception as error:  # the interface says so: a recorder must not raise
            _log.warning("step %d is not recorded, training goes on: %s", step, error)

    @staticmethod
    def _numbers(values: Mapping[str, float]) -> Mapping[str, float]:
        """The values as they are now: loggers read them later."""
        try:
            return {str(name): float(value) for name, value in values.items()}
        except Exception:  # the first recorder tells what is wrong with them
            return values

    def event(self, kind: str, data: Mapping[str, Any], /) -> None:
        """Append something that happened."""
        if self._lines is None:
            return
        self._lines.event(kind, data)
        plain = redact(data)
        for each in self._loggers:
            each.call(partial(each.logger.event, kind, plain))

    def sync(self) -> None:
        """Have on the disk what was recorded; a checkpoint that goes on from there comes later."""
        if self._lines is not None:
            self._lines.sync()

    def committed(self, ref: CheckpointRef) -> None:
        """Record a checkpoint that is safe on disk, and of what it is the best so far."""
        scores = dict(ref.scores)
        self.event("checkpoint", {"step": ref.step, "scores": scores})
        if self._lines is not None and self._best is not None:
            for best in self._best.found(ref.step, scores):
                self.event("best", best)

    def close(self, status: Literal["completed", "failed", "interrupted"], /) -> None:
        """End the attempt and finish the run; a failure is logged, for training is over."""
        if self._lines is None:
            return
        self._lines.close(status)
        self._lines, self._ended = None, True
        self._finish_loggers(status)
        try:
            self.experiment.finish(status)
        except Exception:  # the interface says so: a recorder must not raise
            _log.exception("finishing the run in %s failed", self.experiment.folder.path)

    def _finish_loggers(self, status: Literal["completed", "failed", "interrupted"]) -> None:
        threads, self._loggers = self._loggers, []
        for thread in threads:
            thread.finish(status)
        try:
            if self.system is not None:
                self.system.stop()
        except OSError as error:
            _log.warning(
                "the last system metrics of %s are lost: %s", self.experiment.folder.path, error
            )


def run_facts(experiment: Experiment, step: int, attempt: int | None = None) -> RunFacts:
    """What loggers are told of a run.

    Args:
        experiment: The run, which has its folder.
        step: From which it goes on.
        attempt: Its number; by default the newest that ``run.json`` knows.
    """
    folder = experiment.folder
    run = folder.run()
    return RunFacts(
        id=run["id"],
        project=run["project"],
        experiment=run["experiment"],
        folder=folder.path,
        hyperparams=_json.load_object(folder.hyperparams_file.read_bytes()),
        attempt=len(run["attempts"]) if attempt is None else attempt,
        step=step,
    )


def check_loggers(experiment: Experiment) -> None:
    """Find out, before anything is written, what keeps a run's loggers from working.

    Raises:
        MissingDependency: A tool is not installed.
        ExperimentSetupError: It cannot be used as it is set up, or is no `Logger`.
    """
    for logger in experiment.loggers:
        if not isinstance(logger, Logger):
            msg = (
                f"loggers are objects with the methods of Logger, got {type(logger).__name__}. "
                "What samples the machine is set by experiment.recorder.system"
            )
            raise ExperimentSetupError(msg)
        check = getattr(logger, "check", None)
        if check is not None:
            check()
