"""Two processes of a program, which meet as those that torchrun starts."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from loops.race import Racer, race

from parallel_runs.job import PROCESSES


def is_one() -> bool:
    """Whether this process is one of the two."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def start() -> int:
    """Run this very command in two processes; the exit status of the first that failed."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    environment = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(PROCESSES),
        "LOCAL_WORLD_SIZE": str(PROCESSES),
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_RUN_ID": "bench",
    }
    both = [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env={**os.environ, **environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(PROCESSES)
    ]
    try:
        status = both[0].wait()
    finally:
        for process in both:
            process.terminate() if both[0].returncode else process.wait()
    return status


@contextmanager
def meeting() -> Iterator[int]:
    """The group of both; gives this one's rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def race_together(racers: dict[str, Racer], units: int, rounds: int) -> None:
    """As `race`; each time is the mean of both processes'."""
    race(racers, units, rounds)
    for racer in racers.values():
        times = torch.tensor(racer.times, dtype=torch.float64)
        dist.all_reduce(times)
        racer.times = (times / PROCESSES).tolist()
