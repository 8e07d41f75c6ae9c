"""Wait for the processes of a run, whatever happens to them, for a bounded time."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

from tt_parallel.errors import NotTransferable, WorkerError
from tt_parallel.launch.failures import Failure, read_failures
from tt_parallel.launch.signals import PassedOn
from tt_parallel.launch.transfer import read
from tt_parallel.launch.worker import BEGUN, DONE
from tt_parallel.launch.workers import Worker, Workers

__all__ = ["results_of"]

_PEERS = 5.0  # seconds for the others to end by themselves when one has failed
_TICK = 0.2  # seconds between two looks, for not everything that happens wakes us


def results_of(workers: Workers, signals: PassedOn, folder: Path, grace: float) -> list[Any]:
    """What the processes return, in the order of their numbers.

    Raises:
        KeyboardInterrupt: When the run was interrupted and not all processes gave a result.
        SystemExit: The same for SIGTERM.
        NotTransferable: When a process could not read its task or send its result.
        WorkerError: When a process failed.
    """
    _wait(workers, signals, folder, grace)
    if all(DONE in worker.said for worker in workers.all):
        return [read(worker.seat.path("result")) for worker in workers.all]
    deaths = [worker.death for worker in workers.all if worker.death is not None]
    failures = sorted([*deaths, *read_failures(folder)], key=lambda each: each.order)
    first = failures[0] if failures else None
    if first is None or first.at >= signals.first_at:
        raise signals.exception()
    if first.kind == "transfer":
        raise NotTransferable(first.text)
    raise WorkerError(_message(workers, failures))


def _wait(workers: Workers, signals: PassedOn, folder: Path, grace: float) -> None:
    """Return when all have ended; those that take too long are ended."""
    limit, asked = float("inf"), False
    while any(worker.alive for worker in workers.all):
        workers.look(max(0.0, min(_TICK, limit - time.monotonic())))
        now = time.monotonic()
        if all(DONE in worker.said for worker in workers.all):
            limit = min(limit, now + _PEERS)
        elif not signals.count and any(worker.failed for worker in workers.all):
            if any(each.kind == "interrupt" for each in read_failures(folder)):
                signals.note(signal.SIGINT)  # it came to that process only
                continue
            if not asked:
                workers.ask_for_stacks()
                limit, asked = now + _PEERS, True
        if signals.count:
            allowed = (grace, min(grace, _PEERS), 0.0)[min(signals.count, 3) - 1]
            limit = min(limit, signals.newest_at + allowed)
        if now >= limit:
            workers.kill()
    workers.look(0.0)


def _message(workers: Workers, failures: list[Failure]) -> str:
    """What is to be said about the first failure, and what the others were doing if they hung."""
    first = failures[0]
    worker = workers.all[first.number]
    if worker.death is first and BEGUN not in worker.said:
        return f"{_name(worker)} of the run ended before it had begun. {_hint()}\n{first.text}"
    said = f"{_name(worker)} of the run failed:\n{first.text}"
    if first.timed_out or any(each.killed for each in workers.all):
        where = {failure.number: failure.text for failure in failures}
        for other in workers.all:
            if other is not worker and (here := where.get(other.seat.number) or other.stacks()):
                said += f"\n\nMeanwhile {_name(other)} was here:\n{here}"
    return said


def _name(worker: Worker) -> str:
    seat = worker.seat
    if seat.world_size == seat.processes:
        return f"Process {seat.rank}"
    return f"Process {seat.rank} (number {seat.number} on its node)"


def _hint() -> str:
    """Why a process may end while it still imports the program."""
    program = Path(getattr(sys.modules["__main__"], "__file__", None) or "?")
    if program.suffix == ".py" and program.exists() and "__name__" not in program.read_text():
        return (
            f"Each process imports {program.name} anew, and there it starts training again: what "
            'starts training must stand below `if __name__ == "__main__":`.'
        )
    return "What it wrote stands above; it was importing the program."
