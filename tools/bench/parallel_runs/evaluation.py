"""A data set evaluated by two processes and by one, in turns."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from loops.job import CLASSES, batched_loader
from loops.ours import Accuracy
from loops.race import heading, row, silence

from parallel_runs import pair
from parallel_runs.job import CPU, Job
from tt_loop.api import TrainLoop
from tt_parallel.api import DistributedStrategy, OneProcess

SAMPLES, BATCH, WIDTH = 40_000, 100, 512


class Alone(DistributedStrategy):
    """The strategy of a process that has nobody to talk to."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.comm: Any = OneProcess()

    def prepare(self, model: Any, _: Any, /) -> Any:
        return model


def compare(rounds: int) -> None:
    """Wall seconds of rank 0, which waits for the other process's part, and its CPU seconds."""
    with pair.meeting() as rank:
        with silence():
            ways = {"two processes": _loop(DistributedStrategy(CPU)), "one process": _loop(Alone())}
            taken = {name: _turns(ways, fn, rounds, rank) for name, fn in KINDS.items()}
            gathers = [_timed(lambda: _gather(rank)) for _ in range(rounds + 1)][1:]
        if rank:
            return
        for kind, unit in enumerate(("wall", "CPU")):
            two_one = [f"two processes, {unit} s", "least", f"one, {unit} s", "least"]
            heading("evaluation", *two_one, "ratio of medians")
            for name, (two, one) in taken.items():
                both, alone = [t[kind] for t in two], [t[kind] for t in one]
                ratio = statistics.median(both) / statistics.median(alone)
                row(name, *_told(both), *_told(alone), f"{ratio:.2f}")
            row("(gather of the predictions)", *_told([t[kind] for t in gathers]), "", "", "")


def _told(times: list[float]) -> tuple[str, str]:
    return f"{statistics.median(times):.3f}", f"{min(times):.3f}"


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds, once the other process is here as well."""
    dist.barrier()
    began = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def _loop(strategy: Any) -> Any:
    model, optimizer, criterion = Job(1, 1, WIDTH).parts()
    loader = batched_loader(SAMPLES, BATCH)
    loop = TrainLoop(model, None, loader, None, optimizer, criterion, gpu_mode=strategy)
    loop.ready()
    return loop


KINDS: dict[str, Callable[[Any], object]] = {
    "loss": lambda loop: loop.evaluate_loss_on_validation_set(force_prediction=True),
    "accuracy": lambda loop: loop.evaluate_metric(loop.validation_loader, Accuracy()),
    "predictions on rank 0": lambda loop: loop.predict_on_main(loop.validation_loader),
}


def _turns(
    ways: dict[str, Any], evaluate: Callable[[Any], object], rounds: int, rank: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    two, one = ways.values()
    both, alone = [], []
    for _ in range(rounds + 1):
        both.append(_timed(lambda: evaluate(two)))
        alone.append(_timed(lambda: evaluate(one) if rank == 0 else None))
    return both[1:], alone[1:]


def _gather(rank: int) -> None:
    """Bring as many predictions from one process to the other."""
    part = [torch.randn(BATCH, CLASSES) for _ in range(SAMPLES // BATCH // 2)]
    dist.gather_object((part, part), [None, None] if rank == 0 else None)
