"""The processes of a run, seen from the one that launched them."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from tt_parallel.launch.failures import Failure, of_death
from tt_parallel.launch.stacks import ask
from tt_parallel.launch.worker import DONE, FAILED, GO, Seat, work

__all__ = ["Worker", "Workers"]

_log = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds for a killed process to be gone


class Worker:
    """One process.

    Attributes:
        said: What it has said.
        listening: It may say more.
        killed: It has been ended from here.
        death: The failure that its end is, if it ended without a word.
    """

    def __init__(self, seat: Seat) -> None:
        context = multiprocessing.get_context("spawn")
        self.seat = seat
        self.said: set[bytes] = set()
        self.listening = True
        self.killed = False
        self.death: Failure | None = None
        self.link, far = context.Pipe()
        self.process: SpawnProcess = context.Process(target=work, args=(seat, far))
        self.process.start()
        far.close()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.is_alive()

    @property
    def failed(self) -> bool:
        """Whether it failed of itself."""
        return FAILED in self.said or self.death is not None

    def look(self) -> None:
        """Hear what it says and see whether it has ended."""
        alive = self.alive  # before listening: its last words count
        try:
            while self.listening and self.link.poll():
                self.said.add(self.link.recv_bytes())
        except (EOFError, OSError):
            self.listening = False
        if not alive and not self.killed and not self.said & {DONE, FAILED} and not self.death:
            self.death = of_death(self.seat.number, self.process.exitcode or 0, self.stacks())

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self.alive and self.process.pid is not None:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it."""
        if self.alive:
            self.killed = True
            self.process.kill()

    def stacks(self) -> str:
        """What it has written of its stacks."""
        path = self.seat.path("stacks")
        return path.read_text(errors="replace").strip() if path.exists() else ""


class Workers:
    """All processes of this node."""

    def __init__(self) -> None:
        self.all: list[Worker] = []

    def start(self, seats: Iterable[Seat]) -> None:
        """Start a process for each."""
        for seat in seats:
            self.all.append(Worker(seat))

    def go(self) -> None:
        """Tell all that their task can be read."""
        for worker in self.all:
            with suppress(OSError):  # it has ended: `look` will tell
                worker.link.send_bytes(GO)

    def look(self, seconds: float) -> None:
        """Wait until something happens, but not longer than that, and take note of it."""
        events: list[Connection | int] = [w.process.sentinel for w in self.all if w.alive]
        wait([*events, *(w.link for w in self.all if w.listening)], seconds)
        for worker in self.all:
            worker.look()

    def send(self, number: int) -> None:
        """Send all a signal."""
        for worker in self.all:
            worker.send(number)

    def ask_for_stacks(self) -> None:
        """Have those that still work write down what they are doing."""
        ask({w.seat.path("stacks"): w.process.pid for w in self.all if w.alive and w.process.pid})

    def kill(self) -> None:
        """End those that still run."""
        for worker in self.all:
            worker.kill()

    def close(self) -> None:
        """Leave none behind."""
        self.kill()
        for worker in self.all:
            worker.process.join(_PATIENCE)
            worker.link.close()
            if (
                worker.alive
            ):  # in the kernel, as on a file system that hangs: it dies when it returns
                _log.warning("process %s was killed and has not ended yet", worker.process.pid)
            else:
                worker.process.close()
