"""Numbers of single steps, in a run's metrics."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from tt_experiment.errors import ExperimentSetupError
from tt_loop.api import Callback

__all__ = ["StepMetrics"]


class StepMetrics(Callback):
    """Record how training goes every so many batches, with the run's other metrics.

    ===============================  ===============================================================
    ``step/loss``                    the batch's loss; of a `MultiLoss`, ``step/loss_<name>``
    ``step/lr``                      the learning rate; of several groups or optimizers, numbered
    ``step/grad_norm``               the gradients' norm before clipping, where something needed it
    ``step/batches_per_second``      since the last record; the time of evaluations left out
    ``step/samples_per_second``      the same times the size of this batch
    ===============================  ===============================================================

    They go to the loop's recorder, not into its history: a fit has the same history with and
    without them. All are those of the first process. An accelerator is waited for once per record.

    Args:
        every: Record after every so many batches.

    Raises:
        ExperimentSetupError: ``every`` is below 1.
    """

    may_change_weights = False

    def __init__(self, every: int = 50) -> None:
        super().__init__("Step metrics", execution_order=-1, device_idx_execution=0)
        if every < 1:
            msg = f"every is a number of batches from 1. Got {every!r}"
            raise ExperimentSetupError(msg)
        self.every = every
        self._batches, self._since, self._paused = 0, 0.0, 0.0

    def on_train_begin(self) -> None:
        """Start the clock.

        Raises:
            ExperimentSetupError: The loop records nothing.
        """
        if self.train_loop_obj.measured.recorder is None:
            msg = (
                "StepMetrics records into a run, and the loop has no recorder: use a tracking loop "
                "such as TrainLoopCheckpoint, add ModelCheckpoint, or give TrainLoop a recorder."
            )
            raise ExperimentSetupError(msg)
        self._restart()

    def _restart(self) -> None:
        self._batches, self._since = 0, time.perf_counter()

    def on_evaluate_begin(self, dataset_info: Any) -> None:  # noqa: ARG002 - none counts
        """Stop the clock."""
        self._paused = time.perf_counter()

    def on_evaluate_end(self, dataset_info: Any) -> None:  # noqa: ARG002 - none counts
        """Let the clock go on."""
        self._since += time.perf_counter() - self._paused

    def on_batch_end(self) -> None:
        """Record, if it is this batch's turn."""
        self._batches += 1
        loop = self.train_loop_obj
        step = loop.total_iteration_idx + 1
        if step % self.every == 0 and loop.measured.recorder is not None:
            values = {**self._on_device(), **self._learning_rates()}  # waits for the batch
            values.update(self._rates())
            named = {f"step/{name}": value for name, value in values.items()}
            loop.measured.recorder.scalars(step, named, epoch=loop.epoch)
            self._restart()

    def _on_device(self) -> dict[str, float]:
        loop = self.train_loop_obj
        loss = loop.last_loss
        losses = {"": loss} if isinstance(loss, Tensor) else loss or {}
        found = {f"loss_{name}" if name else "loss": value for name, value in losses.items()}
        norms = [None if report is None else report.grad_norm for report in loop.reports]
        for number, norm in enumerate(norms):
            if norm is not None:
                found["grad_norm" if len(norms) == 1 else f"grad_norm_{number}"] = norm
        if not found:
            return {}
        numbers = torch.stack([value.detach().float() for value in found.values()]).tolist()
        return dict(zip(found, numbers, strict=True))

    def _learning_rates(self) -> dict[str, float]:
        groups = [g for optimizer in self.train_loop_obj.optimizers for g in optimizer.param_groups]
        rates = [float(group["lr"]) for group in groups]
        if len(rates) == 1:
            return {"lr": rates[0]}
        return {f"lr_{number}": rate for number, rate in enumerate(rates)}

    def _rates(self) -> dict[str, float]:
        seconds = time.perf_counter() - self._since
        if not seconds > 0:
            return {}
        rate = self._batches / seconds
        samples = _size(self.train_loop_obj.batch)
        rates = {"batches_per_second": rate}
        return rates if samples is None else {**rates, "samples_per_second": rate * samples}


def _size(batch: Any) -> int | None:
    """Length of a batch's first tensor, if it has one."""
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.ndim else 1
    items = batch.values() if isinstance(batch, dict) else batch
    if not isinstance(items, list | tuple | type({}.values())):
        return None
    return next((size for item in items if (size := _size(item)) is not None), None)
