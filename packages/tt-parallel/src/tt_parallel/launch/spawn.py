"""Start a training function in several processes and bring back what it returns.

The function and all that hangs on it (model, optimizer, loaders, callbacks) travel as one file that
each process reads for itself, so that no two processes share the memory of a parameter.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import (
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    start_processes,
)

from tt_parallel.errors import NotTransferable, ParallelValueError, WorkerError
from tt_parallel.strategies.distributed import DistributedStrategy

__all__ = ["Spawn"]

T = TypeVar("T")

_GRACE = 10.0  # seconds between asking a process to end and killing it


@dataclass(frozen=True)
class Spawn:
    """Starts processes on this node and trains in all of them; fits tt-loop's ``Launcher``.

    On one node the processes meet through a file of their own, so no port is needed and any number
    of runs can share a machine. On several nodes ``MASTER_ADDR`` and ``MASTER_PORT`` tell where.

    Args:
        processes: Processes on this node, one per device.
        device_type: ``'cuda'`` or ``'cpu'``.
        backend: Of `torch.distributed`; by default NCCL for CUDA and Gloo for the CPU.
        init_method: Where the processes meet; by default as above.
        num_nodes: Nodes that train together, each with this number of processes.
        node_rank: Number of this node.
        precision: Mixed precision of each process.
        options: Options of `DistributedDataParallel`.

    Raises:
        ParallelValueError: For numbers or a backend that cannot be.
    """

    processes: int
    device_type: str = "cpu"
    backend: str | None = None
    init_method: str | None = None
    num_nodes: int = 1
    node_rank: int = 0
    precision: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    in_process = False

    def __post_init__(self) -> None:
        if self.processes < 1:
            msg = f"num_gpus is the number of processes to start, at least 1; got {self.processes}."
            raise ParallelValueError(msg)
        if self.device_type == "cuda" and self.processes > (found := torch.cuda.device_count()):
            msg = (
                f"Each process needs a CUDA device of its own: num_gpus={self.processes}, and "
                f"{found} are there. Pass a smaller num_gpus, or on_gpu=False for the CPU."
            )
            raise ParallelValueError(msg)
        if not 0 <= self.node_rank < self.num_nodes:
            msg = f"node_rank must be from 0 to {self.num_nodes - 1}, got {self.node_rank}."
            raise ParallelValueError(msg)
        if not dist.is_backend_available(self._backend()):
            msg = f"This PyTorch has no torch.distributed backend {self._backend()!r}: use 'gloo'."
            raise ParallelValueError(msg)
        if self.num_nodes > 1 and self.init_method is None and "MASTER_ADDR" not in os.environ:
            msg = "Several nodes need a place to meet: set MASTER_ADDR and MASTER_PORT."
            raise ParallelValueError(msg)

    def _backend(self) -> str:
        return self.backend or ("nccl" if self.device_type == "cuda" else "gloo")

    def run(self, fn: Callable[[Any], T], /) -> list[T]:
        """Call ``fn(strategy)`` in every process; the results of this node's, in rank order.

        Raises:
            NotTransferable: When ``fn`` holds something that cannot be sent to a process.
            WorkerError: When a process fails; the others are ended.
        """
        with tempfile.TemporaryDirectory(prefix="tt-parallel-") as name:
            folder = Path(name)
            _write(fn, folder / "task.pt")
            processes: ProcessContext = start_processes(  # type: ignore[no-untyped-call]  # torch's own
                _work, (self, name), nprocs=self.processes, join=False, start_method="spawn"
            )
            _wait_for(processes, folder)
            return [_read(folder / f"result-{number}.pt") for number in range(self.processes)]

    def join(self, local_rank: int, folder: str) -> DistributedStrategy:
        """Become process ``local_rank`` of this node: meet the others and make the strategy."""
        _share_cores(self.processes)
        rank = self.node_rank * self.processes + local_rank
        os.environ["LOCAL_RANK"] = str(local_rank)  # as torchrun does it
        world_size = self.num_nodes * self.processes
        device = torch.device("cpu")
        if self.device_type == "cuda":
            device = torch.device("cuda", local_rank)
            torch.cuda.set_device(device)
        meeting = "env://" if self.num_nodes > 1 else f"file://{folder}/meeting"
        dist.init_process_group(
            self._backend(), self.init_method or meeting, rank=rank, world_size=world_size
        )
        return DistributedStrategy(device, self.precision, **self.options)


def _work(local_rank: int, plan: Spawn, folder: str) -> None:
    """The life of a process."""
    try:
        strategy = plan.join(local_rank, folder)
        result = _read(Path(folder, "task.pt"))(strategy)
        _write(result, Path(folder, f"result-{local_rank}.pt"))
        dist.barrier()  # nobody leaves while another still talks
    except BaseException:
        note = f"{time.monotonic():020.6f}-{local_rank}"
        Path(folder, f"failure-{note}").write_text(traceback.format_exc())
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _share_cores(processes: int) -> None:
    """Give each process its part of the cores, unless the user has said how many threads."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))


def _wait_for(processes: ProcessContext, folder: Path) -> None:
    """Wait for all processes; whatever happens, none is left behind."""
    try:
        while not processes.join(grace_period=_GRACE):
            pass
    except (ProcessRaisedException, ProcessExitedException) as error:
        raise WorkerError(_first_failure(processes, folder) or str(error)) from None
    finally:
        _end(processes)


def _end(processes: ProcessContext) -> None:
    """Let processes come to their end, as after Ctrl-C, which reaches them too; then make them."""
    for ending in (None, signal.SIGINT, signal.SIGKILL):
        alive = [process for process in processes.processes if process.is_alive()]
        for process in alive:
            if ending is not None and process.pid is not None:
                os.kill(process.pid, ending)
        deadline = time.monotonic() + _GRACE
        for process in alive:
            process.join(max(0.0, deadline - time.monotonic()))


def _first_failure(processes: ProcessContext, folder: Path) -> str:
    """What the process that failed first has to say; its peers fail because of it."""
    notes = {path.name.rpartition("-")[2]: path for path in sorted(folder.glob("failure-*"))}
    for number, process in enumerate(processes.processes):
        status = process.exitcode or 0
        if status and status != -signal.SIGTERM and str(number) not in notes:
            how = f"exit status {status}" if status > 0 else signal.Signals(-status).name
            return (
                f"Process {number} of the run ended by {how}, without a traceback. If it did so at "
                'once: a script must start training below `if __name__ == "__main__":`.'
            )
    for rank, note in notes.items():  # in the order of their times
        return f"Process {rank} of the run failed:\n{note.read_text()}"
    return ""


def _write(value: object, path: Path) -> None:
    try:
        torch.save(value, path)
    except Exception as error:
        msg = (
            "What a process is to work on must be picklable, but "
            f"{_culprit(value)} is not ({error}). Define classes and functions at the top level of "
            "a module, and open files and connections in on_multiprocess_start."
        )
        raise NotTransferable(msg) from error


def _read(path: Path) -> Any:
    # Written by this run itself; on the CPU, for not all processes may load onto one GPU.
    return torch.load(path, map_location="cpu", weights_only=False)


def _culprit(value: object) -> str:
    """The path of attributes to what cannot be pickled."""
    owner = getattr(value, "__self__", value)
    path = type(owner).__name__
    for _ in range(4):
        bad = next((n for n, part in _parts(owner) if not _transferable(part)), None)
        if bad is None:
            break
        path, owner = f"{path}.{bad}", dict(_parts(owner))[bad]
    return path


def _parts(owner: object) -> list[tuple[str, object]]:
    if isinstance(owner, dict):
        return [(str(name), part) for name, part in owner.items()]
    if isinstance(owner, list | tuple):
        return [(str(number), part) for number, part in enumerate(owner)]
    getstate = getattr(owner, "__getstate__", None)
    state = getstate() if callable(getstate) else None
    return list(state.items()) if isinstance(state, dict) else []


def _transferable(part: object) -> bool:
    with tempfile.TemporaryFile() as file:
        try:
            torch.save(part, file)
        except Exception:  # any failure is the answer
            return False
    return True
