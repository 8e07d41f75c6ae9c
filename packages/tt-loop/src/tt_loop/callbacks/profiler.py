"""Traces of chosen training steps."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import profiler

from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopValueError
from tt_loop.protocols import Tree

__all__ = ["Profiler"]

_log = logging.getLogger(__name__)

_OURS = ("schedule", "on_trace_ready")


class Profiler(Callback):
    """Trace some training steps with `torch.profiler` and log where their time goes.

    A step is a batch, with everything up to the next one: reading data, callbacks, and an
    evaluation that falls between. Each cycle of ``wait + warmup + active`` steps writes one trace,
    ``trace-rank0-step<n>.json``, for https://ui.perfetto.dev or ``chrome://tracing``, and logs the
    table of the costliest operations. When the cycles are over the profiler is closed, and steps
    cost what they did before. An exception closes it too and keeps what was traced until then.

    By default only rank 0 traces; ``profiler.device_idx_execution = None`` traces all processes.

    Args:
        wait: Steps to leave out at the beginning of a cycle.
        warmup: Steps to trace and throw away: the first ones are distorted.
        active: Steps to keep.
        repeat: Number of cycles; 0 goes on to the end of training.
        output_dir: Where the traces go; made if need be.
        activities: What to trace; by default the CPU and the accelerator.
        **options: Further options of `torch.profiler.profile`, such as ``record_shapes``,
            ``profile_memory`` and ``with_stack``.

    Raises:
        LoopValueError: For a setting that cannot work.

    Attributes:
        traces: The files written, in order.
        table: The newest table.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from torch import nn
        >>> from tt_loop.api import TrainLoop
        >>> model, batches = nn.Linear(2, 1), [[torch.ones(4, 2), torch.ones(4, 1)]] * 6
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = TrainLoop(model, batches, None, None, optimizer, nn.MSELoss(), progress=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     profiler = Profiler(wait=1, warmup=1, active=3, output_dir=folder)
        ...     _ = loop.fit(num_epochs=1, callbacks=[profiler])
        ...     [path.name for path in profiler.traces]
        ['trace-rank0-step4.json']
    """

    may_change_weights = False

    def __init__(
        self,
        wait: int = 1,
        warmup: int = 1,
        active: int = 3,
        repeat: int = 1,
        *,
        output_dir: str | Path,
        activities: Iterable[profiler.ProfilerActivity] | None = None,
        **options: Any,
    ) -> None:
        # The last hook of a batch: what the other callbacks do belongs to their step.
        super().__init__("Profiler", execution_order=200, device_idx_execution=0)
        if min(wait, warmup, repeat) < 0 or active < 1:
            msg = (
                "wait, warmup and repeat must not be negative and active must be at least 1, got "
                f"{wait}, {warmup}, {repeat} and {active}."
            )
            raise LoopValueError(msg)
        taken = sorted(set(options).intersection(_OURS))
        if taken:
            msg = f"Profiler sets {taken} itself: use wait, warmup, active, repeat and output_dir."
            raise LoopValueError(msg)
        self.cycle = {"wait": wait, "warmup": warmup, "active": active, "repeat": repeat}
        self.output_dir = Path(output_dir)
        self.activities = None if activities is None else list(activities)
        self.options = options
        self.traces: list[Path] = []
        self.table = ""
        self._profile: profiler.profile | None = None
        self._steps_left = 0

    def on_train_begin(self) -> None:
        """Open the profiler."""
        self._close()
        self.output_dir.mkdir(parents=True, exist_ok=True)
        cycle = self.cycle
        self._steps_left = cycle["repeat"] * (cycle["wait"] + cycle["warmup"] + cycle["active"])
        self._profile = profiler.profile(
            activities=self.activities,
            schedule=profiler.schedule(**cycle),
            on_trace_ready=self._keep,
            **self.options,
        )
        _quietly(self._profile.start)

    def on_batch_end(self) -> None:
        """Tell the profiler that a step has ended."""
        self.step()

    def step(self) -> None:
        """End a step, if the profiler is open; to divide a batch, call it yourself as well."""
        if self._profile is None:
            return
        _quietly(self._profile.step)
        self._steps_left -= 1
        if self._steps_left == 0:
            self._close()

    def on_train_end(self) -> None:
        """Close the profiler, in the midst of a cycle if need be."""
        self._close()

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002  # whatever it was
        """Close the profiler and keep what was traced."""
        self._close()

    def _close(self) -> None:
        opened, self._profile = self._profile, None  # torch crashes when one is stopped twice
        if opened is not None:
            _quietly(opened.stop)

    def _keep(self, opened: profiler.profile) -> None:
        """Write the trace and log the table of one cycle."""
        loop = self.train_loop_obj
        name = f"trace-rank{loop.rank}-step{loop.total_iteration_idx}.json"
        opened.export_chrome_trace(str(self.output_dir / name))
        self.traces.append(self.output_dir / name)
        kind = loop.device.type if loop.device.type in ("cuda", "xpu") else "cpu"
        averages = opened.key_averages()
        self.table = averages.table(sort_by=f"self_{kind}_time_total", row_limit=20)
        _log.info("trace written to %s\n%s", self.traces[-1], self.table)

    def state_dict(self) -> Tree:
        """The traces written."""
        return {"traces": [str(path) for path in self.traces], "table": self.table}

    def load_state_dict(self, state: Tree) -> None:
        """Restore what `state_dict` gave."""
        self.traces, self.table = [Path(path) for path in state["traces"]], state["table"]


def _quietly(call: Any) -> None:
    """Call without torch's remark that each cycle begins with no events: each has its own trace."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Profiler clears events at the end of each")
        call()
