"""Several processes at once: runs are never shared, and one of them writes to a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tt_experiment import folder
from tt_experiment.api import Experiment, ExperimentFolder
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import RunLockedError

from .forks import Forks
from .states import tree, value_of

pytestmark = pytest.mark.slow

STAMP = "2026-01-02_03-04-05"
PROCESSES, STARTS = 5, 10


def start_many(root: Path, pipe: int) -> None:
    """In a fork of a fork: wait for the signal that all wait for, then start runs."""
    for _ in range(PROCESSES):
        if os.fork() == 0:
            os.read(pipe, 1)
            folder.environment = dict  # asking what is installed takes long
            for _ in range(STARTS):
                ExperimentFolder.create(root, "p", "same", timestamp=STAMP).write_start({})
            os._exit(0)


def start_all(root: Path) -> None:
    os.chdir(root.parent)  # which no git repository holds
    waiting, go = os.pipe()
    start_many(root, waiting)
    os.write(go, b"!" * PROCESSES)
    ended = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(PROCESSES)]
    assert ended == [0] * PROCESSES


def test_fifty_starts_of_one_name_in_one_second(forks: Forks, memory: Path) -> None:
    assert forks.run(start_all, memory / "root") == 0
    runs = [ExperimentFolder(path) for path in (memory / "root" / "p").iterdir()]
    assert len(runs) == PROCESSES * STARTS
    assert len({run.run()["id"] for run in runs}) == PROCESSES * STARTS


HOLD = """
import sys
from tt_experiment.api import Experiment
experiment = Experiment("p", "held", sys.argv[1])
experiment.start()
print(experiment.folder.path, flush=True)
sys.stdin.read()
"""


def test_a_second_writer_is_refused_until_the_first_is_dead(memory: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(memory)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        run = Path(holder.stdout.readline().strip())
        second = Experiment.open(run)
        with pytest.raises(RunLockedError, match=str(holder.pid)):
            write(second)
        assert not list(run.rglob("step-*"))
        holder.kill()
    write(second)
    assert second.latest() is not None


def write(experiment: Experiment) -> None:
    experiment.save(tree(1), step=1, scores={}).wait_committed()


def save_again_and_again(path: Path, ready: int) -> None:
    store = CheckpointFolder(path, retention=None)
    for value in range(1, 60):
        store.save(tree(value), step=value, scores={}).wait_committed()
        if value == 1:
            os.write(ready, b"!")


def test_a_reader_beside_a_writer_sees_whole_checkpoints(forks: Forks, memory: Path) -> None:
    assert forks.run(read_beside, memory / "checkpoint_model") == 0


def read_beside(path: Path) -> None:
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        save_again_and_again(path, tell)
        os._exit(0)
    os.read(ready, 1)
    seen: list[Any] = []
    while not seen or os.waitpid(pid, os.WNOHANG) == (0, 0):
        store = CheckpointFolder(path)
        seen.append(value_of(store, store.latest()))
    assert seen == sorted(seen)
    store = CheckpointFolder(path)
    assert value_of(store, store.latest()) == 59
