"""Callbacks that log into one tool: what they have in common."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tt_experiment._records.logger_thread import LoggerThread
from tt_experiment.callbacks._experiment import AbstractExperimentCallback
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.ports import Logger, RunFacts
from tt_experiment.recording import run_facts
from tt_loop.api import Tree

__all__ = ["BatchLosses", "LoggingCallback", "check_frequency"]


class BatchLosses:
    """The newest batch's loss and the mean over the epoch's batches so far, or those of several.

    Nothing waits for an accelerator but `read`, and each batch costs the same.
    """

    def __init__(self) -> None:
        self._newest: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def begin_epoch(self) -> None:
        """Forget the last epoch's."""
        self._newest, self._sums, self._counts = {}, {}, {}

    def add(self, losses: Tensor | Mapping[str, Tensor]) -> None:
        """Take in what one batch gave: a detached loss, or several by name."""
        self._newest = {"loss": losses} if isinstance(losses, Tensor) else dict(losses)
        for name, loss in self._newest.items():
            known = self._sums.get(name)
            self._sums[name] = _wide(loss) if known is None else known + loss
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """``last_batch_<loss>`` and ``accumulated_batch_<loss>``, in one look at the device."""
        names = list(self._newest)
        if not names:
            return {}
        tensors = [*self._newest.values(), *(self._sums[name] for name in names)]
        numbers = torch.stack([_wide(tensor) for tensor in tensors]).tolist()
        last = {f"last_batch_{name}": value for name, value in zip(names, numbers, strict=False)}
        sums = zip(names, numbers[len(names) :], strict=True)
        return last | {f"accumulated_batch_{n}": total / self._counts[n] for n, total in sums}

    def state_dict(self) -> Tree:
        """The sums, so that going on inside an epoch gives the same means."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Tree, device: torch.device) -> None:
        """Go on from what `state_dict` gave."""
        self._sums = {name: total.to(device) for name, total in state["sums"].items()}
        self._counts = dict(state["counts"])


class LoggingCallback(AbstractExperimentCallback):
    """Feeds a logger from a fit, without waiting for it. Runs in the first process only.

    Args:
        callback_name: What the callback is called in lists and errors.
        logger: The logger.
        log_dir: Where it puts its files; by default in the run's folder.
        is_project: Log a run; otherwise there need be none.
        names: Arguments of `AbstractExperimentCallback` that name the run and its cloud.
    """

    may_change_weights = False

    def __init__(
        self,
        callback_name: str,
        logger: Logger,
        log_dir: Path | str | None,
        is_project: bool,
        names: Mapping[str, Any],
    ) -> None:
        super().__init__(callback_name, execution_order=97, device_idx_execution=0, **names)
        self.logger = logger
        self.log_dir = log_dir
        self.is_project = is_project
        self.losses = BatchLosses()
        self._thread: LoggerThread | None = None
        self._seen: dict[str, int] = {}

    def on_train_loop_registration(self) -> None:
        """Join the run, or begin the one that is named; find out whether the tool is there.

        Raises:
            MissingDependency: It is not installed.
            ExperimentSetupError: It cannot be used as it is set up.
        """
        if self.train_loop_obj.is_main_process():
            check = getattr(self.logger, "check", None)
            if check is not None:
                check()
        if self.is_project:
            super().on_train_loop_registration()

    def on_train_begin(self) -> None:
        """Start the logger.

        Raises:
            ExperimentSetupError: It could not be started.
        """
        if self.is_project:
            super().on_train_begin()
        self._seen = {
            name: len(values) for name, values in self.train_loop_obj.train_history.items()
        }
        thread = LoggerThread(self.logger)
        failure = thread.start(self.facts())
        if failure is not None:
            thread.finish("failed")
            msg = f"{thread.name} could not start: {failure}"
            raise ExperimentSetupError(msg) from failure
        self._thread = thread

    def facts(self) -> RunFacts:
        """What the logger is told when it starts."""
        step = self.train_loop_obj.total_iteration_idx + 1
        if self.is_project:
            return run_facts(self.run, step)
        folder = Path(self.log_dir or Path("runs", self.train_loop_obj.experiment_timestamp))
        attempt = 2 if step else 1
        return RunFacts(str(uuid.uuid4()), "", "", folder.absolute(), {}, attempt, step)

    def log(self, values: Mapping[str, float]) -> None:
        """Hand values on to the logger."""
        loop, thread = self.train_loop_obj, self._thread
        if values and thread is not None:
            step, epoch = loop.total_iteration_idx + 1, loop.epoch
            thread.call(lambda: self.logger.scalars(step, values, epoch=epoch))

    def keep_loss(self, every: int) -> None:
        """Take in the newest batch's loss, and log if it is its turn."""
        loop = self.train_loop_obj
        if loop.last_loss is not None:
            self.losses.add(loop.last_loss)
        if (loop.total_iteration_idx + 1) % every == 0:
            self.log_mid_train_loss()

    def log_mid_train_loss(self) -> None:
        """Log the newest batch's loss and the mean of the epoch's so far, of this process."""
        self.log({f"train_loss/{name}": value for name, value in self.losses.read().items()})

    def log_train_history_metrics(self, metric_names: Sequence[str] | None) -> dict[str, float]:
        """Log what is new in the history: the chosen metrics, by default all.

        Returns:
            The new numbers by their names in the history; of a nested result, joined by slashes.

        Raises:
            ExperimentSetupError: A chosen one is not in the history, and will not come.
        """
        if metric_names is not None:
            self.check_measured(metric_names)
        new = self._new_numbers(metric_names)
        self.log({_tag(name): value for name, value in new.items()})
        return new

    def check_measured(self, metric_names: Sequence[str]) -> None:
        """Refuse names that nobody measures.

        Raises:
            ExperimentSetupError: There is such a name.
        """
        loop = self.train_loop_obj
        missing = [name for name in metric_names if name not in loop.train_history]
        if missing and not loop.callbacks_handler.may_measure_later():
            msg = (
                f"{type(self).__name__} is to log {missing}, which nobody measures; the history "
                f"has {sorted(loop.train_history)}. Name those, or add the evaluation."
            )
            raise ExperimentSetupError(msg)

    def _new_numbers(self, metric_names: Sequence[str] | None) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, values in self.train_loop_obj.train_history.items():
            is_new = len(values) > self._seen.get(name, 0)
            self._seen[name] = len(values)
            if is_new and (metric_names is None or name in metric_names):
                found.update(_numbers(name, values[-1]))
        return found

    def finish(self, status: Literal["completed", "failed", "interrupted"]) -> None:
        """Have everything out."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.finish(status)

    def on_train_end(self) -> None:
        """Finish the logger."""
        self.finish("completed")

    def on_exception(self, exception: BaseException) -> None:
        """Finish the logger."""
        is_asked = isinstance(exception, KeyboardInterrupt | SystemExit)
        self.finish("interrupted" if is_asked else "failed")


def check_frequency(every: int | None) -> None:
    """Refuse a number of batches that is none.

    Raises:
        ExperimentSetupError: It is below 1.
    """
    if every is not None and every < 1:
        msg = f"batch_log_frequency is a number of batches from 1. Got {every!r}"
        raise ExperimentSetupError(msg)


def _wide(loss: Tensor) -> Tensor:
    """A loss in double precision, where the device has it: sums of many lose nothing."""
    return loss.float() if loss.device.type == "mps" else loss.double()


def _tag(name: str) -> str:
    return f"{'loss' if 'loss' in name else 'metrics'}/{name}"


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """The numbers of a result, which may be nested; what is no number is left out."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(f"{name}/{key}", item)
        return
    if hasattr(value, "item") and getattr(value, "size", None) is not None:
        value = value.item() if _is_single(value) else None
    if isinstance(value, int | float):
        yield name, float(value)


def _is_single(value: Any) -> bool:
    size = value.numel() if isinstance(value, Tensor) else value.size
    return bool(size == 1)
