"""Whatever happens to a process or to the one that launched it: the run ends and says why."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tt_parallel.api import NotTransferable, Spawn, WorkerError
from tt_parallel.launch.rendezvous import Rendezvous

pytestmark = pytest.mark.slow


class Mismatch:
    """Two different collectives."""

    def __call__(self, strategy) -> None:
        if strategy.comm.rank == 0:
            strategy.comm.all_reduce(torch.ones(3))
        else:
            self.wait_for_a_message_that_nobody_sends()

    def wait_for_a_message_that_nobody_sends(self) -> None:
        dist.recv(torch.ones(3), 0, tag=7)
        time.sleep(60)


class Hang:
    """One process never takes part, and does not listen either."""

    def __call__(self, strategy) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if strategy.comm.rank == 1:
            self.turn_in_circles()
        strategy.comm.barrier()

    def turn_in_circles(self) -> None:
        while True:
            time.sleep(1)


@pytest.mark.parametrize(
    ("task", "where"),
    [(Mismatch(), "wait_for_a_message_that_nobody_sends"), (Hang(), "turn_in_circles")],
)
def test_who_does_not_take_part_is_found_with_all_stacks(task, where) -> None:
    with pytest.raises(WorkerError, match="Timed out") as caught:
        Spawn(2, rendezvous=Rendezvous(timeout=2)).run(task)
    said = str(caught.value)
    assert said.index("Timed out") < said.index("Meanwhile Process ")
    assert where in said


class Consequence:
    """Rank 1 fails of itself, late; rank 0 fails at once, because of it."""

    def __call__(self, strategy) -> None:
        if strategy.comm.rank == 1:
            try:
                msg = "the cause of it all"
                raise ValueError(msg)
            finally:
                dist.destroy_process_group()
                time.sleep(1)  # rank 0 is heard of first
        strategy.comm.barrier()


def test_the_cause_is_told_and_not_its_consequence() -> None:
    with pytest.raises(WorkerError, match="Process 1 of the run failed") as caught:
        Spawn(2).run(Consequence())
    cause, _, _ = str(caught.value).partition("\n\nMeanwhile")  # of a peer that had to be ended
    assert "the cause of it all" in cause
    assert "Connection closed" not in cause


class GiveBack:
    def __call__(self, strategy):
        return {"fine": 1, "lock": threading.Lock()}


def test_a_result_that_cannot_come_back_is_named() -> None:
    with pytest.raises(NotTransferable, match=r"What a process returns must be.*lock"):
        Spawn(1).run(GiveBack())


class Linger:
    """The work is done, and a thread goes on."""

    def __call__(self, strategy) -> int:
        threading.Thread(target=threading.Event().wait).start()
        return 7


def test_a_process_that_does_not_end_is_ended() -> None:
    assert Spawn(1).run(Linger()) == [7]


class Interrupted:
    """The launching process gets a signal; every process gets it from there."""

    def __init__(self, number: int, *, handled: bool) -> None:
        self.number, self.handled = number, handled

    def __call__(self, strategy) -> int:
        noted: list[int] = []
        if self.handled:
            signal.signal(self.number, lambda number, frame: noted.append(number))
        strategy.comm.barrier()
        if strategy.comm.rank == 0:
            os.kill(os.getppid(), self.number)
        while not noted:
            time.sleep(0.01)
        return noted[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_all_processes(number) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert Spawn(2).run(Interrupted(number, handled=True)) == [number, number]
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as caught:
        Spawn(2).run(Interrupted(number, handled=False))
    if number == signal.SIGTERM:
        assert caught.value.code == 143
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


class Stubborn:
    """Goes on whatever it is told."""

    def __call__(self, strategy) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        strategy.comm.barrier()
        if strategy.comm.rank == 0:
            os.kill(os.getppid(), signal.SIGINT)
        while True:
            time.sleep(1)


def test_after_the_grace_period_nobody_is_left() -> None:
    with pytest.raises(KeyboardInterrupt):
        Spawn(2, grace=0.5).run(Stubborn())


ORPHANS = """
import os, signal, sys, time
from pathlib import Path
from tt_parallel.api import Spawn

class Task:
    def __call__(self, strategy):
        rank = strategy.comm.rank
        if rank == 1:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        Path(sys.argv[1], f"{rank}.new").write_text(str(os.getpid()))
        Path(sys.argv[1], f"{rank}.new").rename(Path(sys.argv[1], f"{rank}.pid"))
        while True:
            time.sleep(1)

if __name__ == "__main__":
    Spawn(2).run(Task())
"""


def lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(what) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_process_outlives_the_one_that_launched_it(tmp_path) -> None:
    (tmp_path / "script.py").write_text(ORPHANS)
    (tmp_path / "tmp").mkdir()
    launcher = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tmp_path],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.DEVNULL,
    )
    pids: list[int] = []
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
        pids += [int(path.read_text()) for path in tmp_path.glob("*.pid")]
        assert all(map(lives, pids))
        launcher.kill()
        launcher.wait()
        wait_until(lambda: not any(map(lives, pids)))
        wait_until(lambda: not list((tmp_path / "tmp").glob("tt-parallel-*")))
    finally:
        launcher.kill()
        for pid in filter(lives, pids):
            os.kill(pid, signal.SIGKILL)
