"""Start a training function in several processes and bring back what it returns.

The function and all that hangs on it (model, optimizer, loaders, callbacks) travel as one file that
each process reads for itself, so that no two processes share the memory of a parameter.

=================  ==================================================================
`rendezvous`       how the processes become a group
`transfer`         what travels between them
`worker`           the life of a process
`workers`          the processes, seen from here
`watch`            waiting for them, and what to say when one fails
=================  ==================================================================
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from tt_parallel.errors import ParallelError, ParallelValueError
from tt_parallel.launch.numbers import checked_seconds, checked_whole
from tt_parallel.launch.rendezvous import Meeting, Rendezvous, open_meeting, resolved_backend
from tt_parallel.launch.signals import PassedOn
from tt_parallel.launch.transfer import write
from tt_parallel.launch.typed import is_typed, without_file
from tt_parallel.launch.watch import results_of
from tt_parallel.launch.worker import Seat
from tt_parallel.launch.workers import Workers
from tt_parallel.strategies.distributed import DistributedStrategy

__all__ = ["Spawn"]

T = TypeVar("T")


@dataclass(frozen=True)
class Spawn:
    """Starts processes on this node and trains in all of them; fits tt-loop's ``Launcher``.

    A process that raises, dies or does not answer ends the run. Ctrl-C and SIGTERM are passed on to
    all processes, and what they still return is returned.

    Args:
        processes: Processes on this node, one per device.
        device_type: ``'cuda'`` or ``'cpu'``.
        precision: Mixed precision of each process.
        make_strategy: Called in each process with its device and ``precision``; can be pickled.
        rendezvous: How the processes meet: backend, nodes, timeout.
        grace: Seconds after Ctrl-C or SIGTERM in which the processes may come to their end.

    Raises:
        ParallelValueError: For numbers or a backend that cannot be.
    """

    processes: int
    device_type: str = "cpu"
    precision: Any = None
    make_strategy: Callable[[torch.device, Any], Any] = DistributedStrategy
    rendezvous: Rendezvous = field(default_factory=Rendezvous)
    grace: float = 30.0

    in_process = False

    def __post_init__(self) -> None:
        meaning = "the number of processes to start"
        checked_whole("num_gpus", meaning, self.processes)
        checked_seconds("grace", self.grace, positive=False)
        if self.device_type == "cuda" and self.processes > (found := torch.cuda.device_count()):
            msg = (
                f"Each process needs a CUDA device of its own: num_gpus={self.processes}, and "
                f"{found} are there. Pass a smaller num_gpus, or on_gpu=False for the CPU."
            )
            raise ParallelValueError(msg)
        resolved_backend(self.rendezvous.backend, self.device_type)

    def run(self, fn: Callable[[Any], T], /) -> list[T]:
        """Call ``fn(strategy)`` in every process; the results of this node's, in rank order.

        Raises:
            NotTransferable: When ``fn`` or a result cannot be sent between processes.
            RendezvousError: When the processes cannot meet where they were told to.
            WorkerError: When a process fails; the others are ended.
            KeyboardInterrupt: After Ctrl-C, unless all processes return something.
            SystemExit: After SIGTERM, the same.
        """
        _check_may_start()
        workers, typed = Workers(), is_typed()
        with tempfile.TemporaryDirectory(prefix="tt-parallel-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            if typed:  # what cannot be sent is seen before a process starts
                self._write(fn, folder, typed=True)
            meeting, store = open_meeting(self.rendezvous)
            with PassedOn(workers.send) as signals:
                try:
                    with without_file() if typed else nullcontext():
                        workers.start(self._seats(meeting, name, typed=typed))
                    if not typed:  # while the processes import torch
                        self._write(fn, folder, typed=False)
                    workers.go()
                    return results_of(workers, signals, folder, self.grace)
                finally:
                    workers.close()
                    del store  # a traceback that somebody keeps must not hold the port

    def _write(self, fn: Callable[[Any], T], folder: Path, *, typed: bool) -> None:
        task = (self.make_strategy, self.precision, fn)
        write(task, folder / "task", "What a process is to work on", typed=typed)

    def _seats(self, meeting: Meeting, folder: str, *, typed: bool) -> Iterator[Seat]:
        plan = self.rendezvous
        for number in range(self.processes):
            yield Seat(
                number=number,
                processes=self.processes,
                first_rank=plan.node_rank * self.processes,
                world_size=plan.num_nodes * self.processes,
                device_type=self.device_type,
                backend=resolved_backend(plan.backend, self.device_type),
                timeout=plan.timeout,
                meeting=meeting,
                folder=folder,
                typed=typed,
            )


def _check_may_start() -> None:
    """Refuse in a process that still imports its program: it would start processes without end."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        msg = (
            "Training was started while a process of the run imports the program. What starts "
            'training must stand below `if __name__ == "__main__":`.'
        )
        raise ParallelError(msg)
