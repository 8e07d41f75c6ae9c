"""The loop that one writes by hand on `DistributedDataParallel`."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from torch.distributed import get_rank
from torch.nn.parallel import DistributedDataParallel

from parallel_runs.job import PROCESSES, Contestant, Job


def bare(job: Job) -> Contestant:
    loader = job.own_loader()
    return over(job, lambda: loader)


def read_as_ours(job: Job) -> Contestant:
    """The batches come the way in which tt-loop reads the same loader."""
    batches: Any = import_module("tt_loop.data.batches").Batches(
        job.loader(), "training", rank=get_rank(), world_size=PROCESSES, seed=0
    )
    return over(job, lambda: batches.epoch(0))


def over(job: Job, read: Callable[[], Iterable[Any]]) -> Contestant:
    model, optimizer, criterion = job.parts()
    wrapped = DistributedDataParallel(model)

    def run() -> None:
        wrapped.train()  # type: ignore[no-untyped-call]  # torch's own
        for _ in range(job.epochs):
            for inputs, target in read():
                loss = criterion(wrapped(inputs), target)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()

    return model, run
