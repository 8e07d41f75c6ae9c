"""How fast training is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from tt_loop.callbacks.base import Callback
from tt_loop.data.batches import batch_weight
from tt_loop.errors import LoopValueError

__all__ = ["Throughput", "ThroughputMonitor"]

_log = logging.getLogger(__name__)


class Throughput(NamedTuple):
    """What was trained on in some seconds, by this process."""

    seconds: float
    steps: int
    samples: int
    tokens: int

    def per_second(self) -> dict[str, float]:
        """The rates by name; tokens only if some were counted."""
        counts = {"steps": self.steps, "samples": self.samples, "tokens": self.tokens}
        return {
            f"throughput_{name}_per_second": count / self.seconds if self.seconds else 0.0
            for name, count in counts.items()
            if count or name != "tokens"
        }

    def since(self, earlier: Throughput) -> Throughput:
        """What came after an earlier running total."""
        return Throughput(
            self.seconds - earlier.seconds,
            self.steps - earlier.steps,
            self.samples - earlier.samples,
            self.tokens - earlier.tokens,
        )


class ThroughputMonitor(Callback):
    """Put batches, samples and tokens per second into the history, epoch by epoch.

    ``throughput_steps_per_second``, ``throughput_samples_per_second`` and, with ``tokens``,
    ``throughput_tokens_per_second``; samples and tokens are those of all processes. Only the time
    of training counts, waiting for data included, evaluation left out. The clock is the wall's:
    nothing waits for an accelerator within the epoch, and the epoch's end is when its loss has been
    read, so that all of its work is done.

    Args:
        every: Log the rates of this process after every so many batches; 0 never. On an
            accelerator these lag a little behind, as it works off what was queued.
        tokens: Number of tokens in a batch. It is called every step and must not read values from
            an accelerator: ``lambda batch: batch["input_ids"].numel()``.

    Raises:
        LoopValueError: For a negative ``every``.

    Attributes:
        latest: What the last ``every`` batches were; ``None`` before the first.

    Example:
        >>> from torch import nn
        >>> from tt_loop.api import TrainLoop
        >>> model = nn.Linear(2, 1)
        >>> batches = [[torch.ones(4, 2), torch.ones(4, 1)]] * 3
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = TrainLoop(model, batches, None, None, optimizer, nn.MSELoss(), progress=False)
        >>> monitor = ThroughputMonitor(every=3, tokens=lambda batch: batch[0].numel())
        >>> _ = loop.fit(num_epochs=2, callbacks=[monitor])
        >>> len(loop.train_history["throughput_samples_per_second"])
        2
        >>> monitor.latest.samples, monitor.latest.tokens
        (12, 24)
    """

    may_change_weights = False

    def __init__(self, every: int = 100, *, tokens: Callable[[Any], int] | None = None) -> None:
        super().__init__("Throughput monitor", execution_order=-1)  # before reports read the rates
        if every < 0:
            msg = f"every must not be negative, got {every}."
            raise LoopValueError(msg)
        self.every = every
        self.tokens = tokens
        self.latest: Throughput | None = None
        self._begin()

    def _begin(self) -> None:
        self._steps = self._samples = self._tokens = 0
        self._seconds = 0.0
        self._running_since: float | None = None
        self._boundary = self._total()

    def on_train_begin(self) -> None:
        """Start the clock, for a fit that goes on inside an epoch."""
        self._begin()
        self._start()

    def on_epoch_begin(self) -> None:
        """Start the clock."""
        self._begin()
        self._start()

    def on_evaluate_begin(self, dataset_info: Any) -> None:  # noqa: ARG002  # none counts
        """Stop the clock while something is evaluated."""
        self._stop()

    def on_evaluate_end(self, dataset_info: Any) -> None:  # noqa: ARG002  # none counts
        """Let the clock go on, if the epoch does."""
        if self.train_loop_obj.inside_epoch:
            self._start()

    def on_batch_end(self) -> None:
        """Count the batch."""
        batch = self.train_loop_obj.batch
        self._steps += 1
        self._samples += batch_weight(batch)
        if self.tokens is not None:
            self._tokens += self.tokens(batch)
        if self.every and self._steps % self.every == 0:
            self._report()

    def _report(self) -> None:
        total = self._total()
        self.latest = total.since(self._boundary)
        self._boundary = total
        rates = self.latest.per_second()
        text = ", ".join(f"{name.split('_')[1]} {rate:.4g}" for name, rate in rates.items())
        _log.info("per second after batch %d: %s", self.train_loop_obj.total_iteration_idx, text)

    def on_epoch_end(self) -> None:
        """Put the epoch's rates into the history."""
        self._stop()
        rates = self._of_all_processes(self._total()).per_second()
        for name, rate in rates.items():
            self.train_loop_obj.insert_metric_result_into_history(name, rate)

    def _of_all_processes(self, own: Throughput) -> Throughput:
        """Samples and tokens added up; every process makes the same steps in the same time."""
        strategy, _ = self.train_loop_obj.ready()
        if strategy.comm.world_size == 1:
            return own
        counts = torch.tensor([own.samples, own.tokens], device=strategy.device)
        samples, tokens = strategy.comm.all_reduce(counts).tolist()
        return own._replace(samples=samples, tokens=tokens)

    def _total(self) -> Throughput:
        running = self._running_since
        seconds = self._seconds + (0.0 if running is None else time.perf_counter() - running)
        return Throughput(seconds, self._steps, self._samples, self._tokens)

    def _start(self) -> None:
        if self._running_since is None:
            self._running_since = time.perf_counter()

    def _stop(self) -> None:
        self._seconds, self._running_since = self._total().seconds, None
