"""The life of a process of a run."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tt_parallel.launch.failures import of_error, write_failure
from tt_parallel.launch.orphans import end_with_parent, remove_if_orphaned
from tt_parallel.launch.rendezvous import Meeting, meet
from tt_parallel.launch.signals import ignore, receive_once
from tt_parallel.launch.stacks import answer_into
from tt_parallel.launch.transfer import read, write

__all__ = ["BEGUN", "DONE", "FAILED", "GO", "Seat", "work"]

BEGUN, GO, DONE, FAILED = b"begun", b"go", b"done", b"failed"  # what the two ends of a link say


@dataclass(frozen=True)
class Seat:
    """What a process has to know before it can read its task; plain values."""

    number: int
    processes: int
    first_rank: int
    world_size: int
    device_type: str
    backend: str
    timeout: float | None
    meeting: Meeting
    folder: str
    typed: bool

    @property
    def rank(self) -> int:
        """Number among the processes of all nodes."""
        return self.first_rank + self.number

    def path(self, what: str) -> Path:
        """A file of this process in the run's folder."""
        return Path(self.folder, f"{what}-{self.number}")


def work(seat: Seat, link: Connection) -> None:
    """Meet the others, read the task, do it, and leave its result in a file."""
    link.send_bytes(BEGUN)
    receive_once()
    end_with_parent(seat.folder)
    answer_into(seat.path("stacks"))
    try:
        device = _take_device(seat)
        meet(
            seat.meeting,
            rank=seat.rank,
            world_size=seat.world_size,
            backend=seat.backend,
            timeout=seat.timeout,
        )
        link.recv_bytes()  # the task is there
        result = _train(seat, device)
        ignore()
        write(result, seat.path("result"), "What a process returns", typed=seat.typed)
        dist.barrier()  # nobody leaves while another still talks
        dist.destroy_process_group()
    except BaseException as error:  # whatever it is, the launching process has to know
        with suppress(OSError):  # it may be dead
            write_failure(of_error(seat.number, error), Path(seat.folder))
            link.send_bytes(FAILED)
        sys.exit(1)
    else:
        link.send_bytes(DONE)
    finally:
        remove_if_orphaned(seat.folder)


def _train(seat: Seat, device: torch.device) -> Any:
    make_strategy, precision, fn = read(Path(seat.folder, "task"))
    return fn(make_strategy(device, precision))


def _take_device(seat: Seat) -> torch.device:
    """Take this process's share of the machine: its device, and its part of the cores."""
    os.environ["LOCAL_RANK"] = str(seat.number)  # as torchrun does it
    os.environ["LOCAL_WORLD_SIZE"] = str(seat.processes)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, _cores() // seat.processes))
    if seat.device_type == "cpu":
        return torch.device("cpu")
    device = torch.device(seat.device_type, seat.number)
    torch.cuda.set_device(device)
    return device


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
